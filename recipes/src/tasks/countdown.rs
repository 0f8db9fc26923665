use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::num::NonZeroUsize;

use anyhow::{Result, bail};
use rand_philox::{Philox, u32_to_unit_f64};
use rewards::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::draws;

/// Generated problems of the form `3 5 7> 12`: numbers, and a target that a chain of steps `a op b
/// c` (c = a op b, a whole number from 0 to 99) reaches, without repetition; a worked solution is `
/// 3* 5 15 15- 7 8`. The verifier `countdown` judges them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Countdown {
    /// Number of different problems. The same numbers in another order are the same problem.
    pub count: NonZeroUsize,
    /// Worked solutions of each problem, on average: rows with the same text, for supervised stages
    /// that would otherwise learn one solution by heart.
    #[serde(default = "one")]
    pub solutions: NonZeroUsize,
    /// Numbers in a problem, 2 to 6.
    #[serde(default = "three")]
    pub numbers: NonZeroUsize,
    /// The largest number that is drawn, at most 49. The smallest is 1.
    #[serde(default = "twenty")]
    pub max_number: NonZeroUsize,
    /// Most attempts in a worked solution. `R` drops the attempt before it, and the last attempt is
    /// judged.
    #[serde(default = "one")]
    pub attempts: NonZeroUsize,
    /// Share of the worked solutions that miss the target. The problem can be solved all the same.
    #[serde(default = "three_tenths")]
    pub misses: f64,
    /// Share of the attempts before the last that are present: random chains, which are dropped.
    #[serde(default = "half")]
    pub retries: f64,
}

fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

fn three() -> NonZeroUsize {
    NonZeroUsize::new(3).expect("3 is not zero")
}

fn twenty() -> NonZeroUsize {
    NonZeroUsize::new(20).expect("20 is not zero")
}

fn three_tenths() -> f64 {
    0.3
}

fn half() -> f64 {
    0.5
}

impl Countdown {
    /// Most problems.
    const MOST_PROBLEMS: usize = 1 << 22;
    /// Most solutions for each problem.
    const MOST_SOLUTIONS: usize = 64;
    /// Most numbers in a problem.
    const MOST_NUMBERS: usize = 6;
    /// The largest number there may be: the sum of any two stays below 100.
    const LARGEST: usize = 49;
    /// Most attempts.
    const MOST_ATTEMPTS: usize = 64;

    /// Rows: one for each solution.
    pub(crate) fn rows(&self) -> usize {
        self.count.get().saturating_mul(self.solutions.get())
    }

    /// Everything wrong with the settings, each with its key.
    pub(crate) fn problems(&self) -> Vec<String> {
        let within = |key: &str, value: NonZeroUsize, low: usize, high: usize| {
            let wrong = value.get() < low || value.get() > high;
            wrong.then(|| format!("{key}: expected {low} to {high}, got {value}"))
        };
        let share = |key: &str, value: f64| {
            (!(0.0..=1.0).contains(&value))
                .then(|| format!("{key}: expected a share, from 0 to 1, got {value}"))
        };
        let found = [
            within("count", self.count, 1, Self::MOST_PROBLEMS),
            within("solutions", self.solutions, 1, Self::MOST_SOLUTIONS),
            within("numbers", self.numbers, 2, Self::MOST_NUMBERS),
            within("max_number", self.max_number, 1, Self::LARGEST),
            within("attempts", self.attempts, 1, Self::MOST_ATTEMPTS),
            share("misses", self.misses),
            share("retries", self.retries),
        ];
        found.into_iter().flatten().collect()
    }
}

/// What results stay below: a policy with one token a number has so many.
const BEYOND: u32 = 100;
/// Draws for each problem asked for, before the rest counts as not to be found.
const DRAWS_PER_PROBLEM: usize = 200;
/// Of the solutions with three numbers or more, one in so many leaves a number over.
const ONE_STEP_LESS: u32 = 5;
/// The token that drops an attempt.
const RETRY: char = 'R';

/// One step: `left sign right` is `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    left: u32,
    sign: char,
    right: u32,
    result: u32,
}

/// Numbers, a target, and one way from those to this.
#[derive(Debug)]
struct Task {
    numbers: Vec<u32>,
    target: u32,
    chain: Vec<Step>,
}

/// Different problems, as many as asked for, with worked solutions, some of which miss the target
/// if asked. The same numbers in another order are the same problem; its solutions stand in rows of
/// their own, the first of every problem before all others.
///
/// # Errors
///
/// Fails when they are not found in two hundred draws for each problem.
pub fn countdown(config: &Countdown, seed: u64) -> Result<Vec<Problem>> {
    let (count, rows) = (config.count.get(), config.rows());
    let limit = count.saturating_mul(DRAWS_PER_PROBLEM);
    let mut words = draws(seed, "countdown");
    let mut found = HashMap::with_capacity(count);
    let mut tasks: Vec<Task> = Vec::with_capacity(rows);
    for _ in 0..limit {
        if tasks.len() == rows {
            break;
        }
        let Some(task) = Task::draw(config, &mut words) else { continue };
        let more = found.len() < count;
        match found.entry(task.key()) {
            Entry::Vacant(entry) if more => {
                entry.insert(tasks.len());
                tasks.push(task);
            }
            // Another way to it, which comes up as often as chance has it.
            Entry::Occupied(entry) if !more => {
                let numbers = tasks[*entry.get()].numbers.clone();
                tasks.push(Task { numbers, ..task });
            }
            _ => {}
        }
    }
    if found.len() < count {
        bail!(
            "data.train.count: expected {count} different problems, found {} in {limit} draws; ask \
             for fewer, or raise numbers or max_number",
            found.len(),
        );
    }
    if tasks.len() < rows {
        bail!(
            "data.train.solutions: expected {rows} solutions of {count} problems, found {} in \
             {limit} draws; ask for fewer solutions, or for more problems instead",
            tasks.len(),
        );
    }
    let mut teacher = Teacher { config, words: draws(seed, "attempts") };
    Ok((0..).zip(&tasks).map(|(row, task)| teacher.problem(row, task)).collect())
}

impl Task {
    /// Numbers drawn evenly and where a random chain from them ends; nothing where that is 0 or one
    /// of the numbers.
    fn draw(config: &Countdown, words: &mut Philox) -> Option<Self> {
        let most = config.max_number.get() as u32;
        let count = config.numbers.get();
        let numbers: Vec<u32> = (0..count).map(|_| 1 + words.bounded(most)).collect();
        let fewer = count > 2 && words.bounded(ONE_STEP_LESS) == 0;
        let chain = chain(&numbers, count - 1 - usize::from(fewer), words);
        let target = chain.last()?.result;
        let fits = target > 0 && !numbers.contains(&target);
        fits.then_some(Self { numbers, target, chain })
    }

    fn key(&self) -> (Vec<u32>, u32) {
        let mut numbers = self.numbers.clone();
        numbers.sort_unstable();
        (numbers, self.target)
    }
}

/// A chain of random steps, each drawn evenly from all that are possible.
fn chain(numbers: &[u32], steps: usize, words: &mut Philox) -> Vec<Step> {
    let mut left = numbers.to_vec();
    let mut chain = Vec::with_capacity(steps);
    let mut possible = Vec::new();
    for _ in 0..steps {
        possible.clear();
        for i in 0..left.len() {
            for j in (0..left.len()).filter(|&j| j != i) {
                let step = |sign| Step::new(left[i], sign, left[j]).map(|step| (i, j, step));
                possible.extend(['+', '-', '*', '/'].into_iter().filter_map(step));
            }
        }
        // There is one always: the smaller number can be taken from the larger.
        let (i, j, step) = possible[words.bounded(possible.len() as u32) as usize];
        left.swap_remove(i.max(j));
        left.swap_remove(i.min(j));
        left.push(step.result);
        chain.push(step);
    }
    chain
}

impl Step {
    /// Nothing where the result is not a whole number from 0 to 99.
    fn new(left: u32, sign: char, right: u32) -> Option<Self> {
        let result = match sign {
            '+' => left.checked_add(right),
            '-' => left.checked_sub(right),
            '*' => left.checked_mul(right),
            _ if right > 0 && left.is_multiple_of(right) => Some(left / right),
            _ => None,
        };
        let result = result.filter(|&result| result < BEYOND)?;
        Some(Self { left, sign, right, result })
    }
}

/// Who works the solutions, and how carelessly.
struct Teacher<'a> {
    config: &'a Countdown,
    words: Philox,
}

impl Teacher<'_> {
    fn problem(&mut self, row: usize, task: &Task) -> Problem {
        let mut solution = String::new();
        for _ in 1..self.config.attempts.get() {
            if self.chance(self.config.retries) {
                write(&self.random(task), &mut solution);
                solution.push(RETRY);
            }
        }
        if self.chance(self.config.misses) {
            write(&self.miss(task), &mut solution);
        } else {
            write(&task.chain, &mut solution);
        }
        let numbers: Vec<String> = task.numbers.iter().map(u32::to_string).collect();
        let mut id = format!("countdown-{}-{}", numbers.join("-"), task.target);
        if row >= self.config.count.get() {
            write!(id, "-row-{row}").expect("a string takes all that is written");
        }
        Problem {
            id,
            problem: format!("{}> {}", numbers.join(" "), task.target),
            answer: task.target.to_string(),
            source: "generated: countdown".into(),
            solution: Some(solution),
            ..Problem::default()
        }
    }

    fn chance(&mut self, share: f64) -> bool {
        u32_to_unit_f64(self.words.next_u32()) < share
    }

    fn random(&mut self, task: &Task) -> Vec<Step> {
        chain(&task.numbers, task.numbers.len() - 1, &mut self.words)
    }

    /// A random chain that does not end at the target. There is one always: differences alone leave
    /// some x of 0 to 49 beside one of the numbers, y, and from these x + y and x * y differ from
    /// |x - y| or from each other.
    fn miss(&mut self, task: &Task) -> Vec<Step> {
        loop {
            let chain = self.random(task);
            if chain.last().is_some_and(|step| step.result != task.target) {
                return chain;
            }
        }
    }
}

/// Appends ` 3* 5 15 15- 7 8`: a space before every number makes it one token of `builtin:numbers`.
fn write(chain: &[Step], text: &mut String) {
    for Step { left, sign, right, result } in chain {
        write!(text, " {left}{sign} {right} {result}").expect("a string takes all that is written");
    }
}

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::num::NonZeroUsize;

use rand_philox::{Philox, u32_to_unit_f64};
use rewards::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::{draws, shuffled};

/// Generated arithmetic, without repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arithmetic {
    /// Number of problems.
    pub count: NonZeroUsize,
    /// Fewest digits of an operand.
    pub min_digits: NonZeroUsize,
    /// Most digits of an operand, at most 9.
    pub max_digits: NonZeroUsize,
    /// The operations that are asked for.
    pub operations: Vec<Operation>,
    /// Share of the columns that the worked solution gets wrong by one. The answer is right all the
    /// same, so a stage of kind `rl` can get better than the solutions that a stage of kind `sft`
    /// learnt.
    #[serde(default)]
    pub slips: f64,
}

/// An operation of generated arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ArithmeticOperation")]
pub enum Operation {
    /// A sum.
    #[serde(rename = "+")]
    Add,
    /// A difference, never negative.
    #[serde(rename = "-")]
    Subtract,
}

impl Arithmetic {
    /// Most digits that an operand may have.
    pub const MOST_DIGITS: NonZeroUsize = NonZeroUsize::new(9).expect("9 is not zero");

    /// How many different problems there are.
    pub fn distinct(&self) -> u64 {
        let low = smallest(self.min_digits.get());
        let operands = 10_u64.pow(self.max_digits.get() as u32) - low;
        let of = |operation: Operation| match operation {
            Operation::Add => operands.saturating_mul(operands),
            // A pair and its mirror are the same difference.
            Operation::Subtract => operands.saturating_mul(operands + 1) / 2,
        };
        [Operation::Add, Operation::Subtract]
            .into_iter()
            .filter(|operation| self.operations.contains(operation))
            .map(of)
            .fold(0, u64::saturating_add)
    }
}

/// One problem: which operation on which operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Task {
    operation: Operation,
    left: u64,
    right: u64,
}

/// Different problems, as many as asked for, with worked columns, some of them wrong if asked.
///
/// The number of digits of each operand is drawn evenly; a difference is never negative.
pub fn arithmetic(config: &Arithmetic, seed: u64) -> Vec<Problem> {
    let mut words = draws(seed, "arithmetic");
    let count = config.count.get();
    let tasks = if config.distinct() / 2 < count as u64 {
        // Drawing until all are there would take forever near the end.
        let mut all = every(config);
        let order = shuffled(all.len(), &mut words);
        all = order.into_iter().take(count).map(|i| all[i]).collect();
        all
    } else {
        let mut seen = HashSet::new();
        let mut tasks = Vec::with_capacity(count);
        while tasks.len() < count {
            let task = draw(config, &mut words);
            if seen.insert(task) {
                tasks.push(task);
            }
        }
        tasks
    };
    let mut slips = Slips { share: config.slips, words: draws(seed, "slips") };
    tasks.iter().map(|task| task.problem(&mut slips)).collect()
}

/// The smallest number with so many digits; 0 has one.
fn smallest(digits: usize) -> u64 {
    if digits == 1 { 0 } else { 10_u64.pow(digits as u32 - 1) }
}

fn draw(config: &Arithmetic, words: &mut Philox) -> Task {
    let operation = config.operations[words.bounded(config.operations.len() as u32) as usize];
    let (low, high) = (config.min_digits.get(), config.max_digits.get());
    let mut operand = || {
        let digits = low + words.bounded((high - low + 1) as u32) as usize;
        let from = smallest(digits);
        from + u64::from(words.bounded((10_u64.pow(digits as u32) - from) as u32))
    };
    Task::new(operation, operand(), operand())
}

fn every(config: &Arithmetic) -> Vec<Task> {
    let numbers = smallest(config.min_digits.get())..10_u64.pow(config.max_digits.get() as u32);
    let mut seen = HashSet::new();
    let mut tasks = Vec::new();
    for &operation in &config.operations {
        for left in numbers.clone() {
            for right in numbers.clone() {
                let task = Task::new(operation, left, right);
                if seen.insert(task) {
                    tasks.push(task);
                }
            }
        }
    }
    tasks
}

impl Task {
    fn new(operation: Operation, left: u64, right: u64) -> Self {
        match operation {
            Operation::Subtract if left < right => Self { operation, left: right, right: left },
            _ => Self { operation, left, right },
        }
    }

    fn answer(&self) -> u64 {
        match self.operation {
            Operation::Add => self.left + self.right,
            Operation::Subtract => self.left - self.right,
        }
    }

    fn problem(&self, slips: &mut Slips) -> Problem {
        let (sign, worked) = match self.operation {
            Operation::Add => ('+', add_columns(self.left, self.right, slips)),
            Operation::Subtract => ('-', subtract_columns(self.left, self.right, slips)),
        };
        let problem = format!("{}{sign}{}", self.left, self.right);
        Problem {
            id: format!("arithmetic-{problem}"),
            solution: Some(worked.text()),
            problem,
            answer: self.answer().to_string(),
            source: "generated: arithmetic".into(),
            ..Problem::default()
        }
    }
}

/// Who works the columns, and how carelessly.
struct Slips {
    share: f64,
    words: Philox,
}

impl Slips {
    /// `result`, or a neighbour of it that is at most `most`.
    fn write(&mut self, result: u64, most: u64) -> u64 {
        if u32_to_unit_f64(self.words.next_u32()) >= self.share {
            return result;
        }
        let up = self.words.bounded(2) == 1;
        if (up && result < most) || result == 0 { result + 1 } else { result - 1 }
    }
}

/// Columns and the number that their digits make.
#[derive(Default)]
struct Worked {
    columns: Vec<String>,
    number: u64,
    place: u64,
}

impl Worked {
    fn push(&mut self, column: String, digit: u64) {
        self.place = if self.columns.is_empty() { 1 } else { self.place * 10 };
        self.number += digit * self.place;
        self.columns.push(column);
    }

    fn text(&self) -> String {
        format!("{} \\boxed{{{}}}", self.columns.join(" "), self.number)
    }
}

/// `57+86`: `7+6=13 5+8+1=14`, from the ones up, the carry as a third term.
fn add_columns(left: u64, right: u64, slips: &mut Slips) -> Worked {
    let (mut worked, mut carry) = (Worked::default(), 0);
    for (a, b) in columns(left, right) {
        let sum = slips.write(a + b + carry, 19);
        let carried = if carry == 0 { "" } else { "+1" };
        worked.push(format!("{a}+{b}{carried}={sum}"), sum % 10);
        carry = sum / 10;
    }
    worked.number += carry * worked.place * 10;
    worked
}

/// `52-17`: `12-7=5 4-1=3`, from the ones up, what was borrowed taken off and put on.
fn subtract_columns(left: u64, right: u64, slips: &mut Slips) -> Worked {
    let (mut worked, mut borrow) = (Worked::default(), 0);
    for (a, b) in columns(left, right) {
        let (from, next) = if a < b + borrow { (a + 10 - borrow, 1) } else { (a - borrow, 0) };
        borrow = next;
        let difference = slips.write(from - b, 9);
        worked.push(format!("{from}-{b}={difference}"), difference);
    }
    worked
}

/// Pairs of digits from the ones up, as many as the longer number has.
fn columns(mut left: u64, mut right: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut first = true;
    std::iter::from_fn(move || {
        if !first && left == 0 && right == 0 {
            return None;
        }
        first = false;
        let pair = (left % 10, right % 10);
        (left, right) = (left / 10, right / 10);
        Some(pair)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operation: Operation, left: u64, right: u64, solution: &str) {
        let mut slips = Slips { share: 0.0, words: draws(1, "slips") };
        let problem = Task::new(operation, left, right).problem(&mut slips);
        assert_eq!(problem.solution.as_deref(), Some(solution));
    }

    #[test]
    fn a_careless_teacher_is_wrong_as_often_as_asked_and_the_answer_is_right() {
        let careless = Arithmetic { slips: 0.3, ..config(4000, 2, 2, &[Operation::Add]) };
        let problems = arithmetic(&careless, 1);
        let right = problems.iter().filter(|problem| {
            let boxed = format!("\\boxed{{{}}}", problem.answer);
            problem.solution.as_ref().is_some_and(|solution| solution.ends_with(&boxed))
        });
        let share = right.count() as f64 / problems.len() as f64;
        assert!((share - 0.7 * 0.7).abs() < 0.03, "{share}");
        let careful = arithmetic(&config(4000, 2, 2, &[Operation::Add]), 1);
        let answers = |problems: &[Problem]| -> Vec<String> {
            problems.iter().map(|problem| problem.answer.clone()).collect()
        };
        assert_eq!(answers(&problems), answers(&careful));
    }

    #[test]
    fn columns_are_worked_from_the_ones_up() {
        check(Operation::Add, 57, 86, r"7+6=13 5+8+1=14 \boxed{143}");
        check(Operation::Add, 123, 9, r"3+9=12 2+0+1=3 1+0=1 \boxed{132}");
        check(Operation::Add, 0, 0, r"0+0=0 \boxed{0}");
        check(Operation::Subtract, 17, 52, r"12-7=5 4-1=3 \boxed{35}");
        check(Operation::Subtract, 100, 7, r"10-7=3 9-0=9 0-0=0 \boxed{93}");
        check(Operation::Subtract, 105, 16, r"15-6=9 9-1=8 0-0=0 \boxed{89}");
    }

    fn config(count: usize, min: usize, max: usize, operations: &[Operation]) -> Arithmetic {
        let number = |n| NonZeroUsize::new(n).expect("not zero");
        Arithmetic {
            count: number(count),
            min_digits: number(min),
            max_digits: number(max),
            operations: operations.to_vec(),
            slips: 0.0,
        }
    }

    #[test]
    fn problems_are_different_and_a_function_of_the_seed() {
        let both = [Operation::Add, Operation::Subtract];
        for config in [config(300, 1, 3, &both), config(155, 1, 1, &both)] {
            let problems = arithmetic(&config, 7);
            let ids: HashSet<_> = problems.iter().map(|p| &p.id).collect();
            assert_eq!(ids.len(), config.count.get());
            assert_eq!(problems, arithmetic(&config, 7));
            assert_ne!(problems, arithmetic(&config, 8));
        }
    }

    #[test]
    fn the_number_of_different_problems_is_exact() {
        for config in [
            config(1, 1, 1, &[Operation::Add]),
            config(1, 1, 2, &[Operation::Subtract]),
            config(1, 2, 2, &[Operation::Subtract, Operation::Add, Operation::Add]),
        ] {
            assert_eq!(every(&config).len() as u64, config.distinct());
        }
    }
}

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The problems of a run: those it trains on, and those it is only judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// What the run trains on.
    pub train: Source,
    /// What it is judged by.
    pub held_out: HeldOut,
    /// Seed of the problems that are made and of those set aside, so that runs with other seeds
    /// share them. Left out: the run's seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether every pass over the training problems has an order of its own, drawn by the seed.
    #[serde(default = "default_true")]
    pub shuffle: bool,
    /// Longest prompt, in tokens; longer problems are dropped, and the run says which.
    #[serde(default = "default_max_prompt_tokens")]
    pub max_prompt_tokens: NonZeroUsize,
    /// Longest solution that supervised stages learn, in tokens with the one that ends it. Problems
    /// with longer ones are dropped, and so are those whose solution does not fit the model's
    /// context after its prompt; the run says which. Left out: none is dropped, and one that does
    /// not fit is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_solution_tokens: Option<NonZeroUsize>,
}

/// Where problems come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A file with one JSON object a line: `{id, problem, answer, source}` and, for supervised
    /// stages, `solution`.
    Jsonl(JsonLines),
    /// Sums and differences with their worked columns, made on the spot.
    Arithmetic(Arithmetic),
    /// Numbers and a target to reach with them by steps of arithmetic, made on the spot.
    Countdown(Countdown),
}

/// A file of problems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JsonLines {
    /// The file; looked for beside the recipe, in the working directory and in `STEARIN_DATA`.
    pub path: String,
    /// Rows taken from its start. Left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroUsize>,
}

/// Generated arithmetic, without repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Arithmetic {
    /// Number of problems.
    pub count: NonZeroUsize,
    /// Fewest digits of an operand.
    pub min_digits: NonZeroUsize,
    /// Most digits of an operand.
    pub max_digits: NonZeroUsize,
    /// What is asked for.
    pub operations: Vec<Operation>,
    /// Share of the columns that the worked solution gets wrong by one, as a careless teacher does;
    /// the answer is right all the same. Who imitates can be no better than that.
    #[serde(default)]
    pub slips: f64,
}

/// An operation of generated arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Operation {
    /// A sum.
    #[serde(rename = "+")]
    Add,
    /// A difference, never negative.
    #[serde(rename = "-")]
    Subtract,
}

/// Generated problems of the form `3 5 7> 12`: numbers, and a target that a chain of steps `a op b
/// c` (c = a op b, a whole number from 0 to 99) reaches, without repetition; a worked solution is `
/// 3* 5 15 15- 7 8`. The verifier `countdown` judges them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Countdown {
    /// Number of different problems; the same numbers in another order are the same problem.
    pub count: NonZeroUsize,
    /// Worked solutions for each of them, on average: rows with the same text, for supervised
    /// stages that would otherwise learn one solution by heart.
    #[serde(default = "one")]
    pub solutions: NonZeroUsize,
    /// Numbers in a problem, 2 to 6.
    #[serde(default = "three")]
    pub numbers: NonZeroUsize,
    /// The largest of them, at most 49; the smallest is 1.
    #[serde(default = "twenty")]
    pub max_number: NonZeroUsize,
    /// Most attempts in a worked solution: `R` drops what stands before it, and the last is judged.
    #[serde(default = "one")]
    pub attempts: NonZeroUsize,
    /// Share of the worked solutions that miss the target, as a careless teacher does; the problem
    /// can be solved all the same.
    #[serde(default = "three_tenths")]
    pub misses: f64,
    /// Share of the attempts before the last that are there: random chains, dropped.
    #[serde(default = "half")]
    pub retries: f64,
}

/// The problems that a run is judged by; never among those it trains on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum HeldOut {
    /// Set aside from the training source, drawn by the seed.
    Split {
        /// Number of problems.
        count: NonZeroUsize,
    },
    /// A file of its own, as for training.
    Jsonl(JsonLines),
}

fn default_true() -> bool {
    true
}

fn default_max_prompt_tokens() -> NonZeroUsize {
    NonZeroUsize::new(512).expect("512 is not zero")
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

impl Source {
    /// How many problems it makes; `None` where only the file knows.
    pub(super) fn count(&self) -> Option<NonZeroUsize> {
        match self {
            Self::Jsonl(_) => None,
            Self::Arithmetic(task) => Some(task.count),
            Self::Countdown(task) => Some(task.count),
        }
    }
}

impl Countdown {
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
    pub(super) fn problems(&self) -> Vec<String> {
        let within = |key: &str, value: NonZeroUsize, low: usize, high: usize| {
            let wrong = value.get() < low || value.get() > high;
            wrong.then(|| format!("{key}: expected {low} to {high}, got {value}"))
        };
        let share = |key: &str, value: f64| {
            (!(0.0..=1.0).contains(&value))
                .then(|| format!("{key}: expected a share, from 0 to 1, got {value}"))
        };
        let found = [
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

/// The smallest number with so many digits; 0 has one.
pub(crate) fn smallest(digits: usize) -> u64 {
    if digits == 1 { 0 } else { 10_u64.pow(digits as u32 - 1) }
}

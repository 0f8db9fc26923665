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
    /// Whether every pass over the training problems has an order of its own, drawn by the seed.
    #[serde(default = "default_true")]
    pub shuffle: bool,
    /// Longest prompt, in tokens; longer problems are dropped, and the run says which.
    #[serde(default = "default_max_prompt_tokens")]
    pub max_prompt_tokens: NonZeroUsize,
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

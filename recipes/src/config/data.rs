use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tasks::{Arithmetic, Countdown};

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

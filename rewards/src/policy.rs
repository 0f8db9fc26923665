//! How strictly an answer is found and compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One choice for both layers, [`extract`](mod@crate::extract) and
/// [`equivalent`](mod@crate::equivalent), so that a score names a single policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// For rewards: only the answer that the prompt asks for counts, and what is not exactly the
    /// gold earns nothing.
    #[default]
    Rl,
    /// For scores: an answer in another place counts too, and a decimal may stand for a gold that is
    /// no rational number.
    Eval,
}

impl Policy {
    /// Length of the longest answer that is looked at, in bytes.
    ///
    /// It bounds the work of every later step, so that a verdict is the same on every machine.
    pub fn max_answer_bytes(self) -> usize {
        match self {
            Self::Rl | Self::Eval => 4096,
        }
    }
}

/// How the prompt asks for the answer to be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Marker {
    /// `\boxed{42}`.
    #[default]
    Boxed,
    /// A line `Answer: 42` (DAPO).
    AnswerLine,
    /// A line `#### 42` (GSM8K).
    Hashes,
}

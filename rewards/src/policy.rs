//! How strictly an answer is found and compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One choice for both layers, [`extract`](mod@crate::extract) and
/// [`equivalent`](mod@crate::equivalent), so that a score names a single policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// For rewards: only the last box counts, only a plain integer or rational is read, and what is
    /// not exactly the gold earns nothing.
    #[default]
    Rl,
}

impl Policy {
    /// Length of the longest answer that is looked at, in bytes.
    ///
    /// It bounds the work of every later step, so that a verdict is the same on every machine.
    pub fn max_answer_bytes(self) -> usize {
        match self {
            Self::Rl => 4096,
        }
    }
}

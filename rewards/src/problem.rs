//! Problems with a known answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A question, and the answer that an attempt is judged by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Name, unique in its file.
    pub id: String,
    /// The turns of a chat before the question; empty where the problem is the question alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Turn>,
    /// The question as the policy reads it, before any template: the last user turn of a chat.
    pub problem: String,
    /// The gold answer; empty where the data has none.
    pub answer: String,
    /// Where the problem comes from.
    pub source: String,
    /// A worked text that ends in the answer, for supervised stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// The other columns of the row, for verifiers that read them.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub columns: Map<String, Value>,
}

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: String,
}

/// Who speaks in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions before the conversation.
    System,
    /// Asks.
    User,
    /// Answers: the policy.
    Assistant,
}

impl Role {
    /// The name that chat templates know.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

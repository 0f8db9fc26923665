use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use settings::off::OFF;

/// How an answer is taken from a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AnswerFrom {
    /// All of it.
    Text,
    /// The last box.
    Boxed,
    /// What follows the last marker on its line.
    After(String),
}

impl TryFrom<String> for AnswerFrom {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "text" => Ok(Self::Text),
            "boxed" => Ok(Self::Boxed),
            OFF => Err(format!(
                "got \"{OFF}\", which is no marker: leave the key out, or write \"text\" to take all of \
                 the column"
            )),
            marker if marker.trim().is_empty() => {
                Err("expected \"text\", \"boxed\" or a marker such as \"####\", got nothing".into())
            }
            _ => Ok(Self::After(text)),
        }
    }
}

impl From<AnswerFrom> for String {
    fn from(from: AnswerFrom) -> Self {
        match from {
            AnswerFrom::Text => "text".into(),
            AnswerFrom::Boxed => "boxed".into(),
            AnswerFrom::After(marker) => marker,
        }
    }
}

impl fmt::Display for AnswerFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Boxed => f.write_str("\\boxed{...}"),
            Self::After(marker) => write!(f, "`{marker}` with an answer behind it"),
        }
    }
}

impl JsonSchema for AnswerFrom {
    fn schema_name() -> Cow<'static, str> {
        "AnswerFrom".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

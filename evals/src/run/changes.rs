//! `changes.jsonl`: settings that a resume changed.

use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Lines, Problem};

/// What a change of a setting does to a run that goes on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The run cannot go on with it.
    Impossible,
    /// The steps from here on differ from those of an unbroken run.
    Changing,
    /// It changes no step.
    Free,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Impossible => "impossible",
            Self::Changing => "changing",
            Self::Free => "free",
        })
    }
}

/// A setting that is another one than before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The key of the recipe, or one of `run.json` with `environment` before it.
    pub key: String,
    /// What it does.
    pub class: Class,
    /// The value before; nothing where it was not set.
    pub then: Option<Value>,
    /// The value now.
    pub now: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show =
            |value: &Option<Value>| value.as_ref().map_or("not set".into(), Value::to_string);
        write!(f, "{}: {} then, {} now", self.key, show(&self.then), show(&self.now))
    }
}

/// A line of `changes.jsonl`: what one resume changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// Version of this file.
    pub format: u32,
    /// Steps done before.
    pub step: u64,
    /// The file that holds the recipe before; nothing where the recipe is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// What is another one.
    pub changes: Vec<Change>,
}

/// What resumes changed, in their order; nothing where there is no file.
///
/// # Errors
///
/// Fails when the file cannot be read.
pub fn read_changes(path: &Path) -> Result<Lines<Changes>, Problem> {
    Lines::read(path, Lines::<Changes>::SHORT)
}

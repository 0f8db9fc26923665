//! The run record: what a run leaves for those who look at it.
//!
//! ```text
//! metrics.jsonl                     one object a step, the same bytes for equal runs
//! timings.jsonl                     seconds, rates and memory of the same steps
//! health.jsonl                      warnings, as they came
//! completions/step-000020.jsonl     a group a line: problem, texts, verdicts
//! tokens/step-000020.jsonl          the same groups as token ids and their columns
//! evals/step-000100/NAME.json       one held-out evaluation
//! ```

mod cut;
mod read;
mod sink;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use cut::cut;
pub use read::{Line, read_log};
pub use sink::{Folder, Sink, sync_folder, write_whole};

use crate::metrics::{Log, Metrics};
use crate::{Error, Result};

/// Files that grow by a line.
const LOGS: [&str; 3] = ["metrics.jsonl", "timings.jsonl", "health.jsonl"];
/// Folders with one entry a step.
const BY_STEP: [&str; 3] = ["completions", "tokens", "evals"];
/// Version of everything written here.
pub const FORMAT: u32 = 1;

/// How much of a run is kept for reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// Texts and verdicts of every this many steps; 0 for none.
    pub completions_every: u64,
    /// Token ids, log-probabilities and entropies of every this many steps; 0 for none.
    pub tokens_every: u64,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self { completions_every: 1, tokens_every: 10 }
    }
}

/// Name of a step's entry in a folder.
pub fn step_name(step: u64) -> String {
    format!("step-{step:06}")
}

/// The step that an entry `step-NNNNNN` or `step-NNNNNN.jsonl` belongs to.
pub fn step_of_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?;
    let digits = digits.strip_suffix(".jsonl").unwrap_or(digits);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Writes the record.
#[derive(Debug)]
pub struct Record {
    sink: Box<dyn Sink>,
}

impl Record {
    /// A record that writes to `sink`.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self { sink }
    }

    /// Appends the step's values to the log they are for; nothing for no values.
    ///
    /// # Errors
    ///
    /// Fails when the write does.
    pub fn values(&mut self, step: u64, stage: &str, values: &Metrics) -> Result<()> {
        if values.entries().is_empty() {
            return Ok(());
        }
        let mut line = Map::new();
        line.insert("step".into(), step.into());
        line.insert("stage".into(), stage.into());
        for (key, value) in values.entries() {
            line.insert(key.clone(), json!(value));
        }
        self.append(&values.log().to_string(), &Value::Object(line))
    }

    /// Returns once everything written is on the disk.
    ///
    /// # Errors
    ///
    /// Fails when the system does.
    pub fn sync(&mut self) -> Result<()> {
        self.sink.sync().map_err(|source| Error::Write { file: "the logs".into(), source })
    }

    fn append(&mut self, file: &str, line: &Value) -> Result<()> {
        let bytes = format!("{line}\n").into_bytes();
        self.sink
            .append(file, &bytes)
            .map_err(|source| Error::Write { file: file.to_owned(), source })
    }
}

/// The log's file name, for readers.
pub fn file_of(log: Log) -> String {
    log.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_step_and_a_partial_one_says_none() {
        assert_eq!(step_of_name(&step_name(20)), Some(20));
        assert_eq!(step_of_name("step-1234567.jsonl"), Some(1_234_567));
        for name in ["step-000002.jsonl.partial", "step-", "step--1", "latest", "step-2x"] {
            assert_eq!(step_of_name(name), None, "{name}");
        }
    }
}

use std::path::PathBuf;

use crate::metrics::Log;

/// What can go wrong between a problem and a line in the record.
///
/// A message leaves out the cause that [`source`](std::error::Error::source) returns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A metric that the table does not declare, or declares for the other log.
    #[error("metric `{key}` is not declared for {log}{hint}", hint = hint.as_deref().unwrap_or(""))]
    Undeclared {
        /// The key that was to be written.
        key: String,
        /// The log it was meant for.
        log: Log,
        /// Where the key is declared instead, if it is.
        hint: Option<String>,
    },
    /// The record could not be written.
    #[error("writing {file} of the run record")]
    Write {
        /// File, relative to the run directory.
        file: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of the record could not be read.
    #[error("reading {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A line of the record is not what this version writes.
    #[error("{path}, line {line}: {problem}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What was expected and found.
        problem: String,
    },
    /// A saved state of the health watch is not one.
    #[error("state of the health watch: {0}")]
    Watch(String),
    /// A prompt could not be made.
    #[error("prompt style: {0}")]
    Prompt(String),
    /// The model or its tokenizer failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// Sampling failed.
    #[error(transparent)]
    Rollout(#[from] rollout::Error),
    /// Completions could not be judged.
    #[error(transparent)]
    Unavailable(#[from] rewards::Unavailable),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

use crate::rows::Foreign;

/// What can be wrong with the data and the settings that this crate is given.
///
/// A message leaves out the cause that [`source`](std::error::Error::source) returns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader of rows failed.
    #[error("line {line}")]
    Io {
        /// The line, from one, that could not be read.
        line: usize,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is of another kind than rows of JSON.
    #[error("this is {}, expected one JSON object a line\n{}", .0.what, .0.act)]
    Foreign(Foreign),
    /// A row cannot be used.
    #[error("line {line}: {problem}")]
    Row {
        /// The line, from one.
        line: usize,
        /// What was expected and what was found.
        problem: String,
    },
    /// The reader of rows held none.
    #[error("no rows: expected one JSON object a line, {expected}")]
    NoRows {
        /// The fields of a row.
        expected: &'static str,
    },
    /// Settings that contradict each other or lie outside their range: all of them.
    #[error("{}", .0.join("\n"))]
    Settings(Vec<String>),
    /// A saved state that the component of this recipe cannot take up.
    #[error("state of `{component}`: expected {expected}, got {got}")]
    State {
        /// The component's kind.
        component: &'static str,
        /// What it saves.
        expected: &'static str,
        /// What the checkpoint holds.
        got: String,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

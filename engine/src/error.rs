use std::path::PathBuf;

/// What can go wrong between a checkpoint on disk and a gradient.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file was read, but what it says cannot be used.
    #[error("{path}: {problem}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found, and the next sensible act.
        problem: String,
    },
    /// A model configuration is contradictory or of an unknown kind.
    #[error("model configuration: {0}")]
    Config(String),
    /// A weight is missing, has another shape than the configuration says, or is not finite.
    #[error("weight {name}: {problem}")]
    Weight {
        /// The weight's name in the checkpoint.
        name: String,
        /// Expected and found.
        problem: String,
    },
    /// Rows, targets or positions that do not fit together or do not fit the model.
    #[error("{0}")]
    Input(String),
    /// The caller's sink of gradients failed.
    #[error(transparent)]
    Sink(Box<dyn std::error::Error + Send + Sync>),
    /// Text could not be turned into tokens or back, or a chat template failed.
    #[error("text: {0}")]
    Text(String),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

use std::path::PathBuf;

/// What can go wrong between a checkpoint on disk and a gradient.
///
/// The variant says where a problem lies, which is what a caller acts on: a file to replace, a
/// configuration to correct, an argument of its own. A problem itself is one sentence for people:
/// what, expected, got and the next act. No caller acts on its parts, and they differ from check to
/// check, so [`Self::Config`], [`Self::Input`] and [`Self::Text`] have no fields for them.
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
    /// A file ends before it should. Whoever knows where it came from can say how to replace it.
    #[error("{path}: {problem}: it was cut short", path = path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Its length, and what was expected.
        problem: String,
    },
    /// A model configuration is contradictory or of an unknown kind. The sentence names the keys;
    /// reading a checkpoint makes it a [`Self::File`].
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
    /// Arguments that do not fit together or do not fit the model, such as rows, targets, slots or
    /// numbers that are not finite. The sentence names the argument.
    #[error("{0}")]
    Input(String),
    /// Weights of a file are to be trained that was opened to be read.
    #[error(
        "{path}: its weights are trained, and it was opened to be read only: open it for training, \
         or freeze them and train an adapter",
        path = path.display()
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// Streamed or perturbed weights take more memory than they may.
    #[error("{needed} bytes are needed of a budget of {budget}: {terms}")]
    Budget {
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that may be taken.
        budget: usize,
        /// What they are for.
        terms: String,
    },
    /// The loss is infinite or not a number.
    #[error("the loss is {0}, expected a finite number")]
    Loss(f64),
    /// The caller's sink of gradients failed.
    #[error(transparent)]
    Sink(Box<dyn std::error::Error + Send + Sync>),
    /// Text could not be turned into tokens or back, or a chat template failed.
    #[error("text: {0}")]
    Text(String),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

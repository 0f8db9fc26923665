/// An error of an update. No parameter and no moment has changed, unless a tensor operation
/// failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle::Error),
    /// The objective could not be evaluated.
    #[error(transparent)]
    Objective(Box<dyn std::error::Error + Send + Sync>),
    /// Some parameters have no gradient, so training would never change them.
    #[error(
        "no gradient for {}: the loss does not depend on them, or the graph is cut",
        few(names)
    )]
    NoGradient {
        /// Their names, in parameter order.
        names: Vec<String>,
    },
    /// A gradient that does not fit its parameter.
    #[error("gradient of {name}: {problem}")]
    Gradient {
        /// The parameter.
        name: String,
        /// Expected and found.
        problem: String,
    },
    /// The loss is infinite or not a number.
    #[error("the loss is {loss}: nothing was moved")]
    NonFiniteLoss {
        /// What the objective returned.
        loss: f64,
    },
    /// The gradient's norm is infinite or not a number.
    #[error("the gradient norm of {name} is {norm}: nothing was moved")]
    NonFiniteNorm {
        /// The first parameter concerned, in parameter order.
        name: String,
        /// Its norm.
        norm: f64,
    },
    /// Squares of the gradient would overflow f32.
    #[error(
        "the gradient norm is {norm:e}, whose square is beyond f32: nothing was moved; set \
         `max_grad_norm`, or make the loss smaller"
    )]
    LargeNorm {
        /// The norm over all parameters.
        norm: f64,
    },
    /// The learning rate is negative or not finite.
    #[error("the learning rate is {lr}, expected a finite number of at least 0")]
    LearningRate {
        /// What the caller passed.
        lr: f64,
    },
    /// The parameters are not those of the optimizer, or two share a name.
    #[error("parameters: {0}")]
    Params(String),
    /// The scores of a zeroth-order step do not fit its probes.
    #[error("scores of step {step}: {problem}")]
    Scores {
        /// The step.
        step: u32,
        /// Expected and found.
        problem: String,
    },
    /// Coefficients that are not those of a step of this run.
    #[error("update of step {step}: {problem}")]
    Update {
        /// The step.
        step: u32,
        /// Expected and found.
        problem: String,
    },
    /// A saved state does not fit this optimizer and these parameters.
    #[error("optimizer state: {}", few(problems))]
    State {
        /// Everything that does not fit.
        problems: Vec<String>,
    },
    /// Settings that contradict each other or lie outside their range.
    #[error("optimizer settings: {}", few(problems))]
    Config {
        /// One entry per key.
        problems: Vec<String>,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A list that stays readable when it has hundreds of entries.
fn few(entries: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = entries[..entries.len().min(SHOWN)].join(", ");
    match entries.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Why no trajectories came out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model failed.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// The sampling settings contradict one another: one sentence per mistake.
    #[error("sampling: {}", .0.join("; "))]
    Sampling(Vec<String>),
    /// A request that cannot be served.
    #[error("request {index}: {problem}")]
    Request {
        /// Which one, from 0.
        index: usize,
        /// Expected and got.
        problem: String,
    },
    /// The caller ended the call.
    #[error("sampling was stopped")]
    Stopped,
    /// No sequence may run.
    #[error("no slots: use at least one")]
    NoSlots,
    /// The weights give logits that are not finite.
    #[error(
        "request {index}: the logits after {length} new tokens are not finite: the weights have \
         diverged"
    )]
    NotFinite {
        /// Which request, from 0.
        index: usize,
        /// Tokens generated before.
        length: usize,
    },
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

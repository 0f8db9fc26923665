use std::fmt;

/// An error that other settings avoid: the run can be resumed with them and `--changed`.
#[derive(Debug)]
pub(super) struct Recoverable {
    /// What is wrong.
    pub(super) problem: String,
    /// The settings, as for `--set`.
    pub(super) settings: Vec<String>,
}

impl fmt::Display for Recoverable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Recoverable {}

/// The adapter that a stage looks back at makes the loss no number.
#[derive(Debug)]
pub(super) struct UnusableReference {
    /// What is wrong.
    pub(super) problem: String,
    /// The name of the adapter in the recipe.
    pub(super) adapter: String,
}

impl fmt::Display for UnusableReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for UnusableReference {}

/// No completion of a step could be judged, because a verifier failed on them.
#[derive(Debug)]
pub(super) struct VerifierFailed(pub(super) String);

impl fmt::Display for VerifierFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for VerifierFailed {}

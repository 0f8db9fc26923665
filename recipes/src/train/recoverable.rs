use std::fmt;

/// An error that other settings avoid: a resume with these flags goes on.
#[derive(Debug)]
pub(super) struct Recoverable {
    /// What is wrong.
    pub(super) problem: String,
    /// The flags.
    pub(super) flags: String,
}

impl fmt::Display for Recoverable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Recoverable {}

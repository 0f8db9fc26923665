//! Progress of a call for completions.

use std::ops::ControlFlow;

/// The progress of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Sequences that have ended.
    pub finished: usize,
    /// Sequences requested.
    pub sequences: usize,
    /// Tokens generated, including those of unfinished sequences.
    pub tokens: usize,
}

/// Receives reports of progress, and returns whether to continue.
pub type OnProgress<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Never breaks: the call runs to its end.
pub fn to_the_end(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

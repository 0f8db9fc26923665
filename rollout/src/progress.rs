//! How far a call for completions has come.

use std::ops::ControlFlow;

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Sequences that have ended.
    pub finished: usize,
    /// Sequences asked for.
    pub sequences: usize,
    /// Tokens generated, of unfinished sequences too.
    pub tokens: usize,
}

/// Takes reports of progress, and says whether the call goes on.
pub type OnProgress<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Lets a call go on to its end.
pub fn to_the_end(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

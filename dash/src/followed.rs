//! A log whose lines are read as they come.

use std::path::Path;

use evals::run::{Problem, Problems, Tail};
use serde::de::DeserializeOwned;

/// The lines of a log that were read so far.
#[derive(Debug)]
pub(crate) struct Followed<T> {
    tail: Tail<T>,
    pub(crate) lines: Vec<T>,
    pub(crate) problems: Problems,
}

impl<T: DeserializeOwned> Followed<T> {
    /// A log whose lines are at most `longest` bytes, of which nothing is read yet.
    pub(crate) fn new(path: &Path, longest: usize) -> Self {
        Self { tail: Tail::new(path, longest), lines: Vec::new(), problems: Problems::default() }
    }

    /// Reads what is new.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub(crate) fn poll(&mut self, generation: u64) -> Result<(), Problem> {
        loop {
            let polled = self.tail.poll(generation)?;
            if polled.restarted {
                self.lines.clear();
                self.problems = Problems::default();
            }
            self.lines.extend(polled.lines);
            self.problems.join(&polled.problems);
            if polled.at_end {
                return Ok(());
            }
        }
    }
}

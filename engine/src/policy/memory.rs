//! The memory of passes over weights that a budget bounds.

use super::Policy;
use crate::Result;
use crate::stream::{PassTerms, Share};

impl Policy<'_> {
    /// Takes the memory of a pass until the result is dropped, where the weights count it.
    pub(crate) fn hold(&self, terms: impl FnOnce() -> Result<PassTerms>) -> Result<Option<Share>> {
        let Some(arena) = self.weights.arena() else { return Ok(None) };
        let terms = terms()?;
        arena.take(terms.total(), &format!("a pass ({terms})")).map(Some)
    }

    /// Takes bytes for a purpose, where the weights count them.
    pub(crate) fn hold_bytes(
        &self,
        bytes: impl FnOnce() -> usize,
        purpose: &str,
    ) -> Result<Option<Share>> {
        self.weights.arena().map(|arena| arena.take(bytes(), purpose)).transpose()
    }
}

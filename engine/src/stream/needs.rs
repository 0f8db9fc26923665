//! All that a run over streamed weights takes, before it begins.

use std::fmt;

use super::passes::sum;
use super::{PassTerms, Terms};
use crate::{Error, Result};

/// All that a run over streamed weights takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Slots, scratch memory and resident weights.
    pub terms: Terms,
    /// Its largest passes.
    pub passes: PassTerms,
}

impl Needs {
    /// Bytes at most.
    pub fn total(&self) -> usize {
        // A weight is visited between passes.
        sum(&[self.terms.total(), self.passes.total().max(self.terms.visited)])
    }

    /// Whether a run fits a budget, before it begins.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Budget`], which has all terms, when it does not.
    pub fn check(&self, budget: usize) -> Result<()> {
        let needed = self.total();
        if needed <= budget {
            return Ok(());
        }
        Err(Error::Budget { needed, budget, terms: self.to_string() })
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { terms, passes } = self;
        write!(f, "{terms} + passes: {passes}")?;
        if terms.visited > passes.total() {
            let visited = terms.visited;
            write!(f, "; in place of passes {visited} bytes of the largest weight, to save it")?;
        }
        Ok(())
    }
}

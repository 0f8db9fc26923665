//! A bound on a template's work and on the memory that it takes.

use std::cell::Cell;

use super::{Outcome, trouble};

/// Steps of one rendering. A chat template takes a few thousand; this many take about a second.
const MAX_STEPS: u64 = 16_000_000;
/// What one item of a list costs: as many bytes as [`TEXT_OF_A_STEP`] steps have.
const STEPS_OF_A_SLOT: u64 = 2;
/// Bytes of text that are made or compared in one step. All text that is ever made is thus below
/// 256 MB.
const TEXT_OF_A_STEP: u64 = 16;
/// Statements, expressions and calls within each other.
const MAX_DEPTH: usize = 300;

#[derive(Debug)]
pub(super) struct Budget {
    left: Cell<u64>,
    depth: Cell<usize>,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: Cell::new(MAX_STEPS), depth: Cell::new(0) }
    }

    /// For what is no work of a template.
    pub(super) fn unlimited() -> Self {
        Self { left: Cell::new(u64::MAX), depth: Cell::new(0) }
    }

    pub(super) fn spend(&self, steps: u64) -> Outcome<()> {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        match left {
            Some(_) => Ok(()),
            None => Err(trouble(format!(
                "stopped at the bound of {MAX_STEPS} steps on a template's work: it loops too long, \
                 or the text or the lists that it makes are too large"
            ))),
        }
    }

    /// Before `bytes` of text are made or looked through.
    pub(super) fn text(&self, bytes: usize) -> Outcome<()> {
        self.spend(bytes as u64 / TEXT_OF_A_STEP)
    }

    /// Before a list of `items` is made.
    pub(super) fn slots(&self, items: usize) -> Outcome<()> {
        self.spend((items as u64).saturating_mul(STEPS_OF_A_SLOT))
    }

    /// One level deeper, until [`Self::leave`].
    pub(super) fn enter(&self) -> Outcome<()> {
        self.spend(1)?;
        self.depth.set(self.depth.get() + 1);
        if self.depth.get() > MAX_DEPTH {
            return Err(trouble(format!(
                "stopped at the bound of {MAX_DEPTH} statements and calls within each other: a \
                 macro calls itself too often"
            )));
        }
        Ok(())
    }

    pub(super) fn leave(&self) {
        self.depth.set(self.depth.get() - 1);
    }
}

//! The memory that streaming and perturbing take for themselves, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Error, Result};

/// Counts the bytes of slots and scratch memory, and refuses those beyond a budget. Clones count
/// together.
#[derive(Debug, Clone, Default)]
pub struct Arena(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    budget: Option<usize>,
    now: AtomicUsize,
    peak: AtomicUsize,
}

/// A part of an arena, which is free again when this is dropped.
#[derive(Debug)]
pub struct Share {
    arena: Arena,
    bytes: usize,
}

impl Arena {
    /// An arena of so many bytes, or without a bound.
    pub fn new(budget: Option<usize>) -> Self {
        Self(Arc::new(Counts { budget, ..Counts::default() }))
    }

    /// Most bytes that may be taken.
    pub fn budget(&self) -> Option<usize> {
        self.0.budget
    }

    /// Bytes taken now.
    pub fn now(&self) -> usize {
        self.0.now.load(Ordering::Relaxed)
    }

    /// Most bytes taken at a time so far.
    pub fn peak(&self) -> usize {
        self.0.peak.load(Ordering::Relaxed)
    }

    /// Takes bytes for a purpose, which an error names.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Budget`], and takes nothing, when they do not fit the budget.
    pub fn take(&self, bytes: usize, purpose: &str) -> Result<Share> {
        let fits = |now: usize| {
            now.checked_add(bytes).filter(|&sum| self.0.budget.is_none_or(|budget| sum <= budget))
        };
        let taken = self.0.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        match (taken, self.0.budget) {
            (Ok(now), _) => {
                self.0.peak.fetch_max(now + bytes, Ordering::Relaxed);
                Ok(Share { arena: self.clone(), bytes })
            }
            (Err(now), budget) => Err(Error::Budget {
                needed: now.saturating_add(bytes),
                budget: budget.unwrap_or(usize::MAX),
                terms: format!("{now} bytes are taken, and {purpose} takes {bytes}"),
            }),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.arena.0.now.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

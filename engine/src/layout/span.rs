//! The runs of rows of a pack, and the earlier runs that each attends to.

use std::sync::Arc;

use crate::Packed;

/// A run of query rows and the earlier runs that it attends to in full, eldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// First row.
    pub start: usize,
    /// Number of rows.
    pub len: usize,
    /// Row ranges (start, length) of the ancestors.
    pub ancestors: Vec<(usize, usize)>,
}

impl Span {
    /// The spans of a pack, one a segment, in row order.
    pub fn of(packed: &Packed) -> Arc<[Self]> {
        packed
            .segments()
            .iter()
            .enumerate()
            .map(|(i, s)| Self { start: s.start, len: s.len, ancestors: packed.ancestors(i) })
            .collect()
    }

    /// Row ranges that are read: the ancestors and the span itself.
    pub(crate) fn reads(&self) -> impl Iterator<Item = (usize, usize)> {
        self.ancestors.iter().copied().chain(std::iter::once((self.start, self.len)))
    }
}

//! Causal attention over packed rows whose prompts are shared.

use std::sync::Arc;

use candle::Tensor;

use super::{composed, fused, has_fused};
use crate::{Packed, Result};

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

    /// Number of rows before the span's own.
    pub(crate) fn before(&self) -> usize {
        self.ancestors.iter().map(|&(_, len)| len).sum()
    }
}

/// Attention of every row to its ancestors and to its own segment's rows up to itself.
///
/// Shapes: `q` (rows, heads, head width), `k` and `v` (rows, kv heads, head width), rotary
/// embedding applied; result (rows, heads * head width).
///
/// Source: arXiv 1706.03762, equation 1; grouped heads as in arXiv 2305.13245.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &Arc<[Span]>) -> Result<Tensor> {
    if has_fused(q) {
        let op = fused::Attention { spans: spans.clone() };
        Ok(q.contiguous()?.apply_op3(&k.contiguous()?, &v.contiguous()?, op)?)
    } else {
        composed::attention(q, k, v, spans)
    }
}

//! Attention, with one order of sums for decoding, prefill and training.
//!
//! Keys and values are stored in KV blocks of sixteen positions; the lane of a position is its
//! absolute position modulo sixteen. A sequence may be stored in several parts, a prompt and its
//! completion for example; where they meet inside a block, each part has a partial block of its
//! own.
//!
//! For each query row of a head:
//!
//! 1. a score for each key, one chain of multiply-adds over the components, then times the scale;
//! 2. the maximum of all scores;
//! 3. `exp(score - max)`, added up in sixteen lane sums over ascending blocks, which are then added
//!    by one tree; a lane outside a partial block adds zero;
//! 4. the weighted sum of the values, one chain of multiply-adds over ascending positions, then
//!    times one over the sum of the exponentials.
//!
//! None of it depends on how many rows, heads or sequences are handled at once, nor on where a
//! sequence is cut into parts, so a row has the same bits in every use.

mod backward;
mod forward;
mod packed;
mod tile;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use backward::attention_backward;
pub use forward::{Queries, Scratch, attend};
pub use packed::{Attended, Segment, attention};

use crate::simd::LANES;

/// Positions in a KV block: one a lane.
pub const POSITIONS: usize = LANES;

/// Numbers of heads, and their width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Heads of the queries, a multiple of [`Self::key`].
    pub query: usize,
    /// Heads of the keys and values.
    pub key: usize,
    /// Components of each head.
    pub width: usize,
}

impl Heads {
    /// Query heads that share a key head.
    pub fn group(self) -> usize {
        self.query / self.key
    }

    /// What scores are multiplied by.
    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// Components of a row of values in a block, rounded up to whole vectors.
    fn padded(self) -> usize {
        self.width.next_multiple_of(LANES)
    }

    fn keys_len(self) -> usize {
        self.width * POSITIONS
    }

    fn head_len(self) -> usize {
        self.keys_len() + POSITIONS * self.padded()
    }

    /// Numbers in a KV block: for each key head first the keys, transposed (width, 16), then the
    /// values (16, width rounded up to sixteen).
    pub fn block_len(self) -> usize {
        self.key * self.head_len()
    }

    /// Writes the keys and values of one position into a KV block.
    ///
    /// Shapes: `k` and `v` (key heads, width), `block` [`Self::block_len`].
    ///
    /// # Panics
    ///
    /// Panics when a slice has another length.
    pub fn write(self, block: &mut [f32], position: usize, k: &[f32], v: &[f32]) {
        let row = self.key * self.width;
        assert!(k.len() == row && v.len() == row, "one row of keys and one of values");
        assert_eq!(block.len(), self.block_len(), "one block");
        let lane = position % POSITIONS;
        let rows = k.chunks_exact(self.width).zip(v.chunks_exact(self.width));
        for (block, (k, v)) in block.chunks_exact_mut(self.head_len()).zip(rows) {
            let (keys, values) = block.split_at_mut(self.keys_len());
            let (keys, _) = keys.as_chunks_mut::<POSITIONS>();
            for (keys, &k) in keys.iter_mut().zip(k) {
                keys[lane] = k;
            }
            values[lane * self.padded()..][..self.width].copy_from_slice(v);
        }
    }

    /// One key head's part of a KV block that holds the absolute positions `held`, all of them in
    /// one block of sixteen. What the block contains at other positions is never used.
    ///
    /// # Panics
    ///
    /// Panics when `block` has another length or `held` is empty or spans two blocks.
    pub fn read(self, block: &[f32], head: usize, held: Range<usize>) -> KvBlock<'_> {
        let position = held.start / POSITIONS * POSITIONS;
        assert!(
            !held.is_empty() && held.end <= position + POSITIONS,
            "positions of one block, got {held:?}"
        );
        assert_eq!(block.len(), self.block_len(), "one block");
        let (keys, values) =
            block[head * self.head_len()..][..self.head_len()].split_at(self.keys_len());
        KvBlock { keys, values, held }
    }
}

/// Keys and values of one key head at some of sixteen positions.
#[derive(Debug, Clone)]
pub struct KvBlock<'a> {
    /// (width, 16)
    keys: &'a [f32],
    /// (16, width rounded up to sixteen)
    values: &'a [f32],
    /// Absolute positions.
    held: Range<usize>,
}

impl KvBlock<'_> {
    /// Position of lane 0.
    #[inline(always)]
    fn position(&self) -> usize {
        self.held.start / POSITIONS * POSITIONS
    }

    /// The lanes that hold a position below `limit`.
    #[inline(always)]
    fn lanes(&self, limit: usize) -> Range<usize> {
        let first = self.position();
        let start = self.held.start - first;
        start..self.held.end.min(limit).saturating_sub(first).max(start)
    }
}

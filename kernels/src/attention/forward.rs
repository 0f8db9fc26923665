//! Attention of the query heads that share one key head, over the KV blocks of one sequence.

use std::array;
use std::ops::Range;

use super::tile::{Mix, ROWS, blocks_at_once, by_columns, by_rows, products};
use super::{KvBlock, POSITIONS};
use crate::exp::exp;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Query heads that share one key head, at consecutive positions.
#[derive(Debug, Clone, Copy)]
pub struct Queries<'a> {
    /// The first query head of the first row; a head's components are contiguous, and so are the
    /// heads of a row.
    pub values: &'a [f32],
    /// Values from one row to the next.
    pub stride: usize,
    /// Rows.
    pub rows: usize,
    /// Query heads.
    pub group: usize,
    /// Components of each.
    pub width: usize,
    /// Absolute position of the first row. A row attends to positions up to its own.
    pub position: usize,
}

impl Queries<'_> {
    /// Where the components of a query are, counting rows first and heads within.
    pub(super) fn at(&self, query: usize) -> usize {
        query / self.group * self.stride + query % self.group * self.width
    }

    /// Positions that a query attends to lie below this one.
    pub(super) fn limit(&self, query: usize) -> usize {
        self.position + query / self.group + 1
    }
}

/// Buffers of [`attend`] that last from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Empty between calls: only its memory is kept.
    blocks: Vec<KvBlock<'static>>,
    scores: Vec<f32>,
    stats: Vec<[f32; 2]>,
}

impl Scratch {
    /// For each query of the last call, in the order of rows, then heads: the maximum of the
    /// scores, and one over the sum of their exponentials.
    pub(super) fn stats(&self) -> &[[f32; 2]] {
        &self.stats
    }
}

/// The memory of a list, for blocks that are borrowed from elsewhere. Collecting the iterator of a
/// vector into a vector of elements of the same size keeps the allocation.
fn emptied<'a>(mut blocks: Vec<KvBlock<'_>>) -> Vec<KvBlock<'a>> {
    blocks.clear();
    blocks.into_iter().map(|_| unreachable!("the list is empty")).collect()
}

/// `softmax(q k^T / sqrt(width)) v`, into `out`.
///
/// Shapes: `out` as [`Queries::values`]. `blocks` hold every position up to the last row's in
/// ascending order, each once. `scratch` is overwritten.
///
/// # Panics
///
/// Panics when a slice is too short.
///
/// Source: arXiv 1706.03762, equation 1; grouped heads as in arXiv 2305.13245.
pub fn attend<'a>(
    queries: Queries<'_>,
    blocks: impl IntoIterator<Item = KvBlock<'a>>,
    scratch: &mut Scratch,
    out: &mut [f32],
) {
    let mut list = emptied(std::mem::take(&mut scratch.blocks));
    list.extend(blocks);
    tiles(queries, &list, scratch, out);
    scratch.blocks = emptied(list);
}

/// [`attend`], tile by tile.
fn tiles(queries: Queries<'_>, blocks: &[KvBlock<'_>], scratch: &mut Scratch, out: &mut [f32]) {
    let Scratch { scores, stats, .. } = scratch;
    let all = queries.rows * queries.group;
    stats.resize(all, [0.0; 2]);
    let mut done = 0;
    // Tiles of equal size as far as possible: 7 queries are 4 and 3, not 6 and 1.
    for tiles in (1..=all.div_ceil(ROWS)).rev() {
        let rows = (all - done).div_ceil(tiles);
        by_rows!(rows, |M| {
            let stats = stats[done..].first_chunk_mut().expect("numbers of each query");
            tile::<M>(queries, done, blocks, scores, out, stats);
        });
        done += rows;
    }
}

/// [`attend`] for the queries from `first`.
fn tile<const M: usize>(
    queries: Queries<'_>,
    first: usize,
    blocks: &[KvBlock<'_>],
    scores: &mut Vec<f32>,
    out: &mut [f32],
    stats: &mut [[f32; 2]; M],
) {
    let limits: [usize; M] = array::from_fn(|m| queries.limit(first + m));
    let at: [usize; M] = array::from_fn(|m| queries.at(first + m));
    let seen = blocks.partition_point(|block| block.held.start < limits[M - 1]);
    let blocks = &blocks[..seen];
    let len = M * POSITIONS * seen;
    if scores.len() < len {
        scores.resize(len, 0.0);
    }
    let scores = scores[..len].as_chunks_mut().0.as_chunks_mut().0;
    let rows = at.map(|at| &queries.values[at..at + queries.width]);
    // Each step is compiled by itself: in one function the sums do not stay in registers.
    let max = dispatch(Scores { queries: rows, blocks, limits, out: scores });
    let inverse = dispatch(Exponentials { max, scores });
    let weights = scores.as_flattened().as_flattened();
    let padded = queries.width.next_multiple_of(LANES);
    let mix = Mix { blocks, weights, stride: M, row: 0, padded, limits };
    dispatch(Weighted { mix, inverse, at, width: queries.width, out });
    *stats = array::from_fn(|m| [max[m], inverse[m]]);
}

/// The weighted sums of the values, times one over the sum of the weights.
struct Weighted<'a, const M: usize> {
    mix: Mix<'a, M>,
    inverse: [f32; M],
    at: [usize; M],
    width: usize,
    out: &'a mut [f32],
}

impl<const M: usize> Kernel for Weighted<'_, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { mix, inverse, at, width, out } = self;
        by_columns!(S, M, mix.padded, |from, C| {
            let mut sums = [[s.splat(0.0); C]; M];
            mix.add::<S, C>(s, from, &mut sums);
            for m in 0..M {
                let row = &mut out[at[m]..][..width];
                for c in 0..C {
                    let from = from + c * LANES;
                    let to = (from + LANES).min(width);
                    s.store_partial(&mut row[from..to], s.mul(sums[m][c], s.splat(inverse[m])));
                }
            }
        });
    }
}

/// Scores over all blocks, minus infinity where a query must not look; yields their maxima.
struct Scores<'a, const M: usize> {
    queries: [&'a [f32]; M],
    blocks: &'a [KvBlock<'a>],
    limits: [usize; M],
    out: &'a mut [[[f32; POSITIONS]; M]],
}

impl<const M: usize> Kernel for Scores<'_, M> {
    type Output = [f32; M];
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> [f32; M] {
        let mut max = [s.splat(f32::NEG_INFINITY); M];
        let mut done = 0;
        while done < self.blocks.len() {
            done += match blocks_at_once(S::REGISTERS, M).min(self.blocks.len() - done) {
                4.. => self.some::<S, 4>(s, done, &mut max),
                2.. => self.some::<S, 2>(s, done, &mut max),
                _ => self.some::<S, 1>(s, done, &mut max),
            };
        }
        let mut out = [0.0; M];
        for m in 0..M {
            out[m] = s.max_lane(max[m]);
        }
        out
    }
}

impl<const M: usize> Scores<'_, M> {
    /// The `N` blocks from `first`; yields `N`.
    #[inline(always)]
    fn some<S: Simd, const N: usize>(&mut self, s: S, first: usize, max: &mut [S::V; M]) -> usize {
        let scale = s.splat(1.0 / (self.queries[0].len() as f32).sqrt());
        let mut keys = [&[] as &[f32]; N];
        for n in 0..N {
            keys[n] = self.blocks[first + n].keys;
        }
        let sums = products::<S, M, N>(s, self.queries, keys);
        for n in 0..N {
            let scores = &mut self.out[first + n];
            for m in 0..M {
                let score = s.mul(sums[m][n], scale);
                s.store(&mut scores[m], score);
                let seen = self.blocks[first + n].lanes(self.limits[m]);
                // A NaN among the scores is left out of the maximum, and returns with its
                // exponential.
                if seen.len() == LANES {
                    max[m] = s.max(score, max[m]);
                } else {
                    hide(&mut scores[m], seen, f32::NEG_INFINITY);
                    max[m] = s.max(s.load(&scores[m]), max[m]);
                }
            }
        }
        N
    }
}

/// Overwrites the lanes outside `seen`.
#[inline(always)]
pub(super) fn hide(lanes: &mut [f32; LANES], seen: Range<usize>, with: f32) {
    for (lane, x) in lanes.iter_mut().enumerate() {
        if !seen.contains(&lane) {
            *x = with;
        }
    }
}

/// Replaces scores by `exp(score - max)`; yields one over each query's sum of them.
struct Exponentials<'a, const M: usize> {
    max: [f32; M],
    scores: &'a mut [[[f32; POSITIONS]; M]],
}

impl<const M: usize> Kernel for Exponentials<'_, M> {
    type Output = [f32; M];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; M] {
        let mut sums = [s.splat(0.0); M];
        for scores in self.scores {
            for m in 0..M {
                let e = exp(s, s.sub(s.load(&scores[m]), s.splat(self.max[m])));
                sums[m] = s.add(sums[m], e);
                s.store(&mut scores[m], e);
            }
        }
        let mut inverse = [0.0; M];
        for m in 0..M {
            inverse[m] = 1.0 / s.sum(sums[m]);
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::Heads;

    #[test]
    fn a_list_of_blocks_keeps_its_memory_from_call_to_call() {
        let heads = Heads { query: 2, key: 1, width: 4 };
        let values = [1.0; 8];
        let mut scratch = Scratch::default();
        let mut memory = Vec::new();
        for position in [99, 40, 99] {
            // Of this call alone.
            let pages = vec![vec![0.5; heads.block_len()]; position / POSITIONS + 1];
            let blocks = pages.iter().enumerate().map(|(i, page)| {
                let first = i * POSITIONS;
                heads.read(page, 0, first..(first + POSITIONS).min(position + 1))
            });
            let queries =
                Queries { values: &values, stride: 8, rows: 1, group: 2, width: 4, position };
            attend(queries, blocks, &mut scratch, &mut [0.0; 8]);
            assert!(scratch.blocks.is_empty());
            memory.push((scratch.blocks.as_ptr(), scratch.blocks.capacity()));
        }
        assert!(memory[0].1 >= 7 && memory.iter().all(|m| *m == memory[0]), "{memory:?}");
    }
}

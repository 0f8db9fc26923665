//! The kernels of the backward pass: some queries of one key head against a few KV blocks at a
//! time.

use std::array;
use std::ops::Range;

use super::super::forward::{Queries, hide};
use super::super::tile::{Mix, ROWS, blocks_at_once, by_columns, by_rows, products};
use super::super::{KvBlock, POSITIONS};
use crate::exp::exp;
use crate::norm::dot;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// KV blocks handled at once.
const BLOCKS: usize = 4;

/// Buffers of a task, for some queries.
#[derive(Default)]
pub(super) struct Scratch {
    /// Queries and gradients of their outputs, each (queries, padded width), zero beyond the width.
    rows: [Vec<f32>; 2],
    /// Sum of each query's probabilities times their gradients.
    mean: Vec<f32>,
    /// Probabilities, and the gradients of the scores: (KV blocks, queries, 16) each.
    weights: [Vec<f32>; 2],
}

/// Some queries of one key head, against all KV blocks that they see.
pub(super) struct Backward<'a> {
    pub(super) queries: Queries<'a>,
    pub(super) dy: &'a [f32],
    pub(super) out: &'a [f32],
    /// One a query head, those of a row `stats_stride` after those of the row before.
    pub(super) stats: &'a [[f32; 2]],
    pub(super) stats_stride: usize,
    pub(super) blocks: &'a [KvBlock<'a>],
    pub(super) exchanged: &'a [KvBlock<'a>],
    pub(super) dq: &'a mut [f32],
    pub(super) dk: &'a mut [f32],
    pub(super) dv: &'a mut [f32],
    pub(super) scratch: &'a mut Scratch,
    pub(super) padded: usize,
}

impl Backward<'_> {
    pub(super) fn run(mut self) {
        let queries = self.queries.rows * self.queries.group;
        let limit = self.queries.limit(queries - 1);
        let seen = self.blocks.partition_point(|block| block.held.start < limit);
        self.prepare(queries);
        for first in (0..seen).step_by(BLOCKS) {
            let blocks = first..seen.min(first + BLOCKS);
            for tile in tiles(queries) {
                by_rows!(tile.len(), |M| self.weights::<M>(tile.start, blocks.clone()));
            }
            for tile in tiles(queries) {
                by_rows!(tile.len(), |M| self.add_dq::<M>(tile.start, blocks.clone()));
            }
            let [q, dy] = &self.scratch.rows;
            let [p, ds] = &self.scratch.weights;
            let (padded, len) = (self.padded, POSITIONS * self.padded);
            for (i, block) in blocks.enumerate() {
                let weights = i * queries * POSITIONS..(i + 1) * queries * POSITIONS;
                let out = block * len..(block + 1) * len;
                let (p, ds) = (&p[weights.clone()], &ds[weights]);
                dispatch(Outer { weights: p, rows: dy, padded, out: &mut self.dv[out.clone()] });
                dispatch(Outer { weights: ds, rows: q, padded, out: &mut self.dk[out] });
            }
        }
    }
}

/// Ranges of at most [`ROWS`] queries.
fn tiles(queries: usize) -> impl Iterator<Item = Range<usize>> {
    (0..queries).step_by(ROWS).map(move |first| first..queries.min(first + ROWS))
}

impl Backward<'_> {
    /// Fills the buffers that do not depend on the KV blocks.
    fn prepare(&mut self, queries: usize) {
        let (Queries { width, .. }, padded) = (self.queries, self.padded);
        let scratch = &mut *self.scratch;
        for (rows, values) in scratch.rows.iter_mut().zip([self.queries.values, self.dy]) {
            rows.clear();
            rows.resize(queries * padded, 0.0);
            for (query, row) in rows.chunks_exact_mut(padded).enumerate() {
                row[..width].copy_from_slice(&values[self.queries.at(query)..][..width]);
            }
        }
        scratch.mean.clear();
        scratch.mean.extend((0..queries).map(|query| {
            let at = self.queries.at(query);
            dispatch(Dot(&self.dy[at..at + width], &self.out[at..at + width]))
        }));
        for weights in &mut scratch.weights {
            weights.resize(BLOCKS * queries * POSITIONS, 0.0);
        }
    }

    /// Probabilities and gradients of the scores of a tile's queries over some blocks.
    fn weights<const M: usize>(&mut self, first: usize, blocks: Range<usize>) {
        let Queries { width, group, rows, .. } = self.queries;
        let (scratch, padded) = (&mut *self.scratch, self.padded);
        let [q, dy] = scratch
            .rows
            .each_ref()
            .map(|rows| array::from_fn(|m| &rows[(first + m) * padded..][..width]));
        let stats: [[f32; 2]; M] = array::from_fn(|m| {
            let query = first + m;
            self.stats[query / group * self.stats_stride + query % group]
        });
        dispatch(ScoreGradients {
            q,
            dy,
            max: stats.map(|[max, _]| max),
            inverse: stats.map(|[_, inverse]| inverse),
            mean: *scratch.mean[first..].first_chunk().expect("a number for each query"),
            limits: array::from_fn(|m| self.queries.limit(first + m)),
            blocks: &self.blocks[blocks.clone()],
            exchanged: &self.exchanged[blocks],
            stride: rows * group,
            first,
            out: scratch.weights.each_mut().map(|w| w.as_chunks_mut().0),
        });
    }

    /// Adds to the gradients of a tile's queries what comes from some blocks.
    fn add_dq<const M: usize>(&mut self, first: usize, blocks: Range<usize>) {
        let padded = self.padded;
        let mix = Mix {
            blocks: &self.exchanged[blocks],
            weights: &self.scratch.weights[1],
            stride: self.queries.rows * self.queries.group,
            row: first,
            padded,
            limits: array::from_fn(|m| self.queries.limit(first + m)),
        };
        dispatch(AddMix::<M> { mix, rows: &mut self.dq[first * padded..][..M * padded] });
    }
}

struct Dot<'a>(&'a [f32], &'a [f32]);

impl Kernel for Dot<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        dot(s, self.0, self.1)
    }
}

/// Probabilities and gradients of the scores of `M` queries over some blocks.
struct ScoreGradients<'a, const M: usize> {
    /// Queries and gradients of their outputs.
    q: [&'a [f32]; M],
    dy: [&'a [f32]; M],
    /// Largest score, one over the sum of the exponentials, and sum of the probabilities times
    /// their gradients.
    max: [f32; M],
    inverse: [f32; M],
    mean: [f32; M],
    limits: [usize; M],
    blocks: &'a [KvBlock<'a>],
    exchanged: &'a [KvBlock<'a>],
    /// Probabilities and gradients of the scores, each (blocks, queries of `stride`, 16).
    out: [&'a mut [[f32; LANES]]; 2],
    stride: usize,
    first: usize,
}

impl<const M: usize> Kernel for ScoreGradients<'_, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let mut done = 0;
        while done < self.blocks.len() {
            done += match blocks_at_once(S::REGISTERS, M).min(self.blocks.len() - done) {
                4.. => self.some::<S, 4>(s, done),
                2.. => self.some::<S, 2>(s, done),
                _ => self.some::<S, 1>(s, done),
            };
        }
    }
}

impl<const M: usize> ScoreGradients<'_, M> {
    /// The `N` blocks from `first`; yields `N`.
    #[inline(always)]
    fn some<S: Simd, const N: usize>(&mut self, s: S, first: usize) -> usize {
        let (mut keys, mut values) = ([&[] as &[f32]; N], [&[] as &[f32]; N]);
        for n in 0..N {
            (keys[n], values[n]) = (self.blocks[first + n].keys, self.exchanged[first + n].keys);
        }
        let scale = s.splat(1.0 / (self.q[0].len() as f32).sqrt());
        let [p, ds] = &mut self.out;
        let scores = products::<S, M, N>(s, self.q, keys);
        for m in 0..M {
            for n in 0..N {
                let score = s.mul(scores[m][n], scale);
                let e = exp(s, s.sub(score, s.splat(self.max[m])));
                let to = &mut p[(first + n) * self.stride + self.first + m];
                s.store(to, s.mul(e, s.splat(self.inverse[m])));
            }
        }
        let dp = products::<S, M, N>(s, self.dy, values);
        for m in 0..M {
            for n in 0..N {
                let at = (first + n) * self.stride + self.first + m;
                let slope = s.sub(dp[m][n], s.splat(self.mean[m]));
                s.store(&mut ds[at], s.mul(s.load(&p[at]), slope));
                let seen = self.blocks[first + n].lanes(self.limits[m]);
                if seen.len() < LANES {
                    hide(&mut p[at], seen.clone(), 0.0);
                    hide(&mut ds[at], seen, 0.0);
                }
            }
        }
        N
    }
}

/// Adds weighted rows to what is there.
struct AddMix<'a, const M: usize> {
    mix: Mix<'a, M>,
    /// (M, padded)
    rows: &'a mut [f32],
}

impl<const M: usize> Kernel for AddMix<'_, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { mix, rows } = self;
        let padded = mix.padded;
        by_columns!(S, M, padded, |at, C| {
            let mut sums = [[s.splat(0.0); C]; M];
            load_rows(s, rows, padded, at, &mut sums);
            mix.add::<S, C>(s, at, &mut sums);
            store_rows(s, rows, padded, at, &sums);
        });
    }
}

/// Positions whose gradients are in registers at once.
const AT_ONCE: usize = 4;

/// Adds the transposed weights times the rows to `out`, one chain over the queries in ascending
/// order for each output.
struct Outer<'a> {
    /// (queries, 16)
    weights: &'a [f32],
    /// (queries, padded)
    rows: &'a [f32],
    padded: usize,
    /// (16, padded)
    out: &'a mut [f32],
}

impl Kernel for Outer<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { weights, rows, padded, out } = self;
        let weights = weights.as_chunks::<POSITIONS>().0;
        for tile in 0..POSITIONS / AT_ONCE {
            let out = &mut out[tile * AT_ONCE * padded..][..AT_ONCE * padded];
            by_columns!(S, AT_ONCE, padded, |at, C| {
                let mut sums = [[s.splat(0.0); C]; AT_ONCE];
                load_rows(s, out, padded, at, &mut sums);
                for query in 0..weights.len() {
                    let weights = &weights[query].as_chunks::<AT_ONCE>().0[tile];
                    let (row, _) = rows[query * padded + at..][..C * LANES].as_chunks::<LANES>();
                    let mut lanes = [s.splat(0.0); C];
                    for c in 0..C {
                        lanes[c] = s.load(&row[c]);
                    }
                    for p in 0..AT_ONCE {
                        let weight = s.splat(weights[p]);
                        for c in 0..C {
                            sums[p][c] = s.mul_add(weight, lanes[c], sums[p][c]);
                        }
                    }
                }
                store_rows(s, out, padded, at, &sums);
            });
        }
    }
}

/// Columns from `at` of rows of `padded`.
#[inline(always)]
fn load_rows<S: Simd, const M: usize, const C: usize>(
    s: S,
    rows: &[f32],
    padded: usize,
    at: usize,
    sums: &mut [[S::V; C]; M],
) {
    for m in 0..M {
        let (row, _) = rows[m * padded + at..][..C * LANES].as_chunks();
        for c in 0..C {
            sums[m][c] = s.load(&row[c]);
        }
    }
}

#[inline(always)]
fn store_rows<S: Simd, const M: usize, const C: usize>(
    s: S,
    rows: &mut [f32],
    padded: usize,
    at: usize,
    sums: &[[S::V; C]; M],
) {
    for m in 0..M {
        let (row, _) = rows[m * padded + at..][..C * LANES].as_chunks_mut();
        for c in 0..C {
            s.store(&mut row[c], sums[m][c]);
        }
    }
}

//! The three products of attention, for up to [`ROWS`] query rows at once.
//!
//! Each output is one chain of multiply-adds, so its bits do not depend on the tile's size.

use super::{KvBlock, POSITIONS};
use crate::simd::{LANES, Simd};

/// Query rows in a tile, at most.
pub(super) const ROWS: usize = 6;

/// KV blocks whose scores are computed at once, by query rows in the tile: as many sums as fit into
/// the registers, and enough that none waits for its own last step.
pub(super) const fn blocks_at_once(registers: usize, rows: usize) -> usize {
    match (registers >= 32, rows) {
        (true, _) | (false, 1) => 4,
        (false, 2 | 3) => 2,
        (false, _) => 1,
    }
}

/// Products of query rows with transposed rows: for each of the `M` query rows and `N` blocks,
/// sixteen sums over components in ascending order.
///
/// Shapes: each of `a` (width), each of `b` (width, 16).
#[inline(always)]
pub(super) fn products<S: Simd, const M: usize, const N: usize>(
    s: S,
    a: [&[f32]; M],
    b: [&[f32]; N],
) -> [[S::V; N]; M] {
    let width = a[0].len();
    // Loops in place of `map`: a closure that is not inlined is compiled without the instructions.
    let (mut rows, mut columns) = ([&[] as &[f32]; M], [&[] as &[[f32; LANES]]; N]);
    for m in 0..M {
        rows[m] = &a[m][..width];
    }
    for n in 0..N {
        columns[n] = &b[n].as_chunks::<LANES>().0[..width];
    }
    let mut sums = [[s.splat(0.0); N]; M];
    // Components by fours, so that bounds are checked once for four.
    let mut at = 0;
    while at + 4 <= width {
        let (mut row, mut column) = ([&[0.0; 4]; M], [&[[0.0; LANES]; 4]; N]);
        for m in 0..M {
            row[m] = rows[m][at..].first_chunk().expect("four components");
        }
        for n in 0..N {
            column[n] = columns[n][at..].first_chunk().expect("four components");
        }
        for c in 0..4 {
            let mut lanes = [s.splat(0.0); N];
            for n in 0..N {
                lanes[n] = s.load(&column[n][c]);
            }
            for m in 0..M {
                let a = s.splat(row[m][c]);
                for n in 0..N {
                    sums[m][n] = s.mul_add(a, lanes[n], sums[m][n]);
                }
            }
        }
        at += 4;
    }
    for c in at..width {
        for m in 0..M {
            for n in 0..N {
                sums[m][n] = s.mul_add(s.splat(rows[m][c]), s.load(&columns[n][c]), sums[m][n]);
            }
        }
    }
    sums
}

/// The weighted rows of some blocks, for `M` query rows.
pub(super) struct Mix<'a, const M: usize> {
    pub(super) blocks: &'a [KvBlock<'a>],
    /// (block, query rows of `stride`, 16); the tile's rows start at `row`.
    pub(super) weights: &'a [f32],
    pub(super) stride: usize,
    pub(super) row: usize,
    /// Columns of a row of values.
    pub(super) padded: usize,
    /// Query row `m` takes the positions below `limits[m]`, which do not descend.
    pub(super) limits: [usize; M],
}

impl<const M: usize> Mix<'_, M> {
    /// Adds to `sums`, which hold `C` vectors of columns from `at`, in ascending order of
    /// positions.
    #[inline(always)]
    pub(super) fn add<S: Simd, const C: usize>(&self, s: S, at: usize, sums: &mut [[S::V; C]; M]) {
        let (weights, _) = self.weights.as_chunks::<POSITIONS>();
        // Plain ranges: an iterator that is not inlined takes the sums out of the registers.
        for i in 0..self.blocks.len() {
            let block = &self.blocks[i];
            let weights: &[[f32; POSITIONS]; M] = weights[i * self.stride + self.row..]
                .first_chunk()
                .expect("weights of all rows of the tile");
            let (all, some) = (block.lanes(self.limits[0]), block.lanes(self.limits[M - 1]));
            for p in all.start..all.end {
                step(s, &block.values[p * self.padded + at..], p, weights, sums);
            }
            // Here some rows of the tile see more than others.
            for p in all.end..some.end {
                for m in 0..M {
                    if block.lanes(self.limits[m]).end > p {
                        let one = (&mut sums[m..=m]).try_into().expect("one row");
                        let values = &block.values[p * self.padded + at..];
                        step::<S, 1, C>(s, values, p, &[weights[m]], one);
                    }
                }
            }
        }
    }
}

/// Adds the first columns of one position's row, times each query row's weight.
#[inline(always)]
fn step<S: Simd, const M: usize, const C: usize>(
    s: S,
    values: &[f32],
    p: usize,
    weights: &[[f32; POSITIONS]; M],
    sums: &mut [[S::V; C]; M],
) {
    let (values, _) = values[..C * LANES].as_chunks::<LANES>();
    let mut lanes = [s.splat(0.0); C];
    for c in 0..C {
        lanes[c] = s.load(&values[c]);
    }
    for m in 0..M {
        // The mask spares a check of the bounds.
        let weight = s.splat(weights[m][p % POSITIONS]);
        for c in 0..C {
            sums[m][c] = s.mul_add(weight, lanes[c], sums[m][c]);
        }
    }
}

/// Calls a generic function for `width` columns, in pieces of as many vectors as suit the machine
/// and the number of rows.
macro_rules! by_columns {
    ($S:ident, $M:ident, $padded:expr, |$at:ident, $C:ident| $body:expr) => {{
        let mut $at = 0;
        while $at < $padded {
            let left = ($padded - $at) / LANES;
            if left >= 4 && ($S::REGISTERS >= 32 || $M == 1) {
                const $C: usize = 4;
                $body;
                $at += 4 * LANES;
            } else if left >= 2 && ($S::REGISTERS >= 32 || $M <= 3) {
                const $C: usize = 2;
                $body;
                $at += 2 * LANES;
            } else {
                const $C: usize = 1;
                $body;
                $at += LANES;
            }
        }
    }};
}
pub(super) use by_columns;

/// Calls a generic function with the number of query rows, 1 to [`ROWS`], as a constant.
macro_rules! by_rows {
    ($rows:expr, |$M:ident| $body:expr) => {
        match $rows {
            1 => {
                const $M: usize = 1;
                $body
            }
            2 => {
                const $M: usize = 2;
                $body
            }
            3 => {
                const $M: usize = 3;
                $body
            }
            4 => {
                const $M: usize = 4;
                $body
            }
            5 => {
                const $M: usize = 5;
                $body
            }
            _ => {
                const $M: usize = 6;
                $body
            }
        }
    };
}
pub(super) use by_rows;

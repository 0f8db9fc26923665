//! More than a few rows, with 16 vector registers: both operands are widened to scratch by chunks
//! of terms, which stay in the first cache, and multiplied as `f32`.

use super::super::product::{Operands, Row};
use super::super::tile::GROUP;
use super::ROWS;
use crate::simd::Simd;

/// Blocks of terms of a chunk.
const BLOCKS: usize = 4;

/// Pairs of terms of a chunk.
const PAIRS: usize = BLOCKS * GROUP;

/// A chunk of both operands.
struct Chunk {
    /// The first and the second numbers of the pairs of each row.
    rows: [[[f32; PAIRS]; 2]; ROWS],
    /// The same of a group of columns.
    columns: [[[f32; GROUP]; 2]; PAIRS],
}

/// The product of all rows and groups of columns.
#[inline(always)]
pub(super) fn multiply<S: Simd>(s: S, operands: &Operands<'_>, results: &mut [Row]) {
    let mut chunk = Chunk { rows: [[[0.0; PAIRS]; 2]; ROWS], columns: [[[0.0; GROUP]; 2]; PAIRS] };
    let blocks = operands.columns(0).len();
    let mut first = 0;
    while first < blocks {
        let end = (first + BLOCKS).min(blocks);
        let pairs = (end - first - 1) * GROUP + operands.pairs(end - 1);
        chunk.widen_rows(s, operands, first, end);
        for group in 0..operands.groups {
            chunk.widen_columns(s, operands, group, first, end);
            let mut row = 0;
            while row < operands.rows {
                // Rows beyond the last are zeros.
                row += match operands.rows - row {
                    1 => chunk.tile::<S, 1>(s, (row, group), pairs, first > 0, results),
                    2 => chunk.tile::<S, 2>(s, (row, group), pairs, first > 0, results),
                    3..=4 => chunk.tile::<S, 4>(s, (row, group), pairs, first > 0, results),
                    _ => chunk.tile::<S, 6>(s, (row, group), pairs, first > 0, results),
                };
            }
        }
        first = end;
    }
}

impl Chunk {
    #[inline(always)]
    fn widen_rows<S: Simd>(&mut self, s: S, operands: &Operands<'_>, first: usize, end: usize) {
        for i in 0..operands.rows {
            let (tiles, place) = operands.rows(i);
            for block in first..end {
                let widened = s.widen(&tiles[block].0[place]);
                for half in 0..2 {
                    let to = &mut self.rows[i][half].as_chunks_mut().0[block - first];
                    s.store(to, widened[half]);
                }
            }
        }
    }

    #[inline(always)]
    fn widen_columns<S: Simd>(
        &mut self,
        s: S,
        operands: &Operands<'_>,
        group: usize,
        first: usize,
        end: usize,
    ) {
        let tiles = operands.columns(group);
        for block in first..end {
            for pair in 0..GROUP {
                let widened = s.widen(&tiles[block].0[pair]);
                let to = &mut self.columns[(block - first) * GROUP + pair];
                s.store(&mut to[0], widened[0]);
                s.store(&mut to[1], widened[1]);
            }
        }
    }

    /// `M` rows by one group of columns, added to the results so far. Returns `M`.
    #[inline(always)]
    fn tile<S: Simd, const M: usize>(
        &self,
        s: S,
        (row, group): (usize, usize),
        pairs: usize,
        add: bool,
        results: &mut [Row],
    ) -> usize {
        let mut sums = [s.splat(0.0); M];
        if add {
            for i in 0..M {
                sums[i] = s.load(results[row + i].group(group));
            }
        }
        for pair in 0..pairs.min(PAIRS) {
            for half in [1, 0] {
                let columns = s.load(&self.columns[pair][half]);
                for i in 0..M {
                    let x = s.splat(self.rows[row + i][half][pair]);
                    sums[i] = s.mul_add(x, columns, sums[i]);
                }
            }
        }
        for i in 0..M {
            s.store(results[row + i].group(group), sums[i]);
        }
        M
    }
}

//! Without an instruction for bf16: pairs are widened to `f32`, which is exact.
//!
//! Every output is one chain of fused multiply-adds, in the order of VDPBF16PS: for each pair of
//! terms the second product, then the first. Subnormal sums stay, which is the only difference.

use super::product::{Microkernel, Operands, Row};
use super::tile::{GROUP, Tile};
use crate::matmul::select;
use crate::simd::Simd;

mod chunks;

/// Rows of a tile of results.
const ROWS: usize = 32;

/// The microkernel of every machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widened;

impl Microkernel for Widened {
    type Ready = Self;
    type Results = [Row; ROWS];
    const RESULTS: Self::Results = [Row::ZERO; ROWS];
    const GROUPS: usize = 3;

    fn ready(self) -> Self {
        self
    }

    #[inline(always)]
    fn multiply<S: Simd>(_: &Self, s: S, operands: &Operands<'_>, results: &mut [Row]) {
        if select::widens_in_chunks(S::REGISTERS, operands.rows) {
            return chunks::multiply(s, operands, results);
        }
        let mut row = 0;
        while row < operands.rows {
            let left = operands.rows - row;
            // Rows beyond the last are zeros.
            row += match (S::REGISTERS >= 32, left) {
                (_, 1) => rows::<S, 1, 3>(s, operands, row, results),
                (true, 2) => rows::<S, 2, 3>(s, operands, row, results),
                (true, 3..=4) => rows::<S, 4, 3>(s, operands, row, results),
                (true, _) => rows::<S, 8, 3>(s, operands, row, results),
                (false, _) => rows::<S, 4, 1>(s, operands, row, results),
            };
        }
    }
}

/// `M` rows from `row` on by all groups of columns, `N` at once. Returns `M`.
#[inline(always)]
fn rows<S: Simd, const M: usize, const N: usize>(
    s: S,
    operands: &Operands<'_>,
    row: usize,
    results: &mut [Row],
) -> usize {
    let mut group = 0;
    while group < operands.groups {
        group += match operands.groups - group {
            left if left >= N => tile::<S, M, N>(s, operands, (row, group), results),
            2 => tile::<S, M, 2>(s, operands, (row, group), results),
            _ => tile::<S, M, 1>(s, operands, (row, group), results),
        };
    }
    M
}

/// `M` rows by `N` groups of columns, from a row and a group on. Returns `N`.
#[inline(always)]
fn tile<S: Simd, const M: usize, const N: usize>(
    s: S,
    operands: &Operands<'_>,
    (row, group): (usize, usize),
    results: &mut [Row],
) -> usize {
    let (a, first) = operands.rows(row);
    let mut b = [operands.columns(group); N];
    for j in 1..N {
        b[j] = operands.columns(group + j);
    }
    let mut sums = [[s.splat(0.0); N]; M];
    for block in 0..a.len() {
        let rows = widen_rows::<S, M>(s, &a[block], first);
        for pair in 0..operands.pairs(block) {
            for half in [1, 0] {
                let mut columns = [s.widen(&b[0][block].0[pair])[half]; N];
                for j in 1..N {
                    columns[j] = s.widen(&b[j][block].0[pair])[half];
                }
                for i in 0..M {
                    let x = s.splat(rows[i][half][pair]);
                    for j in 0..N {
                        sums[i][j] = s.mul_add(x, columns[j], sums[i][j]);
                    }
                }
            }
        }
    }
    for i in 0..M {
        for j in 0..N {
            s.store(results[row + i].group(group + j), sums[i][j]);
        }
    }
    N
}

/// The first and the second numbers of the pairs of each row.
#[inline(always)]
fn widen_rows<S: Simd, const M: usize>(s: S, a: &Tile, first: usize) -> [[[f32; GROUP]; 2]; M] {
    let mut to = [[[0.0; GROUP]; 2]; M];
    for i in 0..M {
        let [low, high] = s.widen(&a.0[first + i]);
        s.store(&mut to[i][0], low);
        s.store(&mut to[i][1], high);
    }
    to
}

//! Products of `f32` by tiles of six rows by sixteen columns, whose sums fill the registers of a
//! machine with vectors of eight numbers.
//!
//! Columns are laid out sixteen side by side. Rows are read as they lie where a row's numbers are
//! neighbours, and laid out six side by side elsewhere. Every output is one sum in ascending order, cut
//! into blocks of at most [`BLOCK`], whatever the other rows and however many threads.

use std::cell::RefCell;
use std::ops::Range;

use gemm::Parallelism;

use super::{How, Into, View};
use crate::blocks::{Operand, Target, block, each, tasks};
use crate::columns::Columns;
use crate::simd::{Kernel, LANES, Simd, dispatch};
use crate::tile::{Spread, Wide, sums, zeros};
use crate::turn::turn;

/// Terms of a sum in one block, at most: six rows of them, and what passes of sixteen columns, stay in
/// the first cache.
const BLOCK: usize = 768;

/// Rows of a tile: twelve sums of eight numbers.
const ROWS: usize = 6;

/// Groups of rows, and of columns, that one task multiplies: both stay in the second cache.
const TASK: (usize, usize) = (12, 6);

/// Groups that one task lays out.
const LAID_OUT_AT_ONCE: usize = 8;

/// Rows below which tiles are not used: at 32, with the layout of columns, they are about even with gemm.
const FEWEST: usize = 32;

type Laid<const ITEMS: usize> = Vec<[f32; ITEMS]>;

thread_local! {
    /// Both operands laid out, kept from product to product.
    static LAID_OUT: RefCell<(Laid<ROWS>, Laid<LANES>)> =
        const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Whether the machine is one for tiles, and the product large enough. One without terms always is.
pub(super) fn suit((rows, _, terms): (usize, usize, usize)) -> bool {
    struct Narrow;
    impl Kernel for Narrow {
        type Output = bool;
        #[inline(always)]
        fn run<L: Simd>(self, _: L) -> bool {
            L::NARROW < LANES
        }
    }
    terms == 0 || rows >= FEWEST && dispatch(Narrow)
}

/// As [`super::product`].
pub(super) fn product(
    y: &Columns<'_>,
    (m, n, k): (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) {
    let (mut rows, mut columns) = LAID_OUT.take();
    let mut target = Target { y, scale: how.scale, add: how.into == Into::Add };
    let step = block(k, BLOCK, 1);
    for from in (0..k.max(1)).step_by(step) {
        let terms = from..(from + step).min(k);
        lay_out(Operand::columns(rhs, n), &terms, &mut columns, how.threads);
        let left = if lhs.col == 1 {
            Left { numbers: &lhs.values[from..], group: ROWS * lhs.row, row: lhs.row, step: 1 }
        } else {
            lay_out(Operand::rows(lhs, m), &terms, &mut rows, how.threads);
            let group = ROWS * terms.len();
            Left { numbers: rows.as_flattened(), group, row: 1, step: ROWS }
        };
        let blocks = Blocks { left, columns: &columns, terms: terms.len(), target: &target };
        let groups = (m.div_ceil(ROWS), n.div_ceil(LANES));
        each(tasks(groups, TASK), how.threads, |(rows, columns)| {
            dispatch(Task { blocks: &blocks, rows, columns });
        });
        target.add = true;
    }
    LAID_OUT.set((rows, columns));
}

/// Groups of `N` items: (groups, terms, `N`).
fn lay_out<const N: usize>(
    operand: Operand<'_>,
    terms: &Range<usize>,
    to: &mut Laid<N>,
    threads: Parallelism,
) {
    to.resize(operand.items.div_ceil(N) * terms.len(), [0.0; N]);
    if terms.is_empty() {
        return;
    }
    let parts = to.chunks_mut(LAID_OUT_AT_ONCE * terms.len()).enumerate().collect();
    each(parts, threads, |(part, to): (usize, &mut [[f32; N]])| {
        for (group, to) in to.chunks_mut(terms.len()).enumerate() {
            let first = (part * LAID_OUT_AT_ONCE + group) * N;
            dispatch(LayOut { operand, first, from: terms.start, to });
        }
    });
}

/// One group.
struct LayOut<'a, const N: usize> {
    operand: Operand<'a>,
    first: usize,
    from: usize,
    to: &'a mut [[f32; N]],
}

impl<const N: usize> Kernel for LayOut<'_, N> {
    type Output = ();
    #[inline(always)]
    fn run<L: Simd>(self, l: L) {
        let Operand { values, item, step, items } = self.operand;
        let values = &values[self.first * item + self.from * step..];
        let held = (items - self.first).min(N);
        if step == 1 && N == LANES {
            let (to, _) = self.to.as_flattened_mut().as_chunks_mut();
            return turn(l, values, item, held, to);
        }
        for (k, to) in self.to.iter_mut().enumerate() {
            let values = &values[k * step..];
            // An array, whose copy is no call.
            if let (1, Some(whole), true) = (item, values.first_chunk(), held == N) {
                *to = *whole;
                continue;
            }
            for i in 0..held {
                to[i] = values[i * item];
            }
        }
    }
}

/// The rows of one block: number `k` of row `i` of group `g` at `g * group + i * row + k * step`.
#[derive(Clone, Copy)]
struct Left<'a> {
    numbers: &'a [f32],
    group: usize,
    row: usize,
    step: usize,
}

/// One block of both operands, and where their product goes.
struct Blocks<'a> {
    left: Left<'a>,
    /// (groups, terms)
    columns: &'a [[f32; LANES]],
    terms: usize,
    target: &'a Target<'a>,
}

/// Some groups of rows by some groups of columns.
struct Task<'a> {
    blocks: &'a Blocks<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Simd>(self, l: L) {
        for column in self.columns.clone() {
            for row in self.rows.clone() {
                match self.blocks.target.y.rows() - row * ROWS {
                    1 => self.tile::<L, 1>(l, row, column),
                    2 => self.tile::<L, 2>(l, row, column),
                    3 => self.tile::<L, 3>(l, row, column),
                    4 => self.tile::<L, 4>(l, row, column),
                    5 => self.tile::<L, 5>(l, row, column),
                    _ => self.tile::<L, ROWS>(l, row, column),
                }
            }
        }
    }
}

impl Task<'_> {
    /// The first `M` rows of a group by a group of columns.
    #[inline(always)]
    fn tile<L: Simd, const M: usize>(&self, l: L, group: usize, column: usize) {
        let Blocks { left, columns, terms, target } = *self.blocks;
        let columns = &columns[column * terms..][..terms];
        let numbers = &left.numbers[(group * left.group).min(left.numbers.len())..];
        target.fetch(l, group * ROWS, M, column * LANES);
        // Two calls, so that each loop knows where the next number is.
        if left.step == 1 {
            let rows = Spread { numbers, item: left.row, step: 1 };
            self.store::<L, M>(l, rows, columns, group, column);
        } else {
            let rows = Spread { numbers, item: 1, step: ROWS };
            self.store::<L, M>(l, rows, columns, group, column);
        }
    }

    #[inline(always)]
    fn store<L: Simd, const M: usize>(
        &self,
        l: L,
        rows: Spread<'_>,
        columns: &[[f32; LANES]],
        group: usize,
        column: usize,
    ) {
        let sums = sums::<L, Wide, M>(l, rows, columns, zeros::<L, Wide, M>(l), |_| ());
        let mut tile = [[sums[0]]; M];
        for i in 1..M {
            tile[i] = [sums[i]];
        }
        // SAFETY: each task has its own rows and columns.
        unsafe { self.blocks.target.store(l, tile, group * ROWS, column * LANES) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Products;
    use crate::testing::{Lies, check_product, noise, on_every_form, product_keeps_nan};

    #[test]
    fn equals_loops_in_double_precision() {
        on_every_form(|| {
            for shape in [(1, 1, 1), (3, 17, 5), (6, 16, 4), (11, 33, 9), (37, 100, 70)] {
                for lhs in Lies::ALL {
                    for rhs in Lies::ALL {
                        check_product(product, f64::from, shape, [lhs, rhs], Into::Set);
                    }
                }
            }
            for lhs in Lies::ALL {
                check_product(product, f64::from, (100, 130, 64), [lhs, Lies::Turned], Into::Add);
                check_product(product, f64::from, (9, 20, 2000), [lhs, Lies::Rows], Into::Add);
            }
        });
    }

    #[test]
    fn without_terms_it_is_zero() {
        let mut out = vec![1.0; 6];
        let y = Columns::new(&mut out, 2);
        product(&y, (2, 3, 0), View::rows(&[], 0), View::rows(&[], 3), How::ALONE);
        assert_eq!(out, vec![0.0; 6]);
    }

    #[test]
    fn a_row_does_not_depend_on_the_others_nor_on_how_it_lies() {
        let (k, n) = (1000, 70);
        let (a, b) = (noise(1, 80 * k), noise(2, k * n));
        let turned: Vec<f32> = (0..80 * k).map(|at| a[at % 80 * k + at / 80]).collect();
        let all = |m: usize, lhs: View<'_>, threads| {
            let mut out = vec![0.0; m * n];
            let y = Columns::new(&mut out, m);
            let how = How { threads, ..How::pool(Products::F32) };
            product(&y, (m, n, k), lhs, View::rows(&b, n), how);
            out
        };
        let whole = all(80, View::rows(&a, k), Parallelism::Rayon(0));
        for m in [1, 5, 6, 7, 72, 79] {
            let want = &whole[..m * n];
            assert_eq!(all(m, View::rows(&a, k), Parallelism::None), want, "{m} rows");
            assert_eq!(all(m, View::rows(&turned, 80).t(), Parallelism::None), want, "{m} rows");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        on_every_form(|| product_keeps_nan(product));
    }
}

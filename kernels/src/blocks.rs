//! What products by tiles share: operands, the tasks they are cut into, and where sums go.

use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

use super::columns::Columns;
use super::product::View;
use super::simd::{LANES, Simd};

/// Rows or columns to be laid out: number `k` of item `i` at `i * item + k * step`.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub(super) values: &'a [f32],
    pub(super) item: usize,
    pub(super) step: usize,
    pub(super) items: usize,
}

impl<'a> Operand<'a> {
    /// The rows of a left operand.
    pub(super) fn rows(lhs: View<'a>, items: usize) -> Self {
        Self { values: lhs.values, item: lhs.row, step: lhs.col, items }
    }

    /// The columns of a right operand.
    pub(super) fn columns(rhs: View<'a>, items: usize) -> Self {
        Self { values: rhs.values, item: rhs.col, step: rhs.row, items }
    }
}

/// Terms of each sum in one block: all blocks but the last are as long, a multiple of `unit`.
pub(super) fn block(terms: usize, most: usize, unit: usize) -> usize {
    terms.div_ceil(terms.div_ceil(most).max(1)).next_multiple_of(unit).max(unit)
}

/// Runs `work` on every task, on the calling thread or on all of them.
pub(super) fn each<T: Send>(tasks: Vec<T>, threads: Parallelism, work: impl Fn(T) + Send + Sync) {
    match threads {
        Parallelism::None => tasks.into_iter().for_each(work),
        Parallelism::Rayon(_) => tasks.into_par_iter().for_each(work),
    }
}

/// All groups of rows by all groups of columns, cut into tasks of at most `most` by `most` of them.
pub(super) fn tasks(
    (rows, columns): (usize, usize),
    most: (usize, usize),
) -> Vec<(Range<usize>, Range<usize>)> {
    let mut tasks = Vec::new();
    for column in (0..columns).step_by(most.1) {
        for row in (0..rows).step_by(most.0) {
            tasks.push((row..(row + most.0).min(rows), column..(column + most.1).min(columns)));
        }
    }
    tasks
}

/// Where a product goes, and what happens to it on the way.
pub(super) struct Target<'a> {
    /// (m, n)
    pub(super) y: &'a Columns<'a>,
    pub(super) scale: f32,
    /// Whether it is added to what is there; if not, nothing need have been written yet.
    pub(super) add: bool,
}

impl Target<'_> {
    /// Asks for a tile of `rows` by sixteen columns to be brought near, since [`Self::store`] is next.
    #[inline(always)]
    pub(super) fn fetch<L: Simd>(&self, l: L, row: usize, rows: usize, column: usize) {
        for i in row..row + rows {
            let at = self.y.start().wrapping_add(i * self.y.stride() + column);
            l.prefetch(at);
            l.prefetch(at.wrapping_add(LANES - 1));
        }
    }

    /// Takes the sums of rows from `row` on by sixteens of columns from `column` on, as far as they exist.
    ///
    /// # Safety
    ///
    /// Meanwhile nobody else asks for any of them.
    #[inline(always)]
    pub(super) unsafe fn store<L: Simd, const M: usize, const N: usize>(
        &self,
        l: L,
        sums: [[L::V; N]; M],
        row: usize,
        column: usize,
    ) {
        let scale = l.splat(self.scale);
        for i in 0..M {
            if row + i >= self.y.rows() {
                break;
            }
            for j in 0..N {
                let from = column + j * LANES;
                let to = (from + LANES).min(self.y.columns());
                let mut value = l.mul(scale, sums[i][j]);
                if self.add {
                    // SAFETY: nobody else has them by the caller's promise, and they were written.
                    value = l.add(l.load_partial(unsafe { self.y.part(row + i, from, to) }), value);
                }
                let mut numbers = [0.0; LANES];
                l.store(&mut numbers, value);
                // SAFETY: nobody else has them by the caller's promise.
                unsafe { self.y.write(row + i, from, &numbers[..to - from]) }
            }
        }
    }
}

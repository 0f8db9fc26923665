//! A part of a product: what a task is given, and where its sums go.

use std::ops;

use super::{Linear, Matrix, beside, few};
use crate::columns::Columns;
use crate::simd::{Kernel, LANES, Simd};
use crate::turn::turn;

/// The columns `from..to` of one product.
pub(super) struct Range<'a> {
    pub(super) x: Matrix<'a>,
    pub(super) rows: usize,
    pub(super) w: Linear<'a>,
    pub(super) add: bool,
    pub(super) y: &'a Columns<'a>,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Kernel for Range<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Simd>(self, l: L) {
        match (self.x, self.w.weight) {
            (Matrix::F32(x), Matrix::F32(w)) => few::range(l, &self, x, w),
            (Matrix::Beside(x), Matrix::F32(w)) => beside::range(l, &self, x, w),
            _ => unreachable!("`like` makes what the weight is multiplied by"),
        }
    }
}

impl Range<'_> {
    /// Groups of sixteen features that the range has a part in.
    pub(super) fn groups(&self) -> ops::Range<usize> {
        self.from / LANES..self.to.div_ceil(LANES)
    }

    /// [`Self::store`] of sums that lie the other way: of each feature, a number of each of sixteen rows.
    #[inline(always)]
    pub(super) fn store_turned<L: Simd>(
        &self,
        l: L,
        group: usize,
        row: usize,
        sums: &[[f32; LANES]],
    ) {
        let mut turned = [[0.0; LANES]; LANES];
        let turned = &mut turned[..(self.rows - row).min(LANES)];
        turn(l, sums.as_flattened(), LANES, LANES, turned);
        self.store(group, row, turned);
    }

    /// Writes the sums of a group for consecutive rows from `row` on, as far as they are the range's.
    #[inline(always)]
    pub(super) fn store(&self, group: usize, row: usize, sums: &[[f32; LANES]]) {
        let first = group * LANES;
        let (from, to) = (self.from.max(first), self.to.min(first + LANES));
        for (i, sums) in sums.iter().enumerate() {
            // SAFETY: `features` gives each task its own columns.
            let y = unsafe { self.y.part(row + i, from, to) };
            for (j, y) in y.iter_mut().enumerate() {
                let mut value = sums[from - first + j];
                if let Some(bias) = self.w.bias {
                    value += bias[from + j];
                }
                *y = if self.add { *y + value } else { value };
            }
        }
    }
}

//! Products of more rows with weights laid out for [`super::panels`]: a block of a group of features is
//! widened to `f32` once for up to 64 rows, whose numbers lie side by side as [`super::beside`] lays them out.
//! Every output is one sum in ascending order.

use super::panels::Features;
use super::range::Range;
use crate::simd::{LANES, Simd};
use crate::tile::{Narrow, Side, Spread, Wide, sums, zeros};

/// Terms of a block: those of sixteen features and of sixteen rows stay in the first cache.
const BLOCK: usize = 192;

/// Groups of sixteen rows whose sums are kept while features pass.
const GROUPS: usize = 4;

/// The sums of sixteen features by a group of rows, a number of each row side by side.
type Sums = [[f32; LANES]; LANES];

/// The columns of a range; `x` holds rounded rows, laid out.
#[inline(always)]
pub(super) fn range<L: Simd>(l: L, range: &Range<'_>, x: &[[f32; LANES]], w: &[Features]) {
    let width = x.len() / range.rows.div_ceil(LANES);
    let mut block = Block { numbers: [[0.0; LANES]; BLOCK] };
    for group in range.groups() {
        let w = &w[group * width..][..width];
        for (part, x) in x.chunks(GROUPS * width).enumerate() {
            let row = part * GROUPS * LANES;
            let rows = (range.rows - row).min(GROUPS * LANES);
            let mut sums = [[[0.0; LANES]; LANES]; GROUPS];
            products(l, w, x, rows, &mut block, &mut sums);
            for (row, sums) in (row..row + rows).step_by(LANES).zip(&sums) {
                range.store_turned(l, group, row, sums);
            }
        }
    }
}

/// Adds the products of a group of features with every row.
#[inline(always)]
fn products<L: Simd>(
    l: L,
    w: &[Features],
    x: &[[f32; LANES]],
    rows: usize,
    block: &mut Block,
    sums: &mut [Sums],
) {
    let width = w.len();
    for (step, w) in w.chunks(BLOCK).enumerate() {
        block.widen(l, w);
        for (group, (x, sums)) in x.chunks_exact(width).zip(&mut *sums).enumerate() {
            let x = &x[step * BLOCK..][..w.len()];
            // The first group of rows asks for the next block, which comes in while it works.
            let next = (group == 0).then_some(w.as_ptr_range().end);
            if rows - group * LANES > L::NARROW {
                block.features::<L, Wide>(l, x, next, sums);
            } else {
                block.features::<L, Narrow>(l, x, next, sums);
            }
        }
    }
}

/// Some numbers of sixteen features.
struct Block {
    numbers: [[f32; LANES]; BLOCK],
}

impl Block {
    #[inline(always)]
    fn widen<L: Simd>(&mut self, l: L, w: &[Features]) {
        for (to, w) in self.numbers.iter_mut().zip(w) {
            l.store(to, l.widen_features(w));
        }
    }

    /// All features by a group of rows, in tiles as large as the registers hold.
    #[inline(always)]
    fn features<L: Simd, S: Side<L>>(
        &self,
        l: L,
        x: &[[f32; LANES]],
        next: Option<*const Features>,
        sums: &mut Sums,
    ) {
        match L::REGISTERS * L::NARROW / S::COUNT {
            32.. => self.tile::<L, S, 16>(l, 0, x, next, sums),
            16.. => {
                self.tile::<L, S, 8>(l, 0, x, next, sums);
                self.tile::<L, S, 8>(l, 8, x, next, sums);
            }
            _ => {
                self.tile::<L, S, 5>(l, 0, x, next, sums);
                self.tile::<L, S, 5>(l, 5, x, next, sums);
                self.tile::<L, S, 6>(l, 10, x, next, sums);
            }
        }
    }

    /// `M` features from `first` on by a group of rows.
    #[inline(always)]
    fn tile<L: Simd, S: Side<L>, const M: usize>(
        &self,
        l: L,
        first: usize,
        x: &[[f32; LANES]],
        next: Option<*const Features>,
        to: &mut Sums,
    ) {
        let to = &mut to[first..][..M];
        let mut from = zeros::<L, S, M>(l);
        for i in 0..M {
            from[i] = S::load(l, &to[i]);
        }
        let features =
            Spread { numbers: &self.numbers.as_flattened()[first..], item: 1, step: LANES };
        let sums = sums::<L, S, M>(l, features, x, from, |term| {
            if let Some(next) = next {
                // A line holds two terms of the sixteen features: the tiles share them.
                for i in (first..first + M).step_by(2) {
                    l.prefetch(next.wrapping_add(term + i).cast());
                }
            }
        });
        for i in 0..M {
            S::store(l, &mut to[i], sums[i]);
        }
    }
}

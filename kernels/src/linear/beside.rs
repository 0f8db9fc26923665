//! Products of more rows with weights of `f32`, which are read as they lie: a number of each of sixteen
//! rows fills a vector, and a number of a feature is spread over one. Every output is one sum in
//! ascending order.

use super::range::Range;
use crate::simd::{Kernel, LANES, Simd, dispatch};
use crate::tile::{Narrow, Side, Spread, Wide, sums, zeros};
use crate::turn::turn;

/// Features whose sums are kept before they are turned into rows: whole sixteens, and whole tiles.
pub(super) const FEATURES: usize = 48;

/// Features of the largest tile.
const TILE: usize = 12;

/// Groups of sixteen rows whose sums are kept while features pass.
const GROUPS: usize = 4;

/// `x` (rows, width) by groups of sixteen rows, the last one filled up with zeros: (groups, width, sixteen).
pub(super) fn lay_out(x: &[f32], width: usize, to: &mut Vec<[f32; LANES]>) {
    struct LayOut<'a> {
        x: &'a [f32],
        width: usize,
        to: &'a mut [[f32; LANES]],
    }
    impl Kernel for LayOut<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Simd>(self, l: L) {
            let groups = self.x.chunks(LANES * self.width);
            for (x, to) in groups.zip(self.to.chunks_mut(self.width)) {
                turn(l, x, self.width, x.len() / self.width, to);
            }
        }
    }
    to.resize((x.len() / width).div_ceil(LANES) * width, [0.0; LANES]);
    dispatch(LayOut { x, width, to });
}

/// The sums of features by groups of rows, a number of each row side by side.
type Sums = [[[f32; LANES]; FEATURES]; GROUPS];

/// The columns of a range; `x` is laid out.
#[inline(always)]
pub(super) fn range<L: Simd>(l: L, range: &Range<'_>, x: &[[f32; LANES]], w: &[f32]) {
    let width = x.len() / range.rows.div_ceil(LANES);
    let mut sums: Sums = [[[0.0; LANES]; FEATURES]; GROUPS];
    let groups = range.groups();
    for first in groups.clone().step_by(FEATURES / LANES) {
        let last = (first + FEATURES / LANES).min(groups.end);
        let w = &w[first * LANES * width..w.len().min(last * LANES * width)];
        for (part, x) in x.chunks(GROUPS * width).enumerate() {
            let row = part * GROUPS * LANES;
            let rows = (range.rows - row).min(GROUPS * LANES);
            products(l, w, x, rows, part == 0, &mut sums);
            for at in (0..rows).step_by(LANES) {
                for group in first..last {
                    let sums = &sums[at / LANES][(group - first) * LANES..][..LANES];
                    range.store_turned(l, group, row + at, sums);
                }
            }
        }
    }
}

/// The sums of all features of `w` by all rows; with `fetch`, what follows in `w` is brought near.
#[inline(always)]
fn products<L: Simd>(
    l: L,
    w: &[f32],
    x: &[[f32; LANES]],
    rows: usize,
    fetch: bool,
    sums: &mut Sums,
) {
    let width = x.len() / rows.div_ceil(LANES);
    for (step, w) in w.chunks(TILE * width).enumerate() {
        for (group, x) in x.chunks_exact(width).enumerate() {
            let to = &mut sums[group][step * TILE..];
            let fetch = fetch && group == 0;
            if rows - group * LANES > L::NARROW {
                features::<L, Wide>(l, w, x, fetch, to);
            } else {
                features::<L, Narrow>(l, w, x, fetch, to);
            }
        }
    }
}

/// Some features by a group of rows, in tiles.
#[inline(always)]
fn features<L: Simd, S: Side<L>>(
    l: L,
    mut w: &[f32],
    x: &[[f32; LANES]],
    fetch: bool,
    mut to: &mut [[f32; LANES]],
) {
    while !w.is_empty() {
        let taken = match w.len() / x.len() {
            // Narrow sums would have room in 16 registers too, but twelve were a fifth slower than six.
            TILE.. if L::REGISTERS == 32 => tile::<L, S, TILE>(l, w, x, fetch, to),
            6.. => tile::<L, S, 6>(l, w, x, fetch, to),
            4.. => tile::<L, S, 4>(l, w, x, fetch, to),
            2.. => tile::<L, S, 2>(l, w, x, fetch, to),
            _ => tile::<L, S, 1>(l, w, x, fetch, to),
        };
        (w, to) = (&w[taken * x.len()..], &mut to[taken..]);
    }
}

/// The sums of the first `M` features by a group of rows. Returns `M`.
#[inline(always)]
fn tile<L: Simd, S: Side<L>, const M: usize>(
    l: L,
    w: &[f32],
    x: &[[f32; LANES]],
    fetch: bool,
    to: &mut [[f32; LANES]],
) -> usize {
    let width = x.len();
    let weights = Spread { numbers: w, item: width, step: 1 };
    let sums = sums::<L, S, M>(l, weights, x, zeros::<L, S, M>(l), |first| {
        if fetch {
            for i in 0..M {
                l.prefetch(w.as_ptr().wrapping_add((M + i) * width + first));
            }
        }
    });
    for i in 0..M {
        S::store(l, &mut to[i], sums[i]);
    }
    M
}

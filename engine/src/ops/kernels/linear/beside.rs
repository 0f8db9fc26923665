//! Products of more rows with weights of `f32`, which are read as they lie: a number of each of sixteen
//! rows fills a vector, and a number of a feature is spread over one. Every output is one sum in
//! ascending order.

use super::range::Range;
use crate::ops::kernels::lanes::{Kernel, Lanes, WIDTH, dispatch};
use crate::ops::kernels::turn::turn;

/// Features whose sums are kept before they are turned into rows: whole sixteens, and whole tiles.
pub(super) const FEATURES: usize = 48;

/// Features of the largest tile.
const TILE: usize = 12;

/// Groups of sixteen rows whose sums are kept while features pass.
const GROUPS: usize = 4;

/// `x` (rows, width) by groups of sixteen rows, the last one filled up with zeros: (groups, width, sixteen).
pub(super) fn lay_out(x: &[f32], width: usize, to: &mut Vec<[f32; WIDTH]>) {
    struct LayOut<'a> {
        x: &'a [f32],
        width: usize,
        to: &'a mut [[f32; WIDTH]],
    }
    impl Kernel for LayOut<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self, l: L) {
            let groups = self.x.chunks(WIDTH * self.width);
            for (x, to) in groups.zip(self.to.chunks_mut(self.width)) {
                turn(l, x, self.width, x.len() / self.width, to);
            }
        }
    }
    to.resize((x.len() / width).div_ceil(WIDTH) * width, [0.0; WIDTH]);
    dispatch(LayOut { x, width, to });
}

/// The sums of features by groups of rows, a number of each row side by side.
type Sums = [[[f32; WIDTH]; FEATURES]; GROUPS];

/// The columns of a range; `x` is laid out.
#[inline(always)]
pub(super) fn range<L: Lanes>(l: L, range: &Range<'_>, x: &[[f32; WIDTH]], w: &[f32]) {
    let width = x.len() / range.rows.div_ceil(WIDTH);
    let mut sums: Sums = [[[0.0; WIDTH]; FEATURES]; GROUPS];
    let mut turned = [[0.0; WIDTH]; WIDTH];
    let groups = range.groups();
    for first in groups.clone().step_by(FEATURES / WIDTH) {
        let last = (first + FEATURES / WIDTH).min(groups.end);
        let w = &w[first * WIDTH * width..w.len().min(last * WIDTH * width)];
        for (part, x) in x.chunks(GROUPS * width).enumerate() {
            let row = part * GROUPS * WIDTH;
            let rows = (range.rows - row).min(GROUPS * WIDTH);
            products(l, w, x, rows, part == 0, &mut sums);
            for at in (0..rows).step_by(WIDTH) {
                let turned = &mut turned[..(rows - at).min(WIDTH)];
                for group in first..last {
                    let sums = &sums[at / WIDTH][(group - first) * WIDTH..][..WIDTH];
                    turn(l, sums.as_flattened(), WIDTH, WIDTH, turned);
                    range.store(group, row + at, turned);
                }
            }
        }
    }
}

/// The sums of all features of `w` by all rows; with `fetch`, what follows in `w` is brought near.
#[inline(always)]
fn products<L: Lanes>(
    l: L,
    w: &[f32],
    x: &[[f32; WIDTH]],
    rows: usize,
    fetch: bool,
    sums: &mut Sums,
) {
    let width = x.len() / rows.div_ceil(WIDTH);
    for (step, w) in w.chunks(TILE * width).enumerate() {
        for (group, x) in x.chunks_exact(width).enumerate() {
            let to = &mut sums[group][step * TILE..];
            let fetch = fetch && group == 0;
            if rows - group * WIDTH > L::NARROW {
                features::<L, Wide>(l, w, x, fetch, to);
            } else {
                features::<L, Narrow>(l, w, x, fetch, to);
            }
        }
    }
}

/// Some features by a group of rows, in tiles as large as the registers hold.
#[inline(always)]
fn features<L: Lanes, R: Rows<L>>(
    l: L,
    mut w: &[f32],
    x: &[[f32; WIDTH]],
    fetch: bool,
    mut to: &mut [[f32; WIDTH]],
) {
    while !w.is_empty() {
        let (left, most) = (w.len() / x.len(), L::REGISTERS * L::NARROW / R::COUNT);
        let taken = match left {
            TILE.. if most > TILE => tile::<L, R, TILE>(l, w, x, fetch, to),
            6.. => tile::<L, R, 6>(l, w, x, fetch, to),
            4.. => tile::<L, R, 4>(l, w, x, fetch, to),
            2.. => tile::<L, R, 2>(l, w, x, fetch, to),
            _ => tile::<L, R, 1>(l, w, x, fetch, to),
        };
        (w, to) = (&w[taken * x.len()..], &mut to[taken..]);
    }
}

/// A number of each row of a group.
trait Rows<L: Lanes> {
    type V: Copy;
    /// Rows.
    const COUNT: usize;
    fn splat(l: L, a: f32) -> Self::V;
    fn load(l: L, a: &[f32; WIDTH]) -> Self::V;
    fn store(l: L, to: &mut [f32; WIDTH], a: Self::V);
    fn mul_add(l: L, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
}

/// All sixteen.
struct Wide;

/// The first of them, as many as a register holds.
struct Narrow;

impl<L: Lanes> Rows<L> for Wide {
    type V = L::V;
    const COUNT: usize = WIDTH;
    #[inline(always)]
    fn splat(l: L, a: f32) -> L::V {
        l.splat(a)
    }
    #[inline(always)]
    fn load(l: L, a: &[f32; WIDTH]) -> L::V {
        l.load(a)
    }
    #[inline(always)]
    fn store(l: L, to: &mut [f32; WIDTH], a: L::V) {
        l.store(to, a);
    }
    #[inline(always)]
    fn mul_add(l: L, a: L::V, b: L::V, c: L::V) -> L::V {
        l.mul_add(a, b, c)
    }
}

impl<L: Lanes> Rows<L> for Narrow {
    type V = L::N;
    const COUNT: usize = L::NARROW;
    #[inline(always)]
    fn splat(l: L, a: f32) -> L::N {
        l.narrow_splat(a)
    }
    #[inline(always)]
    fn load(l: L, a: &[f32; WIDTH]) -> L::N {
        l.narrow_load(a)
    }
    #[inline(always)]
    fn store(l: L, to: &mut [f32; WIDTH], a: L::N) {
        l.narrow_store(&mut to[..L::NARROW], a);
    }
    #[inline(always)]
    fn mul_add(l: L, a: L::N, b: L::N, c: L::N) -> L::N {
        l.narrow_mul_add(a, b, c)
    }
}

/// The sums of the first `M` features by a group of rows. Returns `M`.
#[inline(always)]
fn tile<L: Lanes, R: Rows<L>, const M: usize>(
    l: L,
    w: &[f32],
    x: &[[f32; WIDTH]],
    fetch: bool,
    to: &mut [[f32; WIDTH]],
) -> usize {
    let width = x.len();
    assert!(M * width <= w.len(), "whole features");
    let mut sums = [R::splat(l, 0.0); M];
    for (line, x) in x.chunks(WIDTH).enumerate() {
        let w = &w[line * WIDTH..];
        if fetch {
            for i in 0..M {
                l.fetch(w.as_ptr().wrapping_add((M + i) * width));
            }
        }
        let (fours, rest) = x.as_chunks::<4>();
        for (four, x) in fours.iter().enumerate() {
            for k in 0..4 {
                let x = R::load(l, &x[k]);
                for i in 0..M {
                    // SAFETY: below `width` in feature `i`, which `w` holds whole.
                    let number = unsafe { *w.get_unchecked(i * width + 4 * four + k) };
                    sums[i] = R::mul_add(l, R::splat(l, number), x, sums[i]);
                }
            }
        }
        for (k, x) in (4 * fours.len()..).zip(rest) {
            let x = R::load(l, x);
            for i in 0..M {
                sums[i] = R::mul_add(l, R::splat(l, w[i * width + k]), x, sums[i]);
            }
        }
    }
    for i in 0..M {
        R::store(l, &mut to[i], sums[i]);
    }
    M
}

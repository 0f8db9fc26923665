//! Tiles of products of rows: of `f32`, and of bf16 in pairs.

use crate::ops::kernels::lanes::pairs::{Pairs, Sixteen};
use crate::ops::kernels::lanes::{Lanes, WIDTH};

/// What a row consists of.
pub(super) trait Terms: Sized {
    /// All products of the rows of `x` with the rows of `w`. With `FETCH`, asks for what follows
    /// each row of `w` by `R` rows.
    fn products<L: Lanes, P: Pairs<L>, const R: usize, const M: usize, const FETCH: bool>(
        l: L,
        p: P,
        x: [&[Self]; M],
        w: [&[Self]; R],
    ) -> [[f32; R]; M];
}

impl Terms for f32 {
    #[inline(always)]
    fn products<L: Lanes, P: Pairs<L>, const R: usize, const M: usize, const FETCH: bool>(
        l: L,
        _: P,
        x: [&[Self]; M],
        w: [&[Self]; R],
    ) -> [[f32; R]; M] {
        let width = x[0].len();
        let whole = width / WIDTH;
        let mut x_chunks = [&[] as &[[Self; WIDTH]]; M];
        for i in 0..M {
            x_chunks[i] = &x[i].as_chunks().0[..whole];
        }
        let mut w_chunks = [&[] as &[[Self; WIDTH]]; R];
        for i in 0..R {
            w_chunks[i] = &w[i].as_chunks().0[..whole];
        }
        let mut sums = [[l.splat(0.0); R]; M];
        for k in 0..whole {
            let mut a = [l.splat(0.0); M];
            for i in 0..M {
                a[i] = l.load(&x_chunks[i][k]);
            }
            for j in 0..R {
                let b = l.load(&w_chunks[j][k]);
                if FETCH {
                    l.fetch(w_chunks[j][k].as_ptr().wrapping_add(R * width));
                }
                for i in 0..M {
                    sums[i][j] = l.mul_add(a[i], b, sums[i][j]);
                }
            }
        }
        if whole * WIDTH < width {
            for j in 0..R {
                let b = l.load_part(&w[j][whole * WIDTH..]);
                for i in 0..M {
                    sums[i][j] = l.mul_add(l.load_part(&x[i][whole * WIDTH..]), b, sums[i][j]);
                }
            }
        }
        fold(l, sums)
    }
}

impl Terms for Sixteen {
    #[inline(always)]
    fn products<L: Lanes, P: Pairs<L>, const R: usize, const M: usize, const FETCH: bool>(
        l: L,
        p: P,
        x: [&[Self]; M],
        w: [&[Self]; R],
    ) -> [[f32; R]; M] {
        let width = x[0].len();
        let mut sums = [[l.splat(0.0); R]; M];
        for k in 0..width {
            let mut a = [p.load(l, &x[0][k]); M];
            for i in 1..M {
                a[i] = p.load(l, &x[i][k]);
            }
            for j in 0..R {
                let b = p.load(l, &w[j][k]);
                if FETCH {
                    l.fetch(w[j][k].as_ptr().wrapping_add(R * width * WIDTH).cast());
                }
                for i in 0..M {
                    sums[i][j] = p.dot(l, a[i], b, sums[i][j]);
                }
            }
        }
        fold(l, sums)
    }
}

/// The sum of every accumulator's lanes.
#[inline(always)]
fn fold<L: Lanes, const R: usize, const M: usize>(l: L, sums: [[L::V; R]; M]) -> [[f32; R]; M] {
    let mut out = [[0.0; R]; M];
    if (R, M) == (4, 4) {
        let mut square = [[l.splat(0.0); 4]; 4];
        for i in 0..M {
            for j in 0..R {
                square[i][j] = sums[i][j];
            }
        }
        let folded = l.sum4x4(square);
        for i in 0..M {
            for j in 0..R {
                out[i][j] = folded[i][j];
            }
        }
        return out;
    }
    for i in 0..M {
        let mut j = 0;
        while j + 4 <= R {
            let four = l.sum4([sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]]);
            out[i][j..j + 4].copy_from_slice(&four);
            j += 4;
        }
        while j < R {
            out[i][j] = l.sum(sums[i][j]);
            j += 1;
        }
    }
    out
}

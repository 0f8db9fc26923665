//! Products of rows in pairs of bf16 with weights in pairs, by tiles. Every output is one sum over
//! sixteen lanes in ascending order, then [`Simd::sum4`].

use super::range::Range;
use crate::simd::pairs::{Pairs, Sixteen};
use crate::simd::{LANES, Simd};

/// The columns of a range; rows of `x` and `w` are whole sixteens of pairs.
#[inline(always)]
pub(super) fn range<L: Simd, P: Pairs<L>>(
    l: L,
    p: P,
    range: &Range<'_>,
    x: &[Sixteen],
    w: &[Sixteen],
) {
    let strips = Strips { range, x, w, width: x.len() / range.rows };
    // Sums are what limits a tile: 32 registers of sixteen lanes, or 16 of eight.
    match (L::REGISTERS, range.rows) {
        (32, 1) => strips.walk::<L, P, 8, 1>(l, p),
        (32, _) => strips.walk::<L, P, 4, 4>(l, p),
        (_, 1) => strips.walk::<L, P, 4, 1>(l, p),
        _ => strips.walk::<L, P, 2, 2>(l, p),
    }
}

/// A range with its operands by rows of `width`.
struct Strips<'a> {
    range: &'a Range<'a>,
    x: &'a [Sixteen],
    w: &'a [Sixteen],
    width: usize,
}

impl Strips<'_> {
    /// Features by tiles of `R`, then one by one.
    #[inline(always)]
    fn walk<L: Simd, P: Pairs<L>, const R: usize, const M: usize>(&self, l: L, p: P) {
        let mut n = self.range.from;
        while n + R <= self.range.to {
            self.strip::<L, P, R, M>(l, p, n);
            n += R;
        }
        while n < self.range.to {
            self.strip::<L, P, 1, M>(l, p, n);
            n += 1;
        }
    }

    /// `R` features: rows by tiles of `M`, then what is left. `M` is at most four. The first tile
    /// asks for the weights of the next features, which come in while the others work.
    #[inline(always)]
    fn strip<L: Simd, P: Pairs<L>, const R: usize, const M: usize>(&self, l: L, p: P, n: usize) {
        let rows = self.range.rows;
        if rows < M {
            return match rows {
                3 => self.tile::<L, P, R, 3, true>(l, p, n, 0),
                2 => self.tile::<L, P, R, 2, true>(l, p, n, 0),
                _ => self.tile::<L, P, R, 1, true>(l, p, n, 0),
            };
        }
        self.tile::<L, P, R, M, true>(l, p, n, 0);
        let mut m = M;
        while m + M <= rows {
            self.tile::<L, P, R, M, false>(l, p, n, m);
            m += M;
        }
        match rows - m {
            3 => self.tile::<L, P, R, 3, false>(l, p, n, m),
            2 => self.tile::<L, P, R, 2, false>(l, p, n, m),
            1 => self.tile::<L, P, R, 1, false>(l, p, n, m),
            _ => {}
        }
    }

    /// `R` features of `M` rows: each number loaded serves the whole tile.
    #[inline(always)]
    fn tile<L: Simd, P: Pairs<L>, const R: usize, const M: usize, const FETCH: bool>(
        &self,
        l: L,
        p: P,
        n: usize,
        m: usize,
    ) {
        let width = self.width;
        let mut x = [&[] as &[Sixteen]; M];
        for i in 0..M {
            x[i] = &self.x[(m + i) * width..][..width];
        }
        let mut w = [&[] as &[Sixteen]; R];
        for i in 0..R {
            w[i] = &self.w[(n + i) * width..][..width];
        }
        let sums = products::<L, P, R, M, FETCH>(l, p, x, w);
        for i in 0..M {
            // SAFETY: `features` gives each task its own columns.
            let y = unsafe { self.range.y.part(m + i, n, n + R) };
            for j in 0..R {
                let mut value = sums[i][j];
                if let Some(bias) = self.range.w.bias {
                    value += bias[n + j];
                }
                y[j] = if self.range.add { y[j] + value } else { value };
            }
        }
    }
}

/// All products of the rows of `x` with the rows of `w`. With `FETCH`, asks for what follows each row
/// of `w` by `R` rows.
#[inline(always)]
fn products<L: Simd, P: Pairs<L>, const R: usize, const M: usize, const FETCH: bool>(
    l: L,
    p: P,
    x: [&[Sixteen]; M],
    w: [&[Sixteen]; R],
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
                l.prefetch(w[j][k].as_ptr().wrapping_add(R * width * LANES).cast());
            }
            for i in 0..M {
                sums[i][j] = p.dot(l, a[i], b, sums[i][j]);
            }
        }
    }
    fold(l, sums)
}

/// The sum of every accumulator's lanes.
#[inline(always)]
fn fold<L: Simd, const R: usize, const M: usize>(l: L, sums: [[L::V; R]; M]) -> [[f32; R]; M] {
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

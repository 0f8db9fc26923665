//! Products of few rows with a weight as it lies, (out, in): what decoding spends its time on.
//!
//! Every output is one sum over sixteen lanes in ascending order, then [`Lanes::sum4`], however many
//! rows there are and however the features are split: a row's result does not depend on the others.

use std::marker::PhantomData;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::lanes::{Kernel, Lanes, WIDTH, dispatch};
use super::rows::swiglu;

/// One weight with what is added to its product.
#[derive(Clone, Copy)]
pub(crate) struct Linear<'a> {
    /// (out, in)
    pub(crate) weight: &'a [f32],
    /// (out)
    pub(crate) bias: Option<&'a [f32]>,
}

/// Who does the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Split {
    /// The caller's thread alone.
    Alone,
    /// The pool, by output features.
    Pool,
}

/// Features that one task takes at least, as bytes of weight: below it, handing over costs more.
const GRAIN_BYTES: usize = 64 << 10;

/// `y = x W^T + b`.
///
/// Shapes: `x` (rows, in), `y` (rows, out).
pub(crate) fn linear(split: Split, x: &[f32], w: Linear<'_>, rows: usize, y: &mut [f32]) {
    many(split, x, rows, [(w, y)], false);
}

/// `y = y + x W^T + b`.
///
/// Shapes: as [`linear`].
pub(crate) fn linear_add(split: Split, x: &[f32], w: Linear<'_>, rows: usize, y: &mut [f32]) {
    many(split, x, rows, [(w, y)], true);
}

/// [`linear`] for several weights on the same rows.
pub(crate) fn linears<const N: usize>(
    split: Split,
    x: &[f32],
    rows: usize,
    products: [(Linear<'_>, &mut [f32]); N],
) {
    many(split, x, rows, products, false);
}

fn many<const N: usize>(
    split: Split,
    x: &[f32],
    rows: usize,
    products: [(Linear<'_>, &mut [f32]); N],
    add: bool,
) {
    let width = x.len() / rows;
    let products = products.map(|(w, y)| (w, Columns::new(y, rows)));
    let sizes = products.each_ref().map(|(_, y)| y.stride);
    let work = |from: usize, to: usize| {
        let mut start = 0;
        for ((w, y), size) in products.iter().zip(sizes) {
            let (a, b) = (from.max(start), to.min(start + size));
            if a < b {
                dispatch(Range { x, rows, width, w: *w, add, y, from: a - start, to: b - start });
            }
            start += size;
        }
    };
    features(split, sizes.iter().sum(), width, work);
}

/// `silu(x G^T) * (x U^T)`, into `gate`; `up` is scratch.
///
/// Shapes: `x` (rows, in), `gate` and `up` (rows, out).
pub(crate) fn gated(
    split: Split,
    x: &[f32],
    rows: usize,
    [gate_weight, up_weight]: [&[f32]; 2],
    gate: &mut [f32],
    up: &mut [f32],
) {
    let width = x.len() / rows;
    let (gate, up) = (Columns::new(gate, rows), Columns::new(up, rows));
    let work = |from: usize, to: usize| {
        for (weight, y) in [(gate_weight, &gate), (up_weight, &up)] {
            let w = Linear { weight, bias: None };
            dispatch(Range { x, rows, width, w, add: false, y, from, to });
        }
        for row in 0..rows {
            // SAFETY: `features` gives each task its own columns, and the products are done.
            let (gate, up) = unsafe { (gate.part(row, from, to), up.part(row, from, to)) };
            swiglu(gate, up);
        }
    };
    features(split, gate.stride, width, work);
}

/// Calls `work(from, to)` for consecutive ranges that cover `0..total` once.
fn features(split: Split, total: usize, width: usize, work: impl Fn(usize, usize) + Sync) {
    // Whole tiles, so that no range ends in slow single features.
    let grain = (GRAIN_BYTES / (4 * width)).next_multiple_of(8).max(8);
    let tasks = total.div_ceil(grain);
    if split == Split::Alone || tasks < 2 {
        return work(0, total);
    }
    (0..tasks).into_par_iter().for_each(|i| work(i * grain, ((i + 1) * grain).min(total)));
}

/// A (rows, stride) matrix whose columns are written by several threads.
struct Columns<'a> {
    start: *mut f32,
    rows: usize,
    stride: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: every access goes through `part`, whose caller promises disjoint columns.
unsafe impl Sync for Columns<'_> {}

impl<'a> Columns<'a> {
    fn new(y: &'a mut [f32], rows: usize) -> Self {
        assert!(rows > 0 && y.len().is_multiple_of(rows), "whole rows");
        Self { start: y.as_mut_ptr(), rows, stride: y.len() / rows, owner: PhantomData }
    }

    /// Columns `from..to` of one row.
    ///
    /// # Safety
    ///
    /// While the slice lives, nobody else asks for any of these columns.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that nobody else has the columns")]
    #[inline(always)]
    unsafe fn part(&self, row: usize, from: usize, to: usize) -> &mut [f32] {
        assert!(row < self.rows && from <= to && to <= self.stride, "columns inside the matrix");
        // SAFETY: inside the matrix by the line above, and unshared by the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.stride + from), to - from)
        }
    }
}

/// The columns `from..to` of one product.
struct Range<'a> {
    x: &'a [f32],
    rows: usize,
    width: usize,
    w: Linear<'a>,
    add: bool,
    y: &'a Columns<'a>,
    from: usize,
    to: usize,
}

impl Kernel for Range<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        // Accumulators are what limits a tile: 32 registers of sixteen lanes, or 16 of eight.
        match (L::REGISTERS, self.rows) {
            (32, 1) => self.walk::<L, 8, 1>(l),
            (32, _) => self.walk::<L, 4, 4>(l),
            (_, 1) => self.walk::<L, 4, 1>(l),
            _ => self.walk::<L, 2, 2>(l),
        }
    }
}

impl Range<'_> {
    /// Features by tiles of `R`, then one by one.
    #[inline(always)]
    fn walk<L: Lanes, const R: usize, const M: usize>(&self, l: L) {
        let mut n = self.from;
        while n + R <= self.to {
            self.strip::<L, R, M>(l, n);
            n += R;
        }
        while n < self.to {
            self.strip::<L, 1, M>(l, n);
            n += 1;
        }
    }

    /// `R` features: rows by tiles of `M`, then what is left. `M` is at most four. The first tile
    /// asks for the weights of the next features, which come in while the others work.
    #[inline(always)]
    fn strip<L: Lanes, const R: usize, const M: usize>(&self, l: L, n: usize) {
        if self.rows < M {
            return match self.rows {
                3 => self.tile::<L, R, 3, true>(l, n, 0),
                2 => self.tile::<L, R, 2, true>(l, n, 0),
                _ => self.tile::<L, R, 1, true>(l, n, 0),
            };
        }
        self.tile::<L, R, M, true>(l, n, 0);
        let mut m = M;
        while m + M <= self.rows {
            self.tile::<L, R, M, false>(l, n, m);
            m += M;
        }
        match self.rows - m {
            3 => self.tile::<L, R, 3, false>(l, n, m),
            2 => self.tile::<L, R, 2, false>(l, n, m),
            1 => self.tile::<L, R, 1, false>(l, n, m),
            _ => {}
        }
    }

    /// `R` features of `M` rows: each number loaded serves the whole tile.
    #[inline(always)]
    fn tile<L: Lanes, const R: usize, const M: usize, const FETCH: bool>(
        &self,
        l: L,
        n: usize,
        m: usize,
    ) {
        let width = self.width;
        let mut x = [&[] as &[f32]; M];
        for i in 0..M {
            x[i] = &self.x[(m + i) * width..][..width];
        }
        let mut w = [&[] as &[f32]; R];
        for i in 0..R {
            w[i] = &self.w.weight[(n + i) * width..][..width];
        }
        let sums = products::<L, R, M, FETCH>(l, x, w, width);
        for i in 0..M {
            // SAFETY: `features` gives each task its own columns.
            let y = unsafe { self.y.part(m + i, n, n + R) };
            for j in 0..R {
                let mut value = sums[i][j];
                if let Some(bias) = self.w.bias {
                    value += bias[n + j];
                }
                y[j] = if self.add { y[j] + value } else { value };
            }
        }
    }
}

/// All products of the rows of `x` with the rows of `w`.
#[inline(always)]
fn products<L: Lanes, const R: usize, const M: usize, const FETCH: bool>(
    l: L,
    x: [&[f32]; M],
    w: [&[f32]; R],
    width: usize,
) -> [[f32; R]; M] {
    let whole = width / WIDTH;
    let mut x_chunks = [&[] as &[[f32; WIDTH]]; M];
    for i in 0..M {
        x_chunks[i] = &x[i].as_chunks().0[..whole];
    }
    let mut w_chunks = [&[] as &[[f32; WIDTH]]; R];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::kernels::testing::{noise, on_every_form, worst};

    fn check(rows: usize, width: usize, out: usize, split: Split) -> Vec<f32> {
        let (x, w, b) = (noise(1, rows * width), noise(2, out * width), noise(3, out));
        let mut y = vec![f32::NAN; rows * out];
        linear(split, &x, Linear { weight: &w, bias: Some(&b) }, rows, &mut y);
        let want = (0..rows * out).map(|i| {
            let (row, n) = (i / out, i % out);
            let dot: f64 = (0..width)
                .map(|k| f64::from(x[row * width + k]) * f64::from(w[n * width + k]))
                .sum();
            dot + f64::from(b[n])
        });
        assert!(worst(&y, want) < 2e-5, "{rows} rows, ({out}, {width})");
        y
    }

    #[test]
    fn matches_loops_in_double_precision() {
        on_every_form(|| {
            for (width, out) in [(1, 1), (6, 3), (16, 8), (37, 13), (128, 64), (576, 21)] {
                for rows in [1, 2, 3, 4, 5, 7, 16] {
                    check(rows, width, out, Split::Alone);
                }
            }
            check(5, 1536, 200, Split::Pool);
        });
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        for (width, out) in [(37, 13), (128, 96), (576, 100)] {
            let one_by_one: Vec<Vec<f32>> = (0..20)
                .map(|row| {
                    let (x, w, b) = (noise(1, 20 * width), noise(2, out * width), noise(3, out));
                    let mut y = vec![0.0; out];
                    let x = &x[row * width..][..width];
                    linear(Split::Alone, x, Linear { weight: &w, bias: Some(&b) }, 1, &mut y);
                    y
                })
                .collect();
            for rows in 1..=20 {
                for split in [Split::Alone, Split::Pool] {
                    // `noise` is a stream: the first rows of a longer one are the same.
                    let together = check(rows, width, out, split);
                    assert_eq!(together, one_by_one[..rows].concat(), "{rows} rows");
                }
            }
        }
    }

    #[test]
    fn several_at_once_and_gated_match_single_products() {
        let (rows, width) = (3, 96);
        let (x, w, v) = (noise(1, rows * width), noise(2, 700 * width), noise(3, 700 * width));
        let [w, v] = [&w, &v].map(|weight| Linear { weight, bias: None });
        let (mut a, mut b) = (vec![0.0; rows * 700], vec![0.0; rows * 700]);
        linear(Split::Alone, &x, w, rows, &mut a);
        linear(Split::Alone, &x, v, rows, &mut b);
        let (mut c, mut d) = (vec![0.0; rows * 700], vec![0.0; rows * 700]);
        linears(Split::Pool, &x, rows, [(w, &mut c), (v, &mut d)]);
        assert_eq!((&a, &b), (&c, &d));

        linear_add(Split::Pool, &x, v, rows, &mut c);
        let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        assert_eq!(c, sum);

        gated(Split::Pool, &x, rows, [w.weight, v.weight], &mut c, &mut d);
        swiglu(&mut a, &b);
        assert_eq!(a, c);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn vector_forms_agree_to_the_bit() {
        use crate::ops::kernels::lanes::{Portable, x86};
        let (rows, width, out) = (5, 133, 27);
        let (x, w) = (noise(1, rows * width), noise(2, out * width));
        let run = |form: usize| {
            let mut y = vec![0.0; rows * out];
            let columns = Columns::new(&mut y, rows);
            let w = Linear { weight: &w, bias: None };
            let range = Range { x: &x, rows, width, w, add: false, y: &columns, from: 0, to: out };
            match form {
                0 => x86::Avx512::detect().map(|l| x86::avx512(l, range))?,
                1 => x86::Avx2::detect().map(|l| x86::avx2(l, range))?,
                _ => range.run(Portable),
            }
            Some(y)
        };
        if let (Some(a), Some(b)) = (run(0), run(1)) {
            assert_eq!(a, b);
        }
        let portable = run(2).expect("runs everywhere");
        if let Some(b) = run(1) {
            assert!(worst(&portable, b.iter().map(|&b| f64::from(b))) < 1e-5);
        }
    }
}

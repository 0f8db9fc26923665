//! Products of few rows with a weight, (out, in): what decoding spends its time on.
//!
//! Every output is one sum, in ascending order but for [`strips`], however many rows there are and however
//! the features are split: a row's result does not depend on the others. Weights of `f32` are multiplied
//! as they lie ([`few`], [`beside`]), and rounded ones as they were laid out ([`strips`], [`panels`],
//! [`widened`]).

mod beside;
mod few;
mod panels;
mod range;
mod strips;
mod widened;

use std::cell::RefCell;

use super::bf16::round;
use super::columns::Columns;
use super::rows::swiglu;
use super::simd::pairs::{PairKernel, Pairs, Sixteen, dispatch_pairs, has_instruction};
use super::simd::{LANES, Simd};
use super::threads::Threads;
pub use panels::Features;
use range::Range;

/// Rows of numbers, each as long as the next.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// As it is.
    F32(&'a [f32]),
    /// Rounded to bf16: rows of whole sixteens of pairs with zeros at their end.
    Bf16(&'a [[u32; LANES]]),
    /// Rounded to bf16, as [`panels`] lays them out.
    Panels(&'a [Features]),
    /// As [`beside`] lays them out.
    Beside(&'a [[f32; LANES]]),
}

impl Matrix<'_> {
    /// Features that a task should take a multiple of, so that it ends in no slow single ones.
    fn unit(self) -> usize {
        match self {
            Self::Beside(_) => beside::FEATURES,
            _ => LANES,
        }
    }

    /// Bytes that a product reads.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32(values) => size_of_val(values),
            Self::Bf16(values) => size_of_val(values),
            Self::Panels(values) => size_of_val(values),
            Self::Beside(values) => size_of_val(values),
        }
    }
}

/// A weight rounded to bf16, laid out as the machine multiplies it best.
#[derive(Debug)]
pub enum Rounded {
    /// For machines that multiply pairs of bf16.
    Pairs(Vec<[u32; LANES]>),
    /// For all others.
    Panels(Vec<Features>),
}

impl Rounded {
    /// Shapes: `w` (out, width).
    pub fn new(w: &[f32], width: usize) -> Self {
        if has_instruction() {
            Self::Pairs(rounded(w, width))
        } else {
            Self::Panels(panels::lay_out(w, width))
        }
    }

    /// The weight as an operand.
    pub fn matrix(&self) -> Matrix<'_> {
        match self {
            Self::Pairs(pairs) => Matrix::Bf16(pairs),
            Self::Panels(panels) => Matrix::Panels(panels),
        }
    }
}

/// One weight with what is added to its product.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// (out, in)
    pub weight: Matrix<'a>,
    /// (out)
    pub bias: Option<&'a [f32]>,
}

impl<'a> Linear<'a> {
    /// A weight without bias.
    pub fn plain(weight: Matrix<'a>) -> Self {
        Self { weight, bias: None }
    }
}

/// Features that one task takes at least, as bytes of weight: below it, handing over costs more.
const GRAIN_BYTES: usize = 64 << 10;

/// `x` (rows, width) rounded to bf16, rows in whole sixteens of pairs with zeros at their end.
fn rounded(x: &[f32], width: usize) -> Vec<Sixteen> {
    struct Round<'a> {
        x: &'a [f32],
        width: usize,
        to: &'a mut [Sixteen],
    }
    impl PairKernel for Round<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Simd, P: Pairs<L>>(self, _: L, p: P) {
            let chunks = self.width.div_ceil(2 * LANES);
            for (row, to) in self.x.chunks_exact(self.width).zip(self.to.chunks_exact_mut(chunks)) {
                let (whole, tail) = row.as_chunks();
                for (x, to) in whole.iter().zip(to.iter_mut()) {
                    *to = p.neighbours(x);
                }
                if let (false, Some(to)) = (tail.is_empty(), to.last_mut()) {
                    let mut full = [0.0; 2 * LANES];
                    full[..tail.len()].copy_from_slice(tail);
                    *to = p.neighbours(&full);
                }
            }
        }
    }
    let mut to = vec![[0; LANES]; x.len() / width * width.div_ceil(2 * LANES)];
    dispatch_pairs(Round { x, width, to: &mut to });
    to
}

/// `y = x W^T + b`.
///
/// Shapes: `x` (rows, in), `y` (rows, out).
pub fn linear(split: Threads<'_>, x: &[f32], w: Linear<'_>, rows: usize, y: &mut [f32]) {
    many(split, x, rows, [(w, y)], false);
}

/// `y = y + x W^T + b`.
///
/// Shapes: as [`linear`].
pub fn linear_add(split: Threads<'_>, x: &[f32], w: Linear<'_>, rows: usize, y: &mut [f32]) {
    many(split, x, rows, [(w, y)], true);
}

/// [`linear`] for several weights of one type on the same rows.
pub fn linears<const N: usize>(
    split: Threads<'_>,
    x: &[f32],
    rows: usize,
    products: [(Linear<'_>, &mut [f32]); N],
) {
    many(split, x, rows, products, false);
}

fn many<const N: usize>(
    split: Threads<'_>,
    x: &[f32],
    rows: usize,
    products: [(Linear<'_>, &mut [f32]); N],
    add: bool,
) {
    let products = products.map(|(w, y)| (w, Columns::new(y, rows)));
    let sizes = products.each_ref().map(|(_, y)| y.columns());
    let bytes = products[0].0.weight.bytes() / sizes[0];
    like(products[0].0.weight, x, rows, |x| {
        let work = |from: usize, to: usize| {
            let mut start = 0;
            for ((w, y), size) in products.iter().zip(sizes) {
                let (a, b) = (from.max(start), to.min(start + size));
                if a < b {
                    let (from, to) = (a - start, b - start);
                    dispatch_pairs(Range { x, rows, w: *w, add, y, from, to });
                }
                start += size;
            }
        };
        features(split, sizes.iter().sum(), bytes, x.unit(), work);
    });
}

/// `silu(x G^T + b) * (x U^T + c)`, into `gate`; `up` is scratch.
///
/// Shapes: `x` (rows, in), `gate` and `up` (rows, out).
pub fn gated(
    split: Threads<'_>,
    x: &[f32],
    rows: usize,
    maps: [Linear<'_>; 2],
    gate: &mut [f32],
    up: &mut [f32],
) {
    let (gate, up) = (Columns::new(gate, rows), Columns::new(up, rows));
    let out = gate.columns();
    like(maps[0].weight, x, rows, |x| {
        let work = |from: usize, to: usize| {
            for (w, y) in maps.into_iter().zip([&gate, &up]) {
                dispatch_pairs(Range { x, rows, w, add: false, y, from, to });
            }
            for row in 0..rows {
                // SAFETY: `features` gives each task its own columns, and the products are done.
                let (gate, up) = unsafe { (gate.part(row, from, to), up.part(row, from, to)) };
                swiglu(gate, up);
            }
        };
        features(split, out, maps[0].weight.bytes() / out, x.unit(), work);
    });
}

thread_local! {
    /// Rows rounded for a product, kept from product to product.
    static ROUNDED: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// Rows laid out beside each other, kept likewise.
    static BESIDE: RefCell<Vec<[f32; LANES]>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `x` as weights like `weight` are multiplied by.
fn like(weight: Matrix<'_>, x: &[f32], rows: usize, work: impl FnOnce(Matrix<'_>)) {
    let width = x.len() / rows;
    match weight {
        Matrix::F32(_) if few::suit(rows, width) => work(Matrix::F32(x)),
        Matrix::F32(_) | Matrix::Beside(_) => beside(x, width, work),
        Matrix::Bf16(_) => work(Matrix::Bf16(&rounded(x, width))),
        Matrix::Panels(_) => {
            let mut to = ROUNDED.take();
            round(x, &mut to);
            if panels::suit(rows) {
                work(Matrix::F32(&to));
            } else {
                beside(&to, width, work);
            }
            ROUNDED.set(to);
        }
    }
}

/// Calls `work` with rows laid out beside each other.
fn beside(x: &[f32], width: usize, work: impl FnOnce(Matrix<'_>)) {
    let mut to = BESIDE.take();
    beside::lay_out(x, width, &mut to);
    work(Matrix::Beside(&to));
    BESIDE.set(to);
}

/// Calls `work(from, to)` for consecutive ranges that cover `0..total` once, of whole `unit`s; `bytes` of
/// weight each feature.
fn features(
    split: Threads<'_>,
    total: usize,
    bytes: usize,
    unit: usize,
    work: impl Fn(usize, usize) + Sync,
) {
    let grain = (GRAIN_BYTES / bytes).next_multiple_of(unit).max(unit);
    if matches!(split, Threads::One) {
        return work(0, total);
    }
    split.each(total.div_ceil(grain), |i| work(i * grain, ((i + 1) * grain).min(total)));
}

#[cfg(test)]
mod tests;

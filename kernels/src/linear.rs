//! Products of few rows with a weight, (out, in): what decoding spends its time on.
//!
//! Every output is one sum in ascending order, however many rows there are and however the features
//! are split: a row's result does not depend on the others. Weights of `f32` are multiplied as they
//! lie ([`few`], [`beside`]), and rounded ones by [`bf16`].

mod beside;
mod few;
mod range;

use std::cell::RefCell;

use super::columns::Columns;
use super::matmul::bf16::{self, Map, PackedBf16};
use super::matrix::{MatMut, MatRef};
use super::output::Output;
use super::rows::swiglu;
use super::simd::{LANES, dispatch};
use super::threads::Threads;
use range::Range;

/// Rows of numbers, each as long as the next.
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// As it is.
    F32(&'a [f32]),
    /// Rounded to bf16.
    Bf16(&'a PackedBf16),
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
            Self::Bf16(packed) => packed.bytes(),
            Self::Beside(values) => size_of_val(values),
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
    if matches!(products[0].0.weight, Matrix::Bf16(_)) {
        let maps = products.map(|(w, y)| rounded(w, rows, y, add));
        return bf16::forward(split, MatRef::new(x, rows, x.len() / rows), maps);
    }
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
                    dispatch(Range { x, rows, w: *w, add, y, from, to });
                }
                start += size;
            }
        };
        features(split, sizes.iter().sum(), bytes, x.unit(), work);
    });
}

/// Numbers of the gated product that a task takes at once.
const GATED: usize = 4096;

/// A map of a weight in bf16.
///
/// # Panics
///
/// Panics when the weight is another.
fn rounded<'a>(w: Linear<'a>, rows: usize, y: &'a mut [f32], add: bool) -> Map<'a> {
    let Matrix::Bf16(weight) = w.weight else { panic!("expected weights of one format") };
    let y = MatMut::new(y, rows, weight.out());
    Map { weight, bias: w.bias, y: if add { Output::add(y) } else { Output::set(y) } }
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
    if matches!(maps[0].weight, Matrix::Bf16(_)) {
        let [w, v] = maps;
        linears(split, x, rows, [(w, &mut *gate), (v, &mut *up)]);
        let parts = gate.chunks_mut(GATED).zip(up.chunks(GATED));
        return split.each_of(parts, |(gate, up)| swiglu(gate, up));
    }
    let (gate, up) = (Columns::new(gate, rows), Columns::new(up, rows));
    let out = gate.columns();
    like(maps[0].weight, x, rows, |x| {
        let work = |from: usize, to: usize| {
            for (w, y) in maps.into_iter().zip([&gate, &up]) {
                dispatch(Range { x, rows, w, add: false, y, from, to });
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
    /// Rows laid out beside each other, kept from product to product.
    static BESIDE: RefCell<Vec<[f32; LANES]>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `x` as weights like `weight` are multiplied by.
fn like(weight: Matrix<'_>, x: &[f32], rows: usize, work: impl FnOnce(Matrix<'_>)) {
    let width = x.len() / rows;
    match weight {
        Matrix::F32(_) if few::suit(rows, width) => work(Matrix::F32(x)),
        Matrix::F32(_) | Matrix::Beside(_) => beside(x, width, work),
        Matrix::Bf16(_) => panic!("expected weights of one format"),
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

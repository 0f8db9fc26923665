//! Matrix products.
//!
//! In `f32` every output is one chain of fused multiply-adds over ascending terms, which starts at
//! 0: the same bits whatever the number of rows, the threads, the blocks and the vector
//! instructions.

pub mod bf16;

mod gemv;
mod microkernel;
mod pack;
mod packed;
mod select;
mod tiled;

#[cfg(test)]
mod tests;

use crate::MatmulPrecision;
use crate::matrix::{MatMut, MatRef};
use crate::output::Output;
use crate::threads::Threads;
use pack::Operand;
use packed::Store;

pub(crate) use tiled::{TiledMap, forward_tiled, with_scratch};

/// A linear map and where its product goes.
#[derive(Debug)]
pub struct F32Map<'a> {
    /// (out, in)
    pub weight: &'a [f32],
    /// (out), added to the sums.
    pub bias: Option<&'a [f32]>,
    /// (rows, out)
    pub y: Output<'a>,
}

/// `y (+)= x W^T + b` for maps that share `x`, which is packed once for all.
///
/// Shapes: `x` (rows, in).
///
/// # Panics
///
/// Panics unless the shapes fit and the columns of `x` are neighbours.
pub fn forward<'a>(
    threads: Threads<'_>,
    x: MatRef<'_>,
    maps: impl IntoIterator<Item = F32Map<'a>>,
) {
    let (rows, width) = (x.rows(), x.columns());
    assert!(x.column_stride() == 1 || width <= 1, "the columns of x are neighbours");
    let maps = maps.into_iter().inspect(|F32Map { weight, bias, y }| {
        assert_eq!(y.rows(), rows, "rows of y, and of x");
        assert_eq!(weight.len(), y.columns() * width, "elements of a weight (out, in)");
        assert!(bias.is_none_or(|bias| bias.len() == y.columns()), "a bias for each feature");
    });
    match select::forward(rows) {
        select::Forward::Gemv => {
            let products =
                maps.map(|F32Map { weight, bias, y }| gemv::Product { weight, bias, output: y });
            gemv::multiply(threads, x, products.collect());
        }
        select::Forward::Packed => {
            let products = maps.map(|F32Map { weight, bias, y }| {
                let a = Operand::rows(MatRef::new(weight, y.columns(), width));
                packed::Product { a, bias, output: y }
            });
            let store = Store { scale: 1.0, transposed: true };
            packed::multiply(threads, products.collect(), Operand::rows(x), store);
        }
    }
}

/// `c (+)= a b`, of operands as they are or rounded to bf16.
///
/// Shapes: `a` (m, k), `b` (k, n), `c` (m, n).
///
/// # Panics
///
/// Panics unless the shapes fit.
pub fn product_in(
    precision: MatmulPrecision,
    threads: Threads<'_>,
    a: MatRef<'_>,
    b: MatRef<'_>,
    c: Output<'_>,
) {
    match precision {
        MatmulPrecision::F32 => product(threads, 1.0, a, b, c),
        MatmulPrecision::Bf16 => bf16::product(threads, 1.0, a, b, c),
    }
}

/// [`product_in`] into a new vector, which is not cleared first.
///
/// # Panics
///
/// As [`product_in`].
pub fn product_to_vec(
    precision: MatmulPrecision,
    threads: Threads<'_>,
    a: MatRef<'_>,
    b: MatRef<'_>,
) -> Vec<f32> {
    let (m, n) = (a.rows(), b.columns());
    let mut c = Vec::with_capacity(m * n);
    let to = MatMut::new(&mut c.spare_capacity_mut()[..m * n], m, n);
    product_in(precision, threads, a, b, Output::init(to));
    // SAFETY: there is room for all elements, and the product has written each of them.
    unsafe { c.set_len(m * n) }
    c
}

/// `c (+)= scale * a b`.
///
/// Shapes: `a` (m, k), `b` (k, n), `c` (m, n).
///
/// # Panics
///
/// Panics unless the shapes fit.
pub fn product(threads: Threads<'_>, scale: f32, a: MatRef<'_>, b: MatRef<'_>, c: Output<'_>) {
    assert_eq!(a.columns(), b.rows(), "columns of a, and rows of b");
    assert_eq!(
        (c.rows(), c.columns()),
        (a.rows(), b.columns()),
        "rows of a by columns of b, and the output"
    );
    // The operand that is contiguous along k is broadcast in place; the other fills the lanes.
    let transposed = b.row_stride() == 1;
    let (a, b) = if transposed { (b.t(), a.t()) } else { (a, b) };
    let product = packed::Product { a: Operand::rows(a), bias: None, output: c };
    let store = Store { scale, transposed };
    packed::multiply(threads, vec![product], Operand::columns(b), store);
}

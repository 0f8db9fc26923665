//! Products of strided matrices in slices, in either precision, by [`matmul`].

use crate::Products;
use crate::matmul::{self, bf16};
use crate::matrix::{MatMut, MatRef};
use crate::output::Output;
use crate::threads::Threads;

/// A matrix in a slice: element (i, j) at `i * row + j * col`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// Distance from a row to the next.
    pub row: usize,
    /// Distance from a column to the next.
    pub col: usize,
}

impl<'a> View<'a> {
    /// A matrix whose rows lie `row` apart.
    pub fn rows(values: &'a [f32], row: usize) -> Self {
        Self { values, row, col: 1 }
    }

    /// The transpose.
    #[must_use]
    pub fn t(self) -> Self {
        Self { values: self.values, row: self.col, col: self.row }
    }

    fn matrix(self, rows: usize, cols: usize) -> MatRef<'a> {
        if self.col == 1 {
            return MatRef::strided(self.values, rows, cols, self.row);
        }
        assert_eq!(self.row, 1, "rows or columns of an operand are contiguous");
        MatRef::strided(self.values, cols, rows, self.col).t()
    }

    /// Numbers of the slice that the first rows and columns reach over.
    pub fn extent(&self, rows: usize, cols: usize) -> usize {
        if rows == 0 || cols == 0 { 0 } else { (rows - 1) * self.row + (cols - 1) * self.col + 1 }
    }
}

/// What happens to the values already in the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// They are replaced.
    Set,
    /// The product is added to them.
    Add,
}

/// How a product is taken.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Factor of the product.
    pub scale: f32,
    /// What happens to the destination.
    pub into: Into,
    /// Whether all threads of the pool take part, or the calling one alone.
    pub pool: bool,
    /// Precision of the operands.
    pub products: Products,
}

impl How {
    /// On the calling thread, unscaled, replacing what was there.
    pub const ALONE: Self =
        Self { scale: 1.0, into: Into::Set, pool: false, products: Products::F32 };

    /// On all threads, unscaled, replacing what was there.
    pub const fn pool(products: Products) -> Self {
        Self { pool: true, products, ..Self::ALONE }
    }
}

/// `out (+)= scale * lhs rhs`.
///
/// Shapes: `lhs` (m, k), `rhs` (k, n), `out` (m, n) with rows `out_row` apart.
///
/// # Panics
///
/// Panics when a matrix does not lie within its slice, or when neither the rows nor the columns of an
/// operand are contiguous.
pub fn product(
    out: &mut [f32],
    out_row: usize,
    shape: (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) {
    let (m, n, _) = shape;
    let to = MatMut::strided(out, m, n, out_row);
    let to = if how.into == Into::Add { Output::add(to) } else { Output::set(to) };
    multiply(to, shape, lhs, rhs, how);
}

/// `scale * lhs rhs`, whatever `how` says of a destination.
///
/// Shapes: `lhs` (m, k), `rhs` (k, n), result (m, n).
///
/// # Panics
///
/// As [`product`].
pub fn made(shape: (usize, usize, usize), lhs: View<'_>, rhs: View<'_>, how: How) -> Vec<f32> {
    let (m, n, _) = shape;
    // Not zeroed, which one thread would do alone.
    let mut out = Vec::with_capacity(m * n);
    let to = MatMut::new(&mut out.spare_capacity_mut()[..m * n], m, n);
    multiply(Output::init(to), shape, lhs, rhs, how);
    // SAFETY: there is room for the whole result, and the product wrote each of its elements.
    unsafe { out.set_len(m * n) }
    out
}

fn multiply(
    to: Output<'_>,
    (m, n, k): (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) {
    let threads = if how.pool { Threads::Pool } else { Threads::One };
    let (lhs, rhs) = (lhs.matrix(m, k), rhs.matrix(k, n));
    match how.products {
        Products::F32 => matmul::product(threads, how.scale, lhs, rhs, to),
        Products::Bf16 => bf16::product(threads, how.scale, lhs, rhs, to),
    }
}

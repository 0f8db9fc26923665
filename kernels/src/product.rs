//! Matrix products on plain slices: of `f32` by [`tiles`] where the machine's vectors hold eight
//! numbers and by the `gemm` crate elsewhere, of numbers rounded to bf16 by [`bf16`].

mod tiles;

use gemm::Parallelism;

use super::columns::Columns;
use super::matmul::bf16;
use super::matrix::{MatMut, MatRef};
use super::output::Output;
use super::threads::Threads;
use crate::Products;

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
        assert_eq!(self.row, 1, "rows or columns of an operand in bf16 are contiguous");
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
    /// The calling thread, or all of them.
    pub threads: Parallelism,
    /// Precision of the operands.
    pub products: Products,
}

impl How {
    /// On the calling thread, unscaled, replacing what was there.
    pub const ALONE: Self =
        Self { scale: 1.0, into: Into::Set, threads: Parallelism::None, products: Products::F32 };

    /// On all threads, unscaled, replacing what was there.
    pub const fn pool(products: Products) -> Self {
        Self { threads: Parallelism::Rayon(0), products, ..Self::ALONE }
    }
}

/// `out (+)= scale * lhs rhs`.
///
/// Shapes: `lhs` (m, k), `rhs` (k, n), `out` (m, n) with rows `out_row` apart.
///
/// # Panics
///
/// Panics when a matrix does not lie within its slice.
pub fn product(
    out: &mut [f32],
    out_row: usize,
    shape: (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) {
    let (m, n, _) = shape;
    check(shape, lhs, rhs);
    let extent = View::rows(out, out_row).extent(m, n);
    assert!(extent <= out.len(), "the result does not lie within its slice");
    assert!(out_row >= n || m <= 1, "rows of the result overlap");
    if extent == 0 {
        return;
    }
    let (out, out_row) = (&mut out[..extent], out_row.max(n));
    match how.products {
        Products::F32 => of_f32(&Columns::within(out, out_row, n), shape, lhs, rhs, how),
        Products::Bf16 => {
            let to = MatMut::strided(out, m, n, out_row);
            let to = if how.into == Into::Add { Output::add(to) } else { Output::set(to) };
            of_bf16(to, shape, lhs, rhs, how);
        }
    }
}

/// `scale * lhs rhs`, whatever `how` says of a destination.
///
/// Shapes: `lhs` (m, k), `rhs` (k, n), result (m, n).
///
/// # Panics
///
/// Panics when an operand does not lie within its slice.
pub fn made(shape: (usize, usize, usize), lhs: View<'_>, rhs: View<'_>, how: How) -> Vec<f32> {
    let (m, n, _) = shape;
    check(shape, lhs, rhs);
    // Not zeroed, which one thread would do alone.
    let mut out = Vec::with_capacity(m * n);
    if m * n > 0 {
        let y = &mut out.spare_capacity_mut()[..m * n];
        let how = How { into: Into::Set, ..how };
        match how.products {
            Products::F32 => of_f32(&Columns::unwritten(y, n), shape, lhs, rhs, how),
            Products::Bf16 => of_bf16(Output::init(MatMut::new(y, m, n)), shape, lhs, rhs, how),
        }
    }
    // SAFETY: there is room for the whole result, and with `Set` each of its elements was written.
    unsafe { out.set_len(m * n) }
    out
}

/// # Panics
///
/// Panics when an operand does not lie within its slice.
fn check((m, n, k): (usize, usize, usize), lhs: View<'_>, rhs: View<'_>) {
    assert!(
        lhs.extent(m, k) <= lhs.values.len() && rhs.extent(k, n) <= rhs.values.len(),
        "an operand does not lie within its slice"
    );
}

/// The product of operands that were checked, rounded to bf16.
///
/// # Panics
///
/// Panics unless rows or columns of each operand are contiguous.
fn of_bf16(
    to: Output<'_>,
    (m, n, k): (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) {
    let threads = match how.threads {
        Parallelism::None => Threads::One,
        Parallelism::Rayon(_) => Threads::Pool,
    };
    bf16::product(threads, how.scale, lhs.matrix(m, k), rhs.matrix(k, n), to);
}

/// The product of operands that were checked, into all of `y`; with `Set`, it need not have been
/// written.
fn of_f32(y: &Columns<'_>, shape: (usize, usize, usize), lhs: View<'_>, rhs: View<'_>, how: How) {
    if tiles::suit(shape) {
        return tiles::product(y, shape, lhs, rhs, how);
    }
    let (m, n, k) = shape;
    // SAFETY: the operands lie within their slices; the result is all of `y`, which is borrowed mutably,
    // so it overlaps neither; with `Set` and a sum of at least one term none of it is read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.start(),
            1,
            y.stride().cast_signed(),
            how.into == Into::Add,
            lhs.values.as_ptr(),
            lhs.col.cast_signed(),
            lhs.row.cast_signed(),
            rhs.values.as_ptr(),
            rhs.col.cast_signed(),
            rhs.row.cast_signed(),
            1.0,
            how.scale,
            false,
            false,
            false,
            how.threads,
        );
    }
}

//! Matrix products on plain slices: of `f32` by the `gemm` crate, of numbers rounded to bf16 by
//! [`super::bf16`].

use gemm::Parallelism;

use crate::Products;

/// A matrix in a slice: element (i, j) at `i * row + j * col`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row: usize,
    pub(crate) col: usize,
}

impl<'a> View<'a> {
    /// A matrix whose rows lie `row` apart.
    pub(crate) fn rows(values: &'a [f32], row: usize) -> Self {
        Self { values, row, col: 1 }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        Self { values: self.values, row: self.col, col: self.row }
    }

    /// Numbers of the slice that the first rows and columns reach over.
    pub(crate) fn extent(&self, rows: usize, cols: usize) -> usize {
        if rows == 0 || cols == 0 { 0 } else { (rows - 1) * self.row + (cols - 1) * self.col + 1 }
    }
}

/// What happens to the values already in the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// They are replaced.
    Set,
    /// The product is added to them.
    Add,
}

/// How a product is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) scale: f32,
    pub(crate) into: Into,
    /// The calling thread, or all of them.
    pub(crate) threads: Parallelism,
    pub(crate) products: Products,
}

impl How {
    /// On the calling thread, unscaled, replacing what was there.
    pub(crate) const ALONE: Self =
        Self { scale: 1.0, into: Into::Set, threads: Parallelism::None, products: Products::F32 };

    /// On all threads, unscaled, replacing what was there.
    pub(crate) const fn pool(products: Products) -> Self {
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
pub(crate) fn product(
    out: &mut [f32],
    out_row: usize,
    shape: (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) {
    let (m, n, _) = shape;
    check(shape, lhs, rhs);
    assert!(
        View::rows(out, out_row).extent(m, n) <= out.len(),
        "the result does not lie within its slice"
    );
    assert!(out_row >= n || m <= 1, "rows of the result overlap");
    if how.products == Products::Bf16 {
        return super::bf16::product(out, out_row, shape, lhs, rhs, how);
    }
    // SAFETY: the operands were checked; every element (i, j) of the result lies within its slice
    // (asserted above), which is borrowed mutably, so it overlaps neither operand, and its rows do
    // not overlap.
    unsafe { multiply(out.as_mut_ptr(), out_row, shape, lhs, rhs, how) }
}

/// `scale * lhs rhs`, whatever `how` says of a destination.
///
/// Shapes: `lhs` (m, k), `rhs` (k, n), result (m, n).
///
/// # Panics
///
/// Panics when an operand does not lie within its slice.
pub(crate) fn made(
    shape: (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) -> Vec<f32> {
    let ((m, n, k), how) = (shape, How { into: Into::Set, ..how });
    if how.products == Products::Bf16 || k == 0 {
        let mut out = vec![0.0; m * n];
        product(&mut out, n, shape, lhs, rhs, how);
        return out;
    }
    check(shape, lhs, rhs);
    // Not zeroed, which one thread would do alone.
    let mut out = Vec::with_capacity(m * n);
    // SAFETY: the operands were checked; there is room for the whole result, apart from both; with
    // `Set` and a sum of at least one term each of its elements is written and none is read.
    unsafe {
        multiply(out.as_mut_ptr(), n, shape, lhs, rhs, how);
        out.set_len(m * n);
    }
    out
}

fn check((m, n, k): (usize, usize, usize), lhs: View<'_>, rhs: View<'_>) {
    assert!(
        lhs.extent(m, k) <= lhs.values.len() && rhs.extent(k, n) <= rhs.values.len(),
        "an operand does not lie within its slice"
    );
}

/// The product of `f32`.
///
/// # Safety
///
/// The operands lie within their slices; `out` may be written where the result's elements lie, and
/// read where they are added to.
unsafe fn multiply(
    out: *mut f32,
    out_row: usize,
    (m, n, k): (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) {
    // SAFETY: the caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            out_row.cast_signed(),
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

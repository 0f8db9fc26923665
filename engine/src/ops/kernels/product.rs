//! Matrix products on plain slices, by the `gemm` crate.

use gemm::Parallelism;

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

    fn holds(&self, rows: usize, cols: usize) -> bool {
        rows == 0 || cols == 0 || (rows - 1) * self.row + (cols - 1) * self.col < self.values.len()
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

/// `out (+)= scale * lhs rhs`, on the calling thread or on all of them.
///
/// Shapes: `lhs` (m, k), `rhs` (k, n), `out` (m, n) with rows `out_row` apart.
///
/// # Panics
///
/// Panics when a matrix does not lie within its slice.
#[expect(unsafe_code, reason = "gemm takes raw pointers; the bounds are asserted before the call")]
pub(crate) fn product(
    out: &mut [f32],
    out_row: usize,
    (m, n, k): (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    (scale, into, threads): (f32, Into, Parallelism),
) {
    assert!(lhs.holds(m, k) && rhs.holds(k, n), "an operand does not lie within its slice");
    assert!(View::rows(out, out_row).holds(m, n), "the result does not lie within its slice");
    assert!(out_row >= n || m <= 1, "rows of the result overlap");
    // SAFETY: every element (i, j) of the three matrices lies within its slice (asserted above),
    // `out` is borrowed mutably, so it overlaps neither operand, and its rows do not overlap.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_row.cast_signed(),
            into == Into::Add,
            lhs.values.as_ptr(),
            lhs.col.cast_signed(),
            lhs.row.cast_signed(),
            rhs.values.as_ptr(),
            rhs.col.cast_signed(),
            rhs.row.cast_signed(),
            1.0,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}

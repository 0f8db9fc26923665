//! A matrix that several threads write, each its own part.

use std::marker::PhantomData;

/// A (rows, columns) matrix whose rows lie a stride apart.
pub(crate) struct Columns<'a> {
    start: *mut f32,
    rows: usize,
    width: usize,
    stride: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: every access goes through `part`, whose caller promises disjoint parts.
unsafe impl Sync for Columns<'_> {}

impl<'a> Columns<'a> {
    /// All of `y` as whole rows.
    pub(crate) fn new(y: &'a mut [f32], rows: usize) -> Self {
        assert!(rows > 0 && y.len().is_multiple_of(rows), "whole rows");
        let stride = y.len() / rows;
        Self { start: y.as_mut_ptr(), rows, width: stride, stride, owner: PhantomData }
    }

    /// The first `columns` of every `stride`; the last row may end with them.
    pub(crate) fn within(y: &'a mut [f32], stride: usize, columns: usize) -> Self {
        assert!(0 < columns && columns <= stride && columns <= y.len(), "columns inside a row");
        let rows = (y.len() - columns) / stride + 1;
        Self { start: y.as_mut_ptr(), rows, width: columns, stride, owner: PhantomData }
    }

    /// Columns of the matrix.
    pub(crate) fn columns(&self) -> usize {
        self.width
    }

    /// Columns `from..to` of one row.
    ///
    /// # Safety
    ///
    /// While the slice lives, nobody else asks for any of these columns of this row.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that nobody else has the columns")]
    #[inline(always)]
    pub(crate) unsafe fn part(&self, row: usize, from: usize, to: usize) -> &mut [f32] {
        assert!(row < self.rows && from <= to && to <= self.width, "columns inside the matrix");
        // SAFETY: inside the matrix by the line above, and unshared by the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.stride + from), to - from)
        }
    }
}

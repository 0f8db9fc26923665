//! A matrix that several threads write, each its own part.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::simd::LANES;

/// A (rows, columns) matrix whose rows lie a stride apart.
pub(crate) struct Columns<'a> {
    start: *mut f32,
    rows: usize,
    width: usize,
    stride: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: every access is by `part`, `write` or a pointer of unsafe code, whose caller promises disjoint
// parts.
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

    /// A whole matrix that is yet to be written: not one of [`Self::part`] until it has been.
    pub(crate) fn unwritten(y: &'a mut [MaybeUninit<f32>], columns: usize) -> Self {
        assert!(columns > 0 && y.len().is_multiple_of(columns), "whole rows");
        let rows = y.len() / columns;
        let start = y.as_mut_ptr().cast();
        Self { start, rows, width: columns, stride: columns, owner: PhantomData }
    }

    /// Where the first row begins.
    pub(crate) fn start(&self) -> *mut f32 {
        self.start
    }

    /// From a row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Rows of the matrix.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub(crate) fn columns(&self) -> usize {
        self.width
    }

    /// Columns `from..to` of one row.
    ///
    /// # Safety
    ///
    /// They have been written, and while the slice lives, nobody else asks for any of these columns of
    /// this row.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that nobody else has the columns")]
    #[inline(always)]
    pub(crate) unsafe fn part(&self, row: usize, from: usize, to: usize) -> &mut [f32] {
        assert!(row < self.rows && from <= to && to <= self.width, "columns inside the matrix");
        // SAFETY: inside the matrix by the line above, and unshared by the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.stride + from), to - from)
        }
    }

    /// Writes columns from `from` on of one row, whatever is there.
    ///
    /// # Safety
    ///
    /// Meanwhile nobody else asks for any of these columns of this row.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, row: usize, from: usize, values: &[f32]) {
        let to = from + values.len();
        assert!(row < self.rows && to <= self.width, "columns inside the matrix");
        // SAFETY: inside the matrix by the line above, and unshared by the caller's promise.
        unsafe {
            let at = self.start.add(row * self.stride + from);
            // A copy of known length is no call.
            match values.as_array::<LANES>() {
                Some(whole) => at.cast::<[f32; LANES]>().write(*whole),
                None => at.copy_from_nonoverlapping(values.as_ptr(), values.len()),
            }
        }
    }
}

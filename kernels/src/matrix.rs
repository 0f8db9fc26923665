//! Matrices in slices: one type to read, one to write that can be split among threads.

use std::fmt;
use std::marker::PhantomData;

/// A (rows, columns) matrix to read, with any distance between rows and between columns.
#[derive(Debug, Clone, Copy)]
pub struct MatRef<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> MatRef<'a> {
    /// All of `values`, row after row.
    ///
    /// # Panics
    ///
    /// Panics unless `values` has `rows * columns` elements.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        check_len(values.len(), rows, columns);
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Rows of `columns` elements each, the first at the start of `values`, then one every
    /// `row_stride`.
    ///
    /// # Panics
    ///
    /// Panics when a row does not lie in `values`.
    pub fn strided(values: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        check_extent(values.len(), rows, columns, row_stride);
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    /// The transpose, of the same elements.
    #[must_use]
    pub fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The slice: element (i, j) at `i * row_stride + j * column_stride`.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Elements from a row to the next.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Elements from a column to the next.
    pub fn column_stride(&self) -> usize {
        self.column_stride
    }
}

/// A (rows, columns) matrix to write. Splitting it gives parts that own their elements, so that
/// each can go to another thread.
pub struct MatMut<'a, T = f32> {
    start: *mut T,
    rows: usize,
    columns: usize,
    row_stride: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: a matrix is a mutable borrow of its elements, and no two share one.
unsafe impl<T: Send> Send for MatMut<'_, T> {}

// SAFETY: through a shared reference there is no access to an element.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

impl<'a, T> MatMut<'a, T> {
    /// All of `values`, row after row.
    ///
    /// # Panics
    ///
    /// Panics unless `values` has `rows * columns` elements.
    pub fn new(values: &'a mut [T], rows: usize, columns: usize) -> Self {
        check_len(values.len(), rows, columns);
        Self::strided(values, rows, columns, columns)
    }

    /// Rows of `columns` elements each, the first at the start of `values`, then one every
    /// `row_stride`.
    ///
    /// # Panics
    ///
    /// Panics when a row does not lie in `values`, or when rows overlap.
    pub fn strided(values: &'a mut [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        check_extent(values.len(), rows, columns, row_stride);
        assert!(rows <= 1 || columns <= row_stride, "rows of {columns} every {row_stride} overlap");
        Self { start: values.as_mut_ptr(), rows, columns, row_stride, owner: PhantomData }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One row.
    ///
    /// # Panics
    ///
    /// Panics when there is no such row.
    #[inline]
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row lies in the slice that the matrix was made of, and the matrix owns it.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(row * self.row_stride), self.columns)
        }
    }

    /// Where `rows` rows of `columns` elements begin, from `row` and `column` on, and the distance
    /// between the rows. All of it may be accessed for as long as the matrix is borrowed.
    ///
    /// # Panics
    ///
    /// Panics when the matrix has fewer rows or columns.
    #[inline(always)]
    pub(crate) fn block(
        &mut self,
        row: usize,
        column: usize,
        rows: usize,
        columns: usize,
    ) -> (*mut T, usize) {
        assert!(row < self.rows && rows <= self.rows - row, "rows inside the matrix");
        assert!(column < self.columns && columns <= self.columns - column, "columns inside it");
        (self.start.wrapping_add(row * self.row_stride + column), self.row_stride)
    }

    /// The first `row` rows, and the others.
    ///
    /// # Panics
    ///
    /// Panics when there are fewer rows.
    pub fn split_at_row(self, row: usize) -> (Self, Self) {
        assert!(row <= self.rows, "split at row {row} of {}", self.rows);
        let start = self.start.wrapping_add(row * self.row_stride);
        (Self { rows: row, ..self }, Self { start, rows: self.rows - row, ..self })
    }

    /// The first `column` columns, and the others.
    ///
    /// # Panics
    ///
    /// Panics when there are fewer columns.
    pub fn split_at_column(self, column: usize) -> (Self, Self) {
        assert!(column <= self.columns, "split at column {column} of {}", self.columns);
        let start = self.start.wrapping_add(column);
        (Self { columns: column, ..self }, Self { start, columns: self.columns - column, ..self })
    }

    /// Blocks of `rows` by `columns`, smaller at the ends, each with its first row and column; in
    /// the order of rows of blocks.
    ///
    /// # Panics
    ///
    /// Panics when a block would be empty.
    pub fn blocks(self, rows: usize, columns: usize) -> Vec<(usize, usize, Self)> {
        assert!(rows > 0 && columns > 0, "blocks of {rows} by {columns}");
        let (high, wide) = (self.rows, self.columns);
        let mut blocks = Vec::with_capacity(high.div_ceil(rows) * wide.div_ceil(columns));
        let mut below = self;
        for row in (0..high).step_by(rows) {
            let (mut band, rest) = below.split_at_row(rows.min(high - row));
            for column in (0..wide).step_by(columns) {
                let (block, right) = band.split_at_column(columns.min(wide - column));
                blocks.push((row, column, block));
                band = right;
            }
            below = rest;
        }
        blocks
    }

    /// The elements as another type of the same layout.
    ///
    /// # Safety
    ///
    /// `U` has the layout of `T`, every value of `T` is one of `U`, and whatever is written to the
    /// result is a value of `T`.
    pub(crate) unsafe fn cast<U>(self) -> MatMut<'a, U> {
        let Self { start, rows, columns, row_stride, .. } = self;
        MatMut { start: start.cast(), rows, columns, row_stride, owner: PhantomData }
    }
}

impl<T> fmt::Debug for MatMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatMut")
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("row_stride", &self.row_stride)
            .finish_non_exhaustive()
    }
}

fn check_len(len: usize, rows: usize, columns: usize) {
    assert!(
        rows.checked_mul(columns) == Some(len),
        "a matrix of {rows} by {columns}: expected as many elements, got {len}"
    );
}

fn check_extent(len: usize, rows: usize, columns: usize, row_stride: usize) {
    let extent = match rows.checked_sub(1) {
        None => Some(0),
        Some(_) if columns == 0 => Some(0),
        Some(last) => last.checked_mul(row_stride).and_then(|at| at.checked_add(columns)),
    };
    assert!(
        extent.is_some_and(|extent| extent <= len),
        "{rows} rows of {columns} every {row_stride} do not lie in {len} elements"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::Threads;
    use std::panic::catch_unwind;

    #[test]
    fn blocks_cover_every_element_once() {
        for (rows, columns, stride) in [(7, 10, 10), (7, 10, 13), (1, 5, 0), (0, 4, 4), (3, 0, 2)] {
            for (high, wide) in [(1, 1), (3, 4), (7, 10), (20, 20)] {
                let mut values = vec![0; 7 * 13];
                let blocks = MatMut::strided(&mut values, rows, columns, stride).blocks(high, wide);
                Threads::Pool.each_of(blocks, |(_, _, mut block)| {
                    assert!(block.rows() <= high && block.columns() <= wide);
                    for row in 0..block.rows() {
                        block.row(row).iter_mut().for_each(|count| *count += 1);
                    }
                });
                for (at, &count) in values.iter().enumerate() {
                    let (row, column) = (at / stride.max(1), at % stride.max(1));
                    let inside = match stride {
                        0 => at < columns,
                        _ => row < rows && column < columns,
                    };
                    assert_eq!(count, i32::from(inside), "element {at} of {rows} by {columns}");
                }
            }
        }
    }

    #[test]
    fn a_matrix_outside_its_slice_or_with_rows_that_overlap_is_refused() {
        assert!(catch_unwind(|| MatRef::new(&[0.0; 5], 2, 3)).is_err());
        assert!(catch_unwind(|| MatRef::strided(&[0.0; 8], 2, 3, 6)).is_err());
        assert!(catch_unwind(|| MatRef::strided(&[0.0; 8], usize::MAX, 3, 6)).is_err());
        assert!(catch_unwind(|| MatMut::strided(&mut [0.0; 8], 2, 3, 2).rows()).is_err());
        assert!(catch_unwind(|| MatMut::new(&mut [0.0; 8], 2, 4).row(2)[0]).is_err());
        let split_at_column = |at| MatMut::new(&mut [0.0; 8], 2, 4).split_at_column(at).1.columns();
        assert!(catch_unwind(|| split_at_column(5)).is_err());
        let split_at_row = |at| MatMut::new(&mut [0.0; 8], 2, 4).split_at_row(at).1.rows();
        assert!(catch_unwind(|| split_at_row(3)).is_err());
    }

    #[test]
    fn a_transpose_has_the_same_elements() {
        let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let a = MatRef::strided(&values, 3, 2, 5).t();
        assert_eq!((a.rows(), a.columns(), a.row_stride(), a.column_stride()), (2, 3, 1, 5));
    }
}

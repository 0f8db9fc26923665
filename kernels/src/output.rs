//! Where a matrix product goes.

use std::mem::MaybeUninit;

use crate::matrix::MatMut;
use crate::simd::{LANES, Simd};

/// A matrix that a product replaces, or that it is added to. Accumulation starts at 0; the finished
/// product is added to the old value.
#[derive(Debug)]
pub struct Output<'a> {
    to: MatMut<'a, MaybeUninit<f32>>,
    add: bool,
}

impl<'a> Output<'a> {
    /// The product replaces what is there.
    pub fn set(to: MatMut<'a>) -> Self {
        // SAFETY: the layout is the same, and only numbers are written.
        Self { to: unsafe { to.cast() }, add: false }
    }

    /// The product is written to memory that need not have been initialised; all of it is then.
    pub fn init(to: MatMut<'a, MaybeUninit<f32>>) -> Self {
        Self { to, add: false }
    }

    /// The product is added to what is there.
    pub fn add(to: MatMut<'a>) -> Self {
        // SAFETY: the layout is the same, and only numbers are written.
        Self { to: unsafe { to.cast() }, add: true }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.to.rows()
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.to.columns()
    }

    /// The first `row` rows, and the others.
    ///
    /// # Panics
    ///
    /// Panics when there are fewer rows.
    pub fn split_at_row(self, row: usize) -> (Self, Self) {
        let (above, below) = self.to.split_at_row(row);
        (Self { to: above, ..self }, Self { to: below, ..self })
    }

    /// The first `column` columns, and the others.
    ///
    /// # Panics
    ///
    /// Panics when there are fewer columns.
    pub fn split_at_column(self, column: usize) -> (Self, Self) {
        let (left, right) = self.to.split_at_column(column);
        (Self { to: left, ..self }, Self { to: right, ..self })
    }

    /// Blocks of `rows` by `columns`, smaller at the ends, each with its first row and column; in
    /// the order of rows of blocks.
    ///
    /// # Panics
    ///
    /// Panics when a block would be empty.
    pub fn blocks(
        self,
        rows: usize,
        columns: usize,
    ) -> impl Iterator<Item = (usize, usize, Self)> + use<'a> {
        let add = self.add;
        let blocks = self.to.blocks(rows, columns).into_iter();
        blocks.map(move |(row, column, to)| (row, column, Self { to, add }))
    }

    /// Asks for the cache lines of a part of one row, which [`Self::write`] accesses next.
    #[inline(always)]
    pub(crate) fn prefetch<S: Simd>(&mut self, simd: S, row: usize, column: usize, columns: usize) {
        let to = &mut self.to.row(row)[column..][..columns];
        let mut from = 0;
        while from < columns {
            simd.prefetch(to[from..].as_ptr().cast());
            from += LANES;
        }
    }

    /// Writes, or adds, `values` to one row from `column` on.
    ///
    /// # Panics
    ///
    /// Panics when they do not fit.
    #[inline(always)]
    pub(crate) fn write<S: Simd>(&mut self, simd: S, row: usize, column: usize, values: &[f32]) {
        let add = self.add;
        let to = &mut self.to.row(row)[column..][..values.len()];
        if add {
            // SAFETY: an output that is added to was made of initialised numbers.
            let to = unsafe { to.assume_init_mut() };
            // No iterator adapters: within functions that enable a feature they were not inlined.
            let mut from = 0;
            while from < values.len() {
                let end = (from + LANES).min(values.len());
                let (to, values) = (&mut to[from..end], &values[from..end]);
                let sum = simd.add(simd.load_partial(to), simd.load_partial(values));
                simd.store_partial(to, sum);
                from = end;
            }
        } else {
            to.write_copy_of_slice(values);
        }
    }

    /// Writes `M` rows from `row` on, the first `count` lanes of `N` vectors from `column` on, or
    /// adds them.
    ///
    /// # Panics
    ///
    /// Panics when they do not fit, or when there are more than the vectors have.
    #[inline(always)]
    pub(crate) fn write_tile<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        (row, column): (usize, usize),
        count: usize,
        values: [[S::V; N]; M],
    ) {
        if count < N * LANES {
            // Copied first: vectors that a loop indexes are not kept in registers before it either.
            let mut numbers = [[[0.0; LANES]; N]; M];
            for i in 0..M {
                for n in 0..N {
                    simd.store(&mut numbers[i][n], values[i][n]);
                }
            }
            for (i, numbers) in numbers.iter().enumerate() {
                for (at, numbers) in (0..count).step_by(LANES).zip(numbers) {
                    let (value, count) = (simd.load(numbers), LANES.min(count - at));
                    self.write_lanes(simd, row + i, column + at, count, value);
                }
            }
            return;
        }
        let (start, stride) = self.to.block(row, column, M, N * LANES);
        let at = |i: usize, n: usize| start.wrapping_add(i * stride + n * LANES).cast();
        if self.add {
            for i in 0..M {
                for n in 0..N {
                    // SAFETY: inside the block; what is added to was made of initialised numbers.
                    let to: &mut [f32; LANES] = unsafe { &mut *at(i, n) };
                    simd.store(to, simd.add(simd.load(to), values[i][n]));
                }
            }
            return;
        }
        for i in 0..M {
            for n in 0..N {
                let mut value = [0.0; LANES];
                simd.store(&mut value, values[i][n]);
                // SAFETY: inside the block.
                unsafe { at(i, n).write(value) };
            }
        }
    }

    /// Writes the first `count` lanes to one row from `column` on, or adds them.
    ///
    /// # Panics
    ///
    /// Panics when they do not fit, or when there are more than sixteen.
    #[inline(always)]
    pub(crate) fn write_lanes<S: Simd>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        count: usize,
        value: S::V,
    ) {
        let to = &mut self.to.row(row)[column..][..count];
        if self.add {
            // SAFETY: an output that is added to was made of initialised numbers.
            let to = unsafe { to.assume_init_mut() };
            return match to.as_mut_array() {
                Some(to) => simd.store(to, simd.add(simd.load(to), value)),
                None => simd.store_partial(to, simd.add(simd.load_partial(to), value)),
            };
        }
        let mut values = [0.0; LANES];
        simd.store(&mut values, value);
        let start = to.as_mut_ptr().cast::<f32>();
        // SAFETY: there is room for `count` numbers, and `values` has as many. A copy of known
        // length is one instruction.
        unsafe {
            match count {
                LANES => start.cast::<[f32; LANES]>().write(values),
                _ => start.copy_from_nonoverlapping(values.as_ptr(), count),
            }
        }
    }
}

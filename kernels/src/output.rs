//! Where a matrix product goes.

use std::mem::MaybeUninit;

use crate::matrix::MatMut;
use crate::simd::{LANES, Simd};

/// A matrix that a product replaces, or that it is added to. An addition takes place once the
/// product is complete: it never enters the product's sums.
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

    /// Blocks of `rows` by `columns`, smaller at the ends, in the order of rows of blocks; each
    /// owns its elements.
    ///
    /// # Panics
    ///
    /// Panics when a block would be empty.
    pub fn blocks(self, rows: usize, columns: usize) -> impl Iterator<Item = Self> {
        let add = self.add;
        self.to.blocks(rows, columns).into_iter().map(move |to| Self { to, add })
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
}

//! What changes weights on their way to a pass.

use std::fmt::Debug;
use std::sync::Arc;

/// Computes other values of the trainable parameters, element by element: a perturbation, or an
/// update.
///
/// A parameter is named by its place in [`crate::Model::trainable`], its elements by their place in
/// the row-major values. A tensor may come in parts of any size and in any order, so the result for
/// an element depends on its place and its value alone.
pub trait Transform: Debug + Send + Sync {
    /// Writes what the elements from `first` on become to `to`.
    ///
    /// Shapes: `from` and `to` have the same length.
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]);

    /// [`Self::apply`] to values in place, by way of a copy of [`PIECE`] values at a time. To be
    /// replaced by what needs no copy, or costs less in one piece.
    fn apply_in_place(&self, parameter: usize, first: usize, values: &mut [f32]) {
        let mut from = vec![0.0; values.len().min(PIECE)];
        let mut first = first;
        for to in values.chunks_mut(PIECE) {
            let from = &mut from[..to.len()];
            from.copy_from_slice(to);
            self.apply(parameter, first, from, to);
            first += to.len();
        }
    }

    /// [`Self::apply`] to some rows of a matrix, such as the embeddings of a pass's tokens. To be
    /// replaced by what rows have in common, such as a factor of noise of low rank.
    ///
    /// Shapes: `from` and `to` (rows, width).
    fn apply_rows(&self, parameter: usize, rows: &[u32], from: &[f32], to: &mut [f32]) {
        let width = from.len() / rows.len().max(1);
        for (i, &row) in rows.iter().enumerate() {
            let own = i * width..(i + 1) * width;
            self.apply(parameter, row as usize * width, &from[own.clone()], &mut to[own]);
        }
    }
}

/// Values that [`Transform::apply_in_place`] copies at a time.
pub const PIECE: usize = 1 << 16;

impl<T: Transform + ?Sized> Transform for Arc<T> {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        (**self).apply(parameter, first, from, to);
    }

    fn apply_in_place(&self, parameter: usize, first: usize, values: &mut [f32]) {
        (**self).apply_in_place(parameter, first, values);
    }

    fn apply_rows(&self, parameter: usize, rows: &[u32], from: &[f32], to: &mut [f32]) {
        (**self).apply_rows(parameter, rows, from, to);
    }
}

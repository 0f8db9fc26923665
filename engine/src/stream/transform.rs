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

    /// [`Self::apply`] to values in place.
    fn apply_in_place(&self, parameter: usize, first: usize, values: &mut [f32]) {
        let mut from = [0.0; 1024];
        let mut first = first;
        for to in values.chunks_mut(from.len()) {
            let from = &mut from[..to.len()];
            from.copy_from_slice(to);
            self.apply(parameter, first, from, to);
            first += to.len();
        }
    }
}

impl<T: Transform + ?Sized> Transform for Arc<T> {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        (**self).apply(parameter, first, from, to);
    }

    fn apply_in_place(&self, parameter: usize, first: usize, values: &mut [f32]) {
        (**self).apply_in_place(parameter, first, values);
    }
}

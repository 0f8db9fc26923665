//! The fused forms: `f32` on CPU, on plain slices, each with its own backward.

mod attention;
mod rows;

pub use attention::{Heads, attention, attention_backward};
pub use rows::{rms_norm, rms_norm_backward, rope, swiglu, swiglu_backward};

use super::kernels::product::{How, Into, View, made, product};
use crate::Products;

/// A linear map without bias: `y = x W^T`.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    weight: &'a [f32],
    width: usize,
    products: Products,
}

impl<'a> Linear<'a> {
    /// The map of a weight.
    ///
    /// Shapes: `weight` (out, width).
    ///
    /// # Panics
    ///
    /// Panics when `weight` has no whole rows of `width`.
    pub fn new(weight: &'a [f32], width: usize, products: Products) -> Self {
        assert!(width > 0 && weight.len().is_multiple_of(width), "whole rows of {width}");
        Self { weight, width, products }
    }

    /// Features that it yields.
    fn out(&self) -> usize {
        self.weight.len() / self.width
    }

    /// `x W^T`.
    ///
    /// Shapes: `x` (rows, width); result (rows, out).
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (lhs, rhs) = (View::rows(x, self.width), View::rows(self.weight, self.width).t());
        made((x.len() / self.width, self.out(), self.width), lhs, rhs, How::pool(self.products))
    }

    /// `y + x W^T`, into `y`.
    ///
    /// Shapes: `x` (rows, width), `y` (rows, out).
    pub fn forward_add(&self, x: &[f32], y: &mut [f32]) {
        let (width, out) = (self.width, self.out());
        let shape = (x.len() / width, out, width);
        let how = How { into: Into::Add, ..How::pool(self.products) };
        product(y, out, shape, View::rows(x, width), View::rows(self.weight, width).t(), how);
    }

    /// The gradient in `x`, given that of the result: `dy W`.
    ///
    /// Shapes: `dy` (rows, out); result (rows, width).
    pub fn input_gradient(&self, dy: &[f32]) -> Vec<f32> {
        let (width, out) = (self.width, self.out());
        let (lhs, rhs) = (View::rows(dy, out), View::rows(self.weight, width));
        made((dy.len() / out, width, out), lhs, rhs, How::pool(self.products))
    }

    /// [`Self::input_gradient`], added to `dx`.
    ///
    /// Shapes: `dy` (rows, out), `dx` (rows, width).
    pub fn input_gradient_add(&self, dy: &[f32], dx: &mut [f32]) {
        let (width, out) = (self.width, self.out());
        let shape = (dy.len() / out, width, out);
        let how = How { into: Into::Add, ..How::pool(self.products) };
        product(dx, width, shape, View::rows(dy, out), View::rows(self.weight, width), how);
    }

    /// The gradient in the weight, given that of the result: `dy^T x`.
    ///
    /// Shapes: `x` (rows, width), `dy` (rows, out); result (out, width).
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (lhs, rhs) = (View::rows(dy, self.out()).t(), View::rows(x, self.width));
        made((self.out(), self.width, dy.len() / self.out()), lhs, rhs, How::pool(self.products))
    }
}

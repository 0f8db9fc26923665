//! Linear maps, forward and backward.

use crate::Products;
use kernels::linear::{self, Matrix, linear, linear_add};
use kernels::product::{How, Into, View, made, product};
use kernels::threads::with_team;

/// Rows for which a weight of `f32` is not laid out anew but read as it lies, at most: on AVX2 a prompt of
/// 16 is twice as fast so, one of 64 faster by a fifth, one of 96 not.
const FEW: usize = 64;

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

    /// As the kernels of few rows take it, with the number of rows, where `x` has no more.
    fn of_few(&self, x: &[f32]) -> Option<(linear::Linear<'a>, usize)> {
        let rows = x.len() / self.width;
        let few = self.products == Products::F32 && (1..=FEW).contains(&rows);
        few.then(|| (linear::Linear::plain(Matrix::F32(self.weight)), rows))
    }

    /// `x W^T`.
    ///
    /// Shapes: `x` (rows, width); result (rows, out).
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        if let Some((w, rows)) = self.of_few(x) {
            let mut y = vec![0.0; rows * self.out()];
            with_team(|split| linear(split, x, w, rows, &mut y));
            return y;
        }
        let (lhs, rhs) = (View::rows(x, self.width), View::rows(self.weight, self.width).t());
        made((x.len() / self.width, self.out(), self.width), lhs, rhs, How::pool(self.products))
    }

    /// `y + x W^T`, into `y`.
    ///
    /// Shapes: `x` (rows, width), `y` (rows, out).
    pub fn forward_add(&self, x: &[f32], y: &mut [f32]) {
        if let Some((w, rows)) = self.of_few(x) {
            return with_team(|split| linear_add(split, x, w, rows, y));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: usize, len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0).collect()
    }

    fn worst(got: &[f32], want: impl Iterator<Item = f64>) -> f64 {
        let differences = got.iter().zip(want).map(|(&a, b)| (f64::from(a) - b).abs());
        differences.fold(0.0, |worst: f64, d| if d > worst || d.is_nan() { d } else { worst })
    }

    #[test]
    fn few_rows_and_many_are_the_product() {
        let (width, out) = (70, 33);
        let weight = noise(1, out * width);
        let map = Linear::new(&weight, width, Products::F32);
        for rows in [1, 5, FEW, FEW + 1] {
            let (x, added) = (noise(2, rows * width), noise(3, rows * out));
            let dot = |i: usize| -> f64 {
                let (x, w) = (&x[i / out * width..], &weight[i % out * width..]);
                x.iter().zip(w).take(width).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
            };
            let forward = map.forward(&x);
            assert!(worst(&forward, (0..rows * out).map(dot)) < 1e-5, "{rows} rows");
            let mut y = added.clone();
            map.forward_add(&x, &mut y);
            let sum = (0..rows * out).map(|i| dot(i) + f64::from(added[i]));
            assert!(worst(&y, sum) < 1e-5, "{rows} rows");
        }
    }
}

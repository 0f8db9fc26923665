//! Linear maps, forward and backward.

use crate::MatmulPrecision;
use crate::weights::Linear;
use kernels::Products;
use kernels::linear::{Matrix, linear, linear_add};
use kernels::product::{How, Into, View, made, product};
use kernels::threads::with_team;

/// Up to this many rows the weight is read in place instead of being packed. AVX2: twice as fast at
/// 16 rows, 1.2 times at 64, even at 96.
const FEW: usize = 64;

/// A weight as a slice, and how it multiplies.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    /// Rows of `width`, or a vector.
    pub(crate) values: &'a [f32],
    width: usize,
    precision: MatmulPrecision,
}

impl Linear<Weight<'_>> {
    /// `x W^T + b`.
    ///
    /// Shapes: `x` (rows, in); result (rows, out).
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let Self::Dense { weight, bias } = self;
        let mut y = weight.forward(x);
        if let Some(bias) = bias {
            add_bias(&mut y, bias.values);
        }
        y
    }

    /// Adds `x W^T + b` to `y`.
    ///
    /// Shapes: `x` (rows, in), `y` (rows, out).
    pub fn forward_add(&self, x: &[f32], y: &mut [f32]) {
        let Self::Dense { weight, bias } = self;
        weight.forward_add(x, y);
        if let Some(bias) = bias {
            add_bias(y, bias.values);
        }
    }

    /// Adds the gradient with respect to `x` to `dx`, given that with respect to the result; returns
    /// those with respect to the parameters that `want` names.
    ///
    /// Shapes: `x` and `dx` (rows, in), `dy` (rows, out).
    pub fn backward(
        &self,
        x: &[f32],
        dy: &[f32],
        want: &Linear<bool>,
        dx: &mut [f32],
    ) -> Linear<Option<Vec<f32>>> {
        let Self::Dense { weight, bias } = self;
        let Linear::Dense { weight: want_weight, bias: want_bias } = want;
        let d_weight = want_weight.then(|| weight.weight_gradient(x, dy));
        weight.input_gradient_add(dy, dx);
        let d_bias = bias.zip(*want_bias);
        let d_bias = d_bias.map(|(bias, want)| want.then(|| columns(dy, bias.values.len())));
        Linear::Dense { weight: d_weight, bias: d_bias }
    }
}

impl<'a> Weight<'a> {
    /// A weight as a slice.
    ///
    /// Shapes: `values` (out, width), or (width) for a vector.
    ///
    /// # Panics
    ///
    /// Panics when `values` has no whole rows of `width`.
    pub fn new(values: &'a [f32], width: usize, precision: MatmulPrecision) -> Self {
        assert!(width > 0 && values.len().is_multiple_of(width), "whole rows of {width}");
        Self { values, width, precision }
    }

    /// Number of rows.
    fn out(&self) -> usize {
        self.values.len() / self.width
    }

    /// The operand of the kernels for few rows, and the number of rows, where `x` has no more.
    fn of_few(&self, x: &[f32]) -> Option<(kernels::linear::Linear<'a>, usize)> {
        let rows = x.len() / self.width;
        let few = self.precision == MatmulPrecision::F32 && (1..=FEW).contains(&rows);
        few.then(|| (kernels::linear::Linear::plain(Matrix::F32(self.values)), rows))
    }

    fn products(&self) -> Products {
        self.precision.into()
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
        let (lhs, rhs) = (View::rows(x, self.width), View::rows(self.values, self.width).t());
        made((x.len() / self.width, self.out(), self.width), lhs, rhs, How::pool(self.products()))
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
        let how = How { into: Into::Add, ..How::pool(self.products()) };
        product(y, out, shape, View::rows(x, width), View::rows(self.values, width).t(), how);
    }

    /// The gradient with respect to `x`, given that with respect to the result: `dy W`.
    ///
    /// Shapes: `dy` (rows, out); result (rows, width).
    pub fn input_gradient(&self, dy: &[f32]) -> Vec<f32> {
        let (width, out) = (self.width, self.out());
        let (lhs, rhs) = (View::rows(dy, out), View::rows(self.values, width));
        made((dy.len() / out, width, out), lhs, rhs, How::pool(self.products()))
    }

    /// [`Self::input_gradient`], added to `dx`.
    ///
    /// Shapes: `dy` (rows, out), `dx` (rows, width).
    pub fn input_gradient_add(&self, dy: &[f32], dx: &mut [f32]) {
        let (width, out) = (self.width, self.out());
        let shape = (dy.len() / out, width, out);
        let how = How { into: Into::Add, ..How::pool(self.products()) };
        product(dx, width, shape, View::rows(dy, out), View::rows(self.values, width), how);
    }

    /// The gradient with respect to the weight, given that with respect to the result: `dy^T x`.
    ///
    /// Shapes: `x` (rows, width), `dy` (rows, out); result (out, width).
    pub fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (lhs, rhs) = (View::rows(dy, self.out()).t(), View::rows(x, self.width));
        made((self.out(), self.width, dy.len() / self.out()), lhs, rhs, How::pool(self.products()))
    }
}

/// Adds the bias to each row.
fn add_bias(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
    }
}

/// Sums of columns.
fn columns(x: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for row in x.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sums
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
        let map = Weight::new(&weight, width, MatmulPrecision::F32);
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

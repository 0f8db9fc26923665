//! Linear maps, forward and backward.

use crate::MatmulPrecision;
use crate::weights::{Linear, Lora};
use kernels::linear::{self, BlockMatrix, Matrix, linear_add, linears_to_vec};
use kernels::matmul::bf16::PackedBf16;
use kernels::matmul::{product_in, product_to_vec};
use kernels::matrix::{MatMut, MatRef};
use kernels::output::Output;
use kernels::threads::Threads;

/// A weight as kernels read it, and the precision of its products.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    values: Values<'a>,
    width: usize,
    precision: MatmulPrecision,
    /// A copy in bf16 that was packed before. Without it, each product in bf16 packs its own.
    copy: Option<&'a PackedBf16>,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    /// Rows, or a vector.
    F32(&'a [f32]),
    /// Rows that are decoded as they are multiplied.
    Stored(BlockMatrix<'a>),
}

/// `x W^T + b` for maps of one precision that share `x`, which is packed once; then what adapters
/// add.
///
/// Shapes: `x` (rows, in); results (rows, out).
pub(super) fn forward<const N: usize>(
    threads: Threads<'_>,
    maps: [&Linear<Weight<'_>>; N],
    x: &[f32],
) -> [Vec<f32>; N] {
    let copies = maps.map(|map| map.bf16_copy(threads));
    let mut copies = copies.iter();
    let operands = maps.map(|map| map.operand(copies.next().and_then(Option::as_ref)));
    let mut ys = linears_to_vec(threads, x, maps[0].rows(x), operands);
    for (map, y) in maps.iter().zip(&mut ys) {
        map.adapt(threads, x, y);
    }
    ys
}

impl Linear<Weight<'_>> {
    /// Number of rows of `x`.
    fn rows(&self, x: &[f32]) -> usize {
        x.len() / self.weight.width
    }

    /// A copy for one product, where it is in bf16 and there is no copy yet.
    fn bf16_copy(&self, threads: Threads<'_>) -> Option<PackedBf16> {
        let Weight { width, .. } = self.weight;
        let values = self.weight.unrounded()?;
        Some(PackedBf16::new(threads, MatRef::new(values, values.len() / width, width)))
    }

    /// The operand of a kernel. `copy` is that of [`Self::bf16_copy`].
    ///
    /// # Panics
    ///
    /// Panics when there is a copy for products in f32, or none for products in bf16.
    fn operand<'a>(&'a self, copy: Option<&'a PackedBf16>) -> linear::Linear<'a> {
        let Self { weight, bias, lora: _ } = self;
        let matrix = match (weight.precision, weight.copy.or(copy)) {
            (MatmulPrecision::Bf16, Some(copy)) => Matrix::Bf16(copy),
            (precision, None) => weight.matrix(precision),
            (MatmulPrecision::F32, Some(_)) => panic!("products in f32, with a copy in bf16"),
        };
        linear::Linear { weight: matrix, bias: bias.as_ref().map(Weight::vector) }
    }

    /// `x W^T + b`.
    ///
    /// Shapes: `x` (rows, in); result (rows, out).
    pub fn forward(&self, threads: Threads<'_>, x: &[f32]) -> Vec<f32> {
        let [y] = forward(threads, [self], x);
        y
    }

    /// Adds `x W^T + b` to `y`, then what an adapter adds.
    ///
    /// Shapes: `x` (rows, in), `y` (rows, out).
    pub fn forward_add(&self, threads: Threads<'_>, x: &[f32], y: &mut [f32]) {
        let copy = self.bf16_copy(threads);
        linear_add(threads, x, self.operand(copy.as_ref()), self.rows(x), y);
        self.adapt(threads, x, y);
    }

    /// Adds `(s x A^T) B^T` to `y`, where there is an adapter.
    ///
    /// Shapes: `x` (rows, in), `y` (rows, out).
    fn adapt(&self, threads: Threads<'_>, x: &[f32], y: &mut [f32]) {
        let Some(lora) = &self.lora else { return };
        let u = lora.down(threads, x);
        linear_add(threads, &u, linear::Linear::plain(lora.b.plain()), self.rows(x), y);
    }

    /// Adds the gradient with respect to `x` to `dx`, given that with respect to the result;
    /// returns those with respect to the parameters that `want` names.
    ///
    /// Shapes: `x` and `dx` (rows, in), `dy` (rows, out).
    pub fn backward(
        &self,
        x: &[f32],
        dy: &[f32],
        want: &Linear<bool>,
        dx: &mut [f32],
    ) -> Linear<Option<Vec<f32>>> {
        let Self { weight, bias, lora } = self;
        let d_weight = want.weight.then(|| weight.weight_gradient(x, dy));
        weight.input_gradient_add(dy, dx);
        let d_bias = bias.zip(want.bias);
        let d_bias = d_bias.map(|(bias, want)| want.then(|| columns(dy, bias.width)));
        let d_lora = lora.as_ref().zip(want.lora.as_ref());
        let d_lora = d_lora.map(|(lora, want)| lora.backward(x, dy, want, dx));
        Linear { weight: d_weight, bias: d_bias, lora: d_lora }
    }
}

impl Lora<Weight<'_>> {
    /// `u = s x A^T`.
    ///
    /// Shapes: `x` (rows, in); result (rows, rank).
    fn down(&self, threads: Threads<'_>, x: &[f32]) -> Vec<f32> {
        let (rows, a) = (x.len() / self.a.width, linear::Linear::plain(self.a.plain()));
        let [mut u] = linears_to_vec(threads, x, rows, [a]);
        self.scaled(&mut u);
        u
    }

    fn scaled(&self, values: &mut [f32]) {
        for value in values {
            *value *= self.scale as f32;
        }
    }

    /// Adds the gradient with respect to `x` to `dx`; returns those with respect to `A` and `B`
    /// that `want` names. `u` is computed again.
    ///
    /// Shapes: `x` and `dx` (rows, in), `dy` (rows, out).
    fn backward(
        &self,
        x: &[f32],
        dy: &[f32],
        want: &Lora<bool>,
        dx: &mut [f32],
    ) -> Lora<Option<Vec<f32>>> {
        let b = want.b.then(|| self.b.weight_gradient(&self.down(Threads::Pool, x), dy));
        let mut du = vec![0.0; x.len() / self.a.width * self.b.width];
        self.b.input_gradient_add(dy, &mut du);
        self.scaled(&mut du);
        let a = want.a.then(|| self.a.weight_gradient(x, &du));
        self.a.input_gradient_add(&du, dx);
        Lora { a, b, scale: self.scale }
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
        Self { values: Values::F32(values), width, precision, copy: None }
    }

    /// A matrix in the format of a file.
    pub(super) fn stored(matrix: BlockMatrix<'a>, precision: MatmulPrecision) -> Self {
        Self { values: Values::Stored(matrix), width: matrix.width(), precision, copy: None }
    }

    /// The same weight with a copy in bf16, which products then use.
    pub(super) fn with_copy(self, copy: Option<&'a PackedBf16>) -> Self {
        Self { copy, ..self }
    }

    /// The values of a vector.
    ///
    /// # Panics
    ///
    /// Panics on a matrix in the format of a file.
    pub(super) fn vector(&self) -> &'a [f32] {
        match self.values {
            Values::F32(values) => values,
            Values::Stored(_) => panic!("a vector is in f32"),
        }
    }

    /// The values that a product in bf16 has to round first; `None` where there are none.
    pub(super) fn unrounded(&self) -> Option<&'a [f32]> {
        match (self.values, self.precision, self.copy) {
            (Values::F32(values), MatmulPrecision::Bf16, None) => Some(values),
            _ => None,
        }
    }

    /// The operand of a kernel without a copy.
    ///
    /// # Panics
    ///
    /// Panics on products in bf16 with a weight in f32.
    pub(super) fn matrix(&self, precision: MatmulPrecision) -> Matrix<'a> {
        match (self.values, precision) {
            (Values::Stored(matrix), precision) => Matrix::Blocks(matrix, precision),
            (Values::F32(values), MatmulPrecision::F32) => Matrix::F32(values),
            (Values::F32(_), MatmulPrecision::Bf16) => panic!("products in bf16 without a copy"),
        }
    }

    /// The operand of a kernel, in `f32`.
    fn plain(&self) -> Matrix<'a> {
        self.matrix(MatmulPrecision::F32)
    }

    /// Length of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub(super) fn out(&self) -> usize {
        match self.values {
            Values::F32(values) => values.len() / self.width,
            Values::Stored(matrix) => matrix.out(),
        }
    }

    /// Adds the gradient with respect to `x`, given that with respect to the result: `dy W`.
    ///
    /// Shapes: `dy` (rows, out), `dx` (rows, width).
    fn input_gradient_add(&self, dy: &[f32], dx: &mut [f32]) {
        let (rows, out) = (dx.len() / self.width, self.out());
        let (dy, dx) = (MatRef::new(dy, rows, out), MatMut::new(dx, rows, self.width));
        match self.values {
            Values::F32(values) => {
                let matrix = MatRef::new(values, out, self.width);
                product_in(self.precision, Threads::Pool, dy, matrix, Output::add(dx));
            }
            Values::Stored(matrix) => {
                matrix.input_gradient_add(Threads::Pool, self.precision, dy, dx);
            }
        }
    }

    /// The gradient with respect to the weight, given that with respect to the result: `dy^T x`.
    ///
    /// Shapes: `x` (rows, width), `dy` (rows, out); result (out, width).
    fn weight_gradient(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.width;
        let (dy, x) = (MatRef::new(dy, rows, self.out()), MatRef::new(x, rows, self.width));
        product_to_vec(self.precision, Threads::Pool, dy.t(), x)
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

    fn map<'a>(
        weight: &'a [f32],
        bias: &'a [f32],
        width: usize,
        precision: MatmulPrecision,
    ) -> Linear<Weight<'a>> {
        let bias = Weight::new(bias, bias.len(), precision);
        Linear::dense(Weight::new(weight, width, precision), Some(bias))
    }

    #[test]
    fn maps_that_share_rows_equal_each_alone_and_a_residual_is_added_last() {
        let (rows, width) = (7, 70);
        let (w, v, x) = (noise(1, 33 * width), noise(2, 20 * width), noise(3, rows * width));
        let (b, c) = (noise(4, 33), noise(5, 20));
        for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
            let (first, second) = (map(&w, &b, width, precision), map(&v, &c, width, precision));
            let [y, z] = forward(Threads::Pool, [&first, &second], &x);
            let alone = [&first, &second].map(|map| map.forward(Threads::One, &x));
            assert_eq!([&y, &z], alone.each_ref());
            let copy = PackedBf16::new(Threads::One, MatRef::new(&w, 33, width));
            let copied = Weight::new(&w, width, precision)
                .with_copy((precision == MatmulPrecision::Bf16).then_some(&copy));
            let copied = Linear::dense(copied, Some(Weight::new(&b, b.len(), precision)));
            assert_eq!(y, copied.forward(Threads::Pool, &x));
            let residual = noise(6, y.len());
            let mut sum = residual.clone();
            first.forward_add(Threads::Pool, &x, &mut sum);
            let want: Vec<f32> = residual.iter().zip(&y).map(|(a, b)| a + b).collect();
            assert_eq!(sum, want);
        }
    }
}

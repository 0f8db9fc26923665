//! Linear maps of rows, with weights in either format: what decoding spends its time on.

mod blocks;

use std::mem::discriminant;

use crate::MatmulPrecision;
use crate::matmul::{self, bf16};
use crate::matrix::{MatMut, MatRef};
use crate::output::Output;
use crate::threads::Threads;

pub use blocks::BlockMatrix;

/// A weight, (out, in).
#[derive(Debug, Clone, Copy)]
pub enum Matrix<'a> {
    /// As it is.
    F32(&'a [f32]),
    /// Rounded to bf16 and packed.
    Bf16(&'a bf16::PackedBf16),
    /// In the blocks of a GGUF tensor, decoded a tile at a time, and in what precision a tile is
    /// multiplied.
    Blocks(BlockMatrix<'a>, MatmulPrecision),
}

impl Matrix<'_> {
    /// Output features, given the input width.
    fn out(self, width: usize) -> usize {
        match self {
            Self::F32(values) => values.len() / width,
            Self::Bf16(packed) => packed.out(),
            Self::Blocks(blocks, _) => blocks.out(),
        }
    }
}

/// One weight with what is added to its product.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// (out, in)
    pub weight: Matrix<'a>,
    /// (out)
    pub bias: Option<&'a [f32]>,
}

impl<'a> Linear<'a> {
    /// A weight without bias.
    pub fn plain(weight: Matrix<'a>) -> Self {
        Self { weight, bias: None }
    }

    /// With where its product goes; [`None`] when the weight is in another format.
    fn of_f32(self, y: Output<'a>) -> Option<matmul::F32Map<'a>> {
        let Matrix::F32(weight) = self.weight else { return None };
        Some(matmul::F32Map { weight, bias: self.bias, y })
    }

    /// With where its product goes; [`None`] when the weight is in another format.
    fn of_bf16(self, y: Output<'a>) -> Option<bf16::Bf16Map<'a>> {
        let Matrix::Bf16(weight) = self.weight else { return None };
        Some(bf16::Bf16Map { weight, bias: self.bias, y })
    }
}

/// `y = x W^T + b`.
///
/// Shapes: `x` (rows, in), `y` (rows, out).
///
/// # Panics
///
/// Panics unless the shapes fit.
pub fn linear(threads: Threads<'_>, x: &[f32], w: Linear<'_>, rows: usize, y: &mut [f32]) {
    linears(threads, x, rows, [(w, y)]);
}

/// `y = y + (x W^T + b)`.
///
/// Shapes: as [`linear`].
///
/// # Panics
///
/// As [`linear`].
pub fn linear_add(threads: Threads<'_>, x: &[f32], w: Linear<'_>, rows: usize, y: &mut [f32]) {
    if let Some(columns) = y.len().checked_div(rows) {
        forward(threads, x, rows, [(w, Output::add(MatMut::new(y, rows, columns)))]);
    }
}

/// [`linear`] for several weights on the same rows, which are packed once if the weights have one
/// format.
fn linears<const N: usize>(
    threads: Threads<'_>,
    x: &[f32],
    rows: usize,
    maps: [(Linear<'_>, &mut [f32]); N],
) {
    if rows > 0 {
        let outputs = maps.map(|(map, y)| {
            let columns = y.len() / rows;
            (map, Output::set(MatMut::new(y, rows, columns)))
        });
        forward(threads, x, rows, outputs);
    }
}

/// [`linear`] for several weights on the same rows, which are packed once if the weights have one
/// format, into new vectors. They are not cleared first, which one thread would do alone.
///
/// # Panics
///
/// As [`linear`].
pub fn linears_to_vec<const N: usize>(
    threads: Threads<'_>,
    x: &[f32],
    rows: usize,
    maps: [Linear<'_>; N],
) -> [Vec<f32>; N] {
    if rows == 0 {
        return [const { Vec::new() }; N];
    }
    let out = maps.map(|map| map.weight.out(x.len() / rows));
    let mut ys = out.map(|out| Vec::with_capacity(rows * out));
    {
        let mut spare = ys.iter_mut().zip(out);
        let outputs = maps.map(|map| {
            let (y, out) = spare.next().expect("a vector for each map");
            let to = &mut Vec::<f32>::spare_capacity_mut(y)[..rows * out];
            (map, Output::init(MatMut::new(to, rows, out)))
        });
        forward(threads, x, rows, outputs);
    }
    for (y, out) in ys.iter_mut().zip(out) {
        // SAFETY: there is room for all elements, and the product has written each of them.
        unsafe { y.set_len(rows * out) }
    }
    ys
}

fn forward<'a, const N: usize>(
    threads: Threads<'_>,
    x: &[f32],
    rows: usize,
    maps: [(Linear<'a>, Output<'a>); N],
) {
    let Some((first, _)) = maps.first() else { return };
    let format = discriminant(&first.weight);
    let differ = maps.iter().any(|(map, _)| discriminant(&map.weight) != format);
    let x = MatRef::new(x, rows, x.len() / rows);
    if !differ {
        let same = "weights of one format";
        match first.weight {
            Matrix::F32(_) => {
                return matmul::forward(
                    threads,
                    x,
                    maps.map(|(map, y)| map.of_f32(y).expect(same)),
                );
            }
            Matrix::Bf16(_) => {
                return bf16::forward(threads, x, maps.map(|(map, y)| map.of_bf16(y).expect(same)));
            }
            Matrix::Blocks(..) => {}
        }
    }
    // Each by itself: of blocks, what is packed of `x` is little against what is decoded.
    for (Linear { weight, bias }, y) in maps {
        match weight {
            Matrix::F32(weight) => {
                matmul::forward(threads, x, [matmul::F32Map { weight, bias, y }]);
            }
            Matrix::Bf16(weight) => bf16::forward(threads, x, [bf16::Bf16Map { weight, bias, y }]),
            Matrix::Blocks(blocks, precision) => blocks.forward(threads, precision, x, bias, y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::bf16::PackedBf16;
    use crate::testing::noise;
    use crate::threads::with_team;

    #[test]
    fn several_at_once_match_single_products() {
        let (rows, width) = (3, 96);
        let (x, w, v) = (noise(1, rows * width), noise(2, 700 * width), noise(3, 700 * width));
        let biases = [noise(4, 700), noise(5, 700)];
        let with_bias = |weight, bias| Linear { weight: Matrix::F32(weight), bias: Some(bias) };
        let (w, v) = (with_bias(&w, &biases[0]), with_bias(&v, &biases[1]));
        let (mut a, mut b) = (vec![0.0; rows * 700], vec![0.0; rows * 700]);
        linear(Threads::One, &x, w, rows, &mut a);
        linear(Threads::One, &x, v, rows, &mut b);
        let (mut c, mut d) = (vec![0.0; rows * 700], vec![0.0; rows * 700]);
        with_team(|threads| linears(threads, &x, rows, [(w, &mut c), (v, &mut d)]));
        assert_eq!((&a, &b), (&c, &d));

        // Formats may differ.
        let rounded =
            PackedBf16::new(Threads::One, MatRef::new(&noise(3, 700 * width), 700, width));
        let rounded = Linear::plain(Matrix::Bf16(&rounded));
        let mixed = linears_to_vec(Threads::One, &x, rows, [w, rounded]);
        let [alone] = linears_to_vec(Threads::One, &x, rows, [rounded]);
        assert_eq!(mixed, [a.clone(), alone]);

        with_team(|threads| linear_add(threads, &x, v, rows, &mut c));
        let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
        assert_eq!(c, sum);
    }
}

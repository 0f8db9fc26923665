//! How much an adapter adds to the weights of its base.

use candle::{DType, Device, Tensor};
use rayon::prelude::*;

use super::Adapter;
use crate::Result;
use crate::weights::{BlockLora, Lora};

/// Columns of all rows that are multiplied before the next ones: they stay in a cache.
const TILE: usize = 256;

/// Sums of a product of two rows, so that no addition waits for the one before it.
const SUMS: usize = 8;

impl Adapter {
    /// The Frobenius norm of what it adds to all weights together: the root of the sum of the
    /// squares of all entries of `s B A`.
    ///
    /// No product `B A` is computed: the squares of its entries add up to the sum of the products
    /// of the entries of `A A^T` and `B^T B`, which have the rank as both sides and are symmetric.
    /// All sums are in f64, and their order does not depend on the number of threads.
    ///
    /// # Errors
    ///
    /// Fails when the device does not give the values.
    pub fn update_norm(&self) -> Result<f64> {
        let lora = self.blocks.iter().flat_map(|BlockLora(parts)| parts.iter().flatten());
        // By this thread: not every device gives its values to every thread.
        let host =
            |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.detach().to_device(&Device::Cpu)?) };
        let maps = lora.map(|lora| lora.as_ref().try_map(host)).collect::<Result<Vec<_>>>()?;
        let squares = maps.par_iter().map(squares).collect::<Result<Vec<f64>>>()?;
        let squares = squares.into_iter().sum::<f64>();
        // Rounding may leave less than nothing of a product that is almost zero. NaN stays.
        Ok(if squares <= 0.0 { 0.0 } else { squares.sqrt() })
    }
}

/// The sum of the squares of all entries of `s B A`.
fn squares(lora: &Lora<Tensor>) -> Result<f64> {
    let rank = lora.a.dim(0)?;
    let (a, b) = (gram(&lora.a)?, gram(&lora.b.t()?)?);
    let rows = a.chunks_exact(rank).zip(b.chunks_exact(rank)).enumerate();
    let sums = rows.map(|(row, (a, b))| {
        let above = a[row + 1..].iter().zip(&b[row + 1..]);
        a[row] * b[row] + 2.0 * above.map(|(a, b)| a * b).sum::<f64>()
    });
    Ok(lora.scale * lora.scale * sums.sum::<f64>())
}

/// `M M^T`: of each row the diagonal and what is right of it, zeros on its left.
///
/// Shapes: `matrix` (rows, columns), result (rows, rows).
fn gram(matrix: &Tensor) -> Result<Vec<f64>> {
    let (rows, columns) = matrix.dims2()?;
    let values: Vec<f64> = matrix.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let mut gram = vec![0.0; rows * rows];
    for first in (0..columns).step_by(TILE) {
        let last = columns.min(first + TILE);
        let part = |row: usize| &values[row * columns + first..row * columns + last];
        for (row, sums) in gram.chunks_exact_mut(rows).enumerate() {
            for (other, sum) in sums.iter_mut().enumerate().skip(row) {
                *sum += dot(part(row), part(other));
            }
        }
    }
    Ok(gram)
}

/// The sum of the products of two rows of equal length.
///
/// Iterators with closures are not inlined across the units that a crate is compiled in, and then
/// the sums are kept in memory: ten times slower.
fn dot(one: &[f64], other: &[f64]) -> f64 {
    let ((ones, end), (others, other_end)) = (one.as_chunks::<SUMS>(), other.as_chunks::<SUMS>());
    let mut sums = [0.0; SUMS];
    for part in 0..ones.len().min(others.len()) {
        let (one, other) = (&ones[part], &others[part]);
        for at in 0..SUMS {
            sums[at] += one[at] * other[at];
        }
    }
    let mut sum = 0.0;
    for at in 0..end.len().min(other_end.len()) {
        sum += end[at] * other_end[at];
    }
    for part in sums {
        sum += part;
    }
    sum
}

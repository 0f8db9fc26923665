//! How much an adapter adds to the weights of its base.

use candle::{DType, Tensor};

use super::Adapter;
use crate::Result;
use crate::weights::BlockLora;

impl Adapter {
    /// The Frobenius norm of what it adds to all weights together: the root of the sum of the
    /// squares of all entries of `s B A`.
    ///
    /// No product `B A` is computed: the squares of its entries add up to the sum of the products
    /// of the entries of `A A^T` and `B^T B`, which have the rank as both sides. All sums are in
    /// f64 and in one order.
    ///
    /// # Errors
    ///
    /// Fails when the device does not give the values.
    pub fn update_norm(&self) -> Result<f64> {
        let mut squares = 0.0;
        for lora in self.blocks.iter().flat_map(|BlockLora(parts)| parts.iter().flatten()) {
            let (a, b) = (gram_of_rows(&rows(&lora.a)?), gram_of_columns(&rows(&lora.b)?));
            let products = a.iter().zip(&b).map(|(a, b)| a * b);
            squares += lora.scale * lora.scale * products.sum::<f64>();
        }
        // Rounding may leave less than nothing of a product that is almost zero. NaN stays.
        Ok(if squares < 0.0 { 0.0 } else { squares.sqrt() })
    }
}

/// The rows of a matrix.
fn rows(matrix: &Tensor) -> Result<Vec<Vec<f64>>> {
    Ok(matrix.detach().to_dtype(DType::F64)?.to_vec2()?)
}

/// `M M^T` of a matrix by its rows; shape (rows, rows).
fn gram_of_rows(rows: &[Vec<f64>]) -> Vec<f64> {
    let dot = |one: &[f64], other: &[f64]| -> f64 {
        one.iter().zip(other).map(|(one, other)| one * other).sum()
    };
    rows.iter().flat_map(|one| rows.iter().map(move |other| dot(one, other))).collect()
}

/// `M^T M` of a matrix by its rows; shape (columns, columns).
fn gram_of_columns(rows: &[Vec<f64>]) -> Vec<f64> {
    let columns = rows.first().map_or(0, Vec::len);
    let mut gram = vec![0.0; columns * columns];
    for row in rows {
        for (sums, one) in gram.chunks_exact_mut(columns).zip(row) {
            for (sum, other) in sums.iter_mut().zip(row) {
                *sum += one * other;
            }
        }
    }
    gram
}

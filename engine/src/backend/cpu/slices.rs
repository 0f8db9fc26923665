//! Tensors as slices, and weights as operands of kernels.

use std::ops::Range;

use candle::{Layout, Result, Storage, StorageRef, Tensor};

use super::linear::Weight;
use crate::MatmulPrecision;
use crate::weights::Value;
use kernels::linear::BlockMatrix;
use kernels::threads::Threads;

/// The numbers of a contiguous `f32` tensor on CPU.
pub(crate) fn values<'a>((storage, layout): &'a (StorageRef<'_>, &Layout)) -> Result<&'a [f32]> {
    match (&**storage, layout.contiguous_offsets()) {
        (Storage::Cpu(storage), Some((from, to))) => Ok(&storage.as_slice::<f32>()?[from..to]),
        _ => candle::bail!("expected contiguous values on a CPU, got {layout:?}"),
    }
}

/// Lends the values of `f32` tensors on CPU to `f`.
pub(crate) fn with<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let tensors: Vec<Tensor> = tensors.iter().map(|t| t.contiguous()).collect::<Result<_>>()?;
    let lent: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = [&[] as &[f32]; N];
    for (out, lent) in slices.iter_mut().zip(&lent) {
        *out = values(lent)?;
    }
    f(slices)
}

/// A weight while kernels read it.
pub(crate) enum Lent<'a> {
    Tensor((StorageRef<'a>, &'a Layout)),
    Stored(BlockMatrix<'a>),
}

impl<'a> Lent<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        match value {
            Value::Tensor(tensor) => Self::Tensor(tensor.storage_and_layout()),
            Value::Stored(matrix) => Self::Stored(matrix.matrix()),
        }
    }

    /// As an operand.
    pub(crate) fn weight(&self, precision: MatmulPrecision) -> Result<Weight<'_>> {
        match self {
            Self::Stored(matrix) => Ok(Weight::stored(*matrix, precision)),
            Self::Tensor(guard) => {
                let width = *guard.1.dims().last().unwrap_or(&1);
                Ok(Weight::new(values(guard)?, width, precision))
            }
        }
    }

    /// The numbers of a tensor.
    pub(crate) fn values(&self) -> Result<&[f32]> {
        match self {
            Self::Tensor(guard) => values(guard),
            Self::Stored(_) => candle::bail!("expected numbers, got blocks of a file's format"),
        }
    }

    /// Rows of a matrix as numbers; `scratch` has them where they are decoded.
    ///
    /// Shapes: result (rows, width).
    pub(crate) fn rows<'b>(
        &'b self,
        rows: Range<usize>,
        scratch: &'b mut Vec<f32>,
    ) -> Result<&'b [f32]> {
        match self {
            Self::Stored(matrix) => {
                scratch.resize(rows.len() * matrix.width(), 0.0);
                matrix.decode_rows(Threads::Pool, rows, scratch);
                Ok(scratch)
            }
            Self::Tensor(guard) => {
                let width = *guard.1.dims().last().unwrap_or(&1);
                Ok(&values(guard)?[rows.start * width..rows.end * width])
            }
        }
    }
}

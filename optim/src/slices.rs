//! Plain slices of contiguous f32 tensors on the CPU, for the fused forms.
//!
//! Candle lends a tensor's storage for writing only inside an in-place op; here the op is whatever
//! closure one has, so that a single pass can write several tensors.

use std::cell::RefCell;

use candle::{CpuStorage, DType, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// Elements that one thread takes at a time.
pub(crate) const CHUNK: usize = 1 << 14;

/// Whether [`read`] and [`write`] can serve this tensor.
pub(crate) fn fits(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32 && tensor.is_contiguous()
}

/// Calls `f` with the tensor's values, row-major.
pub(crate) fn read<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(f(&values[start..end])),
        _ => bail!("expected a contiguous f32 tensor on the cpu"),
    }
}

/// Calls `f` with the tensor's values, row-major, to be changed in place.
///
/// The tensor stays locked meanwhile: `f` must not touch it by another way.
pub(crate) fn write(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    tensor.inplace_op1(&Lend(RefCell::new(Some(f))))
}

/// Sum of squares in f64, in an order that depends on the length alone.
pub(crate) fn sum_of_squares(values: &[f32]) -> f64 {
    let parts: Vec<f64> = values.par_chunks(CHUNK).map(sum_of_squares_of_chunk).collect();
    parts.iter().sum()
}

/// Eight running sums, so that one addition need not wait for the last.
fn sum_of_squares_of_chunk(chunk: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let (rows, rest) = chunk.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for row in rows {
        for (sum, &x) in sums.iter_mut().zip(row) {
            *sum += square(x);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|&x| square(x)).sum::<f64>()
}

struct Lend<F>(RefCell<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Lend<F> {
    fn name(&self) -> &'static str {
        "lend"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let f = self.0.take().expect("an in-place op runs once");
        match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F32(values), Some((start, end))) => f(&mut values[start..end]),
            _ => bail!("expected a contiguous f32 tensor on the cpu"),
        }
    }
}

//! The operations of a block, in two forms: Candle's, differentiable, for any device and float
//! type, and fused ones for `f32` on CPU, on plain slices, each with its own backward.
//!
//! Candle's own fused `rms_norm`, `rope` and softmax are not used: they cut the graph without an
//! error.

pub mod composed;
pub mod fused;
mod span;

use candle::{DType, Layout, Result, Storage, StorageRef, Tensor};

pub use kernels::Products;
pub use span::Span;

/// Whether the fused forms serve this tensor.
pub(crate) fn has_fused(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// The numbers of a contiguous `f32` tensor on CPU.
pub(crate) fn values<'a>((storage, layout): &'a (StorageRef<'_>, &Layout)) -> Result<&'a [f32]> {
    match (&**storage, layout.contiguous_offsets()) {
        (Storage::Cpu(storage), Some((from, to))) => Ok(&storage.as_slice::<f32>()?[from..to]),
        _ => candle::bail!("a fused form needs contiguous values on CPU, got {layout:?}"),
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

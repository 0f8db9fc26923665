//! Tensors as slices.

use candle::{Layout, Result, Storage, StorageRef, Tensor};

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

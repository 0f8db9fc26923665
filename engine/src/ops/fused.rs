//! The fused forms for `f32` on CPU, each with its own backward.

mod attention;
mod rows;

use candle::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Storage, Tensor};

pub(super) use attention::Attention;
pub(super) use rows::{RmsNorm, Rope, SwiGlu};

use super::kernels::product::{How, View, product};
use crate::Products;

/// The values of a contiguous storage.
fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => candle::bail!("a fused operation needs contiguous values, got {layout:?}"),
    }
}

/// Lends the values of contiguous `f32` tensors on CPU to `f`.
pub(crate) fn with<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> Result<R>,
) -> Result<R> {
    let tensors: Vec<Tensor> = tensors.iter().map(|t| t.contiguous()).collect::<Result<_>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = [&[] as &[f32]; N];
    for (out, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            candle::bail!("a fused operation needs values on CPU")
        };
        *out = slice(storage, layout)?;
    }
    f(slices)
}

/// `x W^T`, whose backward yields the weight's gradient in the weight's own layout.
#[derive(Debug)]
pub(super) struct Linear(pub(super) Products);

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, inner) = x_layout.shape().dims2()?;
        let (out, width) = weight_layout.shape().dims2()?;
        if inner != width {
            candle::bail!("linear: input of width {inner}, weight ({out}, {width})")
        }
        let x = View::rows(slice(x, x_layout)?, width);
        let weight = View::rows(slice(weight, weight_layout)?, width);
        let mut y = vec![0.0; rows * out];
        product(&mut y, out, (rows, out, width), x, weight.t(), How::pool(self.0));
        Ok((CpuStorage::F32(y), Shape::from((rows, out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (rows, width) = x.dims2()?;
        let out = weight.dim(0)?;
        let (dx, dw) = with([x, weight, grad], |[x, weight, grad]| {
            let (mut dx, mut dw) = (vec![0.0; rows * width], vec![0.0; out * width]);
            let (grad, how) = (View::rows(grad, out), How::pool(self.0));
            product(&mut dx, width, (rows, width, out), grad, View::rows(weight, width), how);
            product(&mut dw, width, (out, width, rows), grad.t(), View::rows(x, width), how);
            Ok((dx, dw))
        })?;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        let dw = Tensor::from_vec(dw, weight.shape(), x.device())?;
        Ok((Some(dx), Some(dw)))
    }
}

/// See [`super::seed`].
#[derive(Debug)]
pub(super) struct Seed(pub(super) Tensor);

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

//! Linear maps, with a backward pass that leaves out what is frozen.

use candle::backend::BackendStorage;
use candle::{CpuStorage, CudaStorage, CustomOp2, Layout, Shape, Tensor};

use crate::Result;
use crate::weights::{Linear, Lora};

impl Linear<Tensor> {
    /// `x W^T + b`, and with an adapter `+ (s x A^T) B^T`. Its backward pass is part of Candle's
    /// graph: a variable gets a gradient, and none is computed for a weight without a graph.
    ///
    /// Shapes: `x` (rows, in); result (rows, out).
    ///
    /// # Errors
    ///
    /// Fails when the shapes, types or devices do not fit together.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Self { weight, bias, lora } = self;
        let mut y = linear(x, weight)?;
        if let Some(bias) = bias {
            y = y.broadcast_add(bias)?;
        }
        if let Some(Lora { a, b, scale }) = lora {
            y = (y + linear(&(linear(x, a)? * *scale)?, b)?)?;
        }
        Ok(y)
    }
}

/// `x W^T`.
///
/// Shapes: `x` (rows, in), `weight` (out, in); result (rows, out).
///
/// # Errors
///
/// Fails when the shapes, types or devices do not fit together.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Ok(x.apply_op2(weight, LinearOp)?)
}

/// `x W^T`. The backward pass of Candle's own product computes the gradients of both operands,
/// whether anybody asked or not.
struct LinearOp;

impl LinearOp {
    fn forward<S: BackendStorage>(
        x: &S,
        x_layout: &Layout,
        weight: &S,
        weight_layout: &Layout,
    ) -> candle::Result<(S, Shape)> {
        let ((rows, width), (out, expected)) =
            (x_layout.shape().dims2()?, weight_layout.shape().dims2()?);
        if width != expected {
            candle::bail!("x has rows of {width}, the weight ({out}, {expected})");
        }
        let transposed = weight_layout.transpose(0, 1)?;
        let y = x.matmul(weight, (1, rows, out, width), x_layout, &transposed)?;
        Ok((y, Shape::from((rows, out))))
    }
}

impl CustomOp2 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle::Result<(CpuStorage, Shape)> {
        Self::forward(x, x_layout, weight, weight_layout)
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> candle::Result<(CudaStorage, Shape)> {
        Self::forward(x, x_layout, weight, weight_layout)
    }

    /// `dy W` and `dy^T x`, each where it is part of the graph.
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle::Result<(Option<Tensor>, Option<Tensor>)> {
        let d_x = x.track_op().then(|| dy.matmul(weight)).transpose()?;
        let d_weight = weight.track_op().then(|| x.t()?.matmul(dy)?.t()).transpose()?;
        Ok((d_x, d_weight))
    }
}

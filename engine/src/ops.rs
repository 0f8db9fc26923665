//! Differentiable operations. Each has a composed Candle form (any device, any float type) and,
//! where it pays, a fused form for `f32` on CPU with its own backward.
//!
//! Only this module asks for the device. Candle's own fused `rms_norm`, `rope` and softmax are not
//! used: they cut the graph without an error.

pub mod attention;
pub mod composed;
mod fused;
pub(crate) mod kernels;

use candle::{DType, Tensor};

pub use attention::{Span, attention};
pub(crate) use fused::with;

use crate::Result;

/// In what precision the operands of matrix products are; sums and all else are in the weights'
/// type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Products {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bf16, for `f32` weights on a CPU: twice the rate where it has AVX512-BF16. The
    /// products of attention stay as they are.
    Bf16,
}

/// Whether the fused CPU forms serve this tensor.
pub(crate) fn has_fused(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// `x W^T + b`.
///
/// Shapes: `x` (rows, in), `weight` (out, in), `bias` (out); result (rows, out).
pub fn linear(
    products: Products,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let y = if has_fused(x) {
        x.contiguous()?.apply_op2(&weight.contiguous()?, fused::Linear(products))?
    } else {
        composed::linear(x, weight)?
    };
    match bias {
        Some(bias) => Ok(y.broadcast_add(bias)?),
        None => Ok(y),
    }
}

/// `x / sqrt(mean(x^2) + eps) * weight` over the last dimension.
///
/// Shapes: `x` (.., width), `weight` (width); result as `x`.
///
/// Source: arXiv 1910.07467, equation 4.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if has_fused(x) {
        Ok(x.contiguous()?.apply_op2(weight, fused::RmsNorm { eps })?)
    } else {
        composed::rms_norm(x, weight, eps)
    }
}

/// Rotates the two halves of each head against one another by the row's angles.
///
/// Shapes: `x` (rows, heads, head width), `cos` and `sin` (rows, head width / 2); result as `x`.
///
/// Source: arXiv 2104.09864, equation 34, in the half-split layout of Hugging Face checkpoints.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    if has_fused(x) {
        let op = fused::Rope { cos: cos.clone(), sin: sin.clone(), inverse: false };
        Ok(x.contiguous()?.apply_op1(op)?)
    } else {
        composed::rope(x, cos, sin)
    }
}

/// `gate * sigmoid(gate) * up`.
///
/// Shapes: all (rows, inner).
///
/// Source: arXiv 2002.05202, equation 6.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    if has_fused(gate) {
        Ok(gate.contiguous()?.apply_op2(&up.contiguous()?, fused::SwiGlu)?)
    } else {
        composed::swiglu(gate, up)
    }
}

/// The scalar whose gradient at `y` is `upstream`: the seed of a vector-Jacobian product. Its value
/// is zero, since nobody reads it.
pub(crate) fn seed(y: &Tensor, upstream: &Tensor) -> Result<Tensor> {
    if has_fused(y) {
        Ok(y.apply_op1(fused::Seed(upstream.clone()))?)
    } else {
        Ok((y * upstream)?.sum_all()?)
    }
}

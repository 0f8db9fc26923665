//! A decoder block.

use candle::Tensor;

use super::ops;
use crate::layout::Layout;
use crate::{BlockWeights, ModelConfig, Result};

/// Queries, keys and values of every row.
#[derive(Debug, Clone)]
pub(crate) struct Qkv {
    /// Queries: (rows, heads, head width), rotated.
    pub(crate) q: Tensor,
    /// Keys: (rows, kv heads, head width), rotated.
    pub(crate) k: Tensor,
    /// Values: (rows, kv heads, head width).
    pub(crate) v: Tensor,
}

/// A block over packed rows.
///
/// Shapes: `x` (rows, width); result the same.
pub(crate) fn block(
    config: &ModelConfig,
    weights: &BlockWeights,
    x: &Tensor,
    layout: &Layout,
) -> Result<Tensor> {
    let Qkv { q, k, v } = project(config, weights, x, &layout.cos, &layout.sin)?;
    let attention = ops::attention(&q, &k, &v, &layout.spans)?;
    finish(config, weights, x, &attention)
}

/// The block up to attention: norm, linear maps, norm on heads, rotation.
///
/// Shapes: `x` (rows, width), `cos` and `sin` (rows, head width / 2).
pub(crate) fn project(
    config: &ModelConfig,
    weights: &BlockWeights,
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
) -> Result<Qkv> {
    let rows = x.dim(0)?;
    let x = ops::rms_norm(x, &weights.attn_norm, config.rms_norm_eps)?;
    let [q_bias, k_bias, v_bias] = match &weights.qkv_bias {
        Some(biases) => biases.each_ref().map(Some),
        None => [None; 3],
    };
    let head = |weight, bias, heads: usize| -> Result<Tensor> {
        Ok(affine(&x, weight, bias)?.reshape((rows, heads, config.head_dim))?)
    };
    let mut q = head(&weights.q, q_bias, config.num_heads)?;
    let mut k = head(&weights.k, k_bias, config.num_kv_heads)?;
    let v = head(&weights.v, v_bias, config.num_kv_heads)?;
    if let Some([q_norm, k_norm]) = &weights.qk_norm {
        q = ops::rms_norm(&q, q_norm, config.rms_norm_eps)?;
        k = ops::rms_norm(&k, k_norm, config.rms_norm_eps)?;
    }
    Ok(Qkv { q: ops::rope(&q, cos, sin)?, k: ops::rope(&k, cos, sin)?, v })
}

/// The block after attention: output map, residual, feed-forward layer, residual.
///
/// Shapes: `x` (rows, width), `attention` (rows, heads * head width); result (rows, width).
pub(crate) fn finish(
    config: &ModelConfig,
    weights: &BlockWeights,
    x: &Tensor,
    attention: &Tensor,
) -> Result<Tensor> {
    let x = (x + affine(attention, &weights.o, weights.o_bias.as_ref())?)?;
    let inner = ops::rms_norm(&x, &weights.mlp_norm, config.rms_norm_eps)?;
    let [gate_bias, up_bias, down_bias] = match &weights.mlp_bias {
        Some(biases) => biases.each_ref().map(Some),
        None => [None; 3],
    };
    let gate = affine(&inner, &weights.gate, gate_bias)?;
    let up = affine(&inner, &weights.up, up_bias)?;
    let inner = ops::swiglu(&gate, &up)?;
    Ok((x + affine(&inner, &weights.down, down_bias)?)?)
}

/// `x W^T + b`.
fn affine(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = ops::linear(x, weight)?;
    Ok(bias.map_or(Ok(y.clone()), |bias| y.broadcast_add(bias))?)
}

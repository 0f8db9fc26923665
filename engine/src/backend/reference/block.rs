//! A decoder block.

use candle::Tensor;

use super::ops;
use crate::layout::Layout;
use crate::weights::{BlockWeights, Linear};
use crate::{ModelConfig, Result};

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
    weights: &BlockWeights<Tensor>,
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
    weights: &BlockWeights<Tensor>,
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
) -> Result<Qkv> {
    let (rows, eps) = (x.dim(0)?, config.rms_norm_eps);
    // 1. Norm: (rows, width).
    let x = ops::rms_norm(x, &weights.attn_norm, eps)?;
    // 2. Linear maps: (rows, heads, head width) and twice (rows, kv heads, head width).
    let map = |map: &Linear<Tensor>, heads: usize| -> Result<Tensor> {
        Ok(map.forward(&x)?.reshape((rows, heads, config.head_dim))?)
    };
    let mut q = map(&weights.q, config.num_heads)?;
    let mut k = map(&weights.k, config.num_kv_heads)?;
    let v = map(&weights.v, config.num_kv_heads)?;
    // 3. Norm over each head.
    if let Some([q_norm, k_norm]) = &weights.qk_norm {
        q = ops::rms_norm(&q, q_norm, eps)?;
        k = ops::rms_norm(&k, k_norm, eps)?;
    }
    // 4. Rotation by position.
    Ok(Qkv { q: ops::rope(&q, cos, sin)?, k: ops::rope(&k, cos, sin)?, v })
}

/// The block after attention: output map, residual, feed-forward layer, residual.
///
/// Shapes: `x` (rows, width), `attention` (rows, heads * head width); result (rows, width).
pub(crate) fn finish(
    config: &ModelConfig,
    weights: &BlockWeights<Tensor>,
    x: &Tensor,
    attention: &Tensor,
) -> Result<Tensor> {
    // 5. Output of attention, and the residual: (rows, width).
    let x = (x + weights.o.forward(attention)?)?;
    // 6. Norm: (rows, width).
    let normed = ops::rms_norm(&x, &weights.mlp_norm, config.rms_norm_eps)?;
    // 7. Gate and up: (rows, intermediate).
    let inner = ops::swiglu(&weights.gate.forward(&normed)?, &weights.up.forward(&normed)?)?;
    // 8. Down, and the residual: (rows, width).
    Ok((x + weights.down.forward(&inner)?)?)
}

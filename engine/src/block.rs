//! One decoder block as a function of its weights.

use std::sync::Arc;

use candle::{DType, Device, Tensor};

use crate::ops::{self, Span};
use crate::rope::Rope;
use crate::{BlockWeights, ModelConfig, Packed, Result};

/// What a block needs to know about its rows: who attends to whom, and the rotary angles.
#[derive(Debug, Clone)]
pub struct Layout {
    spans: Arc<[Span]>,
    cos: Tensor,
    sin: Tensor,
}

impl Layout {
    /// The layout of a pack.
    ///
    /// # Errors
    ///
    /// Fails when the device refuses the tables.
    pub fn new(packed: &Packed, rope: &Rope, dtype: DType, device: &Device) -> Result<Self> {
        let (cos, sin) = rope.tables(packed.positions(), dtype, device)?;
        Ok(Self { spans: Span::of(packed), cos, sin })
    }
}

/// Queries, keys and values of every row.
#[derive(Debug, Clone)]
pub struct Qkv {
    /// Queries: (rows, heads, head width), rotated.
    pub q: Tensor,
    /// Keys: (rows, kv heads, head width), rotated.
    pub k: Tensor,
    /// Values: (rows, kv heads, head width).
    pub v: Tensor,
}

/// A block over packed rows.
///
/// Shapes: `x` (rows, width); result the same.
///
/// # Errors
///
/// Fails when shapes do not agree.
pub fn block(
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
///
/// # Errors
///
/// Fails when shapes do not agree.
pub fn project(
    config: &ModelConfig,
    weights: &BlockWeights,
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
) -> Result<Qkv> {
    let rows = x.dim(0)?;
    let x = ops::rms_norm(x, &weights.attn_norm, config.rms_norm_eps)?;
    let [q_bias, k_bias, v_bias] = match &weights.qkv_bias {
        Some([q, k, v]) => [Some(q), Some(k), Some(v)],
        None => [None; 3],
    };
    let head = |weight, bias, heads: usize| -> Result<Tensor> {
        Ok(ops::linear(weights.products, &x, weight, bias)?.reshape((
            rows,
            heads,
            config.head_dim,
        ))?)
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
///
/// # Errors
///
/// Fails when shapes do not agree.
pub fn finish(
    config: &ModelConfig,
    weights: &BlockWeights,
    x: &Tensor,
    attention: &Tensor,
) -> Result<Tensor> {
    let x = (x + ops::linear(weights.products, attention, &weights.o, None)?)?;
    let inner = ops::rms_norm(&x, &weights.mlp_norm, config.rms_norm_eps)?;
    let gate = ops::linear(weights.products, &inner, &weights.gate, None)?;
    let up = ops::linear(weights.products, &inner, &weights.up, None)?;
    let inner = ops::swiglu(&gate, &up)?;
    Ok((x + ops::linear(weights.products, &inner, &weights.down, None)?)?)
}

//! The operations of a block, checked by finite differences in `f64`.

use candle::{D, DType, Tensor};

pub use super::linear::linear;
use crate::Result;
use crate::layout::Span;

/// `x` in f32 where its dtype has 16 bits: for sums and exponentials, which need more digits.
pub fn wide(x: &Tensor) -> candle::Result<Tensor> {
    match x.dtype() {
        DType::BF16 | DType::F16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}

/// Rows of a 16-bit head that [`logits`] converts to f32 at once.
const CONVERTED: usize = 2048;

/// Logits, in f32 at least: the products of 16-bit operands are not rounded.
///
/// Shapes: `x` (rows, width), `head` (vocabulary, width); result (rows, vocabulary).
pub fn logits(x: &Tensor, head: &Tensor) -> Result<Tensor> {
    let x = wide(x)?;
    if head.dtype() == x.dtype() {
        return linear(&x, head);
    }
    let vocab = head.dim(0)?;
    let parts = (0..vocab)
        .step_by(CONVERTED)
        .map(|start| linear(&x, &wide(&head.narrow(0, start, CONVERTED.min(vocab - start))?)?));
    Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1)?)
}

/// As [`crate::backend::cpu::rms_norm`], over the last dimension, in f32 at least; only the result
/// has the dtype of `x`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let input = wide(x)?;
    let mean_square = input.sqr()?.mean_keepdim(D::Minus1)?;
    // Infinity times 0 is NaN: squares that overflow must not make the row 0.
    let overflow = (&mean_square * 0.0)?;
    let normed = input.broadcast_div(&((mean_square + eps)?.sqrt()? + overflow)?)?;
    Ok(normed.broadcast_mul(&wide(weight)?)?.to_dtype(x.dtype())?)
}

/// As [`crate::backend::cpu::rope`], of `x` (rows, heads, head width); the result is a new tensor.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?);
    let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let low = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let high = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    Ok(Tensor::cat(&[low, high], D::Minus1)?)
}

/// As [`crate::backend::cpu::swiglu`].
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    Ok((gate.silu()? * up)?)
}

/// Softmax over the last dimension, in f32 at least; only the result has the dtype of `x`.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let input = wide(x)?;
    let max = input.max_keepdim(D::Minus1)?.detach();
    let exp = input.broadcast_sub(&max)?.exp()?;
    Ok(exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?.to_dtype(x.dtype())?)
}

/// As [`crate::backend::cpu::attention`], of `q`, `k` and `v` with heads as a dimension.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, spans: &[Span]) -> Result<Tensor> {
    let outputs: Vec<Tensor> = spans
        .iter()
        .map(|span| {
            let keys = gather(k, span)?;
            let values = gather(v, span)?;
            attend(&q.narrow(0, span.start, span.len)?, &keys, &values)
        })
        .collect::<Result<_>>()?;
    Ok(Tensor::cat(&outputs, 0)?)
}

/// Causal attention of the last rows of a sequence to all of it.
///
/// Shapes: `q` (rows, heads, head width), `k` and `v` (all, kv heads, head width), the queries
/// being the last `rows` of `all`; result (rows, heads * head width).
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (rows, heads, width) = q.dims3()?;
    let (all, kv_heads, _) = k.dims3()?;
    let spread = |x: &Tensor| -> Result<Tensor> {
        let shape = (kv_heads, heads / kv_heads, all, width);
        Ok(x.transpose(0, 1)?.unsqueeze(1)?.broadcast_as(shape)?.reshape((heads, all, width))?)
    };
    let q = (q.transpose(0, 1)?.contiguous()? * (1.0 / (width as f64).sqrt()))?;
    let scores = q.matmul(&spread(k)?.transpose(1, 2)?.contiguous()?)?;
    let scores =
        if rows > 1 { scores.broadcast_add(&causal_mask(rows, all, &scores)?)? } else { scores };
    let out = softmax(&scores)?.matmul(&spread(v)?)?;
    Ok(out.transpose(0, 1)?.contiguous()?.reshape((rows, heads * width))?)
}

fn gather(x: &Tensor, span: &Span) -> Result<Tensor> {
    let parts: Vec<Tensor> =
        span.reads().map(|(start, len)| x.narrow(0, start, len)).collect::<Result<_, _>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}

fn causal_mask(rows: usize, all: usize, like: &Tensor) -> Result<Tensor> {
    let before = all - rows;
    let mask: Vec<f32> = (0..rows)
        .flat_map(|i| (0..all).map(move |j| if j > before + i { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Ok(Tensor::from_vec(mask, (rows, all), like.device())?.to_dtype(like.dtype())?)
}

//! A decoder block, forward and backward. Training, prefill and decoding all use this one.
//!
//! The forward pass keeps what the backward pass needs, except the norms and the gated product,
//! which are cheap to recompute.

use candle::Tensor;

use super::kv::heads;
use super::{
    Attended, Lent, Weight, attention, attention_backward, linear, rms_norm, rms_norm_backward,
    rope, swiglu, swiglu_backward,
};
use crate::layout::Layout;
use crate::packed::Segment;
use crate::weights::{BlockWeights, Linear, Value};
use crate::{MatmulPrecision, ModelConfig, Result};
use kernels::matmul::bf16::PackedBf16;
use kernels::threads::Threads;

/// Cosines and sines of the rows' rotary angles, each (rows, head width / 2).
#[derive(Debug, Default)]
pub(crate) struct Angles {
    pub(crate) cos: Vec<f32>,
    pub(crate) sin: Vec<f32>,
}

impl Angles {
    pub(crate) fn new(layout: &Layout) -> Result<Self> {
        let plain = |x: &Tensor| x.flatten_all()?.to_vec1();
        Ok(Self { cos: plain(&layout.cos)?, sin: plain(&layout.sin)? })
    }
}

/// A block's weights, the angles of its rows, and the threads that compute its forward pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) threads: Threads<'a>,
    pub(crate) angles: &'a Angles,
    pub(crate) weights: &'a BlockWeights<Weight<'a>>,
}

/// What the backward pass needs besides the block's input.
#[derive(Debug)]
pub(crate) struct Saved {
    /// As attention takes them: (rows, heads, head width) and twice (rows, kv heads, head width).
    qkv: [Vec<f32>; 3],
    /// Queries and keys before their norms, where they have norms.
    pre_norm: Option<[Vec<f32>; 2]>,
    attention: Attended,
    mlp: SavedMlp,
}

/// What the feed-forward half needs.
#[derive(Debug)]
struct SavedMlp {
    /// The sum after attention: (rows, width).
    x: Vec<f32>,
    /// (rows, intermediate)
    gate: Vec<f32>,
    /// (rows, intermediate)
    up: Vec<f32>,
}

/// The gradients of a block's weights; `None` for those that were not asked for.
pub(crate) type BlockGradients = BlockWeights<Option<Vec<f32>>>;

/// Calls `f` with a block's weights as operands, and with `copies` of its matrices, without an
/// adapter's, in bf16 where there are any.
pub(crate) fn with_slices<R>(
    weights: &BlockWeights<Value>,
    precision: MatmulPrecision,
    copies: Option<&BlockWeights<Option<PackedBf16>>>,
    f: impl FnOnce(&BlockWeights<Weight<'_>>) -> R,
) -> Result<R> {
    let lent = weights.as_ref().map(Lent::new);
    let (base, lora) = lent.as_ref().split();
    let mut base = base.try_map(|lent| lent.weight(precision))?;
    if let Some(copies) = copies {
        base = base.zip(copies.as_ref())?.map(|(slice, copy)| slice.with_copy(copy.as_ref()));
    }
    // An adapter is never rounded: its values are small, and so are its products.
    let lora = lora.try_map(|lent| lent.weight(MatmulPrecision::F32))?;
    Ok(f(&base.adapted(lora)))
}

impl Block<'_> {
    /// The block's result, and what its backward pass needs.
    ///
    /// Shapes: `x` (rows, width); result the same.
    pub(crate) fn forward(&self, x: &[f32], segments: &[Segment]) -> (Vec<f32>, Saved) {
        let (qkv, pre_norm) = self.project(x);
        let attention = self.attend(&qkv, segments);
        let (y, mlp) = self.mlp(x, &attention.out);
        (y, Saved { qkv, pre_norm, attention, mlp })
    }

    /// Queries, keys and values as attention takes them, and queries and keys before their norms.
    ///
    /// Shapes: `x` (rows, width).
    pub(crate) fn project(&self, x: &[f32]) -> ([Vec<f32>; 3], Option<[Vec<f32>; 2]>) {
        let (w, eps) = (self.weights, self.config.rms_norm_eps);
        // 1. Norm: (rows, width).
        let normed = rms_norm(self.threads, x, w.attn_norm.vector(), eps);
        // 2. Linear maps: (rows, heads * head width) and twice (rows, kv heads * head width).
        let mut qkv = linear::forward(self.threads, [&w.q, &w.k, &w.v], &normed);
        // 3. Norm over each head: (rows * heads, head width).
        let mut pre_norm = None;
        if let Some([q_norm, k_norm]) = &w.qk_norm {
            let [q, k, _] = &mut qkv;
            pre_norm = Some([(q, q_norm), (k, k_norm)].map(|(x, norm)| {
                let normed = rms_norm(self.threads, x, norm.vector(), eps);
                std::mem::replace(x, normed)
            }));
        }
        // 4. Rotation by position.
        for x in &mut qkv[..2] {
            rope(self.threads, x, &self.angles.cos, &self.angles.sin, self.config.head_dim / 2);
        }
        (qkv, pre_norm)
    }

    /// Attention of packed rows: (rows, heads * head width), and what its backward pass needs.
    pub(crate) fn attend(&self, qkv: &[Vec<f32>; 3], segments: &[Segment]) -> Attended {
        let qkv = qkv.each_ref().map(Vec::as_slice);
        attention(self.threads, heads(self.config), qkv, segments)
    }

    /// The block after attention, for any subset of its rows.
    ///
    /// Shapes: `x` (rows, width), `attention` (rows, heads * head width); result as `x`.
    pub(crate) fn finish(&self, x: &[f32], attention: &[f32]) -> Vec<f32> {
        self.mlp(x, attention).0
    }

    fn mlp(&self, x: &[f32], attention: &[f32]) -> (Vec<f32>, SavedMlp) {
        let w = self.weights;
        // 5. Output of attention, and the residual: (rows, width).
        let mut x = x.to_vec();
        w.o.forward_add(self.threads, attention, &mut x);
        // 6. Norm: (rows, width).
        let normed = rms_norm(self.threads, &x, w.mlp_norm.vector(), self.config.rms_norm_eps);
        // 7. Gate and up: (rows, intermediate).
        let [gate, up] = linear::forward(self.threads, [&w.gate, &w.up], &normed);
        // 8. Down, and the residual: (rows, width).
        let mut y = x.clone();
        w.down.forward_add(self.threads, &swiglu(self.threads, &gate, &up), &mut y);
        (y, SavedMlp { x, gate, up })
    }

    /// Replaces `dy`, the gradient with respect to the result, by that with respect to the input;
    /// returns those with respect to the weights that `want` names.
    ///
    /// Shapes: `x` and `dy` (rows, width).
    pub(crate) fn backward(
        &self,
        x: &[f32],
        segments: &[Segment],
        saved: Saved,
        dy: &mut [f32],
        want: &BlockWeights<bool>,
    ) -> BlockGradients {
        let (w, eps) = (self.weights, self.config.rms_norm_eps);
        let Saved { qkv, pre_norm, attention, mlp } = saved;
        let MlpGradients { mlp_norm, gate, up, down } = self.mlp_backward(mlp, dy, want);
        let mut d_attention = vec![0.0; attention.out.len()];
        let o = w.o.backward(&attention.out, dy, &want.o, &mut d_attention);
        let mut d_qkv = attention_backward(
            self.threads,
            heads(self.config),
            qkv.each_ref().map(Vec::as_slice),
            segments,
            &attention,
            &d_attention,
        );
        drop((qkv, attention, d_attention));
        let qk_norm = self.heads_backward(pre_norm.as_ref(), &mut d_qkv, want);
        let normed = rms_norm(self.threads, x, w.attn_norm.vector(), eps);
        let mut d_normed = vec![0.0; x.len()];
        let [d_q, d_k, d_v] = &d_qkv;
        let q = w.q.backward(&normed, d_q, &want.q, &mut d_normed);
        let k = w.k.backward(&normed, d_k, &want.k, &mut d_normed);
        let v = w.v.backward(&normed, d_v, &want.v, &mut d_normed);
        let d_norm = rms_norm_backward(x, w.attn_norm.vector(), eps, &d_normed, dy);
        let attn_norm = want.attn_norm.then_some(d_norm);
        BlockWeights { attn_norm, q, k, v, qk_norm, o, mlp_norm, gate, up, down }
    }

    /// Replaces `dy` by the gradient with respect to the sum after attention.
    fn mlp_backward(
        &self,
        saved: SavedMlp,
        dy: &mut [f32],
        want: &BlockWeights<bool>,
    ) -> MlpGradients {
        let (w, eps) = (self.weights, self.config.rms_norm_eps);
        let SavedMlp { x, mut gate, mut up } = saved;
        let mut d_inner = vec![0.0; gate.len()];
        let down = w.down.backward(&swiglu(self.threads, &gate, &up), dy, &want.down, &mut d_inner);
        swiglu_backward(&mut gate, &mut up, &d_inner);
        drop(d_inner);
        let normed = rms_norm(self.threads, &x, w.mlp_norm.vector(), eps);
        let mut d_normed = vec![0.0; x.len()];
        let d_gate = w.gate.backward(&normed, &gate, &want.gate, &mut d_normed);
        let d_up = w.up.backward(&normed, &up, &want.up, &mut d_normed);
        let d_norm = rms_norm_backward(&x, w.mlp_norm.vector(), eps, &d_normed, dy);
        let mlp_norm = want.mlp_norm.then_some(d_norm);
        MlpGradients { mlp_norm, gate: d_gate, up: d_up, down }
    }

    /// Replaces the gradients with respect to rotated and normed queries and keys by those with
    /// respect to the results of the linear maps.
    fn heads_backward(
        &self,
        pre_norm: Option<&[Vec<f32>; 2]>,
        d_qkv: &mut [Vec<f32>; 3],
        want: &BlockWeights<bool>,
    ) -> Option<[Option<Vec<f32>>; 2]> {
        let back: Vec<f32> = self.angles.sin.iter().map(|sin| -sin).collect();
        let [d_q, d_k, _] = d_qkv;
        for dx in [&mut *d_q, &mut *d_k] {
            rope(self.threads, dx, &self.angles.cos, &back, self.config.head_dim / 2);
        }
        let ([q_norm, k_norm], [q, k]) = (self.weights.qk_norm.as_ref()?, pre_norm?);
        let [want_q, want_k] = want.qk_norm?;
        let through = |norm: &Weight<'_>, x: &[f32], dy: &mut Vec<f32>, want: bool| {
            let mut dx = vec![0.0; x.len()];
            let d_norm = rms_norm_backward(x, norm.vector(), self.config.rms_norm_eps, dy, &mut dx);
            *dy = dx;
            want.then_some(d_norm)
        };
        Some([through(q_norm, q, d_q, want_q), through(k_norm, k, d_k, want_k)])
    }
}

/// The gradients of the feed-forward half.
struct MlpGradients {
    mlp_norm: Option<Vec<f32>>,
    gate: Linear<Option<Vec<f32>>>,
    up: Linear<Option<Vec<f32>>>,
    down: Linear<Option<Vec<f32>>>,
}

//! A decoder block, forward and backward.
//!
//! Its forward pass can keep what the backward pass needs and cannot cheaply make again: norms and
//! the gated product are made again.

use candle::Tensor;

use super::{
    Heads, Linear, attention, attention_backward, rms_norm, rms_norm_backward, rope, swiglu,
    swiglu_backward, values,
};
use crate::layout::{Layout, Span};
use crate::{BlockWeights, ModelConfig, Result};

/// What a block needs to know about its rows, as slices.
#[derive(Debug)]
pub(crate) struct Rows {
    spans: std::sync::Arc<[Span]>,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rows {
    pub(crate) fn new(layout: &Layout) -> Result<Self> {
        let plain = |x: &Tensor| x.flatten_all()?.to_vec1();
        Ok(Self { spans: layout.spans.clone(), cos: plain(&layout.cos)?, sin: plain(&layout.sin)? })
    }
}

/// A block's weights, and its rows.
pub(crate) struct Block<'a> {
    config: &'a ModelConfig,
    rows: &'a Rows,
    attn_norm: &'a [f32],
    qkv: [Linear<'a>; 3],
    qkv_bias: Option<[&'a [f32]; 3]>,
    qk_norm: Option<[&'a [f32]; 2]>,
    o: Linear<'a>,
    o_bias: Option<&'a [f32]>,
    mlp_norm: &'a [f32],
    gate: Linear<'a>,
    up: Linear<'a>,
    down: Linear<'a>,
    mlp_bias: Option<[&'a [f32]; 3]>,
}

/// What the backward pass needs besides the block's input.
#[derive(Debug)]
pub(crate) struct Kept {
    /// As attention takes them: (rows, heads, head width) and twice (rows, kv heads, head width).
    qkv: [Vec<f32>; 3],
    /// Queries and keys before their norms, where they have norms.
    unnormed: Option<[Vec<f32>; 2]>,
    /// (rows, heads * head width)
    attention: Vec<f32>,
    after: After,
}

/// What the second half of a block made.
#[derive(Debug)]
struct After {
    /// The sum after attention: (rows, width).
    x: Vec<f32>,
    /// (rows, intermediate)
    gate: Vec<f32>,
    /// (rows, intermediate)
    up: Vec<f32>,
}

/// Calls `f` with the block of these weights over these rows.
pub(crate) fn with<R>(
    config: &ModelConfig,
    weights: &BlockWeights,
    rows: &Rows,
    f: impl FnOnce(&Block<'_>) -> R,
) -> Result<R> {
    let lent: Vec<_> = weights.tensors().map(Tensor::storage_and_layout).collect();
    let slices: Vec<_> = lent.iter().map(values).collect::<candle::Result<_>>()?;
    let mut slices = slices.into_iter();
    let mut next = || slices.next().expect("as many tensors as the configuration has");
    let width = config.hidden_size;
    let map = |weight, width| Linear::new(weight, width, weights.products);
    let block = Block {
        config,
        rows,
        attn_norm: next(),
        qkv: [next(), next(), next()].map(|weight| map(weight, width)),
        qkv_bias: config.biases.qkv.then(|| [next(), next(), next()]),
        qk_norm: config.qk_norm.then(|| [next(), next()]),
        o: map(next(), config.num_heads * config.head_dim),
        o_bias: config.biases.o.then(&mut next),
        mlp_norm: next(),
        gate: map(next(), width),
        up: map(next(), width),
        down: map(next(), config.intermediate_size),
        mlp_bias: config.biases.mlp.then(|| [next(), next(), next()]),
    };
    Ok(f(&block))
}

impl Block<'_> {
    /// The block's result, and what its backward pass needs.
    ///
    /// Shapes: `x` (rows, width); result the same.
    pub(crate) fn forward(&self, x: &[f32]) -> (Vec<f32>, Kept) {
        let (qkv, unnormed) = self.project(x);
        let attention = self.attend(&qkv);
        let (y, after) = self.feed_forward(x, &attention);
        (y, Kept { qkv, unnormed, attention, after })
    }

    /// Queries, keys and values as attention takes them, and queries and keys before their norms.
    pub(crate) fn project(&self, x: &[f32]) -> ([Vec<f32>; 3], Option<[Vec<f32>; 2]>) {
        let eps = self.config.rms_norm_eps;
        let normed = rms_norm(x, self.attn_norm, eps);
        let mut qkv = self.qkv.map(|map| map.forward(&normed));
        for (y, bias) in qkv.iter_mut().zip(self.qkv_bias.iter().flatten()) {
            add_bias(y, bias);
        }
        let mut unnormed = None;
        if let Some([q_norm, k_norm]) = self.qk_norm {
            let [q, k, _] = &mut qkv;
            let normed = [rms_norm(q, q_norm, eps), rms_norm(k, k_norm, eps)];
            let [q_normed, k_normed] = normed;
            unnormed = Some([std::mem::replace(q, q_normed), std::mem::replace(k, k_normed)]);
        }
        for x in &mut qkv[..2] {
            rope(x, &self.rows.cos, &self.rows.sin, self.config.head_dim / 2);
        }
        (qkv, unnormed)
    }

    /// Attention: (rows, heads * head width).
    pub(crate) fn attend(&self, qkv: &[Vec<f32>; 3]) -> Vec<f32> {
        attention(self.heads(), qkv.each_ref().map(Vec::as_slice), &self.rows.spans)
    }

    fn heads(&self) -> Heads {
        let ModelConfig { num_heads, num_kv_heads, head_dim, .. } = *self.config;
        Heads { query: num_heads, key: num_kv_heads, width: head_dim }
    }

    /// The block after attention, of any of its rows.
    pub(crate) fn finish(&self, x: &[f32], attention: &[f32]) -> Vec<f32> {
        self.feed_forward(x, attention).0
    }

    fn feed_forward(&self, x: &[f32], attention: &[f32]) -> (Vec<f32>, After) {
        let mut x = x.to_vec();
        self.o.forward_add(attention, &mut x);
        if let Some(bias) = self.o_bias {
            add_bias(&mut x, bias);
        }
        let normed = rms_norm(&x, self.mlp_norm, self.config.rms_norm_eps);
        let (mut gate, mut up) = (self.gate.forward(&normed), self.up.forward(&normed));
        let mut y = x.clone();
        if let Some([gate_bias, up_bias, down_bias]) = self.mlp_bias {
            add_bias(&mut gate, gate_bias);
            add_bias(&mut up, up_bias);
            add_bias(&mut y, down_bias);
        }
        self.down.forward_add(&swiglu(&gate, &up), &mut y);
        (y, After { x, gate, up })
    }

    /// Turns the gradient `dy` of the result into that of the input; returns those of the weights in
    /// the order of [`BlockWeights::tensors`].
    ///
    /// Shapes: `x` and `dy` (rows, width).
    pub(crate) fn backward(&self, x: &[f32], kept: Kept, dy: &mut [f32]) -> Vec<Vec<f32>> {
        let eps = self.config.rms_norm_eps;
        let Kept { qkv, unnormed, attention, after } = kept;
        let d_feed_forward = self.feed_forward_backward(after, dy);
        let d_o_bias = self.o_bias.map(|bias| columns(dy, bias.len()));
        let d_o = self.o.weight_gradient(&attention, dy);
        let mut d_qkv = attention_backward(
            self.heads(),
            qkv.each_ref().map(Vec::as_slice),
            &self.rows.spans,
            &self.o.input_gradient(dy),
        );
        drop((qkv, attention));
        let d_norms = self.heads_backward(unnormed.as_ref(), &mut d_qkv);
        let normed = rms_norm(x, self.attn_norm, eps);
        let mut gradients = vec![Vec::new()];
        let mut d_normed = vec![0.0; x.len()];
        for (map, dy) in self.qkv.iter().zip(&d_qkv) {
            gradients.push(map.weight_gradient(&normed, dy));
            map.input_gradient_add(dy, &mut d_normed);
        }
        if let Some(biases) = &self.qkv_bias {
            gradients.extend(d_qkv.iter().zip(biases).map(|(dy, bias)| columns(dy, bias.len())));
        }
        gradients.extend(d_norms);
        gradients[0] = rms_norm_backward(x, self.attn_norm, eps, &d_normed, dy);
        gradients.push(d_o);
        gradients.extend(d_o_bias);
        gradients.extend(d_feed_forward);
        gradients
    }

    /// Turns `dy` into the gradient of the sum after attention; returns those of norm, gate, up, down
    /// and of the biases, where there are any.
    fn feed_forward_backward(&self, after: After, dy: &mut [f32]) -> Vec<Vec<f32>> {
        let After { x, mut gate, mut up } = after;
        let eps = self.config.rms_norm_eps;
        let d_down = self.down.weight_gradient(&swiglu(&gate, &up), dy);
        let d_down_bias = self.mlp_bias.map(|[.., bias]| columns(dy, bias.len()));
        swiglu_backward(&mut gate, &mut up, &self.down.input_gradient(dy));
        let normed = rms_norm(&x, self.mlp_norm, eps);
        let d_gate = self.gate.weight_gradient(&normed, &gate);
        let d_up = self.up.weight_gradient(&normed, &up);
        let d_biases = d_down_bias.map(|down| {
            let inner = self.config.intermediate_size;
            [columns(&gate, inner), columns(&up, inner), down]
        });
        let mut d_normed = self.gate.input_gradient(&gate);
        self.up.input_gradient_add(&up, &mut d_normed);
        let d_norm = rms_norm_backward(&x, self.mlp_norm, eps, &d_normed, dy);
        let mut gradients = vec![d_norm, d_gate, d_up, d_down];
        gradients.extend(d_biases.into_iter().flatten());
        gradients
    }

    /// Turns the gradients of rotated and normed queries and keys into those of the linear maps'
    /// results; returns those of the norms, where there are any.
    fn heads_backward(
        &self,
        unnormed: Option<&[Vec<f32>; 2]>,
        d_qkv: &mut [Vec<f32>; 3],
    ) -> Vec<Vec<f32>> {
        let back: Vec<f32> = self.rows.sin.iter().map(|sin| -sin).collect();
        for dx in &mut d_qkv[..2] {
            rope(dx, &self.rows.cos, &back, self.config.head_dim / 2);
        }
        let norms = self.qk_norm.iter().flatten();
        let inputs = unnormed.into_iter().flatten().zip(d_qkv);
        let through = |(norm, (x, dy)): (&&[f32], (&Vec<f32>, &mut Vec<f32>))| {
            let mut dx = vec![0.0; x.len()];
            let d_norm = rms_norm_backward(x, norm, self.config.rms_norm_eps, dy, &mut dx);
            *dy = dx;
            d_norm
        };
        norms.zip(inputs).map(through).collect()
    }
}

/// Adds the bias to each row.
fn add_bias(x: &mut [f32], bias: &[f32]) {
    for row in x.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
    }
}

/// Sums of columns.
fn columns(x: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for row in x.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sums
}

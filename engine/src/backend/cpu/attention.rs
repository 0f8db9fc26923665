//! Attention by matrix products on each head, without a copy of the shared prompts.

use rayon::prelude::*;

use crate::layout::Span;
use kernels::product::{How, Into, View, product};
use kernels::rows::{softmax, softmax_backward};

/// Added to what is there, on the calling thread.
const ADD: How = How { into: Into::Add, ..How::ALONE };

/// Heads and their width.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Heads of the queries.
    pub query: usize,
    /// Heads of the keys and values.
    pub key: usize,
    /// Width of each.
    pub width: usize,
}

impl Heads {
    fn group(self) -> usize {
        self.query / self.key
    }

    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// Queries, keys and values of all rows.
#[derive(Debug, Clone, Copy)]
struct Qkv<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    heads: Heads,
}

impl<'a> Qkv<'a> {
    fn query(&self, start: usize, head: usize) -> View<'a> {
        let row = self.heads.query * self.heads.width;
        View::rows(&self.q[start * row + head * self.heads.width..], row)
    }

    fn key(&self, start: usize, kv_head: usize) -> View<'a> {
        let row = self.heads.key * self.heads.width;
        View::rows(&self.k[start * row + kv_head * self.heads.width..], row)
    }

    fn value(&self, start: usize, kv_head: usize) -> View<'a> {
        let row = self.heads.key * self.heads.width;
        View::rows(&self.v[start * row + kv_head * self.heads.width..], row)
    }

    /// Attention weights of one head over one span: (span's rows, rows read).
    fn weights(&self, span: &Span, head: usize, out: &mut Vec<f32>) {
        let (before, width) = (span.before(), self.heads.width);
        let all = before + span.len;
        out.clear();
        out.resize(span.len * all, 0.0);
        let query = self.query(span.start, head);
        let mut at = 0;
        for (start, len) in span.reads() {
            let key = self.key(start, head / self.heads.group()).t();
            let how = How { scale: self.heads.scale(), ..How::ALONE };
            product(&mut out[at..], all, (span.len, len, width), query, key, how);
            at += len;
        }
        for (i, row) in out.chunks_exact_mut(all).enumerate() {
            let (seen, hidden) = row.split_at_mut(before + i + 1);
            hidden.fill(0.0);
            softmax(seen);
        }
    }
}

/// The output of the query heads that share one key head over one span: (group, rows, width).
fn one(qkv: &Qkv<'_>, span: &Span, kv_head: usize) -> Vec<f32> {
    let (width, group) = (qkv.heads.width, qkv.heads.group());
    let all = span.before() + span.len;
    let mut weights = Vec::new();
    let mut out = vec![0.0; group * span.len * width];
    for (i, out) in out.chunks_exact_mut(span.len * width).enumerate() {
        qkv.weights(span, kv_head * group + i, &mut weights);
        let mut at = 0;
        for (start, len) in span.reads() {
            let part = View::rows(&weights[at..], all);
            product(out, width, (span.len, width, len), part, qkv.value(start, kv_head), ADD);
            at += len;
        }
    }
    out
}

/// Gradients that one key head over one span contributes.
struct Contribution {
    /// (group, span's rows, width)
    dq: Vec<f32>,
    /// (rows read, width)
    dk: Vec<f32>,
    /// (rows read, width)
    dv: Vec<f32>,
}

fn one_backward(qkv: &Qkv<'_>, grad: &[f32], span: &Span, kv_head: usize) -> Contribution {
    let Heads { query: heads, width, .. } = qkv.heads;
    let (group, all) = (qkv.heads.group(), span.before() + span.len);
    let mut out = Contribution {
        dq: vec![0.0; group * span.len * width],
        dk: vec![0.0; all * width],
        dv: vec![0.0; all * width],
    };
    let (mut weights, mut dweights) = (Vec::new(), vec![0.0; span.len * all]);
    let scaled = How { scale: qkv.heads.scale(), ..ADD };
    for (i, dq) in out.dq.chunks_exact_mut(span.len * width).enumerate() {
        let head = kv_head * group + i;
        qkv.weights(span, head, &mut weights);
        let grad = View::rows(&grad[(span.start * heads + head) * width..], heads * width);
        product(
            &mut out.dv,
            width,
            (all, width, span.len),
            View::rows(&weights, all).t(),
            grad,
            ADD,
        );
        let mut at = 0;
        for (start, len) in span.reads() {
            let value = qkv.value(start, kv_head).t();
            product(&mut dweights[at..], all, (span.len, len, width), grad, value, How::ALONE);
            at += len;
        }
        for (p, dp) in weights.chunks_exact(all).zip(dweights.chunks_exact_mut(all)) {
            softmax_backward(p, dp);
        }
        let query = qkv.query(span.start, head);
        let dscores = View::rows(&dweights, all);
        product(&mut out.dk, width, (all, width, span.len), dscores.t(), query, scaled);
        let mut at = 0;
        for (start, len) in span.reads() {
            let part = View::rows(&dweights[at..], all);
            product(dq, width, (span.len, width, len), part, qkv.key(start, kv_head), scaled);
            at += len;
        }
    }
    out
}

/// One task for every span and key head, in a fixed order.
fn tasks(spans: &[Span], kv_heads: usize) -> Vec<(&Span, usize)> {
    spans.iter().flat_map(|span| (0..kv_heads).map(move |head| (span, head))).collect()
}

/// Adds a (rows, width) block to rows `start..` of a (rows, heads, width) array.
fn add_head(
    out: &mut [f32],
    block: &[f32],
    start: usize,
    head: usize,
    (heads, width): (usize, usize),
) {
    for (i, row) in block.chunks_exact(width).enumerate() {
        let at = ((start + i) * heads + head) * width;
        for (o, x) in out[at..at + width].iter_mut().zip(row) {
            *o += x;
        }
    }
}

/// Attention of every row to its ancestors and to its own segment's rows up to itself.
///
/// Shapes: `q` (rows, heads, head width), `k` and `v` (rows, kv heads, head width), rotary
/// embedding applied; result (rows, heads * head width).
///
/// Source: arXiv 1706.03762, equation 1; grouped heads as in arXiv 2305.13245.
pub fn attention(heads: Heads, [q, k, v]: [&[f32]; 3], spans: &[Span]) -> Vec<f32> {
    let qkv = Qkv { q, k, v, heads };
    let tasks = tasks(spans, heads.key);
    let parts: Vec<Vec<f32>> =
        tasks.par_iter().map(|&(span, head)| one(&qkv, span, head)).collect();
    let mut out = vec![0.0; q.len()];
    for (&(span, kv_head), part) in tasks.iter().zip(&parts) {
        for (i, block) in part.chunks_exact(span.len * heads.width).enumerate() {
            let head = kv_head * heads.group() + i;
            add_head(&mut out, block, span.start, head, (heads.query, heads.width));
        }
    }
    out
}

/// The gradients of [`attention`] in `q`, `k` and `v`, given that of its result.
///
/// Shapes: `dy` (rows, heads * head width); results as `q`, `k` and `v`.
pub fn attention_backward(
    heads: Heads,
    [q, k, v]: [&[f32]; 3],
    spans: &[Span],
    dy: &[f32],
) -> [Vec<f32>; 3] {
    let qkv = Qkv { q, k, v, heads };
    let tasks = tasks(spans, heads.key);
    let parts: Vec<Contribution> =
        tasks.par_iter().map(|&(span, head)| one_backward(&qkv, dy, span, head)).collect();
    let [mut dq, mut dk, mut dv] = [q, k, v].map(|like| vec![0.0; like.len()]);
    for (&(span, kv_head), part) in tasks.iter().zip(&parts) {
        for (i, block) in part.dq.chunks_exact(span.len * heads.width).enumerate() {
            let head = kv_head * heads.group() + i;
            add_head(&mut dq, block, span.start, head, (heads.query, heads.width));
        }
        let mut at = 0;
        for (start, len) in span.reads() {
            let block = at * heads.width..(at + len) * heads.width;
            let shape = (heads.key, heads.width);
            add_head(&mut dk, &part.dk[block.clone()], start, kv_head, shape);
            add_head(&mut dv, &part.dv[block], start, kv_head, shape);
            at += len;
        }
    }
    [dq, dk, dv]
}

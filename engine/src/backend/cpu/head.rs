//! The output head over chunks of the vocabulary, forward and backward.

use std::ops::Range;

use candle::Tensor;
use rayon::prelude::*;

use super::with;
use crate::policy::Head;
use crate::score::{Pass, Read, ScoreGrad, Want};
use crate::{MatmulPrecision, Policy, Result};
use kernels::exp::exp_in_place;
use kernels::likeliest::Likeliest;
use kernels::linear::{Linear, Matrix, linear};
use kernels::logits::{CHUNK, LogitStats};
use kernels::matmul::bf16::PackedBf16;
use kernels::matmul::product_in;
use kernels::matrix::{MatMut, MatRef};
use kernels::output::Output;
use kernels::threads::Threads;

/// Each row's sums, each target's scaled logit, and the rows' `likeliest` tokens.
pub(crate) fn forward(
    pass: &Pass,
    hidden: Tensor,
    head: &Head<'_>,
    likeliest: Vec<Likeliest>,
) -> Result<Read> {
    let (mut reading, vocab) = (Reading::new(pass, hidden, likeliest), head.shape()[0]);
    let (mut scratch, mut logits) = (Vec::new(), Vec::new());
    for start in (0..vocab).step_by(CHUNK) {
        let chunk = start..vocab.min(start + CHUNK);
        head.with_rows(chunk.clone(), &mut scratch, |part| {
            reading.chunk(pass, chunk, part, &mut logits)
        })?;
    }
    Ok(reading.read)
}

/// [`forward`] of several passes: a chunk of the head, of a policy that perturbs nothing, serves
/// all of them.
pub(crate) fn forward_each(
    head: &Head<'_>,
    passes: &mut [(Policy<'_>, Pass, Reading)],
) -> Result<()> {
    let vocab = head.shape()[0];
    let (mut scratch, mut logits) = (Vec::new(), Vec::new());
    for start in (0..vocab).step_by(CHUNK) {
        let chunk = start..vocab.min(start + CHUNK);
        head.with_base_rows(chunk.clone(), &mut scratch, |base| {
            passes.iter_mut().try_for_each(|(policy, pass, reading)| {
                policy.with_head_rows(start, base, |part| {
                    reading.chunk(pass, chunk.clone(), part, &mut logits)
                })
            })
        })?;
    }
    Ok(())
}

/// A pass over the head, chunk by chunk.
#[derive(Debug)]
pub(crate) struct Reading {
    hidden: Tensor,
    /// The targets by token, and how many of them are behind.
    order: Vec<(usize, usize, usize)>,
    behind: usize,
    pub(crate) read: Read,
}

impl Reading {
    /// Shapes: `hidden` (rows, width), one row for each of the pass; one of `likeliest` for each.
    pub(crate) fn new(pass: &Pass, hidden: Tensor, likeliest: Vec<Likeliest>) -> Self {
        let read = Read::new(pass, likeliest);
        Self { hidden, order: pass.by_token(), behind: 0, read }
    }

    /// Reads the next chunk of the vocabulary. `logits` is scratch.
    ///
    /// Shapes: `part` (tokens, width).
    fn chunk(
        &mut self,
        pass: &Pass,
        chunk: Range<usize>,
        part: &[f32],
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let len = chunk.len();
        let targets = &self.order[self.behind..];
        let within = targets.partition_point(|&(_, _, token)| token < chunk.end);
        let targets = &targets[..within];
        self.behind += within;
        logits.resize(pass.rows.len() * len, 0.0);
        with([&self.hidden], |[hidden]| {
            project(pass, logits, hidden, part, part.len() / len);
            Ok(())
        })?;
        let Read { sums, likeliest, logits: target_logits } = &mut self.read;
        let rows = sums.par_iter_mut().zip(likeliest.par_iter_mut());
        rows.zip(logits.par_chunks(len)).for_each(|((sum, likeliest), row)| {
            *sum = sum.merged(LogitStats::of_chunk(row, pass.scale));
            likeliest.read(chunk.start as u32, row);
        });
        for &(target, row, token) in targets {
            let logit = logits[row * len + token - chunk.start];
            target_logits[target] = f64::from(logit * pass.scale);
        }
        Ok(())
    }
}

/// Logits of normed rows as decoding computes them, of a head that is lent by rows.
///
/// Shapes: `x` (rows, width), `logits` (rows, vocabulary).
pub(super) fn logits_by_rows(
    threads: Threads<'_>,
    head: &Head<'_>,
    precision: MatmulPrecision,
    x: &[f32],
    logits: &mut [f32],
) -> Result<()> {
    let (vocab, mut scratch, mut buffer) = (head.shape()[0], Vec::new(), Vec::new());
    for start in (0..vocab).step_by(CHUNK) {
        let chunk = start..vocab.min(start + CHUNK);
        head.with_rows(chunk.clone(), &mut scratch, |part| {
            logits_of_rows(threads, precision, x, (chunk, part), logits, &mut buffer);
            Ok(())
        })?;
    }
    Ok(())
}

/// Normed rows of a policy, and where their logits go.
pub(super) struct End<'a> {
    pub(super) policy: Policy<'a>,
    /// (rows, width)
    pub(super) x: Vec<f32>,
    /// (rows, vocabulary)
    pub(super) logits: &'a mut [f32],
}

/// [`logits_by_rows`] of several policies: a chunk of the head, of a policy that perturbs nothing,
/// serves all of them.
pub(super) fn logits_each(
    threads: Threads<'_>,
    head: &Head<'_>,
    ends: &mut [End<'_>],
) -> Result<()> {
    let (vocab, mut scratch, mut buffer) = (head.shape()[0], Vec::new(), Vec::new());
    for start in (0..vocab).step_by(CHUNK) {
        let chunk = start..vocab.min(start + CHUNK);
        head.with_base_rows(chunk.clone(), &mut scratch, |base| {
            ends.iter_mut().try_for_each(|End { policy, x, logits }| {
                policy.with_head_rows(start, base, |part| {
                    let precision = policy.precision();
                    let part = (chunk.clone(), part);
                    logits_of_rows(threads, precision, x, part, logits, &mut buffer);
                    Ok(())
                })
            })
        })?;
    }
    Ok(())
}

/// Logits of normed rows for some tokens, by the kernel of decoding. `buffer` is scratch.
///
/// Shapes: `x` (rows, width), `part` (tokens, width), `logits` (rows, vocabulary).
pub(super) fn logits_of_rows(
    threads: Threads<'_>,
    precision: MatmulPrecision,
    x: &[f32],
    (tokens, part): (Range<usize>, &[f32]),
    logits: &mut [f32],
    buffer: &mut Vec<f32>,
) {
    let (len, width) = (tokens.len(), part.len() / tokens.len());
    let rows = x.len() / width;
    let vocab = logits.len() / rows;
    buffer.resize(rows * len, 0.0);
    let rounded;
    let matrix = match precision {
        MatmulPrecision::F32 => Matrix::F32(part),
        MatmulPrecision::Bf16 => {
            rounded = PackedBf16::new(threads, MatRef::new(part, len, width));
            Matrix::Bf16(&rounded)
        }
    };
    linear(threads, x, Linear::plain(matrix), rows, buffer);
    for (logits, row) in logits.chunks_exact_mut(vocab).zip(buffer.chunks_exact(len)) {
        logits[tokens.clone()].copy_from_slice(row);
    }
}

/// Logits of all rows for a part of the head: (rows, tokens).
fn project(pass: &Pass, out: &mut [f32], hidden: &[f32], part: &[f32], width: usize) {
    let (rows, len) = (pass.rows.len(), part.len() / width);
    let (hidden, part) = (MatRef::new(hidden, rows, width), MatRef::new(part, len, width));
    let logits = Output::set(MatMut::new(out, rows, len));
    product_in(pass.precision(), Threads::Pool, hidden, part.t(), logits);
}

/// Gradients with respect to the rows that have targets and to the head, those that `want` names.
pub(crate) fn backward(
    pass: &Pass,
    grad: &ScoreGrad,
    hidden: &Tensor,
    head: &Head<'_>,
    want: Want,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let ([vocab, width], mut scratch) = (head.shape(), Vec::new());
    let rows = pass.rows.len();
    let mut d_hidden = want.hidden.then(|| vec![0.0; rows * width]);
    let mut d_head = want.head.then(|| vec![0.0; vocab * width]);
    let mut d = vec![0.0; rows * CHUNK.min(vocab)];
    for (Range { start, end }, targets) in grad.chunks(vocab) {
        let len = end - start;
        let d = &mut d[..rows * len];
        let mut backward = |hidden: &[f32], part: &[f32]| {
            project(pass, d, hidden, part, width);
            d.par_chunks_mut(len)
                .enumerate()
                .for_each(|(row, d)| logit_gradient(pass, grad, row, d));
            for &(row, token, d_log_prob) in targets {
                d[row * len + token - start] += (d_log_prob * pass.inverse_temperature) as f32;
            }
            let (d, hidden) = (MatRef::new(d, rows, len), MatRef::new(hidden, rows, width));
            let (part, precision) = (MatRef::new(part, len, width), pass.precision());
            if let Some(d_hidden) = &mut d_hidden {
                let to = Output::add(MatMut::new(d_hidden, rows, width));
                product_in(precision, Threads::Pool, d, part, to);
            }
            if let Some(d_head) = &mut d_head {
                let to = &mut d_head[start * width..end * width];
                let to = Output::add(MatMut::new(to, len, width));
                product_in(precision, Threads::Pool, d.t(), hidden, to);
            }
        };
        head.with_rows(start..end, &mut scratch, |part| {
            Ok(with([hidden], |[hidden]| {
                backward(hidden, part);
                Ok(())
            })?)
        })?;
    }
    let tensor = |gradient: Option<Vec<f32>>, rows: usize| {
        gradient.map(|x| Tensor::from_vec(x, (rows, width), hidden.device())).transpose()
    };
    Ok((tensor(d_hidden, rows)?, tensor(d_head, vocab)?))
}

/// Replaces the logits of a row by their gradients, without the term of the row's targets.
fn logit_gradient(pass: &Pass, grad: &ScoreGrad, row: usize, d: &mut [f32]) {
    let stats = pass.stats[row];
    let (log_sum, scale) = (stats.log_sum as f32, pass.scale);
    let (d_log_prob, d_entropy) = (grad.log_prob[row] as f32, grad.entropy[row] as f32);
    let entropy = stats.entropy as f32;
    let mut buffer = [0.0; 512];
    for d in d.chunks_mut(buffer.len()) {
        let p = &mut buffer[..d.len()];
        for (p, z) in p.iter_mut().zip(d.iter()) {
            *p = z * scale - log_sum;
        }
        exp_in_place(p);
        for (z, p) in d.iter_mut().zip(p) {
            let above = *z * scale - log_sum + entropy;
            *z = -*p * (d_log_prob + d_entropy * above) * scale;
        }
    }
}

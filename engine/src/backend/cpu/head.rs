//! The output head over chunks of the vocabulary, forward and backward.

use std::ops::Range;

use candle::Tensor;
use rayon::prelude::*;

use super::{Lent, with};
use crate::Result;
use crate::score::{Pass, ScoreGrad, Want, chunks};
use crate::weights::Value;
use kernels::exp::exp_in_place;
use kernels::likeliest::Likeliest;
use kernels::logits::{CHUNK, LogitStats};
use kernels::matmul::product_in;
use kernels::matrix::{MatMut, MatRef};
use kernels::output::Output;
use kernels::threads::Threads;

/// Each row's sums, and each target's scaled logit. The rows' `likeliest` tokens are found on the
/// way.
pub(crate) fn forward(
    pass: &Pass,
    hidden: &Tensor,
    head: &Value,
    likeliest: &mut [Likeliest],
) -> Result<(Vec<LogitStats>, Vec<f64>)> {
    let (vocab, width) = (head.dims()[0], head.dims()[1]);
    let (lent, mut scratch) = (Lent::new(head), Vec::new());
    let mut sums = vec![LogitStats::EMPTY; pass.rows.len()];
    let mut target_logits = vec![0.0; pass.targets.len()];
    let order = pass.by_token();
    with([hidden], |[hidden]| {
        let mut logits = vec![0.0; pass.rows.len() * CHUNK.min(vocab)];
        for (Range { start, end }, targets) in chunks(vocab, &order, |&(_, _, token)| token) {
            let len = end - start;
            let logits = &mut logits[..pass.rows.len() * len];
            project(pass, logits, hidden, lent.rows(start..end, &mut scratch)?, width);
            let rows = sums.par_iter_mut().zip(likeliest.par_iter_mut());
            rows.zip(logits.par_chunks(len)).for_each(|((sum, likeliest), row)| {
                *sum = sum.merged(LogitStats::of_chunk(row, pass.scale));
                likeliest.read(start as u32, row);
            });
            for &(target, row, token) in targets {
                let logit = logits[row * len + token - start];
                target_logits[target] = f64::from(logit * pass.scale);
            }
        }
        Ok(())
    })?;
    Ok((sums, target_logits))
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
    head: &Value,
    want: Want,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (vocab, width) = (head.dims()[0], head.dims()[1]);
    let (lent, mut scratch) = (Lent::new(head), Vec::new());
    let rows = pass.rows.len();
    let (d_hidden, d_head) = with([hidden], |[hidden]| {
        let mut d_hidden = want.hidden.then(|| vec![0.0; rows * width]);
        let mut d_head = want.head.then(|| vec![0.0; vocab * width]);
        let mut d = vec![0.0; rows * CHUNK.min(vocab)];
        for (Range { start, end }, targets) in grad.chunks(vocab) {
            let len = end - start;
            let (d, part) = (&mut d[..rows * len], lent.rows(start..end, &mut scratch)?);
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
        }
        Ok((d_hidden, d_head))
    })?;
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

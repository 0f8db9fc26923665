//! The chunked head, forward and backward. Logits, their sums and their gradients are in f32 at
//! least.

use std::ops::Range;

use candle::{DType, Tensor};

use super::ops::{self, wide};
use crate::Result;
use crate::policy::Head;
use crate::score::{Pass, Read, ScoreGrad, Want, chunks};
use kernels::likeliest::Likeliest;
use kernels::logits::LogitStats;

fn host(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}

/// Scaled logits of one chunk: (rows, chunk).
fn logits(pass: &Pass, hidden: &Tensor, part: &Tensor) -> Result<Tensor> {
    Ok((ops::logits(hidden, part)? * pass.inverse_temperature)?)
}

/// Each row's sums, each target's scaled logit, and the rows' `likeliest` tokens.
pub(crate) fn forward(
    pass: &Pass,
    hidden: &Tensor,
    head: &Head<'_>,
    likeliest: Vec<Likeliest>,
) -> Result<Read> {
    let vocab = head.shape()[0];
    let hidden = &wide(hidden)?;
    let mut read = Read::new(pass, likeliest);
    let order = pass.by_token();
    for (Range { start, end }, within) in chunks(vocab, &order, |&(_, _, token)| token) {
        let len = end - start;
        let part = head.rows(start..end)?;
        if read.likeliest.iter().any(Likeliest::is_wanted) {
            let plain = ops::logits(hidden, &part)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
            let rows = read.likeliest.iter_mut().zip(&plain);
            rows.for_each(|(likeliest, row)| likeliest.read(start as u32, row));
        }
        let z = logits(pass, hidden, &part)?;
        let max = z.max_keepdim(1)?;
        let shifted = z.broadcast_sub(&max)?;
        let exp = shifted.exp()?;
        let square = exp.sqr()?;
        let columns = [
            host(&max)?,
            host(&exp.sum(1)?)?,
            host(&(&exp * &shifted)?.sum(1)?)?,
            host(&square.sum(1)?)?,
            host(&(&square * &shifted)?.sum(1)?)?,
        ];
        for (row, sum) in read.sums.iter_mut().enumerate() {
            let [max, exp, weighted, square, square_weighted] =
                std::array::from_fn(|i| columns[i][row]);
            *sum = sum.merged(LogitStats { max, exp, weighted, square, square_weighted });
        }
        if !within.is_empty() {
            let at: Vec<u32> =
                within.iter().map(|(_, row, token)| (row * len + token - start) as u32).collect();
            let at = Tensor::new(at, hidden.device())?;
            let values = host(&z.flatten_all()?.index_select(&at, 0)?)?;
            for (&(target, _, _), value) in within.iter().zip(values) {
                read.logits[target] = value;
            }
        }
    }
    Ok(read)
}

/// Gradients with respect to the rows that have targets, in their dtype, and to the head, in f32 at
/// least.
pub(crate) fn backward(
    pass: &Pass,
    grad: &ScoreGrad,
    hidden: &Tensor,
    head: &Head<'_>,
    want: Want,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (vocab, rows, device) = (head.shape()[0], pass.rows.len(), hidden.device());
    let (dtype, hidden) = (hidden.dtype(), &wide(hidden)?);
    let column = |values: Vec<f64>| -> Result<Tensor> {
        let tensor = Tensor::from_vec(values, (rows, 1), &candle::Device::Cpu)?;
        Ok(tensor.to_dtype(hidden.dtype())?.to_device(device)?)
    };
    let log_sum = column(pass.stats.iter().map(|s| s.log_sum).collect())?;
    let entropy = column(pass.stats.iter().map(|s| s.entropy).collect())?;
    let (d_log_prob, d_entropy) = (column(grad.log_prob.clone())?, column(grad.entropy.clone())?);
    let mut d_hidden = hidden.zeros_like()?;
    let mut d_head = Vec::new();
    for (Range { start, end }, targets) in grad.chunks(vocab) {
        let len = end - start;
        let part = wide(&head.rows(start..end)?)?;
        let log_p = logits(pass, hidden, &part)?.broadcast_sub(&log_sum)?;
        let factor = log_p.broadcast_add(&entropy)?.broadcast_mul(&d_entropy)?;
        let mut d = (log_p.exp()? * factor.broadcast_add(&d_log_prob)?)?.neg()?;
        if !targets.is_empty() {
            let at: Vec<u32> =
                targets.iter().map(|(row, token, _)| (row * len + token - start) as u32).collect();
            let add: Vec<f64> = targets.iter().map(|&(_, _, d)| d).collect();
            let add = Tensor::new(add, &candle::Device::Cpu)?.to_dtype(hidden.dtype())?;
            let at = Tensor::new(at, device)?;
            d = d
                .flatten_all()?
                .index_add(&at, &add.to_device(device)?, 0)?
                .reshape((rows, len))?;
        }
        let d = (d * pass.inverse_temperature)?;
        if want.hidden {
            d_hidden = (d_hidden + d.matmul(&part)?)?;
        }
        if want.head {
            d_head.push(d.t()?.matmul(hidden)?);
        }
    }
    let d_head = want.head.then(|| Tensor::cat(&d_head, 0)).transpose()?;
    Ok((want.hidden.then(|| d_hidden.to_dtype(dtype)).transpose()?, d_head))
}

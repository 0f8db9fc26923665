//! Losses with one ratio for a sequence, written token by token.

use candle::Tensor;

use super::policy::{Clip, Tokens};
use super::{Tally, clamp, constant};
use crate::Result;

/// Largest logarithm of a sequence's ratio in GSPO.
const MOST: f64 = 10.0;

/// The clipped surrogate of the sequence's ratio.
pub(super) fn gspo(tokens: &Tokens<'_>, clip: Clip, tally: &mut Tally) -> Result<Tensor> {
    let log_ratios = (tokens.log_probs - &tokens.old_log_probs)?;
    let of_sequence = shared(&log_ratios, tokens.lengths)?;
    let ratios = clamp(&of_sequence, f64::NEG_INFINITY, MOST)?.exp()?;
    let (losses, clipped) = clip.losses(&ratios, &tokens.advantages)?;
    tally.add_clipped(&clipped, &ratios.gt(1.0)?)?;
    Ok(losses)
}

/// The geometric mean of the sequence's ratios, each clipped on the side that its advantage asks.
pub(super) fn gmpo(tokens: &Tokens<'_>, clip: Clip, tally: &mut Tally) -> Result<Tensor> {
    let (log_ratios, advantages) = (tokens.log_ratios()?, &tokens.advantages);
    let bounded = log_ratios.detach().clamp(-clip.low, clip.high)?;
    let above = (log_ratios.gt(&bounded)? * advantages.gt(0.0)?)?;
    let below = (log_ratios.lt(&bounded)? * advantages.lt(0.0)?)?;
    let clipped = (&above + below)?;
    tally.add_clipped(&clipped, &above)?;
    let log_ratios = clipped.where_cond(&bounded, &log_ratios)?;
    let means = shared(&log_ratios, tokens.lengths)?.exp()?;
    Ok((means * advantages)?.neg()?)
}

/// Each token's sequence mean of `x`, with gradient 1 in the token's own entry and 0 in the others.
fn shared(x: &Tensor, lengths: &[usize]) -> Result<Tensor> {
    let values: Vec<f64> = x.detach().to_vec1()?;
    let mut rest = values.as_slice();
    let mut means = Vec::with_capacity(values.len());
    for &length in lengths {
        let (own, after) = rest.split_at(length);
        means.extend(std::iter::repeat_n(own.iter().sum::<f64>() / length as f64, length));
        rest = after;
    }
    Ok(((x - x.detach())? + constant(x, "sequence means", &means)?)?)
}

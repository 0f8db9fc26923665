//! Losses whose gradient goes past the ratio, or through a soft function of it.

use candle::Tensor;

use super::policy::{Clip, Tokens};
use super::{Tally, clamp};

/// `-A l`.
pub(super) fn policy_gradient(tokens: &Tokens<'_>) -> candle::Result<Tensor> {
    (tokens.log_probs * &tokens.advantages)?.neg()
}

/// `-sg(clip(r)) A l`.
pub(super) fn cispo(tokens: &Tokens<'_>, clip: Clip, tally: &mut Tally) -> candle::Result<Tensor> {
    let ratios = tokens.log_ratios()?.exp()?.detach();
    let factors = clamp(&ratios, 1.0 - clip.low, 1.0 + clip.high)?;
    tally.add_clipped(&ratios.ne(&factors)?, &ratios.gt(&factors)?)?;
    factors * policy_gradient(tokens)?
}

/// `-A (4 / tau) sigmoid(tau (r - 1))`, the sigmoid as a tanh, which cannot overflow.
pub(super) fn sapo(
    tokens: &Tokens<'_>,
    tau_positive: f64,
    tau_negative: f64,
) -> candle::Result<Tensor> {
    let advantages = &tokens.advantages;
    let good = advantages.gt(0.0)?;
    let constant = |tau: f64| advantages.zeros_like()? + tau;
    let taus = good.where_cond(&constant(tau_positive)?, &constant(tau_negative)?)?;
    let distances = (tokens.log_ratios()?.exp()? - 1.0)?;
    let gates = (((&distances * &taus)? * 0.5)?.tanh()? + 1.0)?;
    (((gates * 2.0)? / taus)? * advantages)?.neg()
}

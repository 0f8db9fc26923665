use candle::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Tally;
use super::policy::{Clip, Tokens};

/// The surrogate of PPO with separate clips and a ceiling on the loss of bad tokens (dual clip).
///
/// With ratio `r = exp(log_prob - old_log_prob)`, its exponent within 20, and advantage `A`, a
/// token's loss is `max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high))`, and where `A < 0` at most
/// `-A dual_clip`. A ratio exactly on a bound counts as within it, in the gradient as in the
/// metrics.
///
/// Source: arXiv 1707.06347, equation 7; arXiv 2503.14476, section 3.1 (two clips); arXiv
/// 1912.09729 (dual clip).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClippedSurrogate {
    /// How far below 1 the ratio may go, from 0 to 1.
    ///
    /// Names: verl `clip_ratio_low`, TRL `epsilon`.
    pub clip_low: f64,
    /// How far above 1 the ratio may go, at least 0. DAPO sets 0.28.
    ///
    /// Names: verl `clip_ratio_high`, TRL `epsilon_high`.
    pub clip_high: f64,
    /// Largest loss of a token of advantage -1: a number above 1, or `"off"`, as in the papers of
    /// PPO and GRPO. In verl it is 3 where nothing is set.
    ///
    /// Names: verl `clip_ratio_c`, TRL `delta`.
    #[serde(with = "settings::off")]
    #[schemars(with = "settings::OrOff<f64>")]
    pub dual_clip: Option<f64>,
}

impl Default for ClippedSurrogate {
    fn default() -> Self {
        Self { clip_low: 0.2, clip_high: 0.2, dual_clip: None }
    }
}

impl ClippedSurrogate {
    /// One loss per token, and the counts of this micro-batch. All shapes (targets).
    pub(super) fn losses(&self, tokens: &Tokens<'_>, tally: &mut Tally) -> candle::Result<Tensor> {
        let (ratios, advantages) = (tokens.log_ratios()?.exp()?, &tokens.advantages);
        let (mut losses, clipped) = self.clip().losses(&ratios, advantages)?;
        if let Some(limit) = self.dual_clip {
            let ceiling = (advantages * -limit)?;
            let above = (losses.gt(&ceiling)? * advantages.lt(0.0)?)?;
            losses = above.where_cond(&ceiling, &losses)?;
            tally.add_ceiling(&above)?;
        }
        tally.add_clipped(&clipped, &ratios.gt(1.0)?)?;
        Ok(losses)
    }

    fn clip(&self) -> Clip {
        Clip { low: self.clip_low, high: self.clip_high }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.clip().problems(1.0);
        match self.dual_clip {
            Some(limit) if !(limit.is_finite() && limit > 1.0) => {
                problems
                    .push(format!("dual_clip is {limit}, expected a number above 1 or \"off\""));
            }
            _ => {}
        }
        problems
    }
}

use candle::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::surrogate::ClippedSurrogate;
use super::{LossColumns, Tally, clamp, constant, ratio, sequence, total};
use crate::Result;

/// The loss of one token.
///
/// With log-prob `l`, old log-prob `o`, ratio `r = exp(l - o)`, its exponent within 20, advantage
/// `A`, and `sg` for a value that has no gradient. A ratio exactly on a bound counts as within it.
/// Losses that speak of sequences are written token by token: a token's weight then acts on that
/// token's own gradient, and the aggregation `seq-mean-token-mean` gives the papers' mean over
/// sequences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name_or("clipped-surrogate"))]
pub enum PolicyLoss {
    /// The clipped surrogate of PPO.
    ///
    /// Names: verl `vanilla`.
    ClippedSurrogate(ClippedSurrogate),
    /// `-A l`; the old log-probs are for the metrics only.
    ///
    /// Source: GPG, arXiv 2504.02546, without its factor on the advantages.
    ///
    /// Names: verl `gpg`.
    PolicyGradient {},
    /// `max(-A s, -A clip(s, 1 - clip_low, 1 + clip_high))` with the ratio of the sequence
    /// `s = exp(l - sg(l) + sg(mean over its tokens of l - o))`, its exponent at most 10.
    ///
    /// Where advantages and weights are equal within a sequence, value and gradient are those of
    /// the sequence's own clipped surrogate. Source: GSPO, arXiv 2507.18071, equations 5 and 7,
    /// token by token as equations 13 and 14 (GSPO-token); the bound of 10 as in verl's `gspo`.
    /// Aggregation there: `seq-mean-token-mean`.
    Gspo {
        /// How far below 1 the sequence's ratio may go, from 0 to 1. The default is that of section
        /// 5.1.
        ///
        /// Names: verl `clip_ratio_low`, TRL `epsilon`.
        #[serde(default = "gspo_low")]
        clip_low: f64,
        /// How far above 1 the sequence's ratio may go, at least 0. The default is that of section
        /// 5.1.
        ///
        /// Names: verl `clip_ratio_high`, TRL `epsilon_high`.
        #[serde(default = "gspo_high")]
        clip_high: f64,
    },
    /// `-A g` with `g` the geometric mean over the sequence of its ratios, a ratio above
    /// `exp(clip_high)` brought down to it where `A > 0`, one below `exp(-clip_low)` brought up to
    /// it where `A < 0`.
    ///
    /// Token by token: `g = exp(c - sg(c) + sg(mean over the sequence of c))` with the clipped
    /// log-ratio `c`. The tokens of a sequence share their advantage. Source: GMPO, arXiv
    /// 2507.20673, its bounds as logarithms as in verl's `geo_mean`. That code counts a token as
    /// clipped wherever its log-ratio is out of bounds; here it is one that lost its gradient. It
    /// takes importance weights as their geometric mean over the sequence; here each acts on its
    /// token. Aggregation there: `seq-mean-token-mean`.
    Gmpo {
        /// How far below 0 a log-ratio may go, at least 0. The default is that of the paper's
        /// section 4.
        ///
        /// Names: verl `clip_ratio_low`.
        #[serde(default = "gmpo_clip")]
        clip_low: f64,
        /// How far above 0 a log-ratio may go, at least 0. The default is that of the paper's
        /// section 4.
        ///
        /// Names: verl `clip_ratio_high`.
        #[serde(default = "gmpo_clip")]
        clip_high: f64,
    },
    /// `-sg(clip(r, 1 - clip_low, 1 + clip_high)) A l`: a clipped token keeps its gradient.
    ///
    /// Source: CISPO in MiniMax-M1, arXiv 2506.13585, equations 4 and 5. The paper sets no lower
    /// bound (`clip_low` of 1 or more) and does not say its upper one; the defaults are those of
    /// verl's example. Aggregation there: `token-mean`.
    Cispo {
        /// How far below 1 the factor may go, at least 0. From 1 on there is no bound.
        ///
        /// Names: verl `clip_ratio_low`.
        #[serde(default = "cispo_low")]
        clip_low: f64,
        /// How far above 1 the factor may go, at least 0.
        ///
        /// Names: verl `clip_ratio_high`, TRL `epsilon_high`.
        #[serde(default = "cispo_high")]
        clip_high: f64,
    },
    /// `-A (4 / tau) sigmoid(tau (r - 1))`, with `tau_positive` where `A > 0` and `tau_negative`
    /// elsewhere: a soft gate in place of a clip.
    ///
    /// Source: SAPO, arXiv 2511.20347; verl's `sapo`. Aggregation there:
    /// `seq-mean-token-mean`.
    Sapo {
        /// Sharpness of the gate for tokens with a positive advantage, more than 0.
        ///
        /// Names: verl `tau_pos`, TRL `sapo_temperature_pos`.
        #[serde(default = "tau_positive")]
        tau_positive: f64,
        /// Sharpness of the gate for all other tokens, more than 0.
        ///
        /// Names: verl `tau_neg`, TRL `sapo_temperature_neg`.
        #[serde(default = "tau_negative")]
        tau_negative: f64,
    },
    /// `-l`: reads neither old log-probs nor advantages, whose columns may be empty.
    NegativeLogLikelihood {},
}

settings::tagged!(PolicyLoss, "clipped-surrogate");

fn gspo_low() -> f64 {
    3e-4
}

fn gspo_high() -> f64 {
    4e-4
}

fn gmpo_clip() -> f64 {
    0.4
}

fn cispo_low() -> f64 {
    10.0
}

fn cispo_high() -> f64 {
    0.2
}

fn tau_positive() -> f64 {
    1.0
}

fn tau_negative() -> f64 {
    1.05
}

impl Default for PolicyLoss {
    fn default() -> Self {
        Self::ClippedSurrogate(ClippedSurrogate::default())
    }
}

impl PolicyLoss {
    /// One loss per token, before weights, and this micro-batch's counts and clips.
    pub(super) fn losses(
        &self,
        log_probs: &Tensor,
        columns: &LossColumns<'_>,
        tally: &mut Tally,
    ) -> Result<Tensor> {
        if let Self::NegativeLogLikelihood {} = self {
            return Ok(log_probs.neg()?);
        }
        let tokens = Tokens {
            log_probs,
            old_log_probs: constant(log_probs, "old_log_probs", columns.old_log_probs)?,
            advantages: constant(log_probs, "advantages", columns.advantages)?,
            lengths: columns.lengths,
        };
        tally.sums.old_kl = -total(&tokens.log_ratios()?)?;
        Ok(match *self {
            Self::ClippedSurrogate(ref surrogate) => surrogate.losses(&tokens, tally)?,
            Self::PolicyGradient {} => ratio::policy_gradient(&tokens)?,
            Self::Gspo { clip_low: low, clip_high: high } => {
                sequence::gspo(&tokens, Clip { low, high }, tally)?
            }
            Self::Gmpo { clip_low: low, clip_high: high } => {
                sequence::gmpo(&tokens, Clip { low, high }, tally)?
            }
            Self::Cispo { clip_low: low, clip_high: high } => {
                ratio::cispo(&tokens, Clip { low, high }, tally)?
            }
            Self::Sapo { tau_positive, tau_negative } => {
                ratio::sapo(&tokens, tau_positive, tau_negative)?
            }
            Self::NegativeLogLikelihood {} => unreachable!("returned above"),
        })
    }

    /// Everything wrong with the settings, one sentence per key.
    pub(super) fn problems(&self) -> Vec<String> {
        match *self {
            Self::ClippedSurrogate(ref surrogate) => surrogate.problems(),
            Self::Gspo { clip_low: low, clip_high: high } => Clip { low, high }.problems(1.0),
            Self::Gmpo { clip_low: low, clip_high: high }
            | Self::Cispo { clip_low: low, clip_high: high } => {
                Clip { low, high }.problems(f64::INFINITY)
            }
            Self::Sapo { tau_positive, tau_negative } => {
                [("tau_positive", tau_positive), ("tau_negative", tau_negative)]
                    .into_iter()
                    .filter(|(_, tau)| !(tau.is_finite() && *tau > 0.0))
                    .map(|(key, tau)| format!("{key} is {tau}, expected a number above 0"))
                    .collect()
            }
            Self::PolicyGradient {} | Self::NegativeLogLikelihood {} => Vec::new(),
        }
    }
}

/// What a policy loss reads. All tensors have the shape (targets).
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    pub(super) log_probs: &'a Tensor,
    pub(super) old_log_probs: Tensor,
    pub(super) advantages: Tensor,
    /// Tokens of each sequence.
    pub(super) lengths: &'a [usize],
}

impl Tokens<'_> {
    /// Log-prob less old log-prob, within 20 nats.
    pub(super) fn log_ratios(&self) -> candle::Result<Tensor> {
        clamp(&(self.log_probs - &self.old_log_probs)?, -20.0, 20.0)
    }
}

/// How far a ratio may go from 1, or a log-ratio from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clip {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Clip {
    /// The clipped surrogate of some ratios, and where the ratio is clipped.
    pub(super) fn losses(
        self,
        ratios: &Tensor,
        advantages: &Tensor,
    ) -> candle::Result<(Tensor, Tensor)> {
        let plain = (ratios * advantages)?.neg()?;
        // A constant: where it is the larger one strictly, the ratio is outside its bounds.
        let bounded = ratios.detach().clamp(1.0 - self.low, 1.0 + self.high)?;
        let bounded = (bounded * advantages)?.neg()?;
        let clipped = bounded.gt(&plain)?;
        Ok((clipped.where_cond(&bounded, &plain)?, clipped))
    }

    /// What is wrong with the bounds, the lower one being at most `lowest` away.
    pub(super) fn problems(self, lowest: f64) -> Vec<String> {
        let mut problems = Vec::new();
        if !(self.low.is_finite() && (0.0..=lowest).contains(&self.low)) {
            let expected = if lowest.is_finite() { "0 to 1" } else { "a number of at least 0" };
            problems.push(format!("clip_low is {}, expected {expected}", self.low));
        }
        if !(self.high.is_finite() && self.high >= 0.0) {
            let got = self.high;
            problems.push(format!("clip_high is {got}, expected a number of at least 0"));
        }
        problems
    }
}

//! How much a token counts that another policy sampled: the one that trains is of another age, or
//! computes in another precision.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Importance weights for rollouts whose log-probs are not those of training.
///
/// The ratio of a token is `exp(old log-prob - rollout log-prob)`, its exponent within 20; old is
/// what training computes for the policy before its updates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name)]
pub enum Importance {
    /// None: the rollout counts as the policy's own.
    Off {},
    /// The ratio, at most `cap`.
    ///
    /// Source: truncated importance sampling, verl's rollout correction (`rollout_is`).
    Truncated {
        /// What has a ratio of its own.
        ///
        /// Names: verl `rollout_is`, TRL `vllm_importance_sampling_mode`.
        #[serde(default)]
        level: Level,
        /// Largest weight, more than 0.
        ///
        /// Names: verl `rollout_is_threshold`, TRL `vllm_importance_sampling_clip_max`.
        #[serde(default = "usual_cap")]
        cap: f64,
    },
    /// The ratio where it is within `low..=high`, and 0 elsewhere; what is masked stays in the
    /// loss's denominator.
    ///
    /// Source: masked importance sampling, verl's rollout correction, which takes masked tokens out
    /// of the denominator as well.
    Masked {
        /// What has a ratio of its own.
        ///
        /// Names: verl `rollout_rs`, TRL `vllm_importance_sampling_mode`.
        #[serde(default)]
        level: Level,
        /// Smallest ratio that counts, at least 0.
        ///
        /// Names: verl `rollout_rs_threshold`, TRL `vllm_importance_sampling_clip_min`.
        #[serde(default = "usual_low")]
        low: f64,
        /// Largest ratio that counts, more than `low`.
        ///
        /// Names: verl `rollout_rs_threshold`, TRL `vllm_importance_sampling_clip_max`.
        #[serde(default = "usual_high")]
        high: f64,
    },
}

settings::tagged!(Importance);

/// What has a ratio of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ImportanceLevel")]
pub enum Level {
    /// Each token: little variance, some bias.
    #[default]
    Token,
    /// Each completion, the product of its tokens' ratios: no bias, much variance.
    Sequence,
    /// Each completion, the geometric mean of its tokens' ratios.
    Geometric,
}

impl Default for Importance {
    fn default() -> Self {
        Self::Off {}
    }
}

fn usual_cap() -> f64 {
    2.0
}

fn usual_low() -> f64 {
    0.5
}

fn usual_high() -> f64 {
    2.0
}

/// One weight for each token, and what is worth recording about them.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportanceWeights {
    /// At least 0, in the order of the columns.
    pub weights: Vec<f64>,
    /// Whether the token's ratio is out of bounds: above the cap or below its inverse, or outside
    /// of `low..=high`.
    pub outside: Vec<bool>,
    /// Metric keys and values.
    pub statistics: Vec<(&'static str, f64)>,
}

/// Largest distance of a log-ratio from 0.
const FURTHEST: f64 = 20.0;

impl Importance {
    /// Everything that is wrong, each with its key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match *self {
            Self::Truncated { cap, .. } if !(cap.is_finite() && cap > 0.0) => {
                problems.push(format!("cap: expected more than 0, got {cap}"));
            }
            Self::Masked { low, high, .. } => {
                if !(low.is_finite() && low >= 0.0) {
                    problems.push(format!("low: expected 0 or more, got {low}"));
                }
                if !(high.is_finite() && high > low.max(0.0)) {
                    problems.push(format!("high: expected more than low = {low}, got {high}"));
                }
            }
            Self::Off {} | Self::Truncated { .. } => {}
        }
        problems
    }

    /// The weights of a step's tokens; none where this is off.
    ///
    /// `old` and `rollout` are log-probs in nats, one for each token; `samples` are the tokens of
    /// each completion. Of what is recorded, all over tokens, extremes and shares are those of the
    /// ratios, the rest that of the weights; the effective sample size is Kish's, as a share.
    pub fn weights(
        &self,
        old: &[f32],
        rollout: &[f32],
        samples: &[Range<usize>],
    ) -> Option<ImportanceWeights> {
        let (level, low, high) = match *self {
            Self::Off {} => return None,
            Self::Truncated { level, cap } => (level, 1.0 / cap, cap),
            Self::Masked { level, low, high } => (level, low, high),
        };
        let ratios = level.ratios(old, rollout, samples);
        // a ratio that is not a number is not outside: it has to reach the loss, which refuses it
        let outside = |ratio: &f64| *ratio < low || *ratio > high;
        let weight = |&ratio: &f64| match self {
            Self::Truncated { cap, .. } if ratio > *cap => *cap,
            Self::Masked { .. } if outside(&ratio) => 0.0,
            _ => ratio,
        };
        let weights: Vec<f64> = ratios.iter().map(weight).collect();
        let mut statistics = statistics(&ratios, &weights, low, high);
        if let Self::Masked { .. } = self {
            let hit = |own: &&Range<usize>| ratios[(*own).clone()].iter().any(outside);
            let some = samples.iter().filter(|own| !own.is_empty());
            statistics.extend([
                ("rollout_corr/rollout_rs_masked_fraction", share(&ratios, outside)),
                (
                    "rollout_corr/rollout_rs_seq_masked_fraction",
                    some.clone().filter(hit).count() as f64 / (some.count() as f64).max(1.0),
                ),
            ]);
        }
        let outside = ratios.iter().map(outside).collect();
        Some(ImportanceWeights { weights, outside, statistics })
    }
}

impl Level {
    /// The ratio that each token has or shares.
    fn ratios(self, old: &[f32], rollout: &[f32], samples: &[Range<usize>]) -> Vec<f64> {
        let logs: Vec<f64> = old
            .iter()
            .zip(rollout)
            .map(|(&old, &rollout)| f64::from(old) - f64::from(rollout))
            .collect();
        let ratio = |log: f64| log.clamp(-FURTHEST, FURTHEST).exp();
        let mut ratios: Vec<f64> = logs.iter().map(|&log| ratio(log)).collect();
        if self == Self::Token {
            return ratios;
        }
        for own in samples {
            let sum: f64 = logs[own.clone()].iter().sum();
            let share = if self == Self::Geometric { own.len() as f64 } else { 1.0 };
            ratios[own.clone()].fill(ratio(sum / share));
        }
        ratios
    }
}

/// The share of values for which `holds`.
fn share(values: &[f64], holds: impl Fn(&f64) -> bool) -> f64 {
    values.iter().filter(|value| holds(value)).count() as f64 / (values.len() as f64).max(1.0)
}

fn statistics(ratios: &[f64], weights: &[f64], low: f64, high: f64) -> Vec<(&'static str, f64)> {
    if ratios.is_empty() {
        return Vec::new();
    }
    let mean =
        |f: fn(f64) -> f64| weights.iter().map(|&w| f(w)).sum::<f64>() / weights.len() as f64;
    let (first, second) = (mean(|w| w), mean(|w| w * w));
    let effective = if second > 0.0 { first * first / second } else { 0.0 };
    vec![
        ("rollout_corr/rollout_is_mean", first),
        ("rollout_corr/rollout_is_max", ratios.iter().copied().fold(f64::MIN, f64::max)),
        ("rollout_corr/rollout_is_min", ratios.iter().copied().fold(f64::MAX, f64::min)),
        ("rollout_corr/rollout_is_std", (second - first * first).max(0.0).sqrt()),
        ("rollout_corr/rollout_is_eff_sample_size", effective),
        ("rollout_corr/rollout_is_ratio_fraction_high", share(ratios, |ratio| *ratio > high)),
        ("rollout_corr/rollout_is_ratio_fraction_low", share(ratios, |ratio| *ratio < low)),
    ]
}

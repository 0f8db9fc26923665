//! How much better an attempt is than its siblings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::group;

/// What the attempts at one problem earned in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupRewards<'a> {
    /// Reward of each attempt.
    pub rewards: &'a [f64],
    /// Tokens of each attempt, as many entries.
    pub lengths: &'a [usize],
}

/// How the rewards of a step become advantages, one for each attempt.
///
/// A group of one is compared with 0 and has a standard deviation of 1, as in verl.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name_or("grpo"))]
pub enum AdvantageConfig {
    /// (reward - mean) / (standard deviation + eps), both of the group, with n - 1 under the root.
    ///
    /// Source: arXiv 2402.03300, section 4.1.2; the denominator n - 1 and eps as in verl.
    Grpo {
        /// What is added to the standard deviation.
        #[serde(default = "default_eps")]
        eps: f64,
    },
    /// reward - mean of the group.
    ///
    /// Source: Dr. GRPO, arXiv 2503.20783, section 3.
    DrGrpo {},
    /// reward - mean of the other attempts of the group, which is n / (n - 1) (reward - mean).
    ///
    /// Source: RLOO, arXiv 2402.14740, section 3.2.
    Rloo {},
    /// (reward - mean) / sqrt(variance + 1e-8), over all tokens of the step, each with the reward
    /// of its attempt; the variance without bias. Problems are not told apart.
    ///
    /// Source: REINFORCE++, arXiv 2501.03262, section 3, without a KL in the reward; the statistics
    /// over tokens and 1e-8 as in verl.
    ReinforcePlusPlus {},
    /// The same after the group's mean has been taken from each reward.
    ///
    /// Source: REINFORCE++-baseline, arXiv 2501.03262, section 3; the statistics as in verl.
    ReinforcePlusPlusBaseline {},
    /// alpha (reward - mean of the group), with alpha the groups of the step divided by those whose
    /// rewards differ: groups without gradient do not make the others count less.
    ///
    /// Source: GPG, arXiv 2504.02546, with a normalizer of 1. verl's `gpg` instead takes for alpha
    /// the attempts of the step divided by those whose reward is not 0.
    Gpg {},
}

settings::tagged!(AdvantageConfig, "grpo");

fn default_eps() -> f64 {
    1e-6
}

impl Default for AdvantageConfig {
    fn default() -> Self {
        Self::Grpo { eps: default_eps() }
    }
}

impl AdvantageConfig {
    /// Everything that is wrong, each with its key.
    pub fn problems(&self) -> Vec<String> {
        match *self {
            Self::Grpo { eps } if !(eps.is_finite() && eps > 0.0) => {
                vec![format!("eps: expected more than 0, got {eps}")]
            }
            _ => Vec::new(),
        }
    }

    /// Whether attempts are compared with those of other problems, so that a group may hold one.
    pub fn compares_over_step(&self) -> bool {
        matches!(self, Self::ReinforcePlusPlus {})
    }

    /// One advantage for each attempt of each group, in order.
    ///
    /// Rewards that are equal wherever they are compared give exactly 0, whatever their value.
    pub fn advantages(&self, groups: &[GroupRewards<'_>]) -> Vec<Vec<f64>> {
        let lengths: Vec<_> = groups.iter().flat_map(|group| group.lengths).copied().collect();
        let each = groups.iter().map(|group| group.rewards);
        match *self {
            Self::Grpo { eps } => each.map(|rewards| standardized(rewards, eps)).collect(),
            Self::DrGrpo {} => each.map(centred).collect(),
            Self::Rloo {} => each.map(left_out).collect(),
            Self::ReinforcePlusPlus {} => whitened(each.map(<[f64]>::to_vec).collect(), &lengths),
            Self::ReinforcePlusPlusBaseline {} => whitened(each.map(centred).collect(), &lengths),
            Self::Gpg {} => {
                let alpha = alpha(groups);
                each.map(|rewards| scaled(centred(rewards), alpha)).collect()
            }
        }
    }
}

/// Each reward less the mean; a group of one keeps its own.
fn centred(rewards: &[f64]) -> Vec<f64> {
    let [first, _, ..] = rewards else { return rewards.to_vec() };
    // from the first reward on: the mean of equal numbers is then free of rounding
    let mean = rewards.iter().map(|reward| reward - first).sum::<f64>() / rewards.len() as f64;
    rewards.iter().map(|reward| reward - first - mean).collect()
}

fn scaled(mut values: Vec<f64>, factor: f64) -> Vec<f64> {
    for value in &mut values {
        *value *= factor;
    }
    values
}

fn standardized(rewards: &[f64], eps: f64) -> Vec<f64> {
    let mut centred = centred(rewards);
    let squares: f64 = centred.iter().map(|distance| distance * distance).sum();
    let std = match rewards.len() {
        1 => 1.0,
        n => (squares / (n as f64 - 1.0)).sqrt(),
    };
    for value in &mut centred {
        *value /= std + eps;
    }
    centred
}

/// Each reward less the mean of the others; a group of one keeps its own.
fn left_out(rewards: &[f64]) -> Vec<f64> {
    let n = rewards.len() as f64;
    scaled(centred(rewards), if rewards.len() > 1 { n / (n - 1.0) } else { 1.0 })
}

/// Added to the variance of a step.
const VARIANCE_EPS: f64 = 1e-8;

/// Values with mean 0 and variance 1 over the tokens, `lengths` being those of each value in order.
fn whitened(mut groups: Vec<Vec<f64>>, lengths: &[usize]) -> Vec<Vec<f64>> {
    let tokens: usize = lengths.iter().sum();
    let Some(first) = groups.iter().flatten().next().copied() else { return groups };
    let n = tokens as f64;
    // from the first value on, as in `centred`
    let values = || groups.iter().flatten().map(|value| value - first).zip(lengths);
    let mean = values().map(|(value, &length)| value * length as f64).sum::<f64>() / n.max(1.0);
    let squares: f64 =
        values().map(|(value, &length)| (value - mean).powi(2) * length as f64).sum();
    let variance = squares / (n - 1.0).max(1.0);
    for value in groups.iter_mut().flatten() {
        *value = (*value - first - mean) / (variance + VARIANCE_EPS).sqrt();
    }
    groups
}

/// Groups divided by groups whose rewards differ; 1 where none do.
fn alpha(groups: &[GroupRewards<'_>]) -> f64 {
    let teaching = groups.iter().filter(|group| group::has_spread(group.rewards)).count();
    if teaching == 0 { 1.0 } else { groups.len() as f64 / teaching as f64 }
}

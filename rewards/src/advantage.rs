//! How much better an attempt is than its siblings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the rewards of one group become advantages.
///
/// A group of one has mean 0 and standard deviation 1, as in verl: its reward is its advantage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AdvantageConfig {
    /// (reward - mean) / (standard deviation + eps), with n - 1 under the root.
    ///
    /// Source: arXiv 2402.03300, section 4.1.2; the denominator n - 1 and eps as in verl.
    Grpo {
        /// Added to the standard deviation.
        #[serde(default = "default_eps")]
        eps: f64,
    },
    /// reward - mean.
    ///
    /// Source: Dr. GRPO, arXiv 2503.20783, section 3.
    DrGrpo {},
}

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
            Self::Grpo { .. } | Self::DrGrpo {} => Vec::new(),
        }
    }

    /// One advantage for each reward of a group, in order.
    ///
    /// Equal rewards give exactly 0, whatever their value.
    pub fn advantages(&self, rewards: &[f64]) -> Vec<f64> {
        let (mut advantages, std) = match rewards {
            [] => return Vec::new(),
            [only] => (vec![*only], 1.0),
            [first, ..] => {
                // from the first reward on: the mean of equal numbers is then free of rounding
                let n = rewards.len() as f64;
                let mean = rewards.iter().map(|reward| reward - first).sum::<f64>() / n;
                let centred: Vec<f64> =
                    rewards.iter().map(|reward| reward - first - mean).collect();
                let squares: f64 = centred.iter().map(|distance| distance * distance).sum();
                (centred, (squares / (n - 1.0)).sqrt())
            }
        };
        if let Self::Grpo { eps } = *self {
            for advantage in &mut advantages {
                *advantage /= std + eps;
            }
        }
        advantages
    }
}

//! A penalty on the KL divergence to a reference that is part of the reward, and its coefficient.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::moving::Moving;
use crate::{Error, Result, json};

/// What is taken from the reward of a completion: the coefficient times the sum over its tokens of
/// an estimate of the KL divergence to the reference.
///
/// With `d = old log-prob - reference log-prob` of a token, in nats. Unlike a KL in the loss it
/// acts through the advantages, and has an estimate without bias in `k1`. A completion has one
/// advantage, so that each of its tokens answers for the KL of the whole; verl's and the paper's
/// REINFORCE++ charge a token only with what follows it.
///
/// Source: arXiv 1909.08593, section 2.2; the estimates of J. Schulman, "Approximating KL
/// divergence", 2020, with clamps as in verl, where this is `use_kl_in_reward`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name_or("k1"))]
pub enum RewardKl {
    /// None; no reference is needed.
    Off {},
    /// `d`.
    ///
    /// Names: verl `kl`.
    K1 {
        /// Factor of the penalty, or its first value where it is adaptive.
        ///
        /// Names: verl `kl_ctrl.kl_coef`.
        #[serde(default = "usual")]
        coefficient: f64,
        /// Moves the coefficient towards a KL. `"off"`: it stays.
        #[serde(default, with = "settings::off")]
        #[schemars(with = "settings::OrOff<AdaptiveKl>")]
        adaptive: Option<AdaptiveKl>,
    },
    /// `d^2 / 2`.
    ///
    /// Names: verl `mse`.
    K2 {
        /// Factor of the penalty, or its first value where it is adaptive.
        ///
        /// Names: verl `kl_ctrl.kl_coef`.
        #[serde(default = "usual")]
        coefficient: f64,
        /// Moves the coefficient towards a KL. `"off"`: it stays.
        #[serde(default, with = "settings::off")]
        #[schemars(with = "settings::OrOff<AdaptiveKl>")]
        adaptive: Option<AdaptiveKl>,
    },
    /// `exp(-d) + d - 1`, with `d` within 20 and the result within 10.
    ///
    /// Names: verl `low_var_kl`.
    K3 {
        /// Factor of the penalty, or its first value where it is adaptive.
        ///
        /// Names: verl `kl_ctrl.kl_coef`.
        #[serde(default = "usual")]
        coefficient: f64,
        /// Moves the coefficient towards a KL. `"off"`: it stays.
        #[serde(default, with = "settings::off")]
        #[schemars(with = "settings::OrOff<AdaptiveKl>")]
        adaptive: Option<AdaptiveKl>,
    },
}

settings::tagged!(RewardKl, "k1");

/// After each step the coefficient is multiplied by `1 + e n / horizon`, with the `n` completions
/// of the step and `e = KL / target - 1`, within 0.2 of 0.
///
/// Source: arXiv 1909.08593, section 2.2, where `n / horizon` is 0.1; the horizon as in its code
/// and in verl's `AdaptiveKLController`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "AdaptiveRewardKl")]
pub struct AdaptiveKl {
    /// The KL that is aimed at, in nats a token: a mean over completions of means over tokens.
    ///
    /// Names: verl `kl_ctrl.target_kl`.
    pub target: f64,
    /// Completions over which the coefficient changes by the relative error of the KL, at least
    /// those of a step. A larger number changes it more slowly.
    ///
    /// Names: verl `kl_ctrl.horizon`.
    pub horizon: f64,
}

impl Default for AdaptiveKl {
    fn default() -> Self {
        Self { target: 0.1, horizon: 10_000.0 }
    }
}

impl Default for RewardKl {
    fn default() -> Self {
        Self::Off {}
    }
}

fn usual() -> f64 {
    0.001
}

/// A formula for the KL of one token.
#[derive(Debug, Clone, Copy)]
enum Estimator {
    K1,
    K2,
    K3,
}

impl Estimator {
    fn estimate(self, old: f64, reference: f64) -> f64 {
        let d = old - reference;
        match self {
            Self::K1 => d,
            Self::K2 => d * d / 2.0,
            Self::K3 => {
                let d = d.clamp(-20.0, 20.0);
                ((-d).exp_m1() + d).clamp(-10.0, 10.0)
            }
        }
    }
}

impl RewardKl {
    /// Whether there is none.
    pub fn is_off(&self) -> bool {
        self.parts().is_none()
    }

    /// Everything that is wrong, each with its key; a step has `completions`.
    pub fn problems(&self, completions: usize) -> Vec<String> {
        let Some((_, coefficient, adaptive)) = self.parts() else { return Vec::new() };
        let mut problems = Vec::new();
        if !(coefficient.is_finite() && coefficient >= 0.0) {
            problems.push(format!("coefficient: expected 0 or more, got {coefficient}"));
        }
        let Some(AdaptiveKl { target, horizon }) = adaptive else { return problems };
        if coefficient == 0.0 {
            problems.push("coefficient: expected more than 0 where it is adaptive, got 0".into());
        }
        if !(target.is_finite() && target > 0.0) {
            problems.push(format!("adaptive.target: expected more than 0, got {target}"));
        }
        if !(horizon.is_finite() && horizon >= completions as f64) {
            problems.push(format!(
                "adaptive.horizon: expected at least the {completions} completions of a step, got \
                 {horizon}"
            ));
        }
        problems
    }

    fn parts(&self) -> Option<(Estimator, f64, Option<AdaptiveKl>)> {
        match *self {
            Self::Off {} => None,
            Self::K1 { coefficient, adaptive } => Some((Estimator::K1, coefficient, adaptive)),
            Self::K2 { coefficient, adaptive } => Some((Estimator::K2, coefficient, adaptive)),
            Self::K3 { coefficient, adaptive } => Some((Estimator::K3, coefficient, adaptive)),
        }
    }
}

/// The penalty at work.
#[derive(Debug, Clone)]
pub struct KlControl {
    config: RewardKl,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    coefficient: Moving,
}

/// What a step pays.
#[derive(Debug, Clone, PartialEq)]
pub struct KlPenalty {
    /// To be taken from the reward of each completion.
    pub penalties: Vec<f64>,
    /// Metric keys and values.
    pub statistics: Vec<(&'static str, f64)>,
}

impl KlControl {
    /// The control before its first step.
    pub fn new(config: RewardKl) -> Self {
        let coefficient = config.parts().map_or(0.0, |(_, coefficient, _)| coefficient);
        Self { config, state: State { coefficient: Moving::from(coefficient) } }
    }

    /// The penalty of each completion of a step, `(old, reference)` log-probs of its tokens; none
    /// where this is off. The coefficient moves afterwards. A KL that is not finite, and a step
    /// without tokens, leave it as it is.
    ///
    /// # Panics
    ///
    /// Panics where a completion has not as many log-probs of one kind as of the other.
    pub fn observe(&mut self, completions: &[(&[f32], &[f32])]) -> Option<KlPenalty> {
        let (estimator, _, adaptive) = self.config.parts()?;
        let coefficient = self.state.coefficient.now;
        let sum = |(old, reference): &(&[f32], &[f32])| -> f64 {
            assert_eq!(old.len(), reference.len(), "log-probs of the reference for each token");
            let pairs = old.iter().zip(*reference);
            pairs.map(|(&old, &other)| estimator.estimate(old.into(), other.into())).sum()
        };
        let sums: Vec<f64> = completions.iter().map(sum).collect();
        let means = sums.iter().zip(completions).filter(|(_, (old, _))| !old.is_empty());
        let (count, total) = means.fold((0_usize, 0.0), |(count, total), (sum, (old, _))| {
            (count + 1, total + sum / old.len() as f64)
        });
        let mean = if count == 0 { f64::NAN } else { total / count as f64 };
        if let Some(AdaptiveKl { target, horizon }) = adaptive
            && mean.is_finite()
        {
            let error = (mean / target - 1.0).clamp(-0.2, 0.2);
            self.state.coefficient.now *= 1.0 + error * completions.len() as f64 / horizon;
        }
        let mut statistics = vec![("actor/reward_kl_penalty_coeff", coefficient)];
        if count > 0 {
            statistics.push(("actor/reward_kl_penalty", mean));
        }
        let penalties = sums.into_iter().map(|sum| coefficient * sum).collect();
        Some(KlPenalty { penalties, statistics })
    }

    /// All that `observe` has changed since the beginning, for a checkpoint.
    pub fn state(&self) -> Value {
        serde_json::to_value(self.state).expect("a struct of texts has a JSON form")
    }

    /// Takes up a saved state: an adaptive coefficient, unless its first value is another one now.
    ///
    /// # Errors
    ///
    /// Fails when `state` is not one that a control saves.
    pub fn restore(&mut self, state: &Value) -> Result<()> {
        let State { coefficient } = json::read(state).map_err(|_| Error::State {
            component: "reward kl",
            expected: "its coefficient",
            got: state.to_string(),
        })?;
        let moves = self.config.parts().is_some_and(|(.., adaptive)| adaptive.is_some());
        self.state.coefficient.restore(coefficient, moves);
        Ok(())
    }
}

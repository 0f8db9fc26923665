//! The factor of an entropy bonus in the loss, fixed or held to a target.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::moving::Moving;
use crate::{Error, Result, json};

/// The coefficient of the mean entropy that is subtracted from the loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name_or("fixed"))]
pub enum EntropyBonus {
    /// No bonus.
    Off {},
    /// A constant coefficient.
    Fixed {
        /// The coefficient, per nat of entropy.
        ///
        /// Names: verl `entropy_coeff`, TRL `entropy_coef`.
        coefficient: f64,
    },
    /// c, which rises by `step` when the mean entropy is below `target` and falls by it otherwise,
    /// within 0 and `max`, before it is used in the same step; it is applied only while the entropy
    /// is at most the target.
    ///
    /// Source: Skywork-OR1, arXiv 2505.22312, section 3.2.5; its code, `EntController`, does not
    /// apply it at the target itself. The defaults are those of its training scripts.
    Adaptive {
        /// The mean entropy that is aimed at, in nats a token.
        ///
        /// Names: TRL `entropy_target`.
        #[serde(default = "default_target")]
        target: f64,
        /// What c moves by in a step.
        ///
        /// Names: TRL `entropy_coef_delta`.
        #[serde(default = "default_step")]
        step: f64,
        /// c before the first step.
        ///
        /// Names: TRL `entropy_coef`.
        #[serde(default)]
        start: f64,
        /// Upper bound of c.
        ///
        /// Names: TRL `entropy_coef_max`.
        #[serde(default = "default_max")]
        max: f64,
    },
}

settings::tagged!(EntropyBonus, "fixed");

impl Default for EntropyBonus {
    fn default() -> Self {
        Self::Off {}
    }
}

fn default_target() -> f64 {
    0.2
}

fn default_step() -> f64 {
    1e-4
}

fn default_max() -> f64 {
    5e-3
}

impl EntropyBonus {
    /// Everything that is wrong, each with its key.
    pub fn problems(&self) -> Vec<String> {
        let positive = |key, value: f64| (key, "more than 0", value, value > 0.0);
        let not_negative = |key, value: f64| (key, "0 or more", value, value >= 0.0);
        let rules = match *self {
            Self::Off {} => Vec::new(),
            Self::Fixed { coefficient } => vec![not_negative("coefficient", coefficient)],
            Self::Adaptive { target, step, start, max } => vec![
                positive("target", target),
                positive("step", step),
                not_negative("start", start),
                positive("max", max),
            ],
        };
        let broken =
            rules.into_iter().filter(|(_, _, value, holds)| !(value.is_finite() && *holds));
        let mut found: Vec<String> = broken
            .map(|(key, expected, got, _)| format!("{key}: expected {expected}, got {got}"))
            .collect();
        if let Self::Adaptive { start, max, .. } = *self
            && start > max
        {
            found.push(format!("start: expected at most max = {max}, got {start}"));
        }
        found
    }
}

/// The entropy bonus at work.
#[derive(Debug, Clone)]
pub struct EntropyControl {
    config: EntropyBonus,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    coefficient: Moving,
}

impl EntropyControl {
    /// The control before its first step.
    pub fn new(config: EntropyBonus) -> Self {
        let coefficient = match config {
            EntropyBonus::Off {} => 0.0,
            EntropyBonus::Fixed { coefficient } => coefficient,
            EntropyBonus::Adaptive { start, .. } => start,
        };
        Self { config, state: State { coefficient: Moving::from(coefficient) } }
    }

    /// Takes in the mean entropy of a step's tokens in nats, and gives the coefficient of that
    /// step. An entropy that is not finite, such as the NaN of a step without tokens, changes
    /// nothing; an adaptive bonus is then 0 for the step.
    pub fn observe(&mut self, mean_entropy: f64) -> f64 {
        let EntropyBonus::Adaptive { target, step, max, .. } = self.config else {
            return self.state.coefficient.now;
        };
        if !mean_entropy.is_finite() {
            return 0.0;
        }
        let by = if mean_entropy < target { step } else { -step };
        let coefficient = &mut self.state.coefficient.now;
        *coefficient = (*coefficient + by).min(max).max(0.0);
        if mean_entropy <= target { *coefficient } else { 0.0 }
    }

    /// All that `observe` has changed since the beginning, for a checkpoint.
    pub fn state(&self) -> Value {
        serde_json::to_value(self.state).expect("a struct of texts has a JSON form")
    }

    /// Takes up a saved state: an adaptive coefficient, unless its `start` is another one now.
    ///
    /// # Errors
    ///
    /// Fails when `state` is not one that a control saves.
    pub fn restore(&mut self, state: &Value) -> Result<()> {
        let State { coefficient } = json::read(state).map_err(|_| Error::State {
            component: "entropy bonus",
            expected: "its coefficient",
            got: state.to_string(),
        })?;
        let moves = matches!(self.config, EntropyBonus::Adaptive { .. });
        self.state.coefficient.restore(coefficient, moves);
        Ok(())
    }
}

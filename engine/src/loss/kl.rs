use candle::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clamp;

/// Penalty on the KL divergence from the reference, estimated on the sampled tokens.
///
/// With `d = log_prob - ref_log_prob`. Source: J. Schulman, "Approximating KL divergence", 2020;
/// clamps as verl has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name_or("k3"))]
#[schemars(rename = "LossKl")]
pub enum Kl {
    /// None; no reference is needed.
    Off {},
    /// `d`. Its gradient in the loss has expectation 0 under the policy that samples, so it does
    /// not pull towards the reference; recipes refuse it.
    ///
    /// Names: verl `kl`.
    K1 {
        /// Factor of the aggregated penalty.
        ///
        /// Names: verl `kl_loss_coef`, TRL `beta`.
        #[serde(default = "usual")]
        coefficient: f64,
    },
    /// `d^2 / 2`.
    ///
    /// Names: verl `mse`.
    K2 {
        /// Factor of the aggregated penalty.
        ///
        /// Names: verl `kl_loss_coef`, TRL `beta`.
        #[serde(default = "usual")]
        coefficient: f64,
    },
    /// `exp(-d) + d - 1`, with `d` within 20 and the result within 10.
    ///
    /// Names: verl `low_var_kl`.
    K3 {
        /// Factor of the aggregated penalty.
        ///
        /// Names: verl `kl_loss_coef`, TRL `beta`.
        #[serde(default = "usual")]
        coefficient: f64,
    },
}

settings::tagged!(Kl, "k3");

impl Default for Kl {
    fn default() -> Self {
        Self::Off {}
    }
}

fn usual() -> f64 {
    0.001
}

/// Largest distance of the two log-probs in `k3`.
const MOST_NATS: f64 = 20.0;

/// Largest `k3`.
const MOST_K3: f64 = 10.0;

/// A formula for the KL of one token.
#[derive(Debug, Clone, Copy)]
pub(super) enum Estimator {
    K1,
    K2,
    K3,
}

impl Kl {
    /// Estimator and coefficient, where the penalty is on.
    pub(super) fn parts(&self) -> Option<(Estimator, f64)> {
        match *self {
            Self::Off {} => None,
            Self::K1 { coefficient } => Some((Estimator::K1, coefficient)),
            Self::K2 { coefficient } => Some((Estimator::K2, coefficient)),
            Self::K3 { coefficient } => Some((Estimator::K3, coefficient)),
        }
    }

    /// Derivative by the log-prob of a token's penalty, its coefficient included; 0 where it is off
    /// and where a clamp acts.
    pub fn slope(&self, log_prob: f64, ref_log_prob: f64) -> f64 {
        let Some((estimator, coefficient)) = self.parts() else { return 0.0 };
        let d = log_prob - ref_log_prob;
        coefficient
            * match estimator {
                Estimator::K1 => 1.0,
                Estimator::K2 => d,
                Estimator::K3 if d.abs() > MOST_NATS || (-d).exp_m1() + d > MOST_K3 => 0.0,
                Estimator::K3 => -(-d).exp_m1(),
            }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        match self.parts() {
            Some((_, got)) if !(got.is_finite() && got >= 0.0) => {
                vec![format!("kl.coefficient is {got}, expected a number of at least 0")]
            }
            _ => Vec::new(),
        }
    }
}

impl Estimator {
    /// Nats per token. All shapes (targets).
    pub(super) fn estimates(
        self,
        log_probs: &Tensor,
        ref_log_probs: &Tensor,
    ) -> candle::Result<Tensor> {
        match self {
            Self::K1 => log_probs - ref_log_probs,
            Self::K2 => (log_probs - ref_log_probs)?.sqr()? * 0.5,
            Self::K3 => {
                let log_ratios = clamp(&(ref_log_probs - log_probs)?, -MOST_NATS, MOST_NATS)?;
                clamp(&((log_ratios.exp()? - &log_ratios)? - 1.0)?, -MOST_K3, MOST_K3)
            }
        }
    }
}

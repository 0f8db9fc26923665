use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::zeroth::{CoordinatesConfig, EstimatorConfig, FzooConfig, SpsaConfig};
use crate::{AdamW, AdamWConfig, Error, Optimizer, Param, Result};

/// Which rule moves the parameters, and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
#[schemars(tag = "kind", transform = settings::by_name_or("adamw"))]
pub enum OptimConfig {
    /// Adam with decoupled weight decay.
    #[serde(rename = "adamw")]
    AdamW(AdamWConfig),
    /// Zeroth order: two-point estimates of slopes along random directions, without a backward
    /// pass. Learning rates of arXiv 2305.17333: 1e-6 to 1e-7 for all weights, 1e-4 to 5e-5 for
    /// adapters.
    #[serde(rename = "spsa")]
    Spsa(SpsaConfig),
    /// Zeroth order: one-sided estimates over the deviation of the losses.
    #[serde(rename = "fzoo")]
    Fzoo(FzooConfig),
    /// Zeroth order: differences along each coordinate, for some thousand elements.
    #[serde(rename = "coordinates")]
    Coordinates(CoordinatesConfig),
}

settings::tagged!(OptimConfig, "adamw");

impl OptimConfig {
    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::AdamW(config) => config.problems(),
            Self::Spsa(config) => config.problems(),
            Self::Fzoo(config) => config.problems(),
            Self::Coordinates(config) => config.problems(),
        }
    }

    /// The method, where it is one without gradients.
    pub fn estimator(&self) -> Option<EstimatorConfig> {
        match self {
            Self::AdamW(_) => None,
            Self::Spsa(config) => Some(EstimatorConfig::Spsa(config.clone())),
            Self::Fzoo(config) => Some(EstimatorConfig::Fzoo(config.clone())),
            Self::Coordinates(config) => Some(EstimatorConfig::Coordinates(config.clone())),
        }
    }

    /// The learning rate of the matrices `B` of an adapter over that of the matrices `A`, where it
    /// is set; else it is 1.
    pub fn lr_ratio_b(&self) -> Option<f64> {
        match self {
            Self::AdamW(config) => config.lr_ratio_b,
            Self::Spsa(_) | Self::Fzoo(_) | Self::Coordinates(_) => None,
        }
    }

    /// Weight decay, which the learning rate multiplies.
    pub fn weight_decay(&self) -> f64 {
        match self {
            Self::AdamW(config) => config.weight_decay,
            Self::Spsa(config) => config.weight_decay,
            Self::Fzoo(config) => config.weight_decay,
            Self::Coordinates(config) => config.weight_decay,
        }
    }

    /// The optimizer for these parameters, its state at the start.
    ///
    /// # Errors
    ///
    /// Fails on settings with [`problems`](Self::problems), on no parameters and on two of one
    /// name, and for a method without gradients, which [`estimator`](Self::estimator) has.
    pub fn build(&self, params: &[Param]) -> Result<Box<dyn Optimizer>> {
        match self {
            Self::AdamW(config) => Ok(Box::new(AdamW::new(config.clone(), params)?)),
            Self::Spsa(_) | Self::Fzoo(_) | Self::Coordinates(_) => {
                let problem = "a zeroth-order method has no optimizer of gradients".to_owned();
                Err(Error::Config { problems: vec![problem] })
            }
        }
    }
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self::AdamW(AdamWConfig::default())
    }
}

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AdamW, AdamWConfig, Optimizer, Param, Result};

/// Which rule moves the parameters, and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self")]
#[schemars(tag = "kind", transform = settings::by_name_or("adamw"))]
pub enum OptimConfig {
    /// Adam with decoupled weight decay.
    #[serde(rename = "adamw")]
    AdamW(AdamWConfig),
}

settings::tagged!(OptimConfig, "adamw");

impl OptimConfig {
    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::AdamW(config) => config.problems(),
        }
    }

    /// The learning rate of the matrices `B` of an adapter over that of the matrices `A`, where it
    /// is set; else it is 1.
    pub fn lr_ratio_b(&self) -> Option<f64> {
        match self {
            Self::AdamW(config) => config.lr_ratio_b,
        }
    }

    /// The optimizer for these parameters, its state at the start.
    ///
    /// # Errors
    ///
    /// Fails on settings with [`problems`](Self::problems), on no parameters and on two of one
    /// name.
    pub fn build(&self, params: &[Param]) -> Result<Box<dyn Optimizer>> {
        match self {
            Self::AdamW(config) => Ok(Box::new(AdamW::new(config.clone(), params)?)),
        }
    }
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self::AdamW(AdamWConfig::default())
    }
}

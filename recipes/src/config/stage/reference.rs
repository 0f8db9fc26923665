//! What the KL terms of a stage look back at.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::printable::counted;

/// The policy that the KL terms of a stage look back at, `loss.kl` and `reward_kl`.
///
/// Only where one of them is on is there a reference: another forward pass over every completion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name)]
#[schemars(rename = "Reference")]
pub enum ReferenceChoice {
    /// The policy at the start of the stage.
    Start {},
    /// The model without an adapter. Where all weights are trained: the model that the run began
    /// with, before its first stage.
    Base {},
    /// A frozen adapter of `model.adapters` on the model of the run.
    Adapter {
        /// Its name there.
        ///
        /// Names: TRL `ref_adapter_name`.
        name: String,
    },
    /// An exponential moving average of the trained values, which begins as they are at the start
    /// of the stage. Of an adapter it averages `A` and `B`, which is not the average of their
    /// product, nor of what the adapter computes.
    Ema {
        /// What the average keeps of itself: `average <- decay average + (1 - decay) values`.
        /// Above 0 and below 1.
        #[serde(default = "usual_decay")]
        decay: f64,
        /// Updates of the optimizer from one such step of the average to the next.
        ///
        /// Names: TRL `ref_model_sync_steps`.
        #[serde(default = "every_update")]
        every: NonZeroU64,
    },
}

settings::tagged!(ReferenceChoice);

impl Default for ReferenceChoice {
    fn default() -> Self {
        Self::Start {}
    }
}

fn usual_decay() -> f64 {
    0.99
}

fn every_update() -> NonZeroU64 {
    NonZeroU64::MIN
}

impl ReferenceChoice {
    /// The adapter that it names.
    pub fn adapter(&self) -> Option<&str> {
        match self {
            Self::Adapter { name } => Some(name),
            _ => None,
        }
    }

    /// What it is, in words.
    pub fn in_words(&self) -> String {
        match self {
            Self::Start {} => "the policy at its start".to_owned(),
            Self::Base {} => "the model that the run began with".to_owned(),
            Self::Adapter { name } => format!("the adapter {name}"),
            Self::Ema { .. } => "the average of the policy".to_owned(),
        }
    }

    /// Whether it is an average of the policy, which checkpoints have.
    pub fn is_average(&self) -> bool {
        matches!(self, Self::Ema { .. })
    }

    /// What stage `index` looks back at, in words. `is_adapter` says whether an adapter is trained.
    pub fn describe(&self, index: usize, is_adapter: bool) -> String {
        match self {
            Self::Start {} => format!("the policy at the start of stage {index}"),
            Self::Base {} if is_adapter => "the model without its adapter".to_owned(),
            Self::Base {} => "the model that the run begins with".to_owned(),
            Self::Adapter { name } => format!("the adapter {name}"),
            Self::Ema { decay, every } => format!(
                "a moving average of the policy from the start of stage {index} on, with decay \
                 {decay}, moved after every {}",
                if every.get() == 1 { "update".to_owned() } else { counted(every, "update") }
            ),
        }
    }

    /// Everything wrong with it by itself, each with its key.
    pub(super) fn problems(&self) -> Vec<String> {
        match self {
            Self::Ema { decay, .. } if !(*decay > 0.0 && *decay < 1.0) => {
                vec![format!("decay: expected a number above 0 and below 1, got {decay}")]
            }
            _ => Vec::new(),
        }
    }
}

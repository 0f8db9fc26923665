//! The stages of a recipe: what all kinds of them have, and the list of kinds.
//!
//! A kind of stage is a file here, with its settings, and one in `train`, with its driver. It is
//! registered in two places: in the list below and in `train::begin_stage`.

mod reference;
mod rl;
mod sft;

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use reference::ReferenceChoice;
pub use rl::RlStage;
pub use sft::SftStage;

use super::{Activations, StageData};
use crate::memory::MemoryFactors;
use crate::verifiers::RewardsConfig;

/// What the program asks of the settings of a stage, whatever its kind.
pub trait StageSettings {
    /// The name of the kind in recipes.
    fn kind(&self) -> &'static str;

    /// Number of steps.
    fn steps(&self) -> u64;

    /// Problems per step.
    fn batch(&self) -> usize;

    /// The settings of its updates.
    fn descent(&self) -> Descent<'_>;

    /// Its own problems; none where it trains on those of the run.
    fn data(&self) -> Option<&StageData>;

    /// Optimizer updates of the whole stage: the length of its schedule.
    fn total_updates(&self) -> u64 {
        let Descent { epochs, updates_per_step, .. } = self.descent();
        self.steps().saturating_mul(epochs as u64).saturating_mul(updates_per_step as u64)
    }

    /// What a step does and needs at most, where the longest prompt has `prompt` tokens.
    fn plan(&self, prompt: u64) -> StepPlan;

    /// Everything wrong that only this kind of stage knows of, each with its key in the stage.
    fn problems(&self) -> Vec<String>;

    /// Its verifiers; none where it judges nothing.
    fn rewards(&self) -> Option<&RewardsConfig> {
        None
    }

    /// How it samples; none where it samples nothing.
    fn sampling(&self) -> Option<&rollout::Sampling> {
        None
    }

    /// Whether it learns the solutions of the problems, so that each must have one.
    fn learns_solutions(&self) -> bool {
        false
    }
}

/// The settings of a stage's updates, borrowed from a stage of any kind.
#[derive(Debug, Clone, Copy)]
pub struct Descent<'a> {
    /// Passes over the groups of a step.
    pub epochs: usize,
    /// Optimizer updates of each.
    pub updates_per_step: usize,
    /// Rows that one backward pass may hold.
    pub micro_batch_tokens: usize,
    /// What the forward pass keeps.
    pub activations: Activations,
    /// The optimizer.
    pub optim: &'a optim::OptimConfig,
    /// The learning rate.
    pub schedule: &'a optim::Schedule,
}

/// What a step does and needs, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPlan {
    /// What it samples; none where it samples nothing.
    pub sampled: Option<SamplePlan>,
    /// What decides its memory.
    pub memory: MemoryFactors,
}

/// What a step samples, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SamplePlan {
    /// Completions of each problem.
    pub group_size: u64,
    /// Tokens of each completion.
    pub max_new_tokens: u64,
    /// Completions sampled, where that may be more than are trained on.
    pub most_drawn: Option<u64>,
}

/// Declares the settings of a kind of stage: those that every kind has, and its own.
///
/// Fields and not a nested struct: serde reads a flattened struct from a buffer, in which errors
/// lose their line and column, and does not refuse unknown keys beside it.
macro_rules! stage_settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Number of steps. Each takes one batch of problems.
            ///
            /// Names: verl `total_training_steps`, HF `max_steps`, prime-rl `max_steps`.
            pub steps: std::num::NonZeroU64,
            /// Problems per step. In a stage of kind `rl` each has `group_size` completions.
            ///
            /// Names: verl `train_batch_size`, TRL `generation_batch_size` / `num_generations`,
            /// prime-rl `batch_size` / `group_size`.
            pub batch: NonZeroUsize,
            /// Problems of this stage alone. Left out: those of the run, `data.train`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub data: Option<crate::config::StageData>,
            /// Passes over the batch of a step. The first takes the problems in the order in which
            /// they were drawn, each later one is shuffled. Old log-probs, advantages and token
            /// weights are computed once, before the first update.
            ///
            /// Names: verl `ppo_epochs`, TRL `num_iterations`.
            #[serde(default = "super::default_one")]
            pub epochs: NonZeroUsize,
            /// Optimizer updates of each epoch of a step. The batch is split evenly among them, so
            /// with more than one the later updates are off-policy.
            ///
            /// Names: verl `train_batch_size` / `ppo_mini_batch_size`, TRL `steps_per_generation` /
            /// `gradient_accumulation_steps`.
            #[serde(default = "super::default_one")]
            pub updates_per_step: NonZeroUsize,
            /// Most tokens of one backward pass. It changes memory and time, not the result. Lower
            /// it when memory runs out.
            ///
            /// Names: verl `ppo_max_token_len_per_gpu`, prime-rl `seq_len`.
            #[serde(default = "super::default_micro_batch_tokens")]
            pub micro_batch_tokens: NonZeroUsize,
            /// What the forward pass keeps for the backward pass. `"recompute"` takes less memory
            /// and more time.
            ///
            /// Names: verl `enable_gradient_checkpointing`, HF `gradient_checkpointing`, prime-rl
            /// `model.ac`.
            #[serde(default)]
            pub activations: crate::config::Activations,
            /// The optimizer and its settings.
            ///
            /// Names: verl `optim.optimizer`, HF `optim`, prime-rl `optim.type`.
            #[serde(default)]
            pub optim: optim::OptimConfig,
            /// The learning rate, as a function of the update.
            ///
            /// Names: verl `optim.lr_scheduler_type`, HF `lr_scheduler_type`, prime-rl
            /// `scheduler.type`.
            pub schedule: optim::Schedule,
            $($own)*
        }

        impl $name {
            fn descent_settings(&self) -> Descent<'_> {
                Descent {
                    epochs: self.epochs.get(),
                    updates_per_step: self.updates_per_step.get(),
                    micro_batch_tokens: self.micro_batch_tokens.get(),
                    activations: self.activations,
                    optim: &self.optim,
                    schedule: &self.schedule,
                }
            }
        }
    };
}
use stage_settings;

/// Declares [`Stage`] and all that goes through its kinds.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($settings:ty)),+ $(,)?) => {
        /// One stage of a run.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(remote = "Self", rename_all = "kebab-case")]
        #[schemars(tag = "kind")]
        #[expect(clippy::large_enum_variant, reason = "a recipe holds a handful of stages")]
        pub enum Stage {
            $($(#[$doc])* $kind($settings),)+
        }

        settings::tagged!(Stage);

        impl Stage {
            /// Its settings, whatever its kind.
            pub fn settings(&self) -> &dyn StageSettings {
                match self {
                    $(Self::$kind(settings) => settings,)+
                }
            }

            /// Whether stages of this kind sample.
            pub(super) fn samples(kind: &str) -> bool {
                match kind {
                    $(<$settings>::KIND => <$settings>::SAMPLES,)+
                    _ => false,
                }
            }
        }
    };
}

kinds! {
    /// Supervised: learns the worked solutions of the problems.
    Sft(SftStage),
    /// Reinforcement learning: samples, judges, credits, descends.
    Rl(RlStage),
}

impl Stage {
    /// What its KL terms look back at; none where it has none.
    pub fn reference(&self) -> Option<&ReferenceChoice> {
        match self {
            Self::Rl(stage) => stage.looks_back_at(),
            Self::Sft(_) => None,
        }
    }
}

pub(super) fn default_one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

pub(super) fn default_slots() -> NonZeroUsize {
    NonZeroUsize::new(32).expect("32 is not zero")
}

fn default_micro_batch_tokens() -> NonZeroUsize {
    NonZeroUsize::new(4096).expect("4096 is not zero")
}

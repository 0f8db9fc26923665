use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Activations, Algorithm, DynamicSampling, OldLogProbs, Probe};
use crate::verifiers::RewardsConfig;

/// One stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a recipe holds a handful of stages")]
pub enum Stage {
    /// Supervised: learns the worked solutions of the problems.
    Sft(SftStage),
    /// Reinforcement learning: samples, judges, credits, descends.
    Rl(RlStage),
}

/// The kinds of stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// Supervised.
    Sft,
    /// Reinforcement learning.
    Rl,
}

impl StageKind {
    /// The name used in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sft => "sft",
            Self::Rl => "rl",
        }
    }
}

/// A supervised stage: the negative log-likelihood of the solutions, each token with credit 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SftStage {
    /// Steps; each takes one batch of problems.
    pub steps: NonZeroU64,
    /// Problems per step.
    pub batch: NonZeroUsize,
    /// Optimizer updates per step: the batch is split evenly among them.
    #[serde(default = "default_one")]
    pub updates_per_step: NonZeroUsize,
    /// Rows (tokens) that one backward pass may hold.
    #[serde(default = "default_micro_batch_tokens")]
    pub micro_batch_tokens: NonZeroUsize,
    /// What the forward pass keeps.
    #[serde(default)]
    pub activations: Activations,
    /// The optimizer.
    #[serde(default)]
    pub optim: optim::OptimConfig,
    /// The learning rate, by update.
    pub schedule: optim::Schedule,
}

/// A stage of reinforcement learning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RlStage {
    /// Where the settings left out here come from; every algorithm's are in the documentation of
    /// its name. Left out: their own defaults, which are those of `grpo` with `token-mean`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Steps; each takes one batch of rollouts.
    pub steps: NonZeroU64,
    /// Problems per step.
    pub batch: NonZeroUsize,
    /// Completions per problem.
    pub group_size: NonZeroUsize,
    /// Optimizer updates per step: the groups are split evenly among them.
    #[serde(default = "default_one")]
    pub updates_per_step: NonZeroUsize,
    /// Rows (tokens) that one backward pass may hold.
    #[serde(default = "default_micro_batch_tokens")]
    pub micro_batch_tokens: NonZeroUsize,
    /// What the forward pass keeps.
    #[serde(default)]
    pub activations: Activations,
    /// Cache slots: completions decoded at a time. Does not change them on a CPU.
    #[serde(default = "default_slots")]
    pub slots: NonZeroUsize,
    /// How completions are sampled.
    #[serde(default)]
    pub rollout: rollout::Sampling,
    /// Whether problems are drawn until the batch is full of groups with spread. Left out: the
    /// groups of a step are what was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_sampling: Option<DynamicSampling>,
    /// What a completion is worth.
    #[serde(default)]
    pub rewards: RewardsConfig,
    /// Whether completions that were cut at the limit are left out of the loss.
    #[serde(default)]
    pub overlong_filtering: bool,
    /// From the rewards of a group to advantages.
    #[serde(default)]
    pub advantage: rewards::AdvantageConfig,
    /// From advantages to the weight of each token.
    #[serde(default)]
    pub weighting: rewards::WeightingConfig,
    /// Where the log-probs that the loss compares with come from.
    #[serde(default)]
    pub old_log_probs: OldLogProbs,
    /// The correction for rollouts of another precision; needs `old_log_probs = "rescore"`.
    #[serde(default)]
    pub importance: rewards::Importance,
    /// The factor of the entropy in the loss.
    #[serde(default)]
    pub entropy_bonus: rewards::EntropyBonus,
    /// The loss.
    #[serde(default)]
    pub loss: engine::loss::LossConfig,
    /// The optimizer.
    #[serde(default)]
    pub optim: optim::OptimConfig,
    /// The learning rate, by update.
    pub schedule: optim::Schedule,
    /// Measures on fresh rollouts how far an update moves the entropy. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// What the stages share about descending: borrowed from either kind.
#[derive(Debug, Clone, Copy)]
pub struct Descent<'a> {
    /// Optimizer updates per step.
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

impl Stage {
    /// Which kind it is.
    pub fn kind(&self) -> StageKind {
        match self {
            Self::Sft(_) => StageKind::Sft,
            Self::Rl(_) => StageKind::Rl,
        }
    }

    /// What a stage of this kind is where nothing is said about it.
    pub(super) fn defaults(kind: StageKind) -> toml::Table {
        const REQUIRED: &str =
            "steps = 1\nbatch = 1\nschedule = { kind = \"constant\", lr = 1.0 }\n";
        let text = match kind {
            StageKind::Sft => REQUIRED.to_owned(),
            StageKind::Rl => format!("group_size = 2\n{REQUIRED}"),
        };
        let stage: Self = toml::from_str(&format!("kind = \"{}\"\n{text}", kind.name()))
            .expect("every setting but these has a default");
        toml::Table::try_from(stage).expect("a stage has a TOML form")
    }

    /// Number of steps.
    pub fn steps(&self) -> u64 {
        match self {
            Self::Sft(stage) => stage.steps.get(),
            Self::Rl(stage) => stage.steps.get(),
        }
    }

    /// Problems per step.
    pub fn batch(&self) -> usize {
        match self {
            Self::Sft(stage) => stage.batch.get(),
            Self::Rl(stage) => stage.batch.get(),
        }
    }

    /// Settings of the descent.
    pub fn descent(&self) -> Descent<'_> {
        match self {
            Self::Sft(stage) => Descent {
                updates_per_step: stage.updates_per_step.get(),
                micro_batch_tokens: stage.micro_batch_tokens.get(),
                activations: stage.activations,
                optim: &stage.optim,
                schedule: &stage.schedule,
            },
            Self::Rl(stage) => Descent {
                updates_per_step: stage.updates_per_step.get(),
                micro_batch_tokens: stage.micro_batch_tokens.get(),
                activations: stage.activations,
                optim: &stage.optim,
                schedule: &stage.schedule,
            },
        }
    }

    /// Optimizer updates of the whole stage: the length of its schedule.
    pub fn total_updates(&self) -> u64 {
        self.steps() * self.descent().updates_per_step as u64
    }
}

// Written by hand: serde's tagged enums buffer the table, and with it goes the line and column of
// every mistake inside. Here `kind` comes first (the loader sees to it) and the rest is read in
// place.
impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StageVisitor)
    }
}

struct StageVisitor;

impl<'de> Visitor<'de> for StageVisitor {
    type Value = Stage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stage with `kind` = \"sft\" or \"rl\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stage, A::Error> {
        if map.next_key::<String>()?.as_deref() != Some("kind") {
            return Err(A::Error::custom("missing field `kind`, which comes first in a stage"));
        }
        let rest = MapAccessDeserializer::new;
        match map.next_value::<StageKind>()? {
            StageKind::Sft => SftStage::deserialize(rest(map)).map(Stage::Sft),
            StageKind::Rl => RlStage::deserialize(rest(map)).map(Stage::Rl),
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

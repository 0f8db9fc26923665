//! The stages of a recipe: what all kinds of them have, and the list of kinds.
//!
//! A kind of stage is a file here, with its settings, and one in `train`, with its driver. It is
//! registered in two places: in the list below and in `train::begin_stage`.

mod rl;
mod sft;

use std::fmt;
use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

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
        self.steps() * self.descent().updates_per_step as u64
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
            /// Steps; each takes one batch of problems.
            pub steps: std::num::NonZeroU64,
            /// Problems per step.
            pub batch: NonZeroUsize,
            /// What the stage trains on. Left out: what the run does, `data.train`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub data: Option<crate::config::StageData>,
            /// Optimizer updates per step: the batch is split evenly among them.
            #[serde(default = "super::default_one")]
            pub updates_per_step: NonZeroUsize,
            /// Rows (tokens) that one backward pass may hold.
            #[serde(default = "super::default_micro_batch_tokens")]
            pub micro_batch_tokens: NonZeroUsize,
            /// What the forward pass keeps.
            #[serde(default)]
            pub activations: crate::config::Activations,
            /// The optimizer.
            #[serde(default)]
            pub optim: optim::OptimConfig,
            /// The learning rate, by update.
            pub schedule: optim::Schedule,
            $($own)*
        }

        impl $name {
            fn descent_settings(&self) -> Descent<'_> {
                Descent {
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
        #[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        #[expect(clippy::large_enum_variant, reason = "a recipe holds a handful of stages")]
        pub enum Stage {
            $($(#[$doc])* $kind($settings),)+
        }

        /// The names of the kinds.
        const KINDS: &[&str] = &[$(<$settings>::KIND),+];

        impl Stage {
            /// Its settings, whatever its kind.
            pub fn settings(&self) -> &dyn StageSettings {
                match self {
                    $(Self::$kind(settings) => settings,)+
                }
            }

            /// A stage of this kind where nothing is said about it; none of a kind that there is
            /// not.
            pub(super) fn defaults(kind: &str) -> Option<toml::Table> {
                let required = match kind {
                    $(<$settings>::KIND => <$settings>::REQUIRED,)+
                    _ => return None,
                };
                let stage: Self = toml::from_str(&format!("kind = \"{kind}\"\n{required}"))
                    .expect("every setting but these has a default");
                Some(toml::Table::try_from(stage).expect("a stage has a TOML form"))
            }

            fn read<'de, D: Deserializer<'de>>(kind: &str, rest: D) -> Result<Self, D::Error> {
                match kind {
                    $(<$settings>::KIND => <$settings>::deserialize(rest).map(Self::$kind),)+
                    _ => Err(D::Error::unknown_variant(kind, KINDS)),
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
        write!(f, "a stage with `kind` = \"{}\"", KINDS.join("\" or \""))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stage, A::Error> {
        if map.next_key::<String>()?.as_deref() != Some("kind") {
            return Err(A::Error::custom("missing field `kind`, which comes first in a stage"));
        }
        let Kind(kind) = map.next_value()?;
        Stage::read(kind, MapAccessDeserializer::new(map))
    }
}

/// The name of a kind, refused where it stands if there is none of that name.
struct Kind(&'static str);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KindVisitor)
    }
}

struct KindVisitor;

impl Visitor<'_> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("variant identifier")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Kind, E> {
        let known = KINDS.iter().find(|kind| **kind == name);
        known.map(|kind| Kind(kind)).ok_or_else(|| E::unknown_variant(name, KINDS))
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

//! The recipe: what a run is, as one value, read from TOML and written back resolved.
//!
//! Reading order: this file, `stage`, `data`; then [`load`](self::load()) with its layers
//! (files and overrides), and the cross-field checks. The settings of a component live beside the
//! component; a recipe only nests them.

mod adapter;
mod algorithm;
mod answer_from;
mod best;
mod brief;
mod check;
mod choice;
mod data;
mod eval;
mod foreign;
mod hints;
mod layers;
mod load;
mod message;
mod mistakes;
mod offers;
mod origins;
mod place;
mod reference;
mod remarks;
mod schema;
mod sources;
mod spans;
mod stage;
mod stages;
mod told;
mod trees;

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use adapter::{
    AdapterChoice, BaseChoice, LoraChoice, NamedAdapter, ScalingChoice, Target, Targets,
};
pub use algorithm::Algorithm;
pub use answer_from::AnswerFrom;
pub use best::{BestBy, CheckpointConfig};
pub(crate) use check::source_problems;
pub use choice::{
    Activations, AtCap, DTypeChoice, DeviceChoice, DynamicSampling, ModelChoice, OldLogProbs,
    Probe, SampledMetric,
};
pub use data::{Columns, DataConfig, HeldOut, NamedSource, Names, Rows, Source, StageData, Train};
pub use eval::{EvalConfig, EvalSet, LONGEST_SET_NAME, SetSettings, Texts, TextsRule};
pub use load::{Layer, Loaded, load, read_settings};
pub use origins::{Origin, Origins};
pub use reference::reference;
pub use schema::schema;
pub use stage::{
    Descent, ReferenceChoice, RlStage, SamplePlan, SftStage, Stage, StageSettings, StepPlan,
};

use crate::verifiers::RewardsConfig;

/// Completions of a step, of an evaluation and of a probe, at most: beyond what any memory holds.
pub(crate) const MOST_COMPLETIONS: usize = 1 << 24;

/// A run: the policy, its problems, and the stages that train it, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run. Its folder is `runs/<name>`. Left out: the name of the recipe file.
    ///
    /// Names: verl `experiment_name`, HF `run_name`, prime-rl `run.name`.
    #[serde(default)]
    pub name: String,
    /// One line on what the recipe shows. `stearin recipes` prints it.
    #[serde(default)]
    pub about: String,
    /// Seed of everything that is drawn: built-in weights, generated problems, their order,
    /// completions. The same recipe and seed give the same run on the same machine.
    ///
    /// Names: HF `seed`.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Number of threads. Results do not depend on it. Left out: as many as the machine has cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroUsize>,
    /// The policy that the run starts from.
    pub model: ModelChoice,
    /// The problems to train on and to be judged by.
    pub data: DataConfig,
    /// How a problem becomes a prompt, and what ends a completion.
    #[serde(default)]
    pub prompt: evals::PromptStyle,
    /// How the policy is evaluated on held-out problems, and how often.
    #[serde(default)]
    pub eval: EvalConfig,
    /// How much of the run is written down for reading.
    #[serde(default)]
    pub record: evals::RecordConfig,
    /// Which checkpoints are saved and kept.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// The stages, in the order in which they run. Each starts with the weights that the one before
    /// it ended with.
    #[serde(rename = "stage")]
    pub stages: Vec<Stage>,
}

impl Recipe {
    /// Steps of all stages together.
    pub fn total_steps(&self) -> u64 {
        let steps = self.stages.iter().map(|stage| stage.settings().steps());
        steps.fold(0, u64::saturating_add)
    }

    /// Steps of the run after which its stages end.
    pub fn stage_ends(&self) -> impl Iterator<Item = u64> {
        self.stages.iter().scan(0_u64, |end, stage| {
            *end = stage.settings().steps().saturating_add(*end);
            Some(*end)
        })
    }

    /// The verifiers of every stage that has some, and of the evaluation, with their keys.
    pub fn rewards(&self) -> Vec<(String, &RewardsConfig)> {
        let stages = self.stages.iter().enumerate().filter_map(|(index, stage)| {
            Some((format!("stage.{index}.rewards"), stage.settings().rewards()?))
        });
        let sets = self.eval.sets.iter().enumerate();
        let sets = sets.map(|(at, set)| (format!("eval.set.{at}.rewards"), &set.rewards));
        stages.chain([("eval.rewards".to_owned(), &self.eval.rewards)]).chain(sets).collect()
    }

    /// The stage that runs `step`, counted from 0 over the whole run, and the step within it.
    pub fn stage_at(&self, step: u64) -> Option<(usize, u64)> {
        let mut left = step;
        for (index, stage) in self.stages.iter().enumerate() {
            let steps = stage.settings().steps();
            if left < steps {
                return Some((index, left));
            }
            left -= steps;
        }
        None
    }

    /// Groups that the record keeps of a step of each stage, at most; empty where it keeps none.
    pub fn recorded_groups(&self) -> Vec<usize> {
        let samples = &self.record.samples;
        let groups = self.stages.iter().map(|stage| match stage {
            Stage::Rl(stage) => stage.recorded_groups(samples),
            Stage::Sft(_) => 0,
        });
        if samples.is_off() { Vec::new() } else { groups.collect() }
    }

    /// The adapters that references look back at, by name, with where they are; each once.
    pub fn referred_adapters(&self) -> Vec<(&str, &str)> {
        let named = self.model.adapters.iter();
        let named = named.map(|(name, adapter)| (name.as_str(), adapter.from.as_str()));
        named.filter(|(name, _)| self.looks_back_at(name)).collect()
    }

    /// Whether a stage looks back at the adapter `name`.
    fn looks_back_at(&self, name: &str) -> bool {
        let mut references = self.stages.iter().filter_map(Stage::reference);
        references.any(|reference| reference.adapter() == Some(name))
    }

    /// What the stage trains on: its own data, or that of the run.
    pub fn train(&self, stage: usize) -> &Train {
        self.stages[stage].settings().data().map_or(&self.data.train, |data| &data.train)
    }

    /// Whether any of the stages that have no data of their own is so.
    pub(crate) fn any_on_shared_data(&self, holds: impl Fn(&dyn StageSettings) -> bool) -> bool {
        let stages = self.stages.iter().map(Stage::settings);
        stages.filter(|stage| stage.data().is_none()).any(holds)
    }

    /// Reads one recipe from text, as [`load`](self::load()) does for a file of its own.
    ///
    /// # Errors
    ///
    /// Fails on anything that [`load`](self::load()) refuses.
    pub fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        Ok(load(&[Layer::text(name, text)], &[])?.recipe)
    }

    /// The recipe as TOML that [`Recipe::parse`] reads back to an equal one.
    ///
    /// # Errors
    ///
    /// Fails when a value has no TOML form, such as a number beyond 64 bits with sign.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }
}

/// Whether a recipe has a key of this path, in which a stage is named by its kind.
#[cfg(test)]
pub(crate) fn is_key(path: &str) -> bool {
    reference::KEYS.contains_key(path)
}

fn default_seed() -> u64 {
    1
}

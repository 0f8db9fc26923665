//! What is trained in place of the weights of the model: `model.base` and `[model.adapter]`.

use std::borrow::Cow;
use std::num::NonZeroUsize;

use engine::{AdapterConfig, ModelConfig, Module, Scaling, Weights};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use settings::number;

use crate::names::nearest;

/// What is added to the weights of the model, and trained in their place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case")]
#[schemars(tag = "kind", transform = settings::by_name_or("lora"))]
pub enum AdapterChoice {
    /// To a linear map `W` a product of two thin matrices is added, `s B A` (`LoRA`). `A` starts at
    /// random, `B` at zero, so that the adapter changes nothing at first.
    ///
    /// Source: arXiv 2106.09685, section 4.1.
    Lora(LoraChoice),
}

settings::tagged!(AdapterChoice, "lora");

/// Settings of [`AdapterChoice::Lora`]. With `from` the others are those of what it names, and are
/// `None`; without it the loader fills them in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LoraChoice {
    /// Rows of `A` and columns of `B`, at most the smaller side of every target. More can learn
    /// more, and take memory in proportion. Left out: 16.
    ///
    /// Names: PEFT `r`, TRL `lora_r`, verl `lora_rank`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<NonZeroUsize>,
    /// Numerator of the scale `s`, with which `B A` is added. Left out: 32.
    ///
    /// Names: PEFT `lora_alpha`, TRL `lora_alpha`, verl `lora_alpha`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The linear maps that are adapted, in every block: queries, keys, values and output of
    /// attention; gate, up and down of the feed-forward layer. Left out: `"all-linear"`.
    ///
    /// Names: PEFT `target_modules`, TRL `lora_target_modules`, verl `target_modules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
    /// What `alpha` is divided by. Left out: `"rank"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingChoice>,
    /// An adapter to start from: a folder of PEFT, a `.gguf` adapter, or a run. Rank, alpha,
    /// targets and scaling are then those of this adapter. Left out: a fresh one.
    ///
    /// Names: verl `lora_adapter_path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// An adapter that does not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedAdapter {
    /// Where it is: a folder of PEFT, a `.gguf` adapter, a run, or a checkpoint of one. Its rank
    /// and what it adapts may be others than those of the adapter that is trained.
    pub from: String,
}

/// In what format the weights of the model stay while an adapter is trained.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Base")]
pub enum BaseChoice {
    /// As in its file: blocks of a GGUF file, `f16`, `bf16` or `f32`. They are decoded to `f32` a
    /// part at a time, whenever they are used.
    AsStored,
    /// Decoded to `f32` once, when the model is loaded. Results are the same.
    F32,
}

/// The linear maps that an adapter adapts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "AdapterTargets")]
pub enum Targets {
    /// All seven of a block.
    All(All),
    /// Those of these names.
    Listed(Vec<Target>),
}

settings::by_shape! { Targets: "\"all-linear\" or a list of names";
    text => Targets::All,
    list => Targets::Listed,
}

/// The word for all linear maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "AllTargets")]
pub enum All {
    /// All seven linear maps of every block.
    AllLinear,
}

impl<'de> Deserialize<'de> for All {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        if word == "all-linear" {
            return Ok(Self::AllLinear);
        }
        let act = listed(&word).map_or_else(
            || {
                let known = Module::ALL.map(Module::name).join(", ");
                format!("write \"all-linear\" for all seven, or a list of some of {known}")
            },
            |list| format!("write [{list}] for a list"),
        );
        Err(D::Error::custom(format_args!(
            "expected \"all-linear\" or a list of names, got \"{word}\": {act}"
        )))
    }
}

/// The names of linear maps that `word` has, with commas between, as a list; misspelt ones as they
/// were meant. `None` where one is no such name.
fn listed(word: &str) -> Option<String> {
    let known = |name: &str| nearest(name.trim(), Module::ALL.map(Module::name).into_iter());
    let names: Option<Vec<_>> = word.split(',').map(known).collect();
    Some(names?.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "))
}

/// A linear map of a block, by its Hugging Face name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Queries.
    QProj,
    /// Keys.
    KProj,
    /// Values.
    VProj,
    /// Output of attention.
    OProj,
    /// Gate of the feed-forward layer.
    GateProj,
    /// Its second input.
    UpProj,
    /// Its output.
    DownProj,
}

/// What `alpha` is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "AdapterScaling")]
pub enum ScalingChoice {
    /// The rank.
    #[default]
    Rank,
    /// The root of the rank (`rsLoRA`, arXiv 2312.03732).
    SqrtRank,
}

impl AdapterChoice {
    /// The sizes of a fresh adapter. With [`Self::from`] they are those of what it names.
    pub fn config(&self) -> AdapterConfig {
        let Self::Lora(lora) = self;
        lora.config()
    }

    /// The adapter to start from; none where it starts afresh.
    pub fn from(&self) -> Option<&str> {
        let Self::Lora(lora) = self;
        lora.from.as_deref()
    }

    /// Everything wrong with it, whatever the model, each with its key in the table.
    pub(super) fn problems(&self) -> Vec<String> {
        let Self::Lora(lora) = self;
        lora.problems()
    }

    /// What is wrong with it for a model of these sizes, each with its key; nothing of an adapter
    /// that is read from a file, which is compared with the model when it is opened.
    pub fn misfits(&self, model: &ModelConfig) -> Vec<String> {
        if self.from().is_some() {
            return Vec::new();
        }
        let AdapterConfig { rank, targets, .. } = self.config();
        let weights = Weights::of(model);
        // All blocks have the same shapes.
        let Some(block) = weights.blocks.first() else { return Vec::new() };
        let maps = Module::ALL.into_iter().zip(block.linears());
        let smaller = maps.filter(|(module, _)| targets.contains(module)).map(|(module, map)| {
            (map.weight.shape.iter().copied().min().unwrap_or_default(), module)
        });
        let least = smaller.min().filter(|(side, _)| rank > *side);
        let problem = |(side, module): (usize, Module)| {
            format!(
                "model.adapter.rank: {rank} is more than {side}, the smaller side of {}",
                module.name()
            )
        };
        least.into_iter().map(problem).collect()
    }

    /// Fills in what is left out.
    pub(super) fn complete(&mut self) {
        let Self::Lora(lora) = self;
        if lora.from.is_none() {
            lora.rank.get_or_insert(RANK);
            lora.alpha.get_or_insert(ALPHA);
            lora.targets.get_or_insert(Targets::All(All::AllLinear));
            lora.scaling.get_or_insert_default();
        }
    }
}

/// `rank`, where it is left out.
const RANK: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not zero");
/// `alpha`, where it is left out.
const ALPHA: f64 = 32.0;

impl LoraChoice {
    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let Self { rank, alpha, targets, scaling, from } = self;
        if let Some(from) = from {
            let own = [
                ("rank", rank.is_some()),
                ("alpha", alpha.is_some()),
                ("targets", targets.is_some()),
                ("scaling", scaling.is_some()),
            ];
            let set = own.iter().filter(|(_, is_set)| *is_set);
            found.extend(set.map(|(key, _)| {
                format!("{key}: it comes from the adapter that `from` names; remove `{key}`")
            }));
            if from.is_empty() {
                found.push("from: expected a folder, a .gguf file or a run, got nothing".into());
            }
        }
        if let Some(alpha) = alpha.filter(|alpha| !(alpha.is_finite() && *alpha > 0.0)) {
            found.push(format!("alpha: expected a positive number, got {}", number(alpha)));
        }
        if let Some(Targets::Listed(names)) = targets {
            found.extend(list_problems(names));
        }
        found
    }

    fn config(&self) -> AdapterConfig {
        let mut targets = match &self.targets {
            None | Some(Targets::All(All::AllLinear)) => Module::ALL.to_vec(),
            Some(Targets::Listed(names)) => names.iter().map(|name| name.module()).collect(),
        };
        targets.sort_unstable();
        AdapterConfig {
            rank: self.rank.unwrap_or(RANK).get(),
            alpha: self.alpha.unwrap_or(ALPHA),
            scaling: match self.scaling.unwrap_or_default() {
                ScalingChoice::Rank => Scaling::Rank,
                ScalingChoice::SqrtRank => Scaling::SqrtRank,
            },
            targets,
        }
    }
}

/// What is wrong with a list of linear maps.
fn list_problems(names: &[Target]) -> Vec<String> {
    if names.is_empty() {
        return vec!["targets: there is none; name linear maps, or write \"all-linear\"".into()];
    }
    let modules: Vec<_> = names.iter().map(|name| name.module()).collect();
    let is_again = |at: &usize| modules[..*at].contains(&modules[*at]);
    let again = (0..modules.len()).filter(is_again);
    again.map(|at| format!("targets.{at}: {} is there twice", modules[at].name())).collect()
}

impl JsonSchema for Target {
    fn schema_name() -> Cow<'static, str> {
        "AdapterTarget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Module::ALL.map(Module::name) })
    }
}

impl Target {
    fn module(self) -> Module {
        match self {
            Self::QProj => Module::Q,
            Self::KProj => Module::K,
            Self::VProj => Module::V,
            Self::OProj => Module::O,
            Self::GateProj => Module::Gate,
            Self::UpProj => Module::Up,
            Self::DownProj => Module::Down,
        }
    }
}

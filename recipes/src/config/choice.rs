use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AdapterChoice, BaseChoice, NamedAdapter};

/// The policy that a run starts from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelChoice {
    /// Where the model is: a folder in Hugging Face layout, a `.gguf` file, `hf://org/name`, a run
    /// directory, or `builtin:NAME`. A file is looked for beside the recipe, in the working
    /// directory and in `STEARIN_DATA`.
    ///
    /// Names: verl `model.path`, TRL `model_name_or_path`, prime-rl `model.name`.
    pub path: String,
    /// The device that the model runs on.
    #[serde(default)]
    pub device: DeviceChoice,
    /// The number format that the model computes in. The weights that are trained are `f32` either
    /// way on a CPU.
    ///
    /// Names: HF `bf16`, TRL `dtype`, verl `rollout.dtype`.
    #[serde(default)]
    pub dtype: DTypeChoice,
    /// In what format the weights stay while an adapter is trained; only with `adapter`. Left out:
    /// `"as-stored"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseChoice>,
    /// What is trained in place of the weights, which then do not change; "off": the weights
    /// themselves.
    ///
    /// Names: TRL `peft_config`.
    #[serde(default, with = "settings::off")]
    #[schemars(with = "settings::OrOff<AdapterChoice>")]
    pub adapter: Option<AdapterChoice>,
    /// Further adapters on the same weights, by name: letters, digits, `-` and `_`. They do not
    /// change, and are there to be looked back at, by `reference` of a stage. Only with `adapter`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub adapters: BTreeMap<String, NamedAdapter>,
}

impl ModelChoice {
    /// In what format the weights stay: `f32` where they are trained.
    pub fn base(&self) -> BaseChoice {
        match self.adapter {
            Some(_) => self.base.unwrap_or(BaseChoice::AsStored),
            None => BaseChoice::F32,
        }
    }

    /// Fills in what is left out.
    pub(super) fn complete(&mut self) {
        if let Some(adapter) = &mut self.adapter {
            adapter.complete();
            self.base.get_or_insert(BaseChoice::AsStored);
        }
    }
}

/// Where a model runs.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The first CUDA device; needs a build with the feature `cuda`.
    Cuda,
}

/// In what a model computes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum DTypeChoice {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit brain floats: on a CPU the operands of the linear maps' products, rounded from `f32`
    /// weights and summed in `f32`; on CUDA everything, the weights too, so training there is
    /// refused.
    Bf16,
}

/// Where the log-probs of the sampling policy come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OldLogProbs {
    /// From the rollout, which has them anyway.
    #[default]
    Rollout,
    /// From another forward pass: for rollouts of another precision.
    Rescore,
}

/// What the forward pass of training keeps for the backward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "KeptActivations")]
pub enum Activations {
    /// Everything: fastest.
    Keep,
    /// The input of every block; the rest is computed again.
    Recompute,
    /// Everything where the estimate fits into memory, else the inputs.
    #[default]
    Auto,
}

impl Activations {
    /// What is kept at most.
    pub fn most(self) -> engine::Activations {
        match self {
            Self::Keep | Self::Auto => engine::Activations::Keep,
            Self::Recompute => engine::Activations::Recompute,
        }
    }
}

/// Dynamic sampling: problems are drawn, round after round, until the batch is full of groups whose
/// completions differ; what is left over is discarded, the last first.
///
/// Source: DAPO, arXiv 2503.14476, section 3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DynamicSampling {
    /// In what the completions of a group have to differ for the group to count.
    ///
    /// Names: verl `filter_groups.metric`.
    pub metric: SampledMetric,
    /// Problems of one round. A larger number fills the batch in fewer rounds and discards more.
    /// Left out: the stage's `batch`.
    ///
    /// Names: verl `gen_batch_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gen_batch: Option<NonZeroUsize>,
    /// Most rounds of a step.
    ///
    /// Names: verl `max_num_gen_batches`.
    pub max_batches: NonZeroUsize,
    /// What happens when the batch is not full after the last round.
    pub at_cap: AtCap,
}

impl Default for DynamicSampling {
    fn default() -> Self {
        Self {
            metric: SampledMetric::default(),
            gen_batch: None,
            max_batches: NonZeroUsize::new(10).expect("10 is not zero"),
            at_cap: AtCap::default(),
        }
    }
}

/// In what the completions of a group have to differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "DynamicSamplingMetric")]
pub enum SampledMetric {
    /// In whether they are correct.
    #[default]
    Accuracy,
    /// In their rewards.
    Reward,
}

/// What happens when dynamic sampling does not fill the batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "DynamicSamplingAtCap")]
pub enum AtCap {
    /// The step learns from the groups that there are, with a warning; without any, the run stops.
    #[default]
    GoOn,
    /// The run stops and says why. It can be resumed with other settings.
    Error,
}

/// The probe: every so many steps, rollouts of other problems are scored before and after the
/// step's updates, and the step's own batch is scored again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EntropyProbe")]
pub struct Probe {
    /// Steps between probes.
    pub every: NonZeroU64,
    /// Number of problems that a probe samples. More make its means steadier and cost time.
    pub problems: NonZeroUsize,
    /// Completions per problem of a probe.
    pub group_size: NonZeroUsize,
}

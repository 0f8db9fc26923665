use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The policy that a run starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelChoice {
    /// A folder in Hugging Face layout, a `.gguf` file, `hf://org/name`, a run directory, or
    /// `builtin:NAME`. A file is looked for beside the recipe, in the working directory and in
    /// `STEARIN_DATA`.
    pub path: String,
    /// Where it runs.
    #[serde(default)]
    pub device: DeviceChoice,
    /// In what its weights are held.
    #[serde(default)]
    pub dtype: DTypeChoice,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The first CUDA device; needs a build with the feature `cuda`.
    Cuda,
}

/// In what weights are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DTypeChoice {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit brain floats.
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
pub enum Activations {
    /// Everything: fastest.
    Keep,
    /// The input of every block; the rest is computed again.
    Recompute,
    /// Everything where the estimate fits into memory, else the inputs.
    #[default]
    Auto,
}

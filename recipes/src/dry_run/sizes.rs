//! Where a dry run has the sizes of its model from.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use candle::{DType, Device};
use engine::hub::Hub;
use engine::{Biases, Checkpoint, Family, ModelConfig, RopeScaling, Text, file};

use super::base::{AdapterSize, Stored};
use super::file_type::split_type;
use crate::config::Recipe;
use crate::memory::num_weights;
use crate::policy::{ModelRef, locate, taken};
use crate::search_path::SearchPath;

/// The sizes of a model, and how they are known.
#[derive(Debug)]
pub struct Sizes {
    /// The sizes.
    pub config: ModelConfig,
    /// What its weights take as they are stored.
    pub stored: Stored,
    /// The adapter that is trained in place of its weights.
    pub adapter: Option<AdapterSize>,
    /// Its text, where the tokenizer is here.
    pub text: Option<Text>,
    /// Where the sizes come from, for people.
    pub source: String,
    /// What to know about how the model's files were read.
    pub notes: Vec<String>,
}

impl Sizes {
    /// The sizes of a recipe's model, with nothing fetched and no weight read: from the model where
    /// it is here, from its `config.json` where only that is, else from the published configuration
    /// of a model of its name. A run that goes on has its adapter in the checkpoint `own`.
    ///
    /// # Errors
    ///
    /// Fails when none of these is there, when the model's files are damaged, and when the adapter
    /// is not one of such a model.
    pub fn of(recipe: &Recipe, search_path: &SearchPath, own: Option<&Path>) -> Result<Self> {
        let mut sizes = Self::of_model(recipe, search_path)?;
        let found = AdapterSize::of(recipe, &sizes.config, search_path, own)?;
        let (adapter, notes) = found.unzip();
        sizes.notes.extend(notes.into_iter().flatten());
        Ok(Self { adapter, ..sizes })
    }

    fn of_model(recipe: &Recipe, search_path: &SearchPath) -> Result<Self> {
        let name = &recipe.model.path;
        let (folder, problem) = match locate(name, search_path) {
            Ok(ModelRef::Builtin(builtin)) => {
                let (model, text) = builtin.make(recipe.seed, DType::F32, &Device::Cpu)?;
                let source = "of the model, which is made on the spot".into();
                return Ok(
                    Self::new(model.config().clone(), Stored::f32, source).with_text(Some(text))
                );
            }
            Ok(ModelRef::Path(path)) => (Some(path), None),
            Ok(ModelRef::Hub(address)) => (Hub::from_env()?.find(&address)?, None),
            Ok(ModelRef::Adapted(own)) => return Err(own.is_no_base(name)),
            Err(problem) => (None, Some(problem)),
        };
        if let Some(path) = folder {
            let mut sizes = Self::here(&path).with_context(|| format!("opening {name}"))?;
            sizes.notes.extend(taken(name, &path).map(|taken| format!("model.path: {taken}")));
            return Ok(sizes);
        }
        if let Some((config, known)) = published(name) {
            let source = format!("as published for {known}: the model is not here");
            let stored = |parameters| Stored::of_name(name, &config, parameters);
            return Ok(Self::new(config.clone(), stored, source));
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        bail!(
            "{name} is not in the cache, and its sizes are unknown\na dry run fetches nothing: point \
             model.path to a folder that has its config.json"
        )
    }

    /// Of a checkpoint, or of a folder with a `config.json`.
    fn here(path: &Path) -> Result<Self> {
        let opened = Checkpoint::open(path);
        let json = path.join("config.json");
        match opened {
            Ok(checkpoint) => {
                let source = format!("of the model, {}", path.display());
                let stored = Stored::of(&checkpoint)?;
                let Checkpoint { config, text, notes, .. } = checkpoint;
                let sizes = Self::new(config, |_| stored, source).with_text(Some(text));
                Ok(Self { notes, ..sizes })
            }
            Err(problem) if json.is_file() => {
                let bytes =
                    file::read(&json).with_context(|| format!("reading {}", json.display()))?;
                let value = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is no JSON", json.display()))?;
                let config = ModelConfig::from_json(&value)
                    .with_context(|| format!("in {}", json.display()))?;
                let text = Text::from_folder(path, &value).ok();
                let source =
                    format!("of {}; as a model it cannot be opened: {problem}", json.display());
                let name = path.display().to_string();
                let stored = |parameters| Stored::of_name(&name, &config, parameters);
                Ok(Self::new(config.clone(), stored, source).with_text(text))
            }
            Err(problem) => Err(problem.into()),
        }
    }

    fn new(config: ModelConfig, stored: impl FnOnce(u64) -> Stored, source: String) -> Self {
        let stored = stored(num_weights(&config));
        Self { config, stored, adapter: None, text: None, source, notes: Vec::new() }
    }

    fn with_text(self, text: Option<Text>) -> Self {
        Self { text, ..self }
    }

    /// Number of weights.
    pub fn parameters(&self) -> u64 {
        num_weights(&self.config)
    }
}

/// The configuration of the published model that a path or an address is named after.
///
/// Source: the `config.json` of each at its origin.
fn published(name: &str) -> Option<(ModelConfig, &'static str)> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let last = last.split('@').next().unwrap_or_default().to_lowercase();
    let (wanted, _) = split_type(&last);
    let qwen2 = |hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads| ModelConfig {
        family: Family::Qwen2,
        vocab_size: 152_064,
        hidden_size,
        intermediate_size,
        num_layers,
        num_heads,
        num_kv_heads,
        head_dim: 128,
        context: 131_072,
        rope_theta: 1e6,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-6,
        tie_embeddings: false,
        biases: Biases::QKV,
        qk_norm: false,
    };
    let config = match wanted {
        "qwen2.5-math-7b" => {
            let sizes = qwen2(3584, 18_944, 28, 28, 4);
            (ModelConfig { context: 4096, rope_theta: 1e4, ..sizes }, "Qwen/Qwen2.5-Math-7B")
        }
        "qwen2.5-32b" => (
            ModelConfig { rms_norm_eps: 1e-5, ..qwen2(5120, 27_648, 64, 40, 8) },
            "Qwen/Qwen2.5-32B",
        ),
        "deepseek-r1-distill-qwen-1.5b" => {
            let sizes = qwen2(1536, 8960, 28, 12, 2);
            let config = ModelConfig { vocab_size: 151_936, rope_theta: 1e4, ..sizes };
            (config, "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B")
        }
        "qwen2.5-1.5b" | "qwen2.5-1.5b-instruct" => {
            let sizes = qwen2(1536, 8960, 28, 12, 2);
            let config = ModelConfig { vocab_size: 151_936, tie_embeddings: true, ..sizes };
            (ModelConfig { context: 32_768, ..config }, "Qwen/Qwen2.5-1.5B")
        }
        "smollm2-135m" | "smollm2-135m-instruct" => {
            let config = ModelConfig {
                family: Family::Llama,
                vocab_size: 49_152,
                head_dim: 64,
                context: 8192,
                rope_theta: 1e5,
                rms_norm_eps: 1e-5,
                tie_embeddings: true,
                biases: Biases::NONE,
                ..qwen2(576, 1536, 30, 9, 3)
            };
            (config, "HuggingFaceTB/SmolLM2-135M")
        }
        _ => return None,
    };
    Some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_models_have_the_published_number_of_parameters() {
        let counts = [
            ("hf://Qwen/Qwen2.5-Math-7B", 7_615_616_512),
            ("models/Qwen2.5-32B", 32_763_876_352),
            ("hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B@main", 1_777_088_000),
            ("models/smollm2-135m-instruct.gguf", 134_515_008),
            ("models/SmolLM2-135M-Instruct-Q4_1.gguf", 134_515_008),
            ("qwen2.5-1.5b-instruct-q4_k_m.gguf", 1_543_714_304),
        ];
        for (name, parameters) in counts {
            let (config, _) = published(name).unwrap();
            config.validate().unwrap();
            assert_eq!(num_weights(&config), parameters, "{name}");
        }
        assert!(published("hf://Qwen/Qwen2.5-Math-72B").is_none());
    }
}

//! A model family is a configuration: sizes and switches, nothing else.
//!
//! `config/json.rs` reads and writes it as a Hugging Face `config.json`; [`crate::gguf`] reads it
//! from GGUF metadata.

mod json;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The decoder families that the block function covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `SmolLM2`, Llama 2 and 3: no bias, no norm on queries and keys.
    Llama,
    /// Qwen2 and 2.5: a bias on queries, keys and values.
    Qwen2,
    /// Qwen3: a norm over each head of queries and keys.
    Qwen3,
}

/// How rotary frequencies are stretched for long contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// Stretching factor.
        factor: f64,
    },
    /// Llama 3: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// Stretching factor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_freq_factor` are stretched whole.
        low_freq_factor: f64,
        /// Wavelengths below `original_context / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context that the model was first trained with, in tokens.
        original_context: usize,
    },
}

/// In the words of a `config.json`.
impl fmt::Display for RopeScaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("default"),
            Self::Linear { factor } => write!(f, "linear with factor {factor}"),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => write!(
                f,
                "llama3 with factor {factor}, low_freq_factor {low_freq_factor}, high_freq_factor \
                 {high_freq_factor}, original_max_position_embeddings {original_context}"
            ),
        }
    }
}

/// Which linear maps of a block add a bias.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: bool,
    /// Output of attention.
    pub o: bool,
    /// Gate, up and down.
    pub mlp: bool,
}

impl Biases {
    /// No map.
    pub const NONE: Self = Self { qkv: false, o: false, mlp: false };
    /// Queries, keys and values only, as in Qwen2.
    pub const QKV: Self = Self { qkv: true, ..Self::NONE };
    /// Every map of attention: `attention_bias` in the `config.json` of llama and qwen3.
    pub const ATTENTION: Self = Self { o: true, ..Self::QKV };
}

/// Everything the forward pass needs to know about a model besides its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Which family.
    pub family: Family,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest sequence, in tokens.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Epsilon of every RMS norm.
    pub rms_norm_eps: f64,
    /// Whether the output head is the embedding.
    pub tie_embeddings: bool,
    /// Which linear maps add a bias.
    pub biases: Biases,
    /// Whether each head of queries and keys is normed.
    pub qk_norm: bool,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 3] = [Self::Llama, Self::Qwen2, Self::Qwen3];

    /// The `model_type` of `config.json`, which is also the architecture of a GGUF file.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The class name in `architectures` of `config.json`.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
        }
    }

    /// The class of the decoder without its head.
    pub(crate) fn base_class(self) -> &'static str {
        match self {
            Self::Llama => "LlamaModel",
            Self::Qwen2 => "Qwen2Model",
            Self::Qwen3 => "Qwen3Model",
        }
    }

    /// The family called `name`, either its model type or its class.
    ///
    /// # Errors
    ///
    /// Names the supported ones where `name` is none of them.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|family| [family.model_type(), family.architecture()].contains(&name))
            .ok_or_else(|| {
                Error::Config(format!(
                    "unknown architecture \"{name}\"\nsupported: llama (SmolLM2, Llama 2 and 3), \
                     qwen2 (Qwen2, Qwen2.5), qwen3 (dense)"
                ))
            })
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type())
    }
}

impl ModelConfig {
    /// Whether the numbers fit together, so that shapes and frequencies made of them are sound.
    ///
    /// # Errors
    ///
    /// Lists every contradiction at once.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_layers),
            ("num_attention_heads", self.num_heads),
            ("num_key_value_heads", self.num_kv_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.context),
        ];
        for (name, size) in sizes {
            // The bound keeps every product of two sizes, times eight bytes, within 64 bits.
            if size == 0 || size > 1 << 28 {
                problems.push(format!("{name} is {size}, expected 1 to {}", 1 << 28));
            }
        }
        if self.num_kv_heads > 0 && !self.num_heads.is_multiple_of(self.num_kv_heads) {
            problems.push(format!(
                "num_attention_heads {} is not a multiple of num_key_value_heads {}",
                self.num_heads, self.num_kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            problems.push(format!(
                "head_dim is {}, but rotary positions pair its coordinates, so it must be even",
                self.head_dim
            ));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            problems.push(format!("rms_norm_eps is {}, expected above 0", self.rms_norm_eps));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            problems.push(format!("rope_theta is {}, expected above 1", self.rope_theta));
        }
        problems.extend(self.rope_scaling.problem());
        if problems.is_empty() { Ok(()) } else { Err(Error::Config(problems.join("; "))) }
    }
}

impl RopeScaling {
    fn problem(&self) -> Option<String> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        match *self {
            Self::None => None,
            Self::Linear { factor } => {
                (!positive(factor)).then(|| format!("rope factor is {factor}, expected above 0"))
            }
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                if !positive(factor) {
                    Some(format!("rope factor is {factor}, expected above 0"))
                } else if !positive(low_freq_factor) || high_freq_factor <= low_freq_factor {
                    Some(format!(
                        "rope low_freq_factor {low_freq_factor} and high_freq_factor \
                         {high_freq_factor}: expected 0 < low < high"
                    ))
                } else if original_context == 0 {
                    Some("rope original_max_position_embeddings is 0".into())
                } else {
                    None
                }
            }
        }
    }
}

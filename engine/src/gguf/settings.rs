//! The configuration in a GGUF file's metadata.

use super::Gguf;
use super::header::Value;
use crate::{Biases, Family, ModelConfig, Result};

/// Keys that would change the forward pass, and the values at which they do nothing; llama.cpp
/// takes a scale of zero as none.
///
/// Source: `LLM_KV_NAMES` and `llama_model_base::load_hparams` of llama.cpp.
const NEUTRAL: [(&str, &[f64]); 16] = [
    ("logit_scale", &[0.0, 1.0]),
    ("residual_scale", &[0.0, 1.0]),
    ("embedding_scale", &[0.0, 1.0]),
    ("attn_logit_softcapping", &[0.0]),
    ("final_logit_softcapping", &[0.0]),
    ("attention.clamp_kqv", &[0.0]),
    ("attention.max_alibi_bias", &[0.0]),
    ("attention.causal", &[1.0]),
    ("attention.output_scale", &[0.0, 1.0]),
    ("attention.value_scale", &[0.0, 1.0]),
    ("attention.temperature_length", &[0.0]),
    ("attention.temperature_scale", &[0.0]),
    ("attention.key_length_mla", &[0.0]),
    ("attention.q_lora_rank", &[0.0]),
    ("attention.kv_lora_rank", &[0.0]),
    ("use_parallel_residual", &[0.0]),
];

impl Gguf {
    /// The model's configuration.
    ///
    /// A head of its own and biases are there where their tensors are.
    ///
    /// # Errors
    ///
    /// Fails on an unknown architecture, a missing size, and settings that the model code does not
    /// implement.
    pub fn config(&self) -> Result<ModelConfig> {
        let name = self.string("general.architecture").unwrap_or("(not given)");
        let family = Family::from_name(name)?;
        let hidden_size = self.size_of("embedding_length")?;
        let num_heads = self.size_of("attention.head_count")?;
        let head_dim = match self.size("attention.key_length")? {
            Some(width) => width,
            None => hidden_size.checked_div(num_heads).unwrap_or(0),
        };
        let context = self.size_of("context_length")?;
        self.refuse_unsupported(head_dim, context)?;
        let embedding = self.header.tensors.get("token_embd.weight");
        let rope_theta = self.number("rope.freq_base")?.unwrap_or(10_000.0);
        let config = ModelConfig {
            family,
            vocab_size: embedding
                .and_then(|entry| entry.shape.first().copied())
                .ok_or_else(|| self.problem("has no token_embd.weight"))?,
            hidden_size,
            intermediate_size: self.size_of("feed_forward_length")?,
            num_layers: self.size_of("block_count")?,
            num_heads,
            num_kv_heads: self.size("attention.head_count_kv")?.unwrap_or(num_heads),
            head_dim,
            context,
            rope_theta,
            rope_scaling: self.rope_scaling(head_dim, rope_theta)?,
            rms_norm_eps: self
                .number("attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| self.problem("has no attention.layer_norm_rms_epsilon"))?,
            tie_embeddings: !self.header.tensors.contains_key("output.weight"),
            biases: self.biases(family),
            qk_norm: family == Family::Qwen3,
        };
        config.validate()?;
        Ok(config)
    }

    fn biases(&self, family: Family) -> Biases {
        let any = |names: &[&str]| {
            let of = |name: &String| {
                let within = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
                within.is_some_and(|(_, name)| names.contains(&name))
            };
            self.header.tensors.keys().any(of)
        };
        Biases {
            qkv: family == Family::Qwen2 || any(&["attn_q.bias", "attn_k.bias", "attn_v.bias"]),
            o: any(&["attn_output.bias"]),
            mlp: any(&["ffn_gate.bias", "ffn_up.bias", "ffn_down.bias"]),
        }
    }

    fn refuse_unsupported(&self, head_dim: usize, context: usize) -> Result<()> {
        if self.size("expert_count")?.is_some_and(|experts| experts > 0) {
            return Err(self.problem("is a mixture of experts, only dense models are supported"));
        }
        if self.int("split.count").is_some_and(|parts| parts > 1) {
            return Err(
                self.problem("is one part of several; join them with llama-gguf-split first")
            );
        }
        if let Some(window) = self.size("attention.sliding_window")?
            && (1..context).contains(&window)
        {
            return Err(self.problem(format!(
                "has a sliding window of {window} positions in a context of {context}, only full \
                 attention is supported"
            )));
        }
        for key in ["attention.value_length", "rope.dimension_count"] {
            if let Some(found) = self.size(key)?.filter(|&found| found != head_dim) {
                return Err(self.problem(format!(
                    "{key} is {found}, but a head is {head_dim} wide: only whole heads are rotated, \
                     and values are as wide as keys"
                )));
            }
        }
        let per_head = [0.0, 1.0 / (head_dim as f64).sqrt()];
        let scale = ("attention.scale", &per_head[..]);
        for (key, neutral) in NEUTRAL.into_iter().chain([scale]) {
            let number = match self.key(key) {
                None => continue,
                Some(Value::Bool(flag)) => f64::from(u8::from(*flag)),
                Some(_) => self.number(key)?.unwrap_or_default(),
            };
            // Written as f32, which has six digits.
            if !neutral.iter().any(|x| (number - x).abs() <= 1e-6 * x.abs()) {
                let neutral = neutral.last().copied().unwrap_or_default();
                return Err(self.problem(format!(
                    "{key} is {number}, which changes the model: only {neutral} is supported"
                )));
            }
        }
        Ok(())
    }
}

//! Keys of other models and other writers that would change the forward pass: each loads at the value
//! at which it does nothing, and is refused by name at any other.
//!
//! Source: the configurations of the decoders in transformers and vLLM. The list need not be complete
//! for what comes with weights of its own: a tensor that nothing reads is an error as well.

use serde_json::Value;

use super::keys::Keys;
use crate::{Error, Family, ModelConfig, Result};

/// The value at which a key does nothing.
#[derive(Debug, Clone, Copy)]
enum Neutral {
    /// False, zero or empty.
    Off,
    /// True.
    On,
    /// A list of true or of one.
    AllOn,
    /// One of these words.
    Word(&'static [&'static str]),
    /// This number.
    Number(f64),
}

const OFF: [&str; 36] = [
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "logit_softcapping",
    "logits_soft_cap",
    "clip_qkv",
    "alibi",
    "use_alibi",
    "parallel_attn",
    "parallel_residual",
    "use_parallel_residual",
    "scale_attn_by_inverse_layer_idx",
    "rope_interleave",
    "rope_interleaved",
    "rotary_interleaved",
    "use_dynamic_ntk",
    "use_logn_attn",
    "use_scaled_rope",
    "nope_layers",
    "attn_temperature_tuning",
    "attention_chunk_size",
    "attention_output_gate",
    "attn_output_gate",
    "use_sinks",
    "use_bidirectional_attention",
    "is_encoder_decoder",
    "add_cross_attention",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "moe_num_experts",
    "scale_embeddings",
    "sandwich_norm",
    "use_post_norm",
    "layernorm_zero_centered",
    "pruned_heads",
    "per_layer_config",
];
const ON: [&str; 7] = [
    "is_causal",
    "use_rope",
    "use_rotary",
    "rotary",
    "rope_is_neox_style",
    "is_neox_style",
    "scale_attn_weights",
];
const ONE: [&str; 18] = [
    "partial_rotary_factor",
    "rotary_pct",
    "rope_percent",
    "rope_ratio",
    "rope_scaling_factor",
    "embedding_multiplier",
    "embedding_scale",
    "scale_emb",
    "residual_multiplier",
    "residual_scale",
    "logits_scaling",
    "logit_scale",
    "lm_head_multiplier",
    "key_multiplier",
    "attention_in_multiplier",
    "attention_out_multiplier",
    "width_multiplier",
    "mup_width_multiplier",
];
const QK_NORM: [&str; 4] = ["qk_norm", "use_qk_norm", "qk_layernorm", "query_key_norm"];
const ACTIVATION: [&str; 3] = ["hidden_act", "hidden_activation", "activation_function"];

/// Refuses every key that would change the forward pass of `config`.
pub(super) fn refuse(keys: Keys<'_>, config: &ModelConfig) -> Result<()> {
    let problems: Vec<_> = table(keys, config)
        .into_iter()
        .filter_map(|(key, neutral)| {
            let value = keys.get(key).filter(|value| !neutral.is(value))?;
            Some(format!("{key} is {value}, only {} is supported", neutral.name()))
        })
        .chain(quantised(keys))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Config(problems.join("; "))) }
}

fn table(keys: Keys<'_>, config: &ModelConfig) -> Vec<(&'static str, Neutral)> {
    let head_dim = config.head_dim as f64;
    let per_head = Neutral::Number(1.0 / head_dim.sqrt());
    let same_theta = Neutral::Number(config.rope_theta);
    let normed = if config.family == Family::Qwen3 { Neutral::On } else { Neutral::Off };
    let mut table = vec![
        ("no_rope_layers", Neutral::AllOn),
        ("position_embedding_type", Neutral::Word(&["rope", "rotary"])),
        ("attention_multiplier", per_head),
        ("attention_scale", per_head),
        ("softmax_scale", per_head),
        ("query_pre_attn_scalar", Neutral::Number(head_dim)),
        ("rotary_dim", Neutral::Number(head_dim)),
        ("rotary_ndims", Neutral::Number(head_dim)),
        ("v_head_dim", Neutral::Number(head_dim)),
        ("rope_base", same_theta),
        ("rotary_base", same_theta),
        ("rotary_emb_base", same_theta),
        ("rope_freq_base", same_theta),
        ("scale_depth", Neutral::Number((config.num_layers as f64).sqrt())),
        ("dim_model_base", Neutral::Number(config.hidden_size as f64)),
    ];
    // Its default is another where the list itself is absent.
    if keys.get("no_rope_layers").is_none() {
        table.extend(["no_rope_layer_interval", "nope_layer_interval"].map(|k| (k, Neutral::Off)));
    }
    table.extend(QK_NORM.map(|key| (key, normed)));
    // transformers calls SiLU by both names.
    table.extend(ACTIVATION.map(|key| (key, Neutral::Word(&["silu", "swish"]))));
    table.extend(OFF.map(|key| (key, Neutral::Off)));
    table.extend(ON.map(|key| (key, Neutral::On)));
    table.extend(ONE.map(|key| (key, Neutral::Number(1.0))));
    table
}

fn quantised(keys: Keys<'_>) -> Option<String> {
    let key = ["quantization_config", "compression_config"]
        .into_iter()
        .find(|key| keys.get(key).is_some())?;
    Some(format!("{key}: weights are quantised; take the unquantised checkpoint or a GGUF"))
}

impl Neutral {
    fn is(self, value: &Value) -> bool {
        let number = value.as_f64();
        let on = |value: &Value| value == true || value.as_f64() == Some(1.0);
        match self {
            Self::Off => match value {
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => value == false || number == Some(0.0),
            },
            Self::On => on(value),
            Self::AllOn => value.as_array().is_some_and(|list| list.iter().all(on)),
            Self::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            // Written with the digits of an f32 by some.
            Self::Number(neutral) => {
                number.is_some_and(|x| (x - neutral).abs() <= 1e-6 * neutral.abs())
            }
        }
    }

    fn name(self) -> String {
        match self {
            Self::Off => "false or 0".into(),
            Self::On => "true".into(),
            Self::AllOn => "a list of 1".into(),
            Self::Word(words) => format!("\"{}\"", words.join("\" or \"")),
            Self::Number(number) => number.to_string(),
        }
    }
}

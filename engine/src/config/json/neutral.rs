//! Keys of other models and other writers that would change the forward pass: each loads at the
//! value at which it does nothing, and is refused by name at any other.
//!
//! Source: the configurations of the decoders in transformers and vLLM. The list need not be
//! complete for what comes with weights of its own: a tensor that nothing reads is an error as
//! well.

use serde_json::Value;

use super::keys::Keys;
use crate::{Biases, Error, Family, ModelConfig, Result, RopeScaling};

/// The value at which a key does nothing.
#[derive(Debug, Clone, Copy)]
enum Neutral {
    /// False, zero or empty.
    Off,
    /// True.
    On,
    /// A list of true or of one.
    AllOn,
    /// A list of false or of zero, or one of them for all layers.
    AllOff,
    /// One of these words.
    Word(&'static [&'static str]),
    /// This number.
    Number(f64),
}

const OFF: [&str; 69] = [
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
    "attention_logit_softcapping",
    "attn_logit_softcap",
    "final_logit_softcap",
    "logit_softcap",
    "max_attn_value",
    "clamp_qkv",
    "swiglu_limit",
    "num_kv_shared_layers",
    "layer_sharing",
    "use_cla",
    "altup_num_inputs",
    "attention_sinks",
    "num_attention_sinks",
    "add_zero_attn",
    "attention_window",
    "no_rope",
    "use_nope",
    "use_xpos",
    "rotary_emb_scale_base",
    "qk_nope_head_dim",
    "qk_l2_norm",
    "use_qk_l2_norm",
    "use_mup",
    "mup_use_scaling",
    "mup_scale_qk_dot_by_d",
    "scale_embedding",
    "apply_residual_connection_post_layernorm",
    "post_norm",
    "norm_after",
    "add_unit_offset",
    "zero_centered_gamma",
    "apply_layernorm_1p",
    "lm_head_bias",
];
const ON: [&str; 16] = [
    "is_causal",
    "use_rope",
    "use_rotary",
    "rotary",
    "rope_is_neox_style",
    "is_neox_style",
    "scale_attn_weights",
    "do_layer_norm_before",
    "use_pre_norm",
    "pre_norm",
    "rmsnorm",
    "use_rmsnorm",
    "use_rms_norm",
    "use_swiglu",
    "gated_mlp",
    "use_gated_mlp",
];
const ONE: [&str; 30] = [
    "partial_rotary_factor",
    "rotary_pct",
    "rope_percent",
    "rope_ratio",
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
    "rotary_percentage",
    "rotary_percent",
    "rope_pct",
    "embedding_multiplier_scale",
    "residual_scaling",
    "logits_scale",
    "output_multiplier_scale",
    "mlp_multiplier",
    "mup_width_scale",
    "mup_embeddings_scale",
    "mup_embedding_multiplier",
    "mup_output_alpha",
    "total_ut_steps",
];
/// Of queries and keys.
const QK_NORM: [&str; 6] =
    ["qk_norm", "use_qk_norm", "qk_layernorm", "use_qk_layernorm", "qk_ln", "query_key_norm"];
const ACTIVATION: [&str; 6] = [
    "hidden_act",
    "hidden_activation",
    "activation_function",
    "activation_fn",
    "act_fn",
    "mlp_hidden_act",
];
/// The width of a head, or of the part of it that turns.
const HEAD_DIM: [&str; 5] =
    ["query_pre_attn_scalar", "rotary_dim", "rotary_ndims", "qk_rope_head_dim", "v_head_dim"];
/// What the products of queries and keys are multiplied by.
const PER_HEAD: [&str; 7] = [
    "attention_multiplier",
    "attention_scale",
    "attn_scale",
    "qk_scale",
    "softmax_scale",
    "attn_output_multiplier",
    "mup_attn_multiplier",
];
const THETA: [&str; 8] = [
    "rope_base",
    "rotary_base",
    "rotary_emb_base",
    "rope_freq_base",
    "rope_local_base_freq",
    "local_rope_theta",
    "global_rope_theta",
    "swa_rope_theta",
];
/// Rope settings outside their table, where transformers passes over them.
const ROPE_TYPE: [&str; 3] = ["rope_type", "rope_scaling_type", "rope_scaling_method"];
const ROPE_FACTOR: [&str; 2] = ["factor", "rope_scaling_factor"];
const EPSILON: [&str; 5] =
    ["layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", "norm_eps", "norm_epsilon"];
const NORM: [&str; 3] = ["norm_type", "normalization_type", "layer_norm_type"];
const RMS_NORM: [&str; 5] = ["rms", "rmsnorm", "rms_norm", "RMSNorm", "RMSnorm"];
/// Biases of queries, keys and values.
const QKV_BIAS: [&str; 4] = ["qkv_bias", "use_qkv_bias", "add_qkv_bias", "attn_qkv_bias"];
/// Biases of all linear maps.
const BIAS: [&str; 3] = ["use_bias", "bias", "add_bias_linear"];

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
    let (rope_type, rope_factor) = match config.rope_scaling {
        RopeScaling::None => (&["default", "none"][..], 1.0),
        RopeScaling::Linear { factor } => (&["linear"][..], factor),
        RopeScaling::Llama3 { factor, .. } => (&["llama3"][..], factor),
    };
    let all_biases = config.biases == Biases { mlp: true, ..Biases::ATTENTION };
    let mut table = vec![
        ("no_rope_layers", Neutral::AllOn),
        ("mlp_multipliers", Neutral::AllOn),
        ("activation_sparsity_pattern", Neutral::AllOff),
        ("position_embedding_type", Neutral::Word(&["rope", "rotary"])),
        ("activation", Neutral::Word(&["silu", "swish", "swiglu"])),
        ("scale_depth", Neutral::Number((config.num_layers as f64).sqrt())),
        ("dim_model_base", Neutral::Number(config.hidden_size as f64)),
        ("no_bias", Neutral::flag(!all_biases)),
    ];
    // Its default is another where the list itself is absent.
    if keys.get("no_rope_layers").is_none() {
        table.extend(["no_rope_layer_interval", "nope_layer_interval"].map(|k| (k, Neutral::Off)));
    }
    let mut all = |keys: &[&'static str], neutral| table.extend(keys.iter().map(|&k| (k, neutral)));
    all(&OFF, Neutral::Off);
    all(&ON, Neutral::On);
    all(&ONE, Neutral::Number(1.0));
    all(&QK_NORM, Neutral::flag(config.family == Family::Qwen3));
    // transformers calls SiLU by both names.
    all(&ACTIVATION, Neutral::Word(&["silu", "swish"]));
    all(&HEAD_DIM, Neutral::Number(head_dim));
    all(&PER_HEAD, Neutral::Number(1.0 / head_dim.sqrt()));
    all(&THETA, Neutral::Number(config.rope_theta));
    all(&ROPE_TYPE, Neutral::Word(rope_type));
    all(&ROPE_FACTOR, Neutral::Number(rope_factor));
    all(&EPSILON, Neutral::Number(config.rms_norm_eps));
    all(&NORM, Neutral::Word(&RMS_NORM));
    all(&QKV_BIAS, Neutral::flag(config.biases.qkv));
    all(&BIAS, Neutral::flag(all_biases));
    table
}

fn quantised(keys: Keys<'_>) -> Option<String> {
    let key = ["quantization_config", "compression_config"]
        .into_iter()
        .find(|key| keys.get(key).is_some())?;
    Some(format!("{key}: weights are quantised; take the unquantised checkpoint or a GGUF"))
}

impl Neutral {
    fn flag(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }

    fn is(self, value: &Value) -> bool {
        let number = value.as_f64();
        let on = |value: &Value| value == true || value.as_f64() == Some(1.0);
        let off = |value: &Value| value == false || value.as_f64() == Some(0.0);
        match self {
            Self::Off => match value {
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => off(value),
            },
            Self::On => on(value),
            Self::AllOn => value.as_array().is_some_and(|list| list.iter().all(on)),
            Self::AllOff => {
                value.as_array().map_or_else(|| off(value), |list| list.iter().all(off))
            }
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
            Self::AllOff => "a list of 0".into(),
            Self::Word(words) => format!("\"{}\"", words.join("\" or \"")),
            Self::Number(number) => number.to_string(),
        }
    }
}

#[cfg(test)]
mod tests;

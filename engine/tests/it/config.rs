//! `config.json`: both spellings of rope settings, round trips, and what is refused.

use engine::{Biases, Family, ModelConfig, RopeScaling};
use serde_json::{Value, json};

use crate::support;

fn llama() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-05,
        "rope_theta": 100_000,
        "rope_scaling": null,
        "tie_word_embeddings": true,
        "hidden_act": "silu",
    })
}

fn with(changes: &Value) -> engine::Result<ModelConfig> {
    let mut json = llama();
    for (key, value) in changes.as_object().unwrap() {
        json[key] = value.clone();
    }
    ModelConfig::from_json(&json)
}

#[track_caller]
fn refused(changes: &Value, words: &[&str]) {
    let error = with(changes).unwrap_err().to_string();
    assert!(error.starts_with("model configuration: "), "{error}");
    for word in words {
        assert!(error.contains(word), "{word:?} not in {error:?}");
    }
}

#[test]
fn smollm2_is_read() {
    let config = ModelConfig::from_json(&llama()).unwrap();
    assert_eq!(config.family, Family::Llama);
    assert_eq!((config.head_dim, config.num_kv_heads, config.context), (64, 3, 8192));
    assert_eq!((config.rope_theta, config.rms_norm_eps), (100_000.0, 1e-5));
    assert!(config.tie_embeddings && config.biases == Biases::NONE && !config.qk_norm);
}

#[test]
fn absent_keys_have_the_defaults_of_transformers() {
    let mut json = llama();
    for key in ["num_key_value_heads", "rms_norm_eps", "rope_theta", "tie_word_embeddings"] {
        json.as_object_mut().unwrap().remove(key);
    }
    let config = ModelConfig::from_json(&json).unwrap();
    assert_eq!((config.num_kv_heads, config.rms_norm_eps, config.rope_theta), (9, 1e-6, 1e4));
    assert!(!config.tie_embeddings);
    let qwen = json!({ "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"] });
    assert_eq!(with(&qwen).unwrap().head_dim, 128);
    assert!(with(&qwen).unwrap().qk_norm);
    let qwen = json!({ "model_type": "qwen2", "architectures": null });
    assert_eq!(with(&qwen).unwrap().head_dim, 64);
    assert_eq!(with(&qwen).unwrap().biases, Biases::QKV);
}

#[test]
fn both_spellings_of_rope_settings_are_read() {
    let expected = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    };
    let mut scaling = json!({ "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192 });
    let old = with(&json!({ "rope_theta": 500_000.0, "rope_scaling": scaling })).unwrap();
    assert_eq!((old.rope_theta, old.rope_scaling), (500_000.0, expected));
    scaling["rope_theta"] = json!(500_000.0);
    let new = with(&json!({ "rope_theta": null, "rope_parameters": scaling })).unwrap();
    assert_eq!(new, old);
    let plain = json!({ "rope_theta": 1e6, "rope_type": "default" });
    let new = with(&json!({ "rope_theta": null, "rope_parameters": plain })).unwrap();
    assert_eq!((new.rope_theta, new.rope_scaling), (1e6, RopeScaling::None));
    let linear = with(&json!({ "rope_scaling": { "type": "linear", "factor": 2 } })).unwrap();
    assert_eq!(linear.rope_scaling, RopeScaling::Linear { factor: 2.0 });

    let linear = json!({ "rope_type": "linear", "factor": 2.0 });
    refused(&json!({ "rope_scaling": linear, "rope_parameters": scaling }), &["Linear", "Llama3"]);
    refused(&json!({ "rope_parameters": scaling }), &["100000", "500000"]);
    refused(&json!({ "rope_scaling": { "type": "yarn", "factor": 2.0 } }), &["yarn", "llama3"]);
    refused(&json!({ "rope_scaling": { "factor": 2.0 } }), &["rope_type"]);
    refused(&json!({ "rope_scaling": { "rope_type": "llama3" } }), &["no factor"]);
    refused(&json!({ "rope_scaling": { "rope_type": "linear", "factor": 0.0 } }), &["factor is 0"]);
}

#[test]
fn what_is_written_is_read_back() {
    for config in support::configs() {
        for rope_scaling in [
            RopeScaling::None,
            RopeScaling::Linear { factor: 2.5 },
            RopeScaling::Llama3 {
                factor: 8.0,
                low_freq_factor: 1.0,
                high_freq_factor: 4.0,
                original_context: 32,
            },
        ] {
            let config = ModelConfig { rope_scaling, ..config.clone() };
            assert_eq!(ModelConfig::from_json(&config.to_json()).unwrap(), config);
        }
    }
}

#[test]
fn biases_follow_the_keys_of_the_family() {
    let read = |changes: Value| with(&changes).unwrap().biases;
    let mlp = Biases { mlp: true, ..Biases::NONE };
    assert_eq!(read(json!({ "attention_bias": false, "mlp_bias": null })), Biases::NONE);
    assert_eq!(read(json!({ "attention_bias": true })), Biases::ATTENTION);
    assert_eq!(read(json!({ "mlp_bias": true })), mlp);
    let qwen3 = json!({ "model_type": "qwen3", "architectures": null, "attention_bias": true,
        "mlp_bias": true });
    assert_eq!(read(qwen3), Biases::ATTENTION);
    let qwen2 = json!({ "model_type": "qwen2", "architectures": null, "attention_bias": false });
    assert_eq!(read(qwen2), Biases::QKV);
    refused(&json!({ "attention_bias": "yes" }), &["attention_bias is \"yes\"", "true or false"]);
    refused(&json!({ "mlp_bias": 1 }), &["mlp_bias is 1"]);
}

#[test]
fn an_unknown_architecture_is_told_the_known_ones() {
    let known = ["llama", "qwen2", "qwen3"];
    refused(&json!({ "model_type": "mamba" }), &[&["\"mamba\""], &known[..]].concat());
    refused(
        &json!({ "architectures": ["LlamaForSequenceClassification"] }),
        &["LlamaForSequenceClassification"],
    );
    refused(&json!({ "model_type": null, "architectures": [] }), &["neither model_type"]);
    assert!(ModelConfig::from_json(&json!([])).is_err());
}

#[test]
fn contradictory_sizes_are_all_listed() {
    refused(
        &json!({ "num_key_value_heads": 4, "rms_norm_eps": 0.0, "intermediate_size": 0 }),
        &[
            "num_attention_heads 9 is not a multiple of num_key_value_heads 4",
            "rms_norm_eps is 0",
            "intermediate_size is 0",
        ],
    );
    refused(&json!({ "num_attention_heads": 10 }), &["576", "10"]);
    refused(&json!({ "num_attention_heads": 0 }), &["num_attention_heads 0"]);
    refused(&json!({ "head_dim": 63 }), &["even"]);
    refused(&json!({ "vocab_size": null }), &["vocab_size is missing"]);
    refused(&json!({ "vocab_size": -1 }), &["vocab_size is -1"]);
    refused(&json!({ "vocab_size": 1e300 }), &["vocab_size"]);
    refused(&json!({ "hidden_size": "big" }), &["hidden_size is \"big\""]);
}

#[test]
fn settings_that_are_not_implemented_are_refused() {
    refused(&json!({ "hidden_act": "gelu" }), &["gelu"]);
    refused(&json!({ "quantization_config": { "bits": 4 } }), &["quantised"]);
    refused(&json!({ "layer_types": ["full_attention", "sliding_attention"] }), &["sliding"]);
    refused(&json!({ "partial_rotary_factor": 0.5 }), &["partial_rotary_factor"]);
    let qwen = json!({ "model_type": "qwen2", "architectures": null, "use_sliding_window": true });
    refused(&qwen, &["use_sliding_window"]);
}

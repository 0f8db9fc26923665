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

pub(crate) fn with(changes: &Value) -> engine::Result<ModelConfig> {
    let mut json = llama();
    for (key, value) in changes.as_object().unwrap() {
        json[key] = value.clone();
    }
    ModelConfig::from_json(&json)
}

#[track_caller]
pub(crate) fn refused(changes: &Value, words: &[&str]) {
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
    refused(
        &json!({ "rope_scaling": linear, "rope_parameters": scaling }),
        &[
            "rope_scaling says linear with factor 2 and rope_parameters says llama3 with factor 32, \
             low_freq_factor 1, high_freq_factor 4, original_max_position_embeddings 8192: remove",
        ],
    );
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
    let class = |name: &str| json!({ "architectures": [name] });
    for other in ["LlamaForSequenceClassification", "LlamaForTokenClassification", "MyLlama"] {
        refused(&class(other), &[other, "expected LlamaForCausalLM"]);
    }
    refused(&class("Qwen2ForCausalLM"), &["\"llama\"", "Qwen2ForCausalLM", "does not hold"]);
    refused(&class("Qwen3Model"), &["\"llama\"", "Qwen3Model"]);
    refused(&json!({ "model_type": null, "architectures": ["MambaModel"] }), &["\"MambaModel\""]);
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
    refused(&json!({ "hidden_act": "gelu", "alibi": true }), &["gelu", "alibi is true"]);
}

#[test]
fn a_class_without_its_head_and_older_capitals_are_the_family() {
    for class in ["LlamaForCausalLM", "LlamaModel", "LLaMAForCausalLM"] {
        assert_eq!(with(&json!({ "architectures": [class] })).unwrap().family, Family::Llama);
        let alone = json!({ "architectures": [class], "model_type": null });
        assert_eq!(with(&alone).unwrap().family, Family::Llama, "{class}");
    }
    let qwen = json!({ "architectures": ["Qwen3Model"], "model_type": "qwen3" });
    assert_eq!(with(&qwen).unwrap().family, Family::Qwen3);
}

#[test]
fn what_a_key_asks_for_may_be_what_the_configuration_does() {
    let qwen2 = |key: &str, value: bool| {
        with(&json!({ "model_type": "qwen2", "architectures": null, key: value }))
    };
    assert!(qwen2("qkv_bias", true).is_ok() && qwen2("use_bias", false).is_ok());
    for (key, value) in [("qkv_bias", false), ("use_bias", true), ("no_bias", false)] {
        assert!(qwen2(key, value).unwrap_err().to_string().contains(key), "{key}");
    }
    let biases = json!({ "attention_bias": true, "mlp_bias": true, "use_bias": true,
        "no_bias": false, "qkv_bias": true });
    assert!(with(&biases).unwrap().biases.mlp);
    refused(&json!({ "attention_bias": true, "use_bias": true }), &["use_bias is true"]);

    let linear = |changes: Value| {
        let mut json = json!({ "rope_scaling": { "rope_type": "linear", "factor": 2.0 } });
        json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json
    };
    assert!(with(&linear(json!({ "rope_type": "linear", "factor": 2 }))).is_ok());
    refused(&linear(json!({ "rope_type": "yarn" })), &["rope_type is \"yarn\"", "\"linear\""]);
    refused(&linear(json!({ "factor": 4.0 })), &["factor is 4.0, only 2 is supported"]);
    refused(&json!({ "rope_type": "linear", "factor": 2.0 }), &["rope_type", "factor is 2.0"]);
}

#[test]
fn keys_without_a_part_in_the_function_are_passed_over() {
    let changes = json!({ "pretraining_tp": 4, "attention_dropout": 0.1, "use_cache": false,
        "initializer_range": 0.3, "transformers_version": "4.31.0", "max_sequence_length": 2048,
        "norm_topk_prob": true, "multiple_of": 256,
        "auto_map": { "AutoConfig": "x.y" }, "my_own_key": [1, 2], "pad_token_id": -1,
        "original_max_position_embeddings": 4096 });
    assert_eq!(with(&changes).unwrap(), with(&json!({})).unwrap());
}

#[test]
fn qwen3_norms_queries_and_keys_and_the_others_do_not() {
    let qwen3 = |value: bool| json!({ "model_type": "qwen3", "architectures": null, "qk_norm": value, "head_dim": 64 });
    assert!(with(&qwen3(true)).unwrap().qk_norm);
    refused(&qwen3(false), &["qk_norm is false"]);
    refused(&json!({ "qk_norm": true }), &["qk_norm is true"]);
}

fn qwen2(changes: &Value) -> Value {
    let mut json = json!({ "model_type": "qwen2", "architectures": null, "num_hidden_layers": 4,
        "max_position_embeddings": 128 });
    json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json
}

#[test]
fn a_sliding_window_that_hides_nothing_is_full_attention() {
    let full = ["full_attention"; 4];
    let plain = with(&qwen2(&json!({}))).unwrap();
    for changes in [
        json!({ "use_sliding_window": false, "sliding_window": 8, "max_window_layers": 0 }),
        json!({ "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 4 }),
        json!({ "use_sliding_window": true, "sliding_window": 8 }),
        json!({ "use_sliding_window": true, "sliding_window": null, "max_window_layers": 0 }),
        json!({ "use_sliding_window": true, "sliding_window": 128, "max_window_layers": 0 }),
        json!({ "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 0,
            "layer_types": full }),
        json!({ "layer_types": ["attention", "full_attention", "attention", "attention"] }),
        json!({ "use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 0,
            "layer_types": (["sliding_attention"; 4]) }),
    ] {
        assert_eq!(with(&qwen2(&changes)).unwrap(), plain, "{changes}");
    }
}

#[test]
fn a_sliding_window_that_hides_positions_is_refused() {
    let on = |window: Value, first: usize| {
        qwen2(&json!({ "use_sliding_window": true, "sliding_window": window,
            "max_window_layers": first }))
    };
    refused(&on(json!(8), 3), &["use_sliding_window", "from 3 on", "8 of 128"]);
    refused(&on(json!(127), 0), &["127 of 128"]);
    refused(&on(json!(0), 0), &["0 of 128"]);
    refused(&on(json!("8"), 0), &["sliding_window is \"8\""]);
    let types = |types: Value| qwen2(&json!({ "layer_types": types }));
    let mixed = ["full_attention", "sliding_attention", "full_attention", "full_attention"];
    refused(&types(json!(mixed)), &["layer_types has \"sliding_attention\""]);
    refused(&types(json!((["linear_attention"; 4]))), &["linear_attention"]);
    refused(&types(json!((["full_attention"; 3]))), &["3 entries", "num_hidden_layers is 4"]);
    refused(&types(json!("full_attention")), &["expected a list"]);
    let without = json!({ "use_sliding_window": true, "sliding_window": null,
        "layer_types": mixed });
    refused(&qwen2(&without), &["layer_types has \"sliding_attention\""]);
    let absent = json!({ "use_sliding_window": true, "max_window_layers": 0,
        "max_position_embeddings": 8192 });
    refused(&qwen2(&absent), &["4096 of 8192"]);
    let llama = json!({ "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 0 });
    refused(&llama, &["use_sliding_window"]);
}

/// transformers has no window in llama, whatever the key says.
#[test]
fn a_window_that_llama_does_not_use_changes_nothing() {
    let plain = with(&json!({})).unwrap();
    for window in [json!(8), json!(4096), json!(false)] {
        assert_eq!(with(&json!({ "sliding_window": window })).unwrap(), plain, "{window}");
    }
}

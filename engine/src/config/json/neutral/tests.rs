use serde_json::json;

use super::*;

/// Keys, values at which they do nothing in [`config`], and others.
type AtRest = (Vec<&'static str>, Value, Value);

fn config() -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocab_size: 49152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_layers: 30,
        num_heads: 9,
        num_kv_heads: 3,
        head_dim: 64,
        context: 8192,
        rope_theta: 100_000.0,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-5,
        tie_embeddings: true,
        biases: Biases::NONE,
        qk_norm: false,
    }
}

fn with(key: &str, value: &Value) -> Result<ModelConfig> {
    let mut json = config().to_json();
    json[key] = value.clone();
    ModelConfig::from_json(&json)
}

fn at_rest() -> Vec<AtRest> {
    let scale = 1.0 / 64f64.sqrt();
    let off = [&OFF[..], &QK_NORM, &QKV_BIAS, &BIAS].concat();
    let intervals = ["no_rope_layer_interval", "nope_layer_interval"];
    let off = [&off[..], &intervals].concat();
    let on = [&ON[..], &["no_bias"]].concat();
    let one = [&ONE[..], &ROPE_FACTOR].concat();
    let word = |key| vec![key];
    vec![
        (off, json!([false, 0, 0.0, []]), json!([true, 0.5, 3, "no", [3], { "0": [1] }])),
        (on, json!([true, 1]), json!([false, 0, "yes"])),
        (one, json!([1, 1.0]), json!([0, 0.22, 1.01, 12, "1", true])),
        (ACTIVATION.into(), json!(["silu", "swish"]), json!(["gelu", "relu", 1])),
        (word("activation"), json!(["silu", "swiglu"]), json!(["geglu", "relu2"])),
        (HEAD_DIM.into(), json!([64, 64.0]), json!([32, 65, 256, 0])),
        (PER_HEAD.into(), json!([scale, scale as f32]), json!([1.0, 0.015_625, "auto"])),
        (THETA.into(), json!([100_000, 1e5]), json!([10_000, 1e6])),
        (ROPE_TYPE.into(), json!(["default", "none"]), json!(["linear", "yarn", "llama3", 2])),
        (EPSILON.into(), json!([1e-5]), json!([1e-6, 1e-12, "1e-5"])),
        (
            NORM.into(),
            json!(["rms", "rms_norm", "rmsnorm", "RMSNorm", "RMSnorm"]),
            json!(["layer_norm", "layernorm", "LayerNorm", "default"]),
        ),
        (word("no_rope_layers"), json!([[], [1, 1], [true]]), json!([[1, 0], [false], 0])),
        (word("mlp_multipliers"), json!([[1, 1.0]]), json!([[1, 0.5], 2])),
        (
            word("activation_sparsity_pattern"),
            json!([0, 0.0, [0.0, 0], []]),
            json!([0.95, [0.95, 0], "x"]),
        ),
        (word("position_embedding_type"), json!(["rope", "rotary"]), json!(["alibi", "nope"])),
        (word("scale_depth"), json!([30f64.sqrt()]), json!([1.4, 30])),
        (word("dim_model_base"), json!([576]), json!([256])),
        (
            vec!["quantization_config", "compression_config"],
            json!([null]),
            json!([{ "bits": 4 }, "x"]),
        ),
    ]
}

#[test]
fn a_key_that_changes_the_function_loads_at_rest_and_is_refused_by_name_elsewhere() {
    let plain = ModelConfig::from_json(&config().to_json()).unwrap();
    for (keys, at_rest, others) in at_rest() {
        for key in keys {
            assert_eq!(with(key, &Value::Null).unwrap(), plain, "{key} null");
            for value in at_rest.as_array().unwrap() {
                assert_eq!(with(key, value).unwrap(), plain, "{key} {value}");
            }
            for value in others.as_array().unwrap() {
                let error = with(key, value).unwrap_err().to_string();
                assert!(error.starts_with("model configuration: "), "{error}");
                assert!(error.contains(key), "{key} not in {error:?}");
            }
        }
    }
}

#[test]
fn every_key_of_the_table_is_tried_and_is_in_it_once() {
    let tried: Vec<&str> = at_rest().into_iter().flat_map(|(keys, ..)| keys).collect();
    let json = json!({});
    let table = table(Keys(json.as_object().unwrap()), &config());
    let mut names: Vec<_> = table.into_iter().map(|(key, _)| key).collect();
    assert!(names.len() > 150, "{}", names.len());
    for name in &names {
        assert!(tried.contains(name), "{name} is not tried");
    }
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "a key is in the table twice");
}

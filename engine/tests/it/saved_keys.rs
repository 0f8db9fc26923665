//! What a saved `config.json` keeps of the one that the model was read with.

use std::path::Path;

use candle::{DType, Device};
use engine::{Checkpoint, Family, Model, ModelConfig, Text, load, save};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::checkpoint::config;
use crate::{disk, support};

fn keys(folder: &Path) -> Map<String, Value> {
    serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
}

/// A checkpoint with changes in its `config.json`; null takes a key out.
fn saved(model: &Model, text: &Text, changes: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    save(model, text, folder.path()).unwrap();
    let mut keys = keys(folder.path());
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::String(word) if word == "(absent)" => drop(keys.shift_remove(key)),
            _ => drop(keys.insert(key.clone(), value.clone())),
        }
    }
    std::fs::write(folder.path().join("config.json"), Value::Object(keys).to_string()).unwrap();
    folder
}

/// The keys before and after loading and saving again.
fn again(config: ModelConfig, changes: &Value) -> (Map<String, Value>, Map<String, Value>) {
    let text = disk::text(37);
    let folder = saved(&support::model(config, DType::F32), &text, changes);
    let (model, text) = load(folder.path(), &Device::Cpu, DType::F32).unwrap();
    let path = folder.path().join("again");
    save(&model, &text, &path).unwrap();
    let read = Checkpoint::open(&path).unwrap();
    assert_eq!(read.config, *model.config());
    (keys(folder.path()), keys(&path))
}

#[test]
fn all_keys_are_kept_in_their_order() {
    let absent = "(absent)";
    for changes in [
        json!({}),
        json!({ "pad_token_id": 5, "bos_token_id": 3, "my_key": { "a": [1, null] },
            "initializer_range": 0.02, "pretraining_tp": 2, "transformers_version": "4.31.0",
            "auto_map": { "AutoConfig": "x.y" } }),
        json!({ "rope_theta": absent, "rope_scaling": absent,
            "rope_parameters": { "rope_type": "linear", "factor": 2.0, "rope_theta": 500.0 } }),
        json!({ "rope_parameters": absent, "rope_theta": 500,
            "rope_scaling": { "type": "linear", "factor": 2 } }),
        json!({ "rope_parameters": absent, "rope_theta": absent,
            "rope_scaling": { "rope_type": "default", "rope_theta": 1e6 } }),
        json!({ "eos_token_id": 36 }),
        json!({ "eos_token_id": [36, 35], "pad_token_id": null }),
        json!({ "hidden_act": "swish", "partial_rotary_factor": 1.0, "head_dim": null }),
        json!({ "sliding_window": 4096, "max_window_layers": 28 }),
    ] {
        let (before, after) = again(config(Family::Llama), &changes);
        assert_eq!(Value::Object(before), Value::Object(after));
    }
}

#[test]
fn what_does_not_hold_any_more_is_changed_and_nothing_else() {
    let differing = |before: &Map<String, Value>, after: &Map<String, Value>| {
        let names = before.keys().chain(after.keys());
        let mut names: Vec<_> = names.filter(|&key| before.get(key) != after.get(key)).collect();
        names.sort();
        names.dedup();
        names.into_iter().cloned().collect::<Vec<_>>()
    };
    let (before, after) =
        again(config(Family::Llama), &json!({ "architectures": ["LlamaModel"], "x": 1 }));
    assert_eq!(differing(&before, &after), ["architectures"]);
    assert_eq!(after["architectures"], json!(["LlamaForCausalLM"]));

    let (before, after) =
        again(config(Family::Llama), &json!({ "dtype": "(absent)", "torch_dtype": "bfloat16" }));
    assert_eq!(differing(&before, &after), ["torch_dtype"]);
    assert_eq!(after["torch_dtype"], "float32");
    let both = json!({ "dtype": "bfloat16", "torch_dtype": "float16" });
    let (before, after) = again(config(Family::Llama), &both);
    assert_eq!(differing(&before, &after), ["dtype", "torch_dtype"]);

    // transformers reads no tables by layer type in this family.
    let table = json!({ "full_attention": { "rope_theta": 1e6, "rope_type": "default" } });
    let changes =
        json!({ "rope_theta": "(absent)", "rope_scaling": "(absent)", "rope_parameters": table });
    let (_, after) = again(config(Family::Qwen3), &changes);
    assert_eq!(after["rope_parameters"], json!({ "rope_type": "default", "rope_theta": 1e6 }));
}

#[test]
fn ids_of_another_text_are_not_kept() {
    let model = support::model(config(Family::Llama), DType::F32);
    let folder = saved(&model, &disk::text(37), &json!({ "eos_token_id": [36, 7] }));
    let (read, _) = load(folder.path(), &Device::Cpu, DType::F32).unwrap();
    let path = folder.path().join("again");
    save(&read, &disk::text(37), &path).unwrap();
    assert_eq!(keys(&path)["eos_token_id"], json!([35, 36]));
}

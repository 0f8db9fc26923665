//! Folders in Hugging Face layout: round trips, shards, types, and bad input.

use std::collections::HashMap;
use std::path::Path;

use candle::quantized::GgmlDType;
use candle::{DType, Device, Tensor};
use engine::{Checkpoint, Family, Model, ModelConfig, RopeScaling, Text, load, save};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::disk;
use crate::support;

pub(crate) fn config(family: Family) -> ModelConfig {
    ModelConfig { vocab_size: 37, ..support::config(family) }
}

/// A saved llama of 37 words.
fn saved() -> (TempDir, Model, Text) {
    let model = support::model(config(Family::Llama), DType::F32);
    let text = disk::text(37);
    let folder = tempfile::tempdir().unwrap();
    save(&model, &text, folder.path()).unwrap();
    (folder, model, text)
}

#[test]
fn bytes_of_a_folder_are_those_of_its_types() {
    let (_, model, text) = saved();
    let rank = |two: bool| {
        let ranks = model.parameters().iter().filter(|one| (one.tensor.rank() == 2) == two);
        ranks.map(|one| one.tensor.elem_count() as u64).sum::<u64>()
    };
    for (dtype, name, size) in [(DType::BF16, "bf16", 2), (DType::F16, "f16", 2)] {
        let model = support::model(config(Family::Llama), dtype);
        let folder = tempfile::tempdir().unwrap();
        save(&model, &text, folder.path()).unwrap();
        let found = Checkpoint::open(folder.path()).unwrap().bytes_by_type().unwrap();
        assert_eq!(found, [("f32", 4 * rank(false)), (name, size * rank(true))].into());
    }
    let (folder, ..) = saved();
    let found = Checkpoint::open(folder.path()).unwrap().bytes_by_type().unwrap();
    assert_eq!(found, [("f32", 4 * (rank(false) + rank(true)))].into());
}

pub(crate) fn open(folder: &Path) -> engine::Result<(Model, Text)> {
    load(folder, &Device::Cpu, DType::F32)
}

#[track_caller]
pub(crate) fn refused(folder: &Path, words: &[&str]) {
    let error = open(folder).map(drop).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} not in {error:?}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const FILES: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

#[test]
fn a_saved_folder_loads_back_equal() {
    for config in support::configs() {
        let scaled = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 16,
        };
        let config = ModelConfig { rope_scaling: scaled, ..config };
        let model = support::model(config.clone(), DType::F32);
        let text = disk::text(37);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/model");
        save(&model, &text, &path).unwrap();
        assert_eq!(names(&path), FILES);
        let (read, read_text) = open(&path).unwrap();
        assert_eq!(*read.config(), config);
        disk::assert_weights(&read, &model, 0.0);
        assert_eq!(read_text.to_files().unwrap(), text.to_files().unwrap());
        assert_eq!(read_text.stop_tokens(), text.stop_tokens());
        let again = folder.path().join("again");
        save(&read, &read_text, &again).unwrap();
        for name in FILES {
            let bytes = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
            assert!(bytes(&path) == bytes(&again), "{name} differs when saved again");
        }
    }
}

#[test]
fn saving_over_a_checkpoint_replaces_it() {
    let (folder, _, text) = saved();
    std::fs::write(folder.path().join("trainer.json"), "{}").unwrap();
    let other = Model::random(config(Family::Qwen3), 3, DType::F32, &Device::Cpu).unwrap();
    save(&other, &text, folder.path()).unwrap();
    let (read, _) = open(folder.path()).unwrap();
    disk::assert_weights(&read, &other, 0.0);
    assert!(folder.path().join("trainer.json").exists());
}

#[test]
fn a_save_that_fails_leaves_nothing() {
    let (folder, model, text) = saved();
    let path = folder.path().join("new");
    // A folder where a file has to go makes the last step fail.
    let blocked = folder.path().join("blocked");
    std::fs::create_dir_all(blocked.join("config.json/inner")).unwrap();
    let error = save(&model, &text, &blocked).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
    assert!(names(&blocked).iter().all(|name| !name.contains("partial")));
    let file = folder.path().join("config.json");
    assert!(save(&model, &text, &file.join("inside")).is_err());
    assert!(!path.exists());
}

/// A disk that is full, played by the device that always is.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_old_checkpoint() {
    let (folder, old, text) = saved();
    let other = Model::random(config(Family::Llama), 3, DType::F32, &Device::Cpu).unwrap();
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        let partial = folder.path().join(format!(".{name}.partial"));
        std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
        let error = save(&other, &text, folder.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("No space left"), "{error}");
        assert_eq!(names(folder.path()), FILES);
        disk::assert_weights(&open(folder.path()).unwrap().0, &old, 0.0);
    }
}

#[test]
fn types_are_converted_and_half_precision_is_kept() {
    let (folder, model, text) = saved();
    for (dtype, tolerance) in [(DType::BF16, 4e-3), (DType::F16, 5e-4), (DType::F64, 0.0)] {
        let (other, _) = load(folder.path(), &Device::Cpu, dtype).unwrap();
        assert_eq!(other.dtype(), dtype);
        let path = folder.path().join("other");
        save(&other, &text, &path).unwrap();
        let config: Value =
            serde_json::from_slice(&std::fs::read(path.join("config.json")).unwrap()).unwrap();
        assert!(config["dtype"].as_str().unwrap().contains("float"));
        let (back, _) = open(&path).unwrap();
        disk::assert_weights(&back, &model, tolerance);
        let (same, _) = load(&path, &Device::Cpu, dtype).unwrap();
        disk::assert_weights(&same, &other, 0.0);
    }
}

/// The folder's tensors in two files and an index.
fn shard(folder: &Path) {
    let single = folder.join("model.safetensors");
    let tensors = candle::safetensors::load(&single, &Device::Cpu).unwrap();
    let mut map = serde_json::Map::new();
    let mut files = [HashMap::new(), HashMap::new()];
    for (i, (name, tensor)) in tensors.into_iter().enumerate() {
        map.insert(name.clone(), json!(format!("part-{}.safetensors", i % 2)));
        files[i % 2].insert(name, tensor);
    }
    for (i, file) in files.iter().enumerate() {
        candle::safetensors::save(file, folder.join(format!("part-{i}.safetensors"))).unwrap();
    }
    std::fs::remove_file(single).unwrap();
    let index = json!({ "metadata": {}, "weight_map": map });
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
}

#[test]
fn many_files_by_an_index() {
    let (folder, model, _) = saved();
    shard(folder.path());
    disk::assert_weights(&open(folder.path()).unwrap().0, &model, 0.0);
    std::fs::remove_file(folder.path().join("part-1.safetensors")).unwrap();
    refused(folder.path(), &["part-1.safetensors", "No such file"]);
    let index = folder.path().join("model.safetensors.index.json");
    std::fs::write(&index, r#"{"weight_map": {"a": "../x.safetensors"}}"#).unwrap();
    refused(folder.path(), &["../x.safetensors", "expected a file name"]);
    std::fs::write(&index, "{}").unwrap();
    refused(folder.path(), &["index.json", "weight_map"]);
    std::fs::remove_file(&index).unwrap();
    refused(folder.path(), &["no model.safetensors and no model.safetensors.index.json"]);
}

#[test]
fn a_missing_file_is_named() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let (folder, ..) = saved();
        std::fs::remove_file(folder.path().join(name)).unwrap();
        refused(folder.path(), &[name]);
    }
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), &["no config.json", "Hugging Face"]);
    refused(&folder.path().join("nothing"), &["nothing", "No such file"]);
}

#[test]
fn truncated_safetensors_are_an_error_wherever_they_are_cut() {
    let (folder, ..) = saved();
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 1, 7, 8, 9, 100, 1000, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        refused(folder.path(), &["model.safetensors", "cut short"]);
    }
    std::fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    refused(folder.path(), &["its head says"]);
    std::fs::write(&path, b"garbage that is no tensor file").unwrap();
    refused(folder.path(), &["not a safetensors file"]);
    std::fs::write(&path, [&4u64.to_le_bytes()[..], b"nope"].concat()).unwrap();
    refused(folder.path(), &["not a safetensors file"]);
}

/// Saves the folder's tensors again after `change`.
pub(crate) fn change(folder: &Path, change: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let path = folder.join("model.safetensors");
    let mut tensors = candle::safetensors::load(&path, &Device::Cpu).unwrap();
    change(&mut tensors);
    candle::safetensors::save(&tensors, &path).unwrap();
}

#[test]
fn weights_that_do_not_fit_the_configuration_are_named() {
    const UP: &str = "model.layers.1.mlp.up_proj.weight";
    let with = |edit: &dyn Fn(&mut HashMap<String, Tensor>), words: &[&str]| {
        let (folder, ..) = saved();
        change(folder.path(), |tensors| edit(tensors));
        refused(folder.path(), words);
    };
    let zeros = |shape: (usize, usize), dtype| Tensor::zeros(shape, dtype, &Device::Cpu).unwrap();
    with(&|t| drop(t.remove(UP)), &[UP, "missing"]);
    let turned = |t: &mut HashMap<_, _>| drop(t.insert(UP.into(), zeros((16, 24), DType::F32)));
    with(&turned, &[UP, "[24, 16]", "[16, 24]"]);
    let whole = |t: &mut HashMap<_, _>| drop(t.insert(UP.into(), zeros((24, 16), DType::U32)));
    with(&whole, &[UP, "U32", "BF16"]);
    for value in [f32::NAN, f32::INFINITY] {
        let broken = |t: &mut HashMap<String, Tensor>| {
            let mut values: Vec<f32> = t[UP].flatten_all().unwrap().to_vec1().unwrap();
            values[77] = value;
            t.insert(UP.into(), Tensor::from_vec(values, (24, 16), &Device::Cpu).unwrap());
        };
        with(&broken, &[UP, "not finite"]);
    }
    let norm = "model.layers.0.self_attn.q_norm.weight";
    let more = |t: &mut HashMap<_, _>| drop(t.insert(norm.into(), zeros((1, 16), DType::F32)));
    with(&more, &[norm, "different models"]);
}

#[test]
fn a_configuration_that_is_wrong_says_in_which_file() {
    let (folder, ..) = saved();
    let path = folder.path().join("config.json");
    let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let with = |key: &str, value: Value, words: &[&str]| {
        let mut json = json.clone();
        json[key] = value;
        std::fs::write(&path, json.to_string()).unwrap();
        refused(folder.path(), &[&["config.json"], words].concat());
    };
    with("model_type", json!("mamba"), &["unknown architecture \"mamba\"", "qwen3"]);
    with("num_key_value_heads", json!(3), &["not a multiple"]);
    std::fs::write(&path, "{ not json").unwrap();
    refused(folder.path(), &["config.json", "not a JSON object"]);
}

#[test]
fn a_tokenizer_with_more_ids_than_rows_is_refused_and_one_with_less_gets_a_note() {
    let (folder, model, _) = saved();
    for size in [38, 200] {
        save(&model, &disk::text(size), folder.path()).unwrap();
        refused(folder.path(), &[&format!("ids up to {}", size - 1), "37 rows"]);
    }
    for size in [3, 20, 36] {
        save(&model, &disk::text(size), folder.path()).unwrap();
        let note = &Checkpoint::open(folder.path()).unwrap().notes[0];
        assert!(note.starts_with(&format!("{} of the embedding's 37 rows", 37 - size)), "{note}");
        let (model, text) = load(folder.path(), &Device::Cpu, DType::F32).unwrap();
        assert_eq!(model.config().vocab_size, 37);
        assert!(text.unused_ids(37).into_iter().eq(size as u32..37));
    }
}

#[test]
fn a_damaged_tokenizer_is_named() {
    let (folder, ..) = saved();
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    refused(folder.path(), &["tokenizer.json", "not a tokenizer"]);
}

#[test]
fn a_gguf_file_becomes_a_folder_that_loads_back_equal() {
    let vectors = disk::vectors();
    let vocabulary = &vectors["tokenizers"][2];
    let vocab = disk::strings(&vocabulary["tokens"]).len();
    let config = disk::wide_config(Family::Llama, vocab);
    let file = disk::GgufFile::of(&support::model(config, DType::F32), GgmlDType::Q8_0, vocabulary);
    let folder = tempfile::tempdir().unwrap();
    let (model, text) = open(&file.write(folder.path())).unwrap();
    let path = folder.path().join("folder");
    save(&model, &text, &path).unwrap();
    let (read, read_text) = open(&path).unwrap();
    disk::assert_weights(&read, &model, 0.0);
    assert_eq!(read_text.stop_tokens(), text.stop_tokens());
    assert_eq!(read_text.generation(), &{
        let mut generation = text.generation().clone();
        generation.insert("eos_token_id".into(), json!(2));
        generation
    });
    for source in disk::strings(&vectors["texts"]) {
        assert_eq!(read_text.encode(source).unwrap(), text.encode(source).unwrap());
        assert_eq!(
            read_text.render(Some("be terse"), source).unwrap(),
            text.render(Some("be terse"), source).unwrap()
        );
    }
}

#[test]
fn a_gguf_tensor_left_over_is_refused() {
    let vectors = disk::vectors();
    let vocabulary = &vectors["tokenizers"][0];
    let vocab = disk::strings(&vocabulary["tokens"]).len();
    let config = ModelConfig { vocab_size: vocab, ..support::config(Family::Llama) };
    let model = support::model(config, DType::F32);
    let mut file = disk::GgufFile::of(&model, GgmlDType::F32, vocabulary);
    let folder = tempfile::tempdir().unwrap();
    file.set("llama.block_count", candle::quantized::gguf_file::Value::U32(1));
    refused(&file.write(folder.path()), &["blk.1.", "different models"]);
}

#[test]
fn weights_are_read_when_they_are_asked_for() {
    let (folder, model, _) = saved();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let name = "model.norm.weight";
    let got = checkpoint.get(name, &[16], DType::F32, &Device::Cpu).unwrap();
    let want = model.parameters().iter().find(|p| p.name == name).unwrap();
    assert_eq!(support::values(&got), support::values(&want.tensor));
}

/// Damage is an error or goes unnoticed; it is never a panic and never a giant allocation.
#[test]
fn a_damaged_head_does_no_harm() {
    let (folder, ..) = saved();
    let path = folder.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() };
    proptest!(config, |(at in 0usize..1500, byte: u8, size: u64, wide: bool)| {
        let mut bytes = whole.clone();
        if wide {
            bytes[..8].copy_from_slice(&size.to_le_bytes());
        } else {
            bytes[at] = byte;
        }
        std::fs::write(&path, &bytes).unwrap();
        let _ = open(folder.path());
    });
}

/// A damaged number must not decide how much memory a list takes.
#[test]
fn more_layers_than_weights_are_refused_at_once() {
    let (folder, ..) = saved();
    let path = folder.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["num_hidden_layers"] = json!(200_000_000);
    std::fs::write(&path, config.to_string()).unwrap();
    refused(folder.path(), &["num_hidden_layers is 200000000", "weights are stored"]);
}

//! Paths that are no checkpoint: the error says what they are instead, and what to do.

use std::fs;
use std::path::Path;

use candle::DType;
use engine::{Family, save};
use tempfile::TempDir;

use crate::checkpoint::{config, refused};
use crate::{disk, support};

fn saved() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = support::model(config(Family::Llama), DType::F32);
    save(&model, &disk::text(37), folder.path()).unwrap();
    folder
}

/// A folder with these files, made of their names.
fn holding(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    folder
}

#[test]
fn a_file_of_a_checkpoint_points_to_its_folder() {
    let folder = saved();
    let name = folder.path().display().to_string();
    for file in ["model.safetensors", "config.json", "tokenizer.json"] {
        refused(&folder.path().join(file), &[file, &format!("folder, {name}")]);
        // By what it holds, not by what it is called.
        let other = folder.path().join("weights.gguf");
        fs::copy(folder.path().join(file), &other).unwrap();
        refused(&other, &["weights.gguf", "give"]);
    }
    let pickled = folder.path().join("pytorch_model.bin");
    fs::write(&pickled, b"PK\x03\x04 and so on").unwrap();
    refused(&pickled, &["pytorch_model.bin", "save_pretrained"]);
    fs::write(&pickled, b"neither of these").unwrap();
    refused(&pickled, &["not a GGUF file"]);
}

#[test]
fn a_folder_without_a_configuration_is_told_by_what_it_holds() {
    let one = holding(&["tiny-q8_0.gguf", "README.md"]);
    refused(one.path(), &["holds a GGUF file", "tiny-q8_0.gguf"]);
    let two = holding(&["a.gguf", "b.GGUF"]);
    refused(two.path(), &["give one of /", "/a.gguf, /", "/b.GGUF"]);
    let meta = holding(&["params.json", "consolidated.00.pth", "tokenizer.model"]);
    refused(meta.path(), &["Meta's layout"]);
    let adapter = holding(&["adapter_model.safetensors"]);
    let json = r#"{"base_model_name_or_path": "org/base", "r": 8}"#;
    fs::write(adapter.path().join("adapter_config.json"), json).unwrap();
    refused(adapter.path(), &["adapter", "org/base", "--adapter"]);
    fs::write(adapter.path().join("adapter_config.json"), "{").unwrap();
    refused(adapter.path(), &["adapter", "its base as the model"]);
    let cache = holding(&["refs/main", "snapshots/0a1b/config.json"]);
    refused(cache.path(), &["give the folder inside it", "0a1b"]);
    let outer = holding(&["checkpoint-10/config.json"]);
    refused(outer.path(), &["checkpoint-10"]);
    refused(holding(&["notes.txt"]).path(), &["no config.json", "Hugging Face"]);
}

#[test]
fn a_folder_without_weights_that_are_read_is_told_by_what_it_holds() {
    let without = |names: &[&str]| {
        let folder = saved();
        fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        for name in names {
            fs::write(folder.path().join(name), name).unwrap();
        }
        folder
    };
    let bin = ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"];
    refused(without(&bin).path(), &["pytorch_model-00001-of-00002.bin", "save_pretrained"]);
    refused(without(&["consolidated.pth"]).path(), &["consolidated.pth", "save_pretrained"]);
    refused(without(&["tiny.gguf"]).path(), &["give the file, /", "/tiny.gguf"]);
    let adapter = ["adapter_config.json", "adapter_model.safetensors"];
    refused(without(&adapter).path(), &["is an adapter"]);
    refused(without(&["weights.safetensors"]).path(), &["weights.safetensors", "rename"]);
    refused(without(&[]).path(), &["has no model.safetensors"]);
}

#[test]
fn an_adapter_beside_whole_weights_is_told_in_a_note() {
    let folder = saved();
    fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
    let notes = engine::Checkpoint::open(folder.path()).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("not applied")), "{notes:?}");
}

#[test]
fn a_folder_in_place_of_a_file_is_named() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = saved();
        fs::remove_file(folder.path().join(name)).unwrap();
        fs::create_dir(folder.path().join(name)).unwrap();
        refused(folder.path(), &[name]);
    }
    refused(Path::new("/nowhere/at/all"), &["/nowhere/at/all", "No such file"]);
}

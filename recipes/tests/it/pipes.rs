//! A pipe or a device in the place of a file of a model, an adapter or a run is refused: reading it
//! would wait, or never end.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::adapters::recipe;
use crate::eval_kinds::ending;
use crate::going_back::begin;
use crate::references::naming;

const SAID: &str = "expected a file, got a pipe or a device";

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata/lora/llama").join(name)
}

/// Expects that a command ends by itself and refuses the file `name`.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], name: &str) {
    let output = ending(folder, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.contains(&format!("{name}: {SAID}")), "{arguments:?}: {said}");
}

#[test]
fn models_and_adapters_are_regular_files() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let base = golden("base").display().to_string();
    pipe(&at("a.gguf"));
    refused(temp.path(), &["sample", "--model", "a.gguf", "a"], "a.gguf");
    refused(temp.path(), &["sample", "--model", &base, "--adapter", "a.gguf", "a"], "a.gguf");
    refused(temp.path(), &["export", "a.gguf", "--format", "hf", "-o", "x"], "a.gguf");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        let folder = at(&format!("model-{name}"));
        copy(&golden("base"), &folder);
        pipe(&folder.join(name));
        let model = folder.display().to_string();
        refused(temp.path(), &["sample", "--model", &model, "a"], name);
    }
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let folder = at(&format!("adapter-{name}"));
        copy(&golden("adapter"), &folder);
        pipe(&folder.join(name));
        let adapter = folder.display().to_string();
        refused(temp.path(), &["sample", "--model", &base, "--adapter", &adapter, "a"], name);
    }
    // A folder of an adapter in the place of a model.
    let adapter = at("adapter-adapter_config.json").display().to_string();
    let output = ending(temp.path(), &["sample", "--model", &adapter, "a"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_a_run_goes_on_with_are_regular_files() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("small.toml"), recipe()).unwrap();
    let root = temp.path().join("runs/small");
    begin(&root, &recipe(), 3);
    let own = temp.path().join("own");
    fs::rename(root.join("checkpoints/step-000003"), &own).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors"] {
        let folder = root.join("checkpoints/step-000003");
        let _ = fs::remove_dir_all(&folder);
        copy(&own, &folder);
        pipe(&folder.join(name));
        let output = ending(temp.path(), &["train", "small.toml", "--resume"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains("step-000003"), "{name}: {said}");
    }
}

/// Reading a pipe waits, and so does opening it to write.
#[test]
fn what_a_run_reads_and_writes_of_its_record_are_regular_files() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("small.toml"), recipe()).unwrap();
    let root = temp.path().join("runs/small");
    begin(&root, &recipe(), 3);
    let resume = ["train", "small.toml", "--resume"];
    let metrics = fs::read(root.join("metrics.jsonl")).unwrap();
    for name in [
        "metrics.jsonl",
        "timings.jsonl",
        "health.jsonl",
        "log.txt",
        "samples/index.jsonl",
        "changes.jsonl",
        "run.json",
    ] {
        let (path, aside) = (root.join(name), temp.path().join("aside"));
        let was_there = fs::rename(&path, &aside).is_ok();
        pipe(&path);
        refused(temp.path(), &resume, name);
        // A link may lead out of the run, and a folder is no file either.
        fs::remove_file(&path).unwrap();
        if name != "run.json" {
            std::os::unix::fs::symlink(&aside, &path).unwrap();
            let output = ending(temp.path(), &resume);
            let said = String::from_utf8_lossy(&output.stderr);
            let expected = format!("{name}: expected a file, got a link");
            assert!(said.contains(&expected) && output.status.code() == Some(2), "{name}: {said}");
            fs::remove_file(&path).unwrap();
        }
        fs::create_dir(&path).unwrap();
        let output = ending(temp.path(), &resume);
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = format!("{name}: expected a file, got a folder");
        assert!(said.contains(&expected) && output.status.code() == Some(2), "{name}: {said}");
        fs::remove_dir(&path).unwrap();
        if was_there {
            fs::rename(&aside, &path).unwrap();
        }
    }
    assert_eq!(fs::read(root.join("metrics.jsonl")).unwrap(), metrics, "nothing was cut");
    // Files that are written whole take the place of a pipe.
    pipe(&root.join("status.json"));
    pipe(&root.join("status.json.partial"));
    pipe(&root.join("recipe-0001.toml"));
    let output = ending(temp.path(), &resume);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_files_of_a_named_adapter_are_regular_files() {
    let temp = tempfile::tempdir().unwrap();
    let earlier = temp.path().join("earlier");
    let own = temp.path().join("own");
    begin(&own, &recipe(), 1);
    copy(&own.join("checkpoints/step-000001"), &earlier);
    let text = naming(&earlier);
    fs::write(temp.path().join("small.toml"), &text).unwrap();
    begin(&temp.path().join("runs/small"), &text, 3);
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let (path, aside) = (earlier.join(name), temp.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        pipe(&path);
        refused(temp.path(), &["train", "small.toml", "--resume"], name);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(name, &path).unwrap();
        let output = ending(temp.path(), &["train", "small.toml", "--resume"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(name) && !said.contains("no longer there"), "{said}");
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
}

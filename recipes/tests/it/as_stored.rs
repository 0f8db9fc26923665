//! Commands that train nothing hold a model in the format of its file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use candle::{DType, Device};
use recipes::builtin::Builtin;
use recipes::config::{BaseChoice, DTypeChoice, DeviceChoice};
use recipes::policy::{Compute, ModelRef};

use crate::binary::{stderr, stdout, stearin};

/// The atom as a folder in bf16.
fn folder(temp: &Path) {
    let (model, text) = Builtin::find("atom").unwrap().make(1, DType::BF16, &Device::Cpu).unwrap();
    engine::save(&model, &text, &temp.join("atom")).unwrap();
}

#[track_caller]
fn printed(temp: &Path, arguments: &[&str]) -> String {
    let output = stearin(temp, arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn what_is_sampled_does_not_depend_on_how_a_model_is_held() {
    let temp = tempfile::tempdir().unwrap();
    folder(temp.path());
    for dtype in ["f32", "bf16"] {
        let fixed = ["--model", "atom", "-n", "4", "--max-new-tokens", "12", "--dtype", dtype];
        let sampled = |more: &[&str]| {
            printed(temp.path(), &[&["sample"], &fixed[..], more, &["1+1="]].concat())
        };
        let (stored, full) = (sampled(&[]), sampled(&["--base", "f32"]));
        assert_eq!(stored, full, "{dtype}");
        assert_eq!(stored, sampled(&["--base", "as-stored"]));
        assert!(stored.len() > 20, "{stored}");
    }
}

#[test]
fn completions_of_blocks_and_an_adapter_are_those_of_the_decoded_weights() {
    let temp = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata/lora");
    for (family, dtype) in
        ["llama", "qwen2"].iter().flat_map(|family| [(family, "f32"), (family, "bf16")])
    {
        let at = |name: &str| golden.join(family).join(name).display().to_string();
        let (model, adapter) = (at("base-blocks.gguf"), at("adapter"));
        let sampled = |more: &[&str]| {
            let fixed = ["sample", "--model", &model, "--plain", "--dtype", dtype];
            let rest = ["-n", "8", "--max-new-tokens", "24", "--temperature", "1.3", "abc"];
            printed(temp.path(), &[&fixed[..], more, &rest].concat())
        };
        for with in [&[][..], &["--adapter", &adapter]] {
            let full = sampled(&[with, &["--base", "f32"]].concat());
            assert_eq!(sampled(with), full, "{family}, {dtype}, {with:?}");
            assert!(full.len() > 80, "{full}");
        }
        assert_ne!(sampled(&[]), sampled(&["--adapter", &adapter]), "the adapter does something");
    }
}

#[test]
fn what_is_evaluated_does_not_depend_on_it_either() {
    let temp = tempfile::tempdir().unwrap();
    folder(temp.path());
    let evaluated = |out: &str, more: &[&str]| {
        let fixed = ["eval", "--model", "atom", "--bench", "arithmetic:count=8"];
        let rest = ["--samples", "2", "--max-new-tokens", "6", "--out", out, "--json"];
        printed(temp.path(), &[&fixed[..], &rest, more].concat());
        let mut files: Vec<_> = walkdir(&temp.path().join(out).join("evals"));
        files.sort();
        files
    };
    let stored = evaluated("stored", &[]);
    assert_eq!(stored, evaluated("full", &["--base", "f32"]));
    assert!(!stored.is_empty());
}

/// The lines of completions below a folder.
fn walkdir(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walkdir(&path));
        } else if path.extension().is_some_and(|ext| ext == "jsonl") {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
    found
}

#[test]
fn matrices_stay_as_they_are_stored_and_are_not_trained() {
    let temp = tempfile::tempdir().unwrap();
    folder(temp.path());
    let open = |base| {
        let compute = Compute::new(DeviceChoice::Cpu, DTypeChoice::F32).unwrap().holding(base);
        ModelRef::Path(temp.path().join("atom")).open("atom", 1, &compute).unwrap().0
    };
    assert!(open(BaseChoice::AsStored).is_stored());
    assert!(!open(BaseChoice::F32).is_stored());
    let bench = ["bench", "train", "--model", "atom", "--base", "as-stored", "--reps", "1"];
    let output = stearin(temp.path(), &bench);
    let said = stderr(&output);
    assert!(said.contains("nothing to train") && said.contains("--adapter"), "{said}");
}

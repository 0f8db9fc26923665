//! GGUF adapters: llama.cpp's own and ours.

use std::fs;

use candle::quantized::gguf_file::{self, Content, Value};
use candle::quantized::{GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use engine::{Adapter, ModelConfig, load};
use proptest::prelude::{any, prop, proptest};
use tempfile::TempDir;

use super::golden::{MODELS, folder};
use crate::support::values;

fn config(name: &str) -> ModelConfig {
    load(&folder(name).join("base"), &Device::Cpu, DType::F32).unwrap().0.config().clone()
}

fn open(name: &str, file: &str) -> Adapter {
    let path = folder(name).join(file);
    Adapter::open(&path, &config(name), DType::F32, &Device::Cpu).unwrap()
}

fn content(path: &std::path::Path) -> (Content, fs::File) {
    let mut file = fs::File::open(path).unwrap();
    (Content::read(&mut file).unwrap(), file)
}

#[test]
fn a_file_of_llama_cpp_holds_the_adapter_of_peft() {
    for name in MODELS {
        let (theirs, peft) = (open(name, "adapter.gguf"), open(name, "adapter"));
        let scales = [&theirs, &peft].map(|adapter| adapter.config().scale());
        // The file has alpha in f32.
        assert!((scales[0] - scales[1]).abs() < 1e-7, "{name}: {scales:?}");
        assert_eq!(theirs.config().targets, peft.config().targets);
        for ((name, got), (other, want)) in theirs.parameters().iter().zip(peft.parameters()) {
            assert_eq!(*name, other);
            assert_eq!(values(got), values(want), "{name}");
        }
    }
}

#[test]
fn our_file_is_that_of_llama_cpps_converter() {
    for name in MODELS {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("ours.gguf");
        open(name, "adapter").save_gguf(&path, &config(name), "Adapter").unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
        let (ours, mut our_file) = content(&path);
        let (theirs, mut their_file) = content(&folder(name).join("adapter.gguf"));
        assert_eq!(ours.tensor_infos.len(), theirs.tensor_infos.len());
        let mut names: Vec<&String> = theirs.tensor_infos.keys().collect();
        names.sort();
        for name in names {
            let ours = ours.tensor(&mut our_file, name, &Device::Cpu).unwrap();
            let theirs = theirs.tensor(&mut their_file, name, &Device::Cpu).unwrap();
            let plain = |x: &QTensor| x.dequantize(&Device::Cpu).unwrap();
            assert_eq!(plain(&ours).dims(), plain(&theirs).dims(), "{name}");
            assert_eq!(values(&plain(&ours)), values(&plain(&theirs)), "{name}");
        }
        let shown = |value: &Value| format!("{value:?}");
        for key in [
            "general.architecture",
            "general.type",
            "adapter.type",
            "adapter.lora.alpha",
            "general.quantization_version",
        ] {
            let (our, their) = (ours.metadata.get(key).map(shown), theirs.metadata.get(key));
            // The file of qwen2 lacks one.
            assert!(our.is_some() && their.is_none_or(|their| our == Some(shown(their))), "{key}");
        }
        // And it is read again.
        let again = Adapter::open(&path, &config(name), DType::F32, &Device::Cpu).unwrap();
        for ((_, got), (_, want)) in
            again.parameters().iter().zip(open(name, "adapter").parameters())
        {
            assert_eq!(values(got), values(want));
        }
    }
}

/// Negative control: the rows of `B` of queries are in another order in the file of a llama.
#[test]
fn rows_of_queries_and_keys_of_a_llama_are_permuted_in_the_file() {
    for (name, permuted) in [("llama", true), ("qwen2", false)] {
        let (content, mut file) = content(&folder(name).join("adapter.gguf"));
        let stored = content.tensor(&mut file, "blk.1.attn_q.weight.lora_b", &Device::Cpu).unwrap();
        let stored = values(&stored.dequantize(&Device::Cpu).unwrap());
        let adapter = open(name, "adapter");
        let own = adapter
            .parameters()
            .into_iter()
            .find(|(name, _)| *name == "model.layers.1.self_attn.q_proj.lora_B.weight");
        assert_eq!(stored != values(own.unwrap().1), permuted, "{name}");
    }
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let refused = |path: &std::path::Path, model: &str, words: &str| {
        let error = Adapter::open(path, &config(model), DType::F32, &Device::Cpu);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    refused(&folder("llama").join("base-blocks.gguf"), "llama", "general.type is \"model\"");
    refused(&folder("llama").join("adapter.gguf"), "qwen2", "general.architecture is \"llama\"");
    refused(&folder("llama").join("base/config.json"), "llama", "is a JSON file");
}

/// An adapter of llama.cpp with further metadata.
fn with_keys(name: &str, keys: &[(&str, Value)]) -> engine::Result<Adapter> {
    let (content, mut file) = content(&folder(name).join("adapter.gguf"));
    let own = content.metadata.iter().map(|(key, value)| (key.as_str(), value));
    let own = own.filter(|(key, _)| keys.iter().all(|(other, _)| key != other));
    let metadata: Vec<_> = own.chain(keys.iter().map(|(key, value)| (*key, value))).collect();
    let tensors: Vec<_> = content
        .tensor_infos
        .keys()
        .map(|name| (name.as_str(), content.tensor(&mut file, name, &Device::Cpu).unwrap()))
        .collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("x.gguf");
    gguf_file::write(&mut fs::File::create(&path).unwrap(), &metadata, &tensors).unwrap();
    Adapter::open(&path, &config(name), DType::F32, &Device::Cpu)
}

#[test]
fn a_key_that_changes_what_an_adapter_computes_is_refused() {
    let text = |text: &str| Value::String(text.to_owned());
    let tokens = Value::Array(vec![Value::U32(7), Value::U32(2)]);
    for (key, value, words) in [
        ("adapter.alora.invocation_tokens", tokens.clone(), "activated LoRA"),
        ("adapter.alora.invocation_tokens", text("a"), "activated LoRA"),
        (
            "adapter.lora.rank_pattern",
            text("a"),
            "adapter.lora.rank_pattern is \"a\", which is not",
        ),
        ("adapter.dora", Value::Bool(true), "may change what the adapter computes"),
        ("adapter.type", text("alora"), "expected \"lora\""),
        ("adapter.lora.alpha", text("16"), "expected a number"),
    ] {
        let error = with_keys("llama", &[(key, value)]).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(words), "{error}");
    }
    // What an adapter is for, and keys that say nothing of it.
    with_keys(
        "llama",
        &[
            ("adapter.lora.task_name", text("sums")),
            ("adapter.lora.prompt_prefix", text("Add: ")),
            ("general.url", text("https://example.org")),
            ("tokens", tokens),
        ],
    )
    .unwrap();
}

/// One half by both of its names: which of the two counted would depend on their order.
#[test]
fn a_tensor_by_two_names_is_refused() {
    let (content, mut file) = content(&folder("qwen2").join("adapter.gguf"));
    let metadata: Vec<_> =
        content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let mut names: Vec<&String> = content.tensor_infos.keys().collect();
    names.sort();
    let read = |name: &&String| {
        let tensor = content.tensor(&mut file, name, &Device::Cpu).unwrap();
        ((*name).clone(), tensor)
    };
    let mut tensors: Vec<_> = names.iter().map(read).collect();
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("x.gguf");
    let mut opened = |more: Option<(String, QTensor)>| {
        tensors.extend(more);
        let tensors: Vec<_> = tensors.iter().map(|(name, one)| (name.as_str(), one)).collect();
        gguf_file::write(&mut fs::File::create(&path).unwrap(), &metadata, &tensors).unwrap();
        Adapter::open(&path, &config("qwen2"), DType::F32, &Device::Cpu)
    };
    opened(None).unwrap();
    let other = "model.layers.1.self_attn.q_proj.lora_B.weight";
    let values = Tensor::ones((32, 8), DType::F32, &Device::Cpu).unwrap();
    let tensor = QTensor::quantize(&values, GgmlDType::F32).unwrap();
    let error = opened(Some((other.to_owned(), tensor))).unwrap_err().to_string();
    assert!(error.contains("x.gguf: has a tensor twice"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("x.gguf");
        let mut bytes = fs::read(folder("qwen2").join("adapter.gguf")).unwrap();
        for (at, value) in flips {
            let at = at.index(1500);
            bytes[at] = value;
        }
        bytes.truncate(cut.index(2 * bytes.len()));
        fs::write(&path, bytes).unwrap();
        let _ = Adapter::open(&path, &config("qwen2"), DType::F32, &Device::Cpu);
    }
}

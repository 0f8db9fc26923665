//! GGUF files: pre-tokenizers against Python, configuration, layout, every quantisation, bad input.

use std::path::Path;

use candle::quantized::gguf_file::Value;
use candle::quantized::{GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use engine::gguf::Gguf;
use engine::{Checkpoint, Family, Model, ModelConfig, RopeScaling, Text};
use proptest::prelude::*;

use crate::disk::{self, GgufFile};
use crate::support;

fn vocabulary(pre: &str) -> serde_json::Value {
    let vectors = disk::vectors();
    let list = vectors["tokenizers"].as_array().unwrap();
    list.iter().find(|entry| entry["pre"] == pre).unwrap().clone()
}

fn tiny(pre: &str) -> GgufFile {
    let vocab = disk::strings(&vocabulary(pre)["tokens"]).len();
    let config = ModelConfig { vocab_size: vocab, ..support::config(Family::Llama) };
    GgufFile::of(&support::model(config, DType::F32), GgmlDType::F32, &vocabulary(pre))
}

fn open(file: &GgufFile) -> engine::Result<Gguf> {
    let folder = tempfile::tempdir().unwrap();
    Gguf::open(&file.write(folder.path()))
}

fn text_of(file: &GgufFile) -> engine::Result<Text> {
    open(file)?.text()
}

fn model_of(path: &Path) -> engine::Result<Model> {
    let gguf = Gguf::open(path)?;
    let config = gguf.config()?;
    let device = Device::Cpu;
    let mut get = |name: &str, shape: &[usize]| gguf.get(name, shape, &config, DType::F32, &device);
    Model::new(config.clone(), &mut get, DType::F32, &device)
}

#[test]
fn ids_equal_those_of_python_tokenizers() {
    let vectors = disk::vectors();
    let texts = disk::strings(&vectors["texts"]);
    let mut wrong = Vec::new();
    for entry in vectors["tokenizers"].as_array().unwrap() {
        let pre = entry["pre"].as_str().unwrap();
        let text = text_of(&tiny(pre)).unwrap();
        for (source, want) in texts.iter().zip(entry["ids"].as_array().unwrap()) {
            let got = text.encode(source).unwrap();
            if serde_json::json!(got) != *want {
                wrong.push(format!("{pre} {source:?}:\n  got  {got:?}\n  want {want}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn decoding_gives_the_text_back_less_special_tokens() {
    let text = text_of(&tiny("smollm")).unwrap();
    for source in [" Hello  world\n\t x1", "Größe 你好 🙂", "<tool> yes </tool>"] {
        assert_eq!(text.decode(&text.encode(source).unwrap()).unwrap(), source);
    }
    let ids = text.encode("a<|im_end|>b").unwrap();
    assert_eq!(text.decode(&ids).unwrap(), "ab");
}

#[test]
fn the_metadata_name_template_and_end_of_turn() {
    let mut file = tiny("smollm");
    let text = text_of(&file).unwrap();
    assert_eq!(text.stop_tokens(), [2]);
    let rendered = text.render(None, "hi").unwrap();
    assert_eq!(rendered, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    // A base model's end of text, and the end of turn that all models with this tokenizer have.
    file.set("tokenizer.ggml.eos_token_id", Value::U32(0));
    file.set("tokenizer.ggml.eot_token_id", Value::U32(1));
    assert_eq!(text_of(&file).unwrap().stop_tokens(), [0, 1, 2]);
    assert_eq!(text_of(&tiny("qwen2")).unwrap().stop_tokens(), [2, 0]);
}

#[test]
fn an_unknown_tokenizer_is_an_error_that_names_it() {
    let refused = |key: &str, value: Value, words: &[&str]| {
        let mut file = tiny("smollm");
        file.set(key, value);
        let error = text_of(&file).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    };
    let text = |s: &str| Value::String(s.into());
    refused("tokenizer.ggml.pre", text("mine"), &["\"mine\"", "not known", "tokenizer.json"]);
    refused("tokenizer.ggml.pre", Value::U32(1), &["not given"]);
    refused("tokenizer.ggml.model", text("llama"), &["\"llama\"", "tokenizer.json"]);
    refused("tokenizer.ggml.eos_token_id", Value::U32(999), &["eos_token_id is 999"]);
    refused("tokenizer.ggml.merges", Value::Array(vec![text("a")]), &["not a pair"]);
    refused("tokenizer.ggml.merges", Value::Array(vec![text("a zq")]), &["zq"]);
    refused("tokenizer.ggml.token_type", Value::Array(vec![]), &["token_type"]);
    let twice = Value::Array(vec![text("a"), text("a")]);
    refused("tokenizer.ggml.tokens", twice, &["token_type has"]);
}

#[test]
fn configuration_and_weights_of_every_family_come_back() {
    for family in support::FAMILIES {
        let vocab = disk::strings(&vocabulary("qwen2")["tokens"]).len();
        let config = ModelConfig { vocab_size: vocab, ..support::config(family) };
        let model = support::model(config.clone(), DType::F32);
        let folder = tempfile::tempdir().unwrap();
        let file = GgufFile::of(&model, GgmlDType::F32, &vocabulary("qwen2"));
        let read = model_of(&file.write(folder.path())).unwrap();
        assert_eq!(*read.config(), config);
        disk::assert_weights(&read, &model, 0.0);
    }
}

#[test]
fn every_type_that_candle_dequantises_is_read() {
    use GgmlDType::{BF16, F16, F32, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    let vocab = disk::strings(&vocabulary("smollm")["tokens"]).len();
    let config = disk::wide_config(Family::Llama, vocab);
    let model = support::model(config, DType::F32);
    let folder = tempfile::tempdir().unwrap();
    // Weights lie within 0.3; the bound is half a step of the coarsest block.
    let kinds = [
        (F32, 0.0),
        (F16, 2e-4),
        (BF16, 2e-3),
        (Q8_0, 3e-3),
        (Q6K, 0.02),
        (Q5_0, 0.03),
        (Q5_1, 0.02),
        (Q5K, 0.02),
        (Q4_0, 0.05),
        (Q4_1, 0.03),
        (Q4K, 0.03),
        (Q3K, 0.12),
        (Q2K, 0.2),
    ];
    for (kind, tolerance) in kinds {
        let file = GgufFile::of(&model, kind, &vocabulary("smollm"));
        let read = model_of(&file.write(folder.path())).unwrap();
        disk::assert_weights(&read, &model, tolerance);
    }
}

#[test]
fn bytes_are_those_of_the_types_without_reading_a_weight() {
    use GgmlDType::{BF16, F16, F32, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
    let vocab = disk::strings(&vocabulary("smollm")["tokens"]).len();
    let model = support::model(disk::wide_config(Family::Llama, vocab), DType::F32);
    let (mut matrices, mut vectors) = (0, 0);
    for parameter in model.parameters() {
        let count = parameter.tensor.elem_count() as u64;
        *(if parameter.tensor.rank() == 2 { &mut matrices } else { &mut vectors }) += count;
    }
    // Bytes of 256 numbers, by the structs of ggml.
    for (kind, name, size) in [
        (F16, "f16", 512),
        (BF16, "bf16", 512),
        (Q8_0, "q8_0", 8 * 34),
        (Q6K, "q6_k", 210),
        (Q5_0, "q5_0", 8 * 22),
        (Q5_1, "q5_1", 8 * 24),
        (Q5K, "q5_k", 176),
        (Q4_0, "q4_0", 8 * 18),
        (Q4_1, "q4_1", 8 * 20),
        (Q4K, "q4_k", 144),
        (Q3K, "q3_k", 110),
        (Q2K, "q2_k", 84),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = GgufFile::of(&model, kind, &vocabulary("smollm"));
        let found = Checkpoint::open(&file.write(folder.path())).unwrap().bytes_by_type().unwrap();
        let expected = [("f32", 4 * vectors), (name, matrices / 256 * size)];
        assert_eq!(found, expected.into(), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = GgufFile::of(&model, F32, &vocabulary("smollm"));
    let found = Checkpoint::open(&file.write(folder.path())).unwrap().bytes_by_type().unwrap();
    assert_eq!(found, [("f32", 4 * (vectors + matrices))].into());
}

#[test]
fn llama_3_scaling_is_found_from_the_frequencies() {
    let scaling = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    };
    let divisors = |head_dim: usize, theta: f64| -> Vec<f32> {
        (0..head_dim / 2)
            .map(|i| {
                let wavelength =
                    std::f64::consts::TAU * theta.powf(2.0 * i as f64 / head_dim as f64);
                let smooth = ((8192.0 / wavelength - 1.0) / 3.0).clamp(0.0, 1.0);
                (1.0 / ((1.0 - smooth) / 32.0 + smooth)) as f32
            })
            .collect()
    };
    let read = |numbers: Vec<f32>| {
        let mut file = tiny("llama-bpe");
        file.set("llama.attention.key_length", Value::U32(64));
        file.set("llama.rope.freq_base", Value::F32(500_000.0));
        let tensor = Tensor::new(numbers, &Device::Cpu).unwrap();
        let frequencies = QTensor::quantize(&tensor, GgmlDType::F32).unwrap();
        file.tensors.push(("rope_freqs.weight".into(), frequencies));
        let folder = tempfile::tempdir().unwrap();
        let path = file.write(folder.path());
        Gguf::open(&path).and_then(|gguf| gguf.config())
    };
    let config = read(divisors(64, 500_000.0)).unwrap();
    assert_eq!((config.rope_scaling, config.rope_theta), (scaling, 500_000.0));
    assert_eq!(read(vec![1.0; 32]).unwrap().rope_scaling, RopeScaling::None);
    let linear = read(vec![4.0; 32]).unwrap().rope_scaling;
    assert_eq!(linear, RopeScaling::Linear { factor: 4.0 });
    let error = read((1..=32).map(|i| i as f32).collect()).unwrap_err().to_string();
    assert!(error.contains("rope_freqs.weight"), "{error}");
    assert!(read(vec![1.0; 16]).is_err());
}

fn config_with(settings: &[(&str, Value)]) -> engine::Result<ModelConfig> {
    let mut file = tiny("smollm");
    for (key, value) in settings {
        file.set(&format!("llama.{key}"), value.clone());
    }
    open(&file).and_then(|gguf| gguf.config())
}

#[test]
fn a_factor_is_read_with_and_without_a_type_and_under_its_older_name() {
    const FACTOR: &str = "rope.scaling.factor";
    const OLD: &str = "rope.scale_linear";
    let kind = |kind: &str| ("rope.scaling.type", Value::String(kind.into()));
    let linear = RopeScaling::Linear { factor: 4.0 };
    let number = |key: &'static str, factor: f32| (key, Value::F32(factor));
    for (settings, expected) in [
        (vec![], RopeScaling::None),
        (vec![number(FACTOR, 4.0)], linear),
        (vec![(FACTOR, Value::U32(4))], linear),
        (vec![number(OLD, 4.0)], linear),
        (vec![number(FACTOR, 4.0), number(OLD, 8.0)], linear),
        (vec![kind("linear"), number(FACTOR, 4.0)], linear),
        (vec![kind("linear"), number(OLD, 4.0)], linear),
        (vec![kind("linear")], RopeScaling::None),
        (vec![number(FACTOR, 0.0)], RopeScaling::None),
        (vec![kind("none"), number(FACTOR, 4.0)], RopeScaling::None),
    ] {
        assert_eq!(config_with(&settings).unwrap().rope_scaling, expected, "{settings:?}");
    }
    for (settings, word) in [
        (vec![kind("yarn"), number(FACTOR, 4.0)], "yarn"),
        (vec![kind("longrope")], "longrope"),
        (vec![(FACTOR, Value::String("4".into()))], "rope.scaling.factor"),
        (vec![number(FACTOR, -1.0)], "rope factor is -1"),
        (vec![("rope.scaling.type", Value::U32(1))], "rope.scaling.type is 1, expected a string"),
        (vec![("rope.mystery", Value::F32(0.5))], "rope.mystery is 0.5, which"),
        (vec![("rope.mystery", Value::Bool(true))], "rope.mystery is true, which"),
        (vec![("rope.mystery", Value::String("a".into()))], "rope.mystery is \"a\", which"),
        (vec![("rope.freq_base", Value::String("1e6".into()))], "rope.freq_base"),
        (vec![("attention.key_length", Value::F32(4.0))], "attention.key_length"),
    ] {
        let error = config_with(&settings).unwrap_err().to_string();
        assert!(error.contains(word), "{word} not in {error}");
    }
}

#[test]
fn a_key_that_changes_the_function_loads_at_rest_and_is_refused_by_name_elsewhere() {
    let plain = config_with(&[]).unwrap();
    let f = Value::F32;
    for (key, at_rest, other) in [
        ("rope.scaling.attn_factor", f(1.0), f(0.8)),
        ("rope.scaling.alpha", f(0.0), f(1000.0)),
        ("rope.scaling.yarn_ext_factor", f(-1.0), f(1.0)),
        ("rope.scaling.yarn_attn_factor", f(1.0), f(1.1)),
        ("rope.scaling.yarn_log_multiplier", f(0.0), f(0.1)),
        ("rope.dimension_count", Value::U32(4), Value::U32(2)),
        ("attention.scale", f(0.5), f(1.0)),
        ("attention.scale", f(0.0), f(0.25)),
        ("attention.value_length", Value::U32(4), Value::U32(8)),
        ("attention.clamp_kqv", f(0.0), f(8.0)),
        ("attention.max_alibi_bias", f(0.0), f(8.0)),
        ("attention.causal", Value::Bool(true), Value::Bool(false)),
        ("attention.sliding_window", Value::U32(64), Value::U32(63)),
        ("attention.sliding_window", Value::U32(0), Value::U32(1)),
        ("logit_scale", f(1.0), f(0.0625)),
        ("residual_scale", f(1.0), f(0.22)),
        ("embedding_scale", f(0.0), f(12.0)),
        ("attn_logit_softcapping", f(0.0), f(50.0)),
        ("final_logit_softcapping", f(0.0), f(30.0)),
        ("use_parallel_residual", Value::Bool(false), Value::Bool(true)),
        ("expert_count", Value::U32(0), Value::U32(8)),
    ] {
        let rest = config_with(&[(key, at_rest)]).map_err(|error| error.to_string());
        assert_eq!(rest.as_ref(), Ok(&plain), "{key}");
        let error = config_with(&[(key, other)]).unwrap_err().to_string();
        let named = error.contains(key) || error.contains("sliding") || error.contains("mixture");
        assert!(named, "{key} not in {error}");
    }
    for key in ["rope.scaling.original_context_length", "rope.scaling.yarn_beta_fast"] {
        assert_eq!(config_with(&[(key, Value::U32(32))]).unwrap(), plain, "{key}");
    }
    assert_eq!(config_with(&[("vocab_size_of_mine", f(2.0))]).unwrap(), plain);
    let error = config_with(&[("rope.freq_bose", f(1e6))]).unwrap_err().to_string();
    assert!(error.contains("rope.freq_bose"), "{error}");
    let sections = Value::Array(vec![Value::I32(16), Value::I32(24)]);
    let error = config_with(&[("rope.dimension_sections", sections)]).unwrap_err().to_string();
    assert!(error.contains("rope.dimension_sections"), "{error}");
}

#[test]
fn a_setting_that_is_not_implemented_is_an_error() {
    let refused = |key: &str, value: Value, words: &[&str]| {
        let mut file = tiny("smollm");
        file.set(key, value);
        let error = open(&file).and_then(|gguf| gguf.config()).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    };
    let text = |s: &str| Value::String(s.into());
    refused("general.architecture", text("mamba"), &["\"mamba\"", "llama", "qwen2", "qwen3"]);
    refused("llama.rope.scaling.type", text("yarn"), &["yarn"]);
    refused("llama.expert_count", Value::U32(8), &["mixture"]);
    refused("llama.attention.sliding_window", Value::U32(8), &["sliding window"]);
    refused("llama.rope.dimension_count", Value::U32(2), &["rope.dimension_count is 2"]);
    refused("llama.attention.head_count_kv", Value::U32(3), &["not a multiple"]);
    refused("llama.attention.head_count", Value::U32(0), &["num_attention_heads is 0"]);
    refused("llama.attention.head_count_kv", Value::Array(vec![Value::U32(1)]), &["one size"]);
    refused("split.count", Value::U16(2), &["one part of several"]);
    refused("general.alignment", Value::U32(0), &["general.alignment"]);
}

#[test]
fn a_weight_of_another_shape_is_named() {
    let mut file = tiny("smollm");
    file.set("llama.feed_forward_length", Value::U32(20));
    let folder = tempfile::tempdir().unwrap();
    let error = model_of(&file.write(folder.path())).unwrap_err().to_string();
    assert!(error.contains("mlp.gate_proj") && error.contains("[20, 16]"), "{error}");
    file.set("llama.block_count", Value::U32(3));
    file.set("llama.feed_forward_length", Value::U32(24));
    let error = model_of(&file.write(folder.path())).unwrap_err().to_string();
    assert!(error.contains("layers.2") && error.contains("missing"), "{error}");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let bytes = tiny("smollm").bytes();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.gguf");
    let dense = 0..200;
    let spread = (200..bytes.len()).step_by(211);
    let last = [bytes.len() - 100, bytes.len() / 2];
    for cut in dense.chain(spread).chain(last) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let error = Gguf::open(&path).unwrap_err().to_string();
        let words = ["cut short", "not a GGUF file"];
        assert!(words.iter().any(|word| error.contains(word)), "at {cut}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    /// Damage is an error or goes unnoticed; it is never a panic and never a giant allocation.
    #[test]
    fn a_damaged_head_does_no_harm(at in 0usize..4000, byte: u8, value: u64, wide: bool) {
        let mut bytes = tiny("smollm").bytes();
        let at = at.min(bytes.len() - 8);
        if wide {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        } else {
            bytes[at] = byte;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.gguf");
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(gguf) = Gguf::open(&path) {
            let _ = gguf.config();
            let _ = gguf.text();
        }
    }
}

//! Runs that train an adapter on bases of every kind of file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle::quantized::gguf_file::{self, Content, Value};
use candle::quantized::{GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use evals::run::read_log;
use recipes::builtin::Builtin;
use recipes::config::{BaseChoice, DTypeChoice, DeviceChoice};
use recipes::policy::{Compute, ModelRef};

use crate::adapters::{on, trained};
use crate::going_back::begin;
use crate::runs::assert_equal;

fn vectors(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata/lora").join(family)
}

/// A recipe on a base whose tokenizer has letters and digits alone, with further settings of the
/// model.
fn on_letters(temp: &Path, base: &Path, more: &str) -> String {
    let row = |number: u32| {
        let answer = number % 9;
        let row = serde_json::json!({
            "problem": format!("ab{number}"), "solution": format!("c{answer}"),
            "answer": answer.to_string()
        });
        format!("{row}\n")
    };
    let data = temp.join("data.jsonl");
    fs::write(&data, (10..50).map(row).collect::<String>()).unwrap();
    let train = "train = { kind = \"arithmetic\", count = 60, min_digits = 1, max_digits = 1, \
                 operations = [\"+\"] }";
    let own = format!("train = {{ kind = \"jsonl\", path = {:?} }}", data.display().to_string());
    let recipe = with(base, more).replace(train, &own);
    assert!(recipe.contains(&own));
    recipe.replace("{problem}=", "{problem}")
}

/// A recipe on a base, with further settings of the model.
fn with(base: &Path, more: &str) -> String {
    on(base.to_str().unwrap()).replace("adapter = {", &format!("{more}, adapter = {{"))
}

/// Trains, and compares the log-probs of sampling and training.
#[track_caller]
fn assert_no_gap(root: &Path, recipe: &str) {
    trained(root, recipe);
    let lines = read_log(&root.join("metrics.jsonl")).unwrap();
    for name in ["log_prob_gap_max", "log_prob_gap_mean"] {
        let name = format!("rollout_corr/{name}");
        let gaps: Vec<_> = lines.iter().filter_map(|line| line.number(&name)).collect();
        assert_eq!(gaps, [0.0; 4], "{}: {name}", root.display());
    }
}

/// The forms in which a base is computed with.
const FORMS: [(&str, &str); 3] = [("f32", "as-stored"), ("bf16", "as-stored"), ("bf16", "f32")];

fn form((dtype, held): (&str, &str)) -> String {
    format!("dtype = {dtype:?}, base = {held:?}")
}

/// A matrix, or a vector of a norm, with values of about the size that training leaves.
fn values(seed: u64, shape: &[usize]) -> Tensor {
    let mut state = seed;
    let mut draw = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 24) as f32 - 0.5
    };
    let (middle, spread) = if shape.len() == 1 { (1.0, 0.2) } else { (0.0, 0.2) };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| middle + spread * draw()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A llama of one block whose matrices are all in `Q4_K`, which needs widths of 256, with the
/// tokenizer of the golden vectors.
fn in_q4_k(temp: &Path) -> PathBuf {
    let golden = vectors("llama").join("base-blocks.gguf");
    let mut metadata = Content::read(&mut File::open(golden).unwrap()).unwrap().metadata;
    for (key, size) in [
        ("embedding_length", 256),
        ("feed_forward_length", 256),
        ("block_count", 1),
        ("rope.dimension_count", 64),
    ] {
        let old = metadata.insert(format!("llama.{key}"), Value::U32(size));
        assert!(old.is_some(), "{key}");
    }
    // Four heads of queries and two of keys, of width 64.
    let (square, narrow, words) = ([256, 256], [128, 256], [64, 256]);
    let shapes: [(&str, &[usize]); 12] = [
        ("token_embd", &words),
        ("blk.0.attn_norm", &[256]),
        ("blk.0.attn_q", &square),
        ("blk.0.attn_k", &narrow),
        ("blk.0.attn_v", &narrow),
        ("blk.0.attn_output", &square),
        ("blk.0.ffn_norm", &[256]),
        ("blk.0.ffn_gate", &square),
        ("blk.0.ffn_up", &square),
        ("blk.0.ffn_down", &square),
        ("output_norm", &[256]),
        ("output", &words),
    ];
    let quantised = (1..).zip(shapes).map(|(seed, (name, shape))| {
        let kind = if shape.len() == 1 { GgmlDType::F32 } else { GgmlDType::Q4K };
        (format!("{name}.weight"), QTensor::quantize(&values(seed, shape), kind).unwrap())
    });
    let tensors: Vec<_> = quantised.collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, one)| (name.as_str(), one)).collect();
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let path = temp.join("q4_k.gguf");
    gguf_file::write(&mut File::create(&path).unwrap(), &metadata, &tensors).unwrap();
    path
}

#[test]
fn rollout_and_training_agree_to_the_bit_on_a_base_in_blocks() {
    let temp = tempfile::tempdir().unwrap();
    let bases = ["llama", "qwen2"].map(|family| (family, vectors(family).join("base-blocks.gguf")));
    for (name, base) in bases.into_iter().chain([("q4_k", in_q4_k(temp.path()))]) {
        for (number, form) in FORMS.map(form).into_iter().enumerate() {
            let recipe = on_letters(temp.path(), &base, &form);
            assert_no_gap(&temp.path().join(format!("{name}-{number}")), &recipe);
        }
    }
}

#[test]
fn rollout_and_training_agree_to_the_bit_on_a_folder_in_bf16() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().join("base");
    let (model, text) = Builtin::find("atom").unwrap().make(1, DType::BF16, &Device::Cpu).unwrap();
    engine::save(&model, &text, &base).unwrap();
    for (number, form) in FORMS.map(form).into_iter().enumerate() {
        assert_no_gap(&temp.path().join(number.to_string()), &with(&base, &form));
    }
}

#[test]
fn on_a_base_in_blocks_a_run_resumes_to_the_byte() {
    let temp = tempfile::tempdir().unwrap();
    let bases =
        [("mixed", vectors("llama").join("base-blocks.gguf")), ("q4_k", in_q4_k(temp.path()))];
    for (name, base) in bases {
        let recipe = on_letters(temp.path(), &base, &form(FORMS[0]));
        let [whole, broken] =
            ["whole", "broken"].map(|part| temp.path().join(format!("{name}-{part}")));
        trained(&whole, &recipe);
        begin(&broken, &recipe, 4);
        trained(&broken, &recipe);
        assert_equal(&whole, &broken);
        // What they trained on is in blocks.
        let compute = Compute::new(DeviceChoice::Cpu, DTypeChoice::F32).unwrap();
        let compute = compute.holding(BaseChoice::AsStored);
        assert!(ModelRef::Path(base).open(name, 1, &compute).unwrap().0.is_stored());
    }
}

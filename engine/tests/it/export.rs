//! Models for other programs: merged adapters, types of tensors, metadata, and what is refused.

pub(crate) mod metadata;
mod refused;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use candle::quantized::GgmlDType;
use candle::quantized::gguf_file::Content;
use candle::{DType, Device, Tensor};
use engine::{Adapter, Checkpoint, Export, Model, Text, WeightType, load};
use tempfile::TempDir;

use crate::adapter::golden::{MODELS, batch, distance, expected, folder, logits};
use crate::support::values;

const F32: WeightType = WeightType::F32;

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path).unwrap()
}

fn read(path: &Path) -> (Model, Text) {
    load(path, &Device::Cpu, DType::F32).unwrap()
}

/// The base of one of PEFT's golden models, its adapter, and a folder to write to.
fn golden(name: &str) -> (Checkpoint, Adapter, TempDir) {
    let base = open(&folder(name).join("base"));
    let adapter = folder(name).join("adapter");
    let adapter = Adapter::open(&adapter, &base.config, DType::F32, &Device::Cpu).unwrap();
    (base, adapter, TempDir::new().unwrap())
}

/// How far the logits of a model on disk are from golden ones.
fn far(path: &Path, name: &str, want: &str) -> f64 {
    let (expected, (model, _)) = (expected(name), read(path));
    distance(&logits(model.policy(), &model, &batch(&expected).0), &expected[want])
}

/// Names of a file's entries, hidden ones too.
fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What rounding to a type may change in logits, largest difference over largest value: twice of
/// what was measured for `Q8_0`, which a row of 32 makes one block of, and more for the others.
fn bound(kind: WeightType) -> f64 {
    match kind {
        WeightType::F32 => 1e-5,
        WeightType::F16 => 1e-3,
        WeightType::Bf16 => 1e-2,
        WeightType::Q8_0 => 8e-2,
    }
}

#[test]
fn a_merged_folder_is_the_model_that_peft_merges() {
    for name in MODELS {
        let (base, adapter, temp) = golden(name);
        let out = temp.path().join("out");
        for kind in [F32, WeightType::F16, WeightType::Bf16] {
            let export = Export::of(&base).merged(&adapter).unwrap();
            let written = export.save(&out, kind).unwrap();
            let far = far(&out, name, "logits_merged");
            assert!(far < bound(kind), "{name} in {kind}: {far}");
            assert_eq!(
                entries(&out),
                [
                    "config.json",
                    "generation_config.json",
                    "model.safetensors",
                    "tokenizer.json",
                    "tokenizer_config.json"
                ]
            );
            let size = |name: &String| std::fs::metadata(out.join(name)).unwrap().len();
            assert_eq!(written.bytes, entries(&out).iter().map(size).sum::<u64>());
            let dtype = Checkpoint::open(&out).unwrap();
            let stored = candle::safetensors::load(out.join("model.safetensors"), &Device::Cpu);
            let stored = stored.unwrap();
            let count: usize = stored.values().map(Tensor::elem_count).sum();
            assert_eq!((written.weights, dtype.config), (count, base.config.clone()));
            for key in expected(name).keys().filter_map(|key| key.strip_prefix("merged.")) {
                let want = values(&expected(name)[&format!("merged.{key}")]);
                let most = if kind == F32 { 1e-6 } else { 5e-3 };
                for (got, want) in values(&stored[key]).iter().zip(want) {
                    assert!((got - want).abs() < most, "{name}: {key}: {got}, {want}");
                }
            }
        }
        // Negative control: without its adapter the base is another model.
        Export::of(&base).save(&out, F32).unwrap();
        assert!(far(&out, name, "logits_merged") > 0.1, "{name}");
        assert!(far(&out, name, "logits_off") < 1e-5, "{name}");
    }
}

#[test]
fn a_merged_file_is_the_same_model_in_every_type() {
    for name in MODELS {
        let (base, adapter, temp) = golden(name);
        for kind in WeightType::ALL {
            let path = temp.path().join(format!("{kind}.gguf"));
            let export = Export::of(&base).merged(&adapter).unwrap();
            let written = export.save_gguf(&path, kind, "merged").unwrap();
            assert_eq!(written.bytes, std::fs::metadata(&path).unwrap().len());
            let far = far(&path, name, "logits_merged");
            assert!(far < bound(kind), "{name} in {kind}: {far}");
            assert_eq!(open(&path).config, base.config);
            // Each weight is within half a step of its type.
            let step = match kind {
                WeightType::F32 => 0.0,
                WeightType::F16 => 2f64.powi(-11),
                WeightType::Bf16 => 2f64.powi(-8),
                WeightType::Q8_0 => 0.5 / 127.0 + 2f64.powi(-11),
            };
            let whole = temp.path().join("whole");
            export.save(&whole, F32).unwrap();
            for (got, want) in read(&path).0.parameters().iter().zip(read(&whole).0.parameters()) {
                let (got, want) = (values(&got.tensor), values(&want.tensor));
                let most = step * want.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() <= most), "{name} {kind}");
            }
            std::fs::remove_dir_all(&whole).unwrap();
        }
        assert_eq!(entries(temp.path()).len(), WeightType::ALL.len());
    }
}

/// The base in blocks of four and five bits: what an adapter adds is added to what they stand for.
#[test]
fn an_adapter_is_merged_into_what_the_blocks_of_a_file_stand_for() {
    for name in MODELS {
        let (_, adapter, temp) = golden(name);
        let base = open(&folder(name).join("base-blocks.gguf"));
        let with = read(&folder(name).join("base-blocks.gguf")).0;
        let (packed, _) = batch(&expected(name));
        let policy = with.policy().with_adapter(Some(&adapter)).unwrap();
        let want = logits(policy, &with, &packed);
        let as_stored = open(&folder(name).join("base-blocks.gguf"));
        let (as_stored, text) = as_stored.load_as_stored(&Device::Cpu, DType::F32).unwrap();
        let of_model = Export::of_model(&as_stored, &text);
        let exports = [Export::of(&base), Export::of(&base), of_model];
        for (out, export) in ["folder", "file.gguf", "model.gguf"].iter().zip(exports) {
            let out = temp.path().join(out);
            let export = export.merged(&adapter).unwrap();
            if out.extension().is_some() {
                export.save_gguf(&out, F32, "").unwrap();
            } else {
                export.save(&out, F32).unwrap();
            }
            let (model, _) = read(&out);
            let far = distance(&logits(model.policy(), &model, &packed), &want);
            assert!(far < 1e-5, "{name}: {far}");
        }
    }
}

fn content(path: &Path) -> (Content, File) {
    let mut file = File::open(path).unwrap();
    (Content::read(&mut file).unwrap(), file)
}

/// Tensors whose type is not that of llama.cpp's converter: norms, biases and
/// frequencies in f32, of `Q8_0` what is no multiple of 32 wide in f16.
fn wrong_types(content: &Content, kind: GgmlDType) -> Vec<String> {
    let infos: BTreeMap<_, _> = content.tensor_infos.iter().collect();
    let of = |(name, info): (&String, &candle::quantized::gguf_file::TensorInfo)| {
        let small = name.ends_with("_norm.weight") || name.rsplit('.').next() == Some("bias");
        let matrix = !small && name != "rope_freqs.weight";
        let want = match (matrix, kind) {
            (false, _) => GgmlDType::F32,
            (true, GgmlDType::Q8_0) if info.shape.dims()[1] % 32 != 0 => GgmlDType::F16,
            (true, kind) => kind,
        };
        (info.ggml_dtype != want).then(|| format!("{name}: {:?}", info.ggml_dtype))
    };
    infos.into_iter().filter_map(of).collect()
}

const TYPES: [(WeightType, GgmlDType); 4] = [
    (WeightType::F32, GgmlDType::F32),
    (WeightType::F16, GgmlDType::F16),
    (WeightType::Bf16, GgmlDType::BF16),
    (WeightType::Q8_0, GgmlDType::Q8_0),
];

#[test]
fn norms_and_biases_stay_f32_in_every_type() {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("x.gguf");
    for (kind, dtype) in TYPES {
        for name in MODELS {
            let base = open(&folder(name).join("base"));
            Export::of(&base).save_gguf(&path, kind, name).unwrap();
            let (content, mut file) = content(&path);
            assert_eq!(wrong_types(&content, dtype), [""; 0]);
            let types = content.tensor_infos.values().map(|info| info.ggml_dtype);
            assert!(types.filter(|&found| found == dtype).count() > 14, "{name}");
            // Candle's reader finds the values that ours finds.
            let (model, _) = read(&path);
            for (theirs, own) in [
                ("token_embd.weight", "model.embed_tokens.weight"),
                ("blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight"),
                ("blk.1.attn_norm.weight", "model.layers.1.input_layernorm.weight"),
            ] {
                let theirs = content.tensor(&mut file, theirs, &Device::Cpu).unwrap();
                let theirs = theirs.dequantize(&Device::Cpu).unwrap();
                let own = model.parameters().iter().find(|x| x.name == own).unwrap();
                assert_eq!(values(&theirs), values(&own.tensor), "{name}");
            }
        }
        // A width of 16 and one of 24: no blocks of 32.
        for config in crate::support::configs() {
            let text = metadata::text("qwen2");
            let config = engine::ModelConfig { vocab_size: text.vocab_size(), ..config };
            let model = crate::support::model(config, DType::F32);
            Export::of_model(&model, &text).save_gguf(&path, kind, "x").unwrap();
            assert_eq!(wrong_types(&content(&path).0, dtype), [""; 0]);
        }
    }
}

/// Negative control: a norm in f16 is found.
#[test]
fn a_norm_in_f16_would_be_found() {
    let vocabulary = metadata::vocabulary("qwen2");
    let config = crate::support::config(engine::Family::Llama);
    let model = crate::support::model(config, DType::F32);
    let mut file = crate::disk::GgufFile::of(&model, GgmlDType::F16, &vocabulary);
    let temp = TempDir::new().unwrap();
    let path = file.write(temp.path());
    assert_eq!(wrong_types(&content(&path).0, GgmlDType::F16), [""; 0]);
    for (name, tensor) in &mut file.tensors {
        if name == "blk.1.attn_norm.weight" {
            let plain = tensor.dequantize(&Device::Cpu).unwrap();
            let plain = plain.reshape((1, 16)).unwrap();
            *tensor = candle::quantized::QTensor::quantize(&plain, GgmlDType::F16).unwrap();
        }
    }
    let path = file.write(temp.path());
    let wrong = wrong_types(&content(&path).0, GgmlDType::F16);
    assert_eq!(wrong, ["blk.1.attn_norm.weight: F16"]);
}

/// Blocks are those of candle's quantiser, which a test in `weight_type.rs` compares with ggml's.
#[test]
fn blocks_are_of_rows_of_the_weight() {
    let (base, _, temp) = golden("qwen2");
    let path = temp.path().join("x.gguf");
    Export::of(&base).save_gguf(&path, WeightType::Q8_0, "x").unwrap();
    let (content, mut file) = content(&path);
    let found = content.tensor(&mut file, "blk.0.ffn_up.weight", &Device::Cpu).unwrap();
    let name = "model.layers.0.mlp.up_proj.weight";
    let weight = base.get(name, &[64, 32], DType::F32, &Device::Cpu).unwrap();
    let want = candle::quantized::QTensor::quantize(&weight, GgmlDType::Q8_0).unwrap();
    assert_eq!(found.data().unwrap(), want.data().unwrap());
}

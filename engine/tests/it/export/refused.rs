//! What is not written, and what is left behind then: nothing.

use candle::{DType, Device, Tensor};
use engine::text::tokenizers::normalizers::Lowercase;
use engine::text::tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use engine::text::tokenizers::{DecoderWrapper, Tokenizer};
use engine::{Adapter, Checkpoint, Export, Family, ModelConfig, Text, WeightType};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use tempfile::TempDir;

use super::{F32, entries, golden, metadata};
use crate::adapter::golden::folder;
use crate::{disk, support};

/// Asserts that a GGUF file is refused with `words`.
#[track_caller]
fn refused(text: &Text, words: &[&str]) {
    let config = ModelConfig { vocab_size: text.vocab_size(), ..support::config(Family::Llama) };
    let model = support::model(config, DType::F32);
    let temp = TempDir::new().unwrap();
    let export = Export::of_model(&model, text);
    let error = export.save_gguf(&temp.path().join("x.gguf"), F32, "x").unwrap_err().to_string();
    for word in words.iter().chain(&["tokenizer.json"]) {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
    assert_eq!(entries(temp.path()), [""; 0]);
    // A folder holds every tokenizer.
    export.save(&temp.path().join("folder"), F32).unwrap();
}

#[test]
fn a_tokenizer_that_metadata_cannot_hold_is_refused_with_what_it_is() {
    refused(&disk::text(37), &["its model is WordLevel"]);
    let whole = metadata::text("qwen2");
    let stop = whole.stop_tokens()[0];
    let changed = |change: &dyn Fn(&mut Tokenizer)| {
        let mut tokenizer = whole.tokenizer().clone();
        change(&mut tokenizer);
        Text::new(tokenizer, None, vec![stop]).unwrap()
    };
    let other = changed(&|tokenizer| {
        tokenizer.with_pre_tokenizer(Some(WhitespaceSplit));
    });
    refused(&other, &["no name is known for its pre-tokenizer", "WhitespaceSplit"]);
    let other = changed(&|tokenizer| {
        tokenizer.with_normalizer(Some(Lowercase)).unwrap();
    });
    refused(&other, &["its normalizer is {\"type\":\"Lowercase\"}"]);
    let other = changed(&|tokenizer| {
        tokenizer.with_decoder(None::<DecoderWrapper>);
    });
    refused(&other, &["its decoder is null"]);
}

#[test]
fn a_value_that_a_type_cannot_hold_is_refused_by_the_weights_name() {
    let text = metadata::text("qwen2");
    let name = "model.layers.1.mlp.up_proj.weight";
    let with = |value: f32| {
        let config =
            ModelConfig { vocab_size: text.vocab_size(), ..disk::wide_config(Family::Qwen3, 0) };
        let config = ModelConfig { num_layers: 2, ..config };
        let model = support::model(config, DType::F32);
        let mut values = vec![0.5f32; 256 * 256];
        values[5_000] = value;
        support::set(&model, name, &Tensor::from_vec(values, (256, 256), &Device::Cpu).unwrap());
        model
    };
    let temp = TempDir::new().unwrap();
    let (path, out) = (temp.path().join("x.gguf"), temp.path().join("folder"));
    for (value, kind, fits) in [
        (65_504.0, WeightType::F16, true),
        (65_505.0, WeightType::F16, false),
        (-1e5, WeightType::F16, false),
        (1e5, WeightType::Bf16, true),
        (1e5, WeightType::Q8_0, true),
        (1e7, WeightType::Q8_0, false),
        (3.4e38, WeightType::F32, true),
        (3.4e38, WeightType::Bf16, false),
    ] {
        let model = with(value);
        let export = Export::of_model(&model, &text);
        let mut tried = vec![export.save_gguf(&path, kind, "x").map(|_| ())];
        if kind != WeightType::Q8_0 {
            tried.push(export.save(&out, kind).map(|_| ()));
        }
        for result in tried {
            assert_eq!(result.is_ok(), fits, "{value} in {kind}");
            if let Err(error) = result {
                let error = error.to_string();
                assert!(error.contains("up_proj") || error.contains("ffn_up"), "{error}");
                assert!(error.contains("write another type"), "{error}");
                assert_eq!(entries(temp.path()), [""; 0]);
            }
        }
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_dir_all(&out);
    }
}

#[test]
fn a_folder_holds_no_blocks_and_an_adapter_needs_its_base() {
    let (base, adapter, temp) = golden("llama");
    let out = temp.path().join("out");
    let error = Export::of(&base).save(&out, WeightType::Q8_0).unwrap_err().to_string();
    assert!(error.contains("does not hold q8_0"), "{error}");
    assert_eq!(entries(temp.path()), [""; 0]);
    let other = Checkpoint::open(&folder("qwen2").join("base")).unwrap();
    let smaller = ModelConfig { intermediate_size: 32, ..other.config.clone() };
    let config = adapter.config().clone();
    let other = Adapter::fresh(config, &smaller, 1, DType::F32, &Device::Cpu).unwrap();
    let error = Export::of(&base).merged(&other).unwrap_err().to_string();
    assert!(error.contains("another base"), "{error}");
}

#[test]
fn smaller_blocks_are_refused_with_the_reason() {
    for name in ["q4_0", "Q4_K_M", "q5_1", "q6_k", "IQ4_XS"] {
        let error = WeightType::from_name(name).unwrap_err();
        assert!(error.contains("half a step") && error.contains(name), "{error}");
    }
    for (name, kind) in [("F32", F32), ("q8_0", WeightType::Q8_0), ("BF16", WeightType::Bf16)] {
        assert_eq!(WeightType::from_name(name), Ok(kind));
    }
    let error = WeightType::from_name("int3").unwrap_err();
    assert!(error.contains("f32, f16, bf16, q8_0"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// Whatever a file says that could be opened, writing it is an error or a file.
    #[test]
    fn no_bytes_of_a_base_are_a_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("x.gguf");
        let mut bytes = std::fs::read(folder("llama").join("base-blocks.gguf")).unwrap();
        for (at, value) in flips {
            let at = at.index(bytes.len().min(6000));
            bytes[at] = value;
        }
        std::fs::write(&path, bytes).unwrap();
        if let Ok(base) = Checkpoint::open(&path) {
            let _ = Export::of(&base).save_gguf(&temp.path().join("y.gguf"), WeightType::F16, "y");
            let _ = Export::of(&base).save(&temp.path().join("y"), F32);
            // Its tokenizer, written and not copied.
            let vocab_size = base.config.vocab_size;
            let config = ModelConfig { vocab_size, ..support::config(Family::Llama) };
            let model = support::model(config, DType::F32);
            let export = Export::of_model(&model, &base.text);
            let _ = export.save_gguf(&temp.path().join("z.gguf"), WeightType::Q8_0, "z");
        }
    }
}

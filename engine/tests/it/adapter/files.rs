//! Folders of adapters: PEFT's own and ours, and those that are refused.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle::{DType, Device, Tensor};
use engine::{Adapter, AdapterConfig, Error, Module, Scaling, load};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::golden::{MODELS, folder};
use crate::support::values;

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

fn open(name: &str, path: &Path) -> engine::Result<Adapter> {
    let config = load(&folder(name).join("base"), &Device::Cpu, DType::F32).unwrap().0;
    Adapter::open(path, config.config(), DType::F32, &Device::Cpu)
}

fn tensors(path: &Path) -> HashMap<String, Tensor> {
    candle::safetensors::load(path.join(TENSORS), &Device::Cpu).unwrap()
}

fn keys(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path.join(CONFIG)).unwrap()).unwrap()
}

#[test]
fn a_folder_of_peft_is_written_as_it_was_read() {
    for name in MODELS {
        let (temp, theirs) = (TempDir::new().unwrap(), folder(name).join("adapter"));
        let ours = temp.path().join("ours");
        let adapter = open(name, &theirs).unwrap();
        adapter.save(&ours, &format!("tiny-{name}")).unwrap();
        let (read, wrote) = (tensors(&theirs), tensors(&ours));
        assert_eq!(read.len(), wrote.len());
        for (name, tensor) in BTreeMap::from_iter(&read) {
            assert_eq!(tensor.dims(), wrote[name.as_str()].dims(), "{name}");
            assert_eq!(values(tensor), values(&wrote[name.as_str()]), "{name}");
        }
        // Every key that is written says what PEFT's file says.
        let (read, wrote) = (keys(&theirs), keys(&ours));
        for (key, value) in wrote.as_object().unwrap() {
            assert_eq!(value, &read[key], "{key}");
        }
        let again = temp.path().join("again");
        open(name, &ours).unwrap().save(&again, &format!("tiny-{name}")).unwrap();
        for file in [CONFIG, TENSORS] {
            assert_eq!(fs::read(ours.join(file)).unwrap(), fs::read(again.join(file)).unwrap());
        }
        assert_eq!(fs::read_dir(&ours).unwrap().count(), 2);
    }
    let scalings = MODELS.map(|name| open(name, &folder(name).join("adapter")).unwrap());
    let scalings = scalings.map(|adapter| (adapter.config().scaling, adapter.config().scale()));
    assert_eq!(scalings, [(Scaling::Rank, 2.0), (Scaling::SqrtRank, 4.0 / 8f64.sqrt())]);
}

/// vLLM itself is not run here. Its `PEFTHelper` requires `r`, `lora_alpha` and `target_modules`,
/// and refuses `modules_to_save` and `use_dora`; it takes the tensors whose names end as these do.
///
/// Source: `vllm/lora/peft_helper.py`, `vllm/lora/utils.py`.
#[test]
fn the_keys_that_vllm_requires_have_its_types() {
    let config = load(&folder("qwen2").join("base"), &Device::Cpu, DType::F32).unwrap().0;
    let config = config.config();
    for (alpha, scaling) in [(16.0, Scaling::Rank), (5.0, Scaling::SqrtRank), (8.5, Scaling::Rank)]
    {
        let targets = vec![Module::Q, Module::Down];
        let own = AdapterConfig { rank: 4, alpha, scaling, targets };
        let adapter = Adapter::fresh(own, config, 1, DType::F32, &Device::Cpu).unwrap();
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("adapter");
        adapter.save(&path, "base").unwrap();
        let keys = keys(&path);
        assert_eq!(keys["r"].as_u64(), Some(4));
        // A whole number is written as one; vLLM declares no other.
        let whole = (alpha.fract() == 0.0).then_some(alpha as u64);
        assert_eq!(keys["lora_alpha"].as_u64(), whole);
        assert_eq!(keys["lora_alpha"].as_f64(), Some(alpha));
        assert_eq!(keys["target_modules"], json!(["down_proj", "q_proj"]));
        assert_eq!(keys["use_rslora"], json!(scaling == Scaling::SqrtRank));
        assert_eq!(keys["use_dora"], json!(false));
        assert_eq!(keys["modules_to_save"], Value::Null);
        assert_eq!(keys["bias"], json!("none"));
        // One rank and one alpha for all maps: these two are not read there.
        assert_eq!((&keys["rank_pattern"], &keys["alpha_pattern"]), (&json!({}), &json!({})));
        for (name, _) in BTreeMap::from_iter(&tensors(&path)) {
            let half = [".lora_A.weight", ".lora_B.weight"].iter().any(|end| name.ends_with(end));
            assert!(half && name.starts_with("base_model.model.model.layers."), "{name}");
        }
    }
}

/// A copy of an adapter with some keys changed, and its tensors by `change`.
fn changed(
    name: &str,
    keys: &Value,
    change: impl FnOnce(&mut HashMap<String, Tensor>),
) -> (TempDir, engine::Result<Adapter>) {
    let (temp, theirs) = (TempDir::new().unwrap(), folder(name).join("adapter"));
    let mut config = self::keys(&theirs);
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    fs::write(temp.path().join(CONFIG), config.to_string()).unwrap();
    let mut tensors = tensors(&theirs);
    change(&mut tensors);
    candle::safetensors::save(&tensors, temp.path().join(TENSORS)).unwrap();
    let adapter = open(name, temp.path());
    (temp, adapter)
}

#[track_caller]
fn refused(keys: &Value, change: impl FnOnce(&mut HashMap<String, Tensor>), words: &[&str]) {
    let (_temp, adapter) = changed("llama", keys, change);
    let error = adapter.unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
}

#[test]
fn what_is_not_computed_here_is_refused_by_its_key() {
    for (key, value) in [
        ("use_dora", json!(true)),
        ("lora_bias", json!(true)),
        ("bias", json!("all")),
        ("fan_in_fan_out", json!(true)),
        ("rank_pattern", json!({ "q_proj": 2 })),
        ("alpha_pattern", json!({ "q_proj": 2 })),
        ("modules_to_save", json!(["lm_head"])),
        ("trainable_token_indices", json!([1])),
        ("task_type", json!("SEQ_CLS")),
        ("layer_replication", json!([[0, 1]])),
        ("peft_type", json!("LOHA")),
        ("peft_type", json!(null)),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("init_lora_weights", json!("olora")),
        ("init_lora_weights", json!(["pissa"])),
        ("init_lora_weights", json!({ "pissa": true })),
        ("init_lora_weights", json!(1)),
        ("init_lora_weights", json!(" PiSSA")),
        ("use_rslora", json!("yes")),
        ("r", json!(0)),
        ("r", json!(4.5)),
        ("r", json!(null)),
        ("lora_alpha", json!(-2)),
        ("lora_alpha", json!("16")),
    ] {
        refused(&json!({ key: value }), |_| (), &[key, CONFIG]);
    }
    for (key, value) in [
        ("modules_to_save", json!([])),
        ("inference_mode", json!(false)),
        ("init_lora_weights", json!("gaussian")),
        ("init_lora_weights", json!("EVA")),
        ("init_lora_weights", json!(false)),
        ("init_lora_weights", json!(null)),
        ("target_modules", json!("all-linear")),
        ("peft_version", json!("99")),
        ("lora_dropout", json!(0.1)),
        ("task_type", json!(null)),
    ] {
        changed("llama", &json!({ key: value }), |_| ()).1.unwrap();
    }
    assert!(
        (changed("llama", &json!({ "lora_alpha": 8.5 }), |_| ()).1.unwrap().config().scale()
            - 2.125)
            .abs()
            < 1e-12
    );
}

#[test]
fn names_without_the_prefix_are_read_and_none_is_taken_twice() {
    let bare = |name: &str| name.strip_prefix("base_model.model.").unwrap().to_owned();
    let (_temp, read) = changed("llama", &json!({}), |tensors| {
        *tensors = tensors.drain().map(|(name, tensor)| (bare(&name), tensor)).collect();
    });
    let theirs = open("llama", &folder("llama").join("adapter")).unwrap();
    let all = |adapter: &Adapter| -> Vec<Vec<f64>> {
        adapter.parameters().into_iter().map(|(_, tensor)| values(tensor)).collect()
    };
    assert_eq!(all(&read.unwrap()), all(&theirs));
    let twice = |tensors: &mut HashMap<String, Tensor>| {
        tensors.insert(bare(Q_A), tensors[Q_A].zeros_like().unwrap());
    };
    refused(&json!({}), twice, &["twice", TENSORS]);
}

const Q_A: &str = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight";
const Q_B: &str = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight";

#[test]
fn tensors_that_do_not_fit_are_refused_by_their_names() {
    let none = json!({});
    let remove = |name: &'static str| {
        move |tensors: &mut HashMap<String, Tensor>| drop(tensors.remove(name))
    };
    refused(&none, remove(Q_A), &["q_proj", "and no model.layers.1", "lora_A", TENSORS]);
    refused(&none, remove(Q_B), &["layers.1", "lora_B"]);
    refused(&none, HashMap::clear, &["no tensor"]);
    refused(&json!({ "r": 3 }), |_| (), &["q_proj.lora_A", "[3, 32]", "[4, 32]", "another rank"]);
    let another = |name: &'static str| {
        move |tensors: &mut HashMap<String, Tensor>| {
            let tensor = tensors[Q_A].clone();
            tensors.insert(name.into(), tensor);
        }
    };
    let third = "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight";
    refused(&none, another(third), &["tensors of 3 blocks, and the base has 2", "another model"]);
    for name in [
        "base_model.model.model.layers.1.self_attn.q_proj.lora_magnitude_vector",
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.embed_tokens.lora_embedding_A",
        "base_model.model.model.norm.weight",
    ] {
        refused(&none, another(name), &[name]);
    }
    // A and B exchanged.
    let exchange = |tensors: &mut HashMap<String, Tensor>| {
        let (a, b) = (tensors[Q_A].clone(), tensors[Q_B].clone());
        tensors.extend([(Q_A.to_owned(), b), (Q_B.to_owned(), a)]);
    };
    refused(&none, exchange, &["q_proj.lora_A", "[4, 32]", "[32, 4]"]);
    // Of another model.
    let wide = |tensors: &mut HashMap<String, Tensor>| {
        tensors.insert(Q_A.into(), Tensor::zeros((4, 64), DType::F32, &Device::Cpu).unwrap());
    };
    refused(&none, wide, &["q_proj.lora_A", "[4, 64]", "name that as the base"]);
    for bad in [f32::NAN, f32::INFINITY] {
        let spoil = move |tensors: &mut HashMap<String, Tensor>| {
            let mut own = tensors[Q_B].flatten_all().unwrap().to_vec1::<f32>().unwrap();
            own[77] = bad;
            tensors.insert(Q_B.into(), Tensor::from_vec(own, (32, 4), &Device::Cpu).unwrap());
        };
        refused(&none, spoil, &["q_proj.lora_B", "not finite"]);
    }
}

#[test]
fn settings_that_name_other_maps_than_the_tensors_are_refused() {
    let all = json!(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]);
    for (keys, words) in [
        (json!({ "target_modules": ["q_proj"] }), ["k_proj is not adapted", "target_modules"]),
        (json!({ "target_modules": ".*_proj_x" }), ["q_proj is not adapted", ".*_proj_x"]),
        (
            json!({ "target_modules": all, "layers_to_transform": [0] }),
            ["layers.1.self_attn.q_proj is not adapted", "layers_to_transform [0]"],
        ),
        (
            json!({ "layers_to_transform": 1 }),
            ["layers.0.self_attn.q_proj", "layers_to_transform 1"],
        ),
        (
            json!({ "layers_to_transform": [0, 1], "layers_pattern": "h" }),
            ["is not adapted", "layers_pattern \"h\""],
        ),
        (json!({ "exclude_modules": ["v_proj"] }), ["v_proj is not adapted", "exclude_modules"]),
        (json!({ "target_modules": 7 }), ["target_modules is 7", "expected a list of names"]),
        (json!({ "target_modules": [7] }), ["target_modules is [7]", "expected names"]),
        (
            json!({ "layers_to_transform": "0" }),
            ["layers_to_transform is \"0\"", "numbers of blocks"],
        ),
    ] {
        refused(&keys, |_| (), &[&words[..], &[CONFIG]].concat());
    }
    // A map of the settings without tensors.
    let without = |tensors: &mut HashMap<String, Tensor>| {
        tensors.retain(|name, _| !name.contains("down_proj"));
    };
    refused(&json!({}), without, &["mlp.down_proj is adapted, and there are no tensors of it"]);
    let six = json!({ "target_modules": r".*\.(q|k|v|o|gate|up)_proj" });
    let (_temp, adapter) = changed("llama", &six, without);
    assert_eq!(adapter.unwrap().config().targets.len(), 6);
    for keys in [
        json!({ "target_modules": r"model\.layers\.\d+\.(self_attn|mlp)\..*_proj" }),
        // A pattern that only Python reads.
        json!({ "target_modules": r".*(?<!lm)_proj" }),
        json!({ "target_modules": r"(?#all)(?!lm)(?P<kind>[(?=])?(.)?\1(?P=kind)?(?>.*)_proj\Z" }),
        json!({ "target_modules": null }),
        json!({ "target_modules": ["self_attn.q_proj", "k_proj", "v_proj", "o_proj", "gate_proj",
            "up_proj", "down_proj", "lm_head"] }),
        json!({ "layers_to_transform": [0, 1, 2], "layers_pattern": "layers" }),
        json!({ "layers_to_transform": [0, 1], "layers_pattern": ["h", "layers"] }),
        json!({ "layers_to_transform": [] }),
        json!({ "exclude_modules": ["lm_head"] }),
    ] {
        changed("llama", &keys, |_| ()).1.unwrap();
    }
}

#[test]
fn settings_that_are_no_pattern_in_python_either_are_refused() {
    for (keys, words) in [
        (
            json!({ "target_modules": "(" }),
            ["target_modules is \"(\"", "no pattern (unclosed group"],
        ),
        (json!({ "exclude_modules": "*_proj" }), ["exclude_modules is \"*_proj\"", "no pattern"]),
        (json!({ "target_modules": "(?=a" }), ["target_modules is \"(?=a\"", "no pattern"]),
        (
            json!({ "target_modules": ".*(?<!lm)_proj[" }),
            ["no pattern", "unclosed character class"],
        ),
        (
            json!({ "layers_to_transform": [0, 1], "layers_pattern": ["h", "layers)"] }),
            ["layers_pattern is \"layers)\"", "no pattern"],
        ),
        (
            json!({ "layers_to_transform": [0, 1], "layers_pattern": [7] }),
            ["layers_pattern is [7]", "expected names"],
        ),
    ] {
        refused(&keys, |_| (), &[&words[..], &[CONFIG]].concat());
    }
}

#[test]
fn what_is_no_adapter_says_what_it_is() {
    let temp = TempDir::new().unwrap();
    let theirs = folder("llama").join("adapter");
    let said = |path: &Path| open("llama", path).unwrap_err().to_string();
    let file = said(&theirs.join(TENSORS));
    assert!(file.contains("give its folder"), "{file}");
    fs::copy(theirs.join(CONFIG), temp.path().join(CONFIG)).unwrap();
    fs::write(temp.path().join("adapter_model.bin"), "").unwrap();
    let pickled = said(temp.path());
    assert!(
        pickled.contains("adapter_model.bin") && pickled.contains("save_pretrained"),
        "{pickled}"
    );
    let model = said(&folder("llama").join("base-blocks.gguf"));
    assert!(model.contains("general.type") && model.contains("name an adapter"), "{model}");
    // And the other way: adapters in the place of models.
    let adapters = [theirs, folder("llama").join("adapter.gguf")];
    for (path, base) in adapters.iter().zip(["its base, tiny-llama, as", "its base as"]) {
        let error = load(path, &Device::Cpu, DType::F32).unwrap_err().to_string();
        let words = ["is an adapter, not a model", base, "--adapter", "model.adapter.from"];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn a_folder_that_is_no_adapter_says_what_is_missing() {
    let temp = TempDir::new().unwrap();
    let error = open("llama", temp.path()).unwrap_err().to_string();
    assert!(error.contains(CONFIG), "{error}");
    fs::copy(folder("llama").join("adapter").join(CONFIG), temp.path().join(CONFIG)).unwrap();
    let error = open("llama", temp.path()).unwrap_err().to_string();
    assert!(error.contains(TENSORS), "{error}");
}

/// Any JSON value, small.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z_.*+?()\\[\\]0-9]{0,12}".prop_map(Value::from),
        Just(Value::from("q_proj")),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,8}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever the keys of the settings are, it is an adapter or an error that names a file or a
    /// tensor.
    #[test]
    fn no_value_of_a_key_is_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4),
    ) {
        let all = keys(&folder("llama").join("adapter"));
        let names: Vec<_> = all.as_object().unwrap().keys().cloned().collect();
        let changed_keys: serde_json::Map<_, _> =
            changes.into_iter().map(|(at, value)| (at.get(&names).clone(), value)).collect();
        let (_temp, adapter) = changed("llama", &Value::Object(changed_keys), |_| ());
        let is_typed = |error: &Error| matches!(error, Error::File { .. } | Error::Weight { .. });
        prop_assert!(adapter.as_ref().err().is_none_or(is_typed), "{adapter:?}");
    }

    /// One byte of the settings of PEFT is another.
    #[test]
    fn no_byte_of_the_settings_is_a_panic(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let temp = TempDir::new().unwrap();
        let theirs = folder("llama").join("adapter");
        let mut bytes = fs::read(theirs.join(CONFIG)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = value;
        fs::write(temp.path().join(CONFIG), bytes).unwrap();
        fs::copy(theirs.join(TENSORS), temp.path().join(TENSORS)).unwrap();
        let is_typed = |error: &Error| matches!(error, Error::File { .. } | Error::Weight { .. });
        let adapter = open("llama", temp.path());
        prop_assert!(adapter.as_ref().err().is_none_or(is_typed), "{adapter:?}");
    }

    #[test]
    fn no_bytes_are_a_panic(
        config in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let temp = TempDir::new().unwrap();
        let theirs = folder("llama").join("adapter");
        let good = fs::read(theirs.join(CONFIG)).unwrap();
        fs::write(temp.path().join(CONFIG), config.unwrap_or(good)).unwrap();
        let mut bytes = fs::read(theirs.join(TENSORS)).unwrap();
        // Most of what can be wrong is in the head.
        for (at, value) in flips {
            let at = at.index(2000);
            bytes[at] = value;
        }
        bytes.truncate(cut.index(2 * bytes.len()));
        fs::write(temp.path().join(TENSORS), bytes).unwrap();
        let _ = open("llama", temp.path());
    }
}

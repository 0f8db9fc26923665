//! Weights against the configuration: what is used, what is left out, and what is refused.

use std::collections::HashMap;

use candle::quantized::{GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use engine::{Biases, Checkpoint, Family, Model, ModelConfig, load, save};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::checkpoint::{change, config, open, refused};
use crate::{disk, support};

type Tensors = HashMap<String, Tensor>;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

fn saved(config: ModelConfig) -> (TempDir, Model) {
    let model = support::model(config, DType::F32);
    let folder = tempfile::tempdir().unwrap();
    save(&model, &disk::text(37), folder.path()).unwrap();
    (folder, model)
}

fn set(folder: &TempDir, changes: &Value) {
    let path = folder.path().join("config.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        json[key] = value.clone();
    }
    std::fs::write(path, json.to_string()).unwrap();
}

fn notes(folder: &TempDir) -> Vec<String> {
    Checkpoint::open(folder.path()).unwrap().notes
}

#[track_caller]
fn noted(folder: &TempDir, words: &[&str]) {
    let notes = notes(folder);
    assert!(notes.iter().any(|note| words.iter().all(|word| note.contains(word))), "{notes:?}");
}

fn values(shape: &[usize], seed: u64) -> Tensor {
    let mut draw = support::draws(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw() as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn hidden(model: &Model) -> Vec<f64> {
    let mut packed = engine::Packed::default();
    packed.push(&support::tokens(3, 20, 37), None).unwrap();
    support::values(&model.hidden(&packed).unwrap())
}

#[test]
fn a_plain_checkpoint_has_no_notes() {
    for config in support::configs() {
        assert_eq!(notes(&saved(config).0), Vec::<String>::new());
    }
}

#[test]
fn a_head_equal_to_a_tied_embedding_is_left_out() {
    for dtype in [DType::F32, DType::F64] {
        let (folder, model) = saved(config(Family::Llama));
        change(folder.path(), |tensors| {
            let head = tensors[EMBEDDING].to_dtype(dtype).unwrap();
            tensors.insert(HEAD.into(), head);
        });
        assert_eq!(notes(&folder), Vec::<String>::new());
        let (read, _) = open(folder.path()).unwrap();
        assert!(read.config().tie_embeddings);
        disk::assert_weights(&read, &model, 0.0);
    }
}

#[test]
fn a_head_with_other_values_unties_the_model() {
    let (folder, model) = saved(config(Family::Llama));
    // One number of many differs.
    change(folder.path(), |tensors| {
        let mut numbers: Vec<f32> = tensors[EMBEDDING].flatten_all().unwrap().to_vec1().unwrap();
        numbers[400] += 0.5;
        let head = Tensor::from_vec(numbers, tensors[EMBEDDING].dims(), &Device::Cpu).unwrap();
        tensors.insert(HEAD.into(), head);
    });
    noted(&folder, &[HEAD, "other values", "untied"]);
    let (read, text) = open(folder.path()).unwrap();
    assert!(!read.config().tie_embeddings);
    assert_eq!(read.parameters().len(), model.parameters().len() + 1);
    let head = read.parameters().last().unwrap();
    assert_eq!(
        (head.name.as_str(), support::values(&head.tensor)[400]),
        (HEAD, {
            let embedding = support::values(&read.parameters()[0].tensor);
            f64::from((embedding[400] as f32) + 0.5)
        })
    );
    // The saved checkpoint says so itself.
    let again = folder.path().join("again");
    save(&read, &text, &again).unwrap();
    let checkpoint = Checkpoint::open(&again).unwrap();
    assert!(checkpoint.notes.is_empty() && !checkpoint.config.tie_embeddings);
    disk::assert_weights(&checkpoint.load(&Device::Cpu, DType::F32).unwrap().0, &read, 0.0);
}

#[test]
fn a_head_of_another_shape_is_named() {
    let (folder, _) = saved(config(Family::Llama));
    change(folder.path(), |tensors| drop(tensors.insert(HEAD.into(), values(&[40, 16], 1))));
    refused(folder.path(), &[HEAD, "[37, 16]", "[40, 16]"]);
}

#[test]
fn a_tied_model_may_store_either_end() {
    let (folder, model) = saved(config(Family::Llama));
    change(folder.path(), |tensors| {
        let embedding = tensors.remove(EMBEDDING).unwrap();
        tensors.insert(HEAD.into(), embedding);
    });
    noted(&folder, &[EMBEDDING, "not stored", HEAD]);
    disk::assert_weights(&open(folder.path()).unwrap().0, &model, 0.0);
    change(folder.path(), |tensors| drop(tensors.remove(HEAD)));
    refused(folder.path(), &[EMBEDDING, "missing"]);
}

#[test]
fn an_untied_model_without_its_head_is_refused_with_what_to_do() {
    let (folder, _) = saved(config(Family::Qwen3));
    change(folder.path(), |tensors| drop(tensors.remove(HEAD)));
    refused(folder.path(), &[HEAD, "missing", "tie_word_embeddings"]);
    set(&folder, &json!({ "tie_word_embeddings": true }));
    assert!(open(folder.path()).unwrap().0.config().tie_embeddings);
}

#[test]
fn names_may_lack_their_prefix_or_repeat_it() {
    let rename = |to: &dyn Fn(&str) -> String| {
        let (folder, model) = saved(config(Family::Qwen2));
        change(folder.path(), |tensors| {
            *tensors = tensors.drain().map(|(name, tensor)| (to(&name), tensor)).collect();
        });
        (folder, model)
    };
    let bare = |name: &str| name.strip_prefix("model.").unwrap_or(name).to_owned();
    let (folder, model) = rename(&bare);
    set(&folder, &json!({ "architectures": ["Qwen2Model"] }));
    let (read, text) = open(folder.path()).unwrap();
    disk::assert_weights(&read, &model, 0.0);
    let again = folder.path().join("again");
    save(&read, &text, &again).unwrap();
    let json: Value =
        serde_json::from_slice(&std::fs::read(again.join("config.json")).unwrap()).unwrap();
    assert_eq!(json["architectures"], json!(["Qwen2ForCausalLM"]));
    disk::assert_weights(&open(&again).unwrap().0, &model, 0.0);

    let (folder, model) = rename(&|name| format!("model.{name}"));
    disk::assert_weights(&open(folder.path()).unwrap().0, &model, 0.0);
    // Some with and some without it, as a wrapper around a part leaves them.
    let part = |name: &str| if name.contains("layers.1") { bare(name) } else { name.to_owned() };
    let (folder, model) = rename(&part);
    disk::assert_weights(&open(folder.path()).unwrap().0, &model, 0.0);

    let (folder, _) = rename(&|name| format!("_orig_mod.{name}"));
    refused(folder.path(), &["_orig_mod.", "wrapped"]);
    let (folder, _) = rename(&|name| format!("transformer.{name}"));
    refused(folder.path(), &["begin with \"transformer.\""]);
    let (folder, _) = rename(&str::to_owned);
    change(folder.path(), |tensors| {
        let norm = tensors["model.norm.weight"].clone();
        tensors.insert("norm.weight".into(), norm);
    });
    refused(folder.path(), &["model.norm.weight", "as well"]);
}

#[test]
fn the_head_of_another_task_is_left_out_with_a_note() {
    let heads: [&[(&str, &[usize])]; 8] = [
        &[("v_head.summary.weight", &[1, 16]), ("v_head.summary.bias", &[1])],
        &[("value_head.weight", &[1, 16])],
        &[("score.weight", &[3, 16])],
        &[("reward_head.0.weight", &[16, 16]), ("reward_head.2.bias", &[1])],
        &[("classifier.bias", &[2])],
        &[("critic_head.dense.weight", &[64, 16]), ("critic_head.dense.bias", &[64])],
        // An unknown name with few outputs.
        &[("toxicity_head.weight", &[1, 16]), ("toxicity_head.bias", &[1])],
        &[("head.weight", &[2, 16])],
    ];
    for head in heads {
        let (folder, model) = saved(config(Family::Llama));
        change(folder.path(), |tensors| {
            for (name, shape) in head {
                tensors.insert((*name).to_owned(), values(shape, 5));
            }
        });
        let names: Vec<&str> = head.iter().map(|(name, _)| *name).collect();
        noted(&folder, &[&names[..], &["another task"]].concat());
        let (read, _) = open(folder.path()).unwrap();
        disk::assert_weights(&read, &model, 0.0);
    }
}

/// Of vocabulary 37 and width 16.
#[test]
fn an_output_head_under_another_name_is_not_left_out() {
    let shaped: [(&str, &[usize]); 7] = [
        ("head.weight", &[37, 16]),
        ("output_head.weight", &[37, 16]),
        ("score.weight", &[37, 16]),
        ("v_head.summary.weight", &[37, 16]),
        ("head.weight", &[16, 37]),
        ("output.weight", &[37, 16]),
        ("decoder_head.out.weight", &[37, 16]),
    ];
    for (name, shape) in shaped {
        let (folder, _) = saved(config(Family::Llama));
        change(folder.path(), |tensors| {
            tensors.insert("a_head.dense.weight".into(), values(&[16, 16], 6));
            tensors.insert(name.to_owned(), values(shape, 5));
        });
        refused(folder.path(), &[name, "shape of the output head", HEAD]);
    }
    let doubtful: [(&str, &[usize]); 6] = [
        // A larger vocabulary, a layer before the head, a low rank, a factor, a norm.
        ("output_head.weight", &[40, 16]),
        ("head.dense.weight", &[16, 16]),
        ("head.down.weight", &[4, 16]),
        ("head.weight", &[1, 37]),
        ("logit_head.scale", &[1]),
        ("head.norm.weight", &[16]),
    ];
    for (name, shape) in doubtful {
        let (folder, _) = saved(config(Family::Llama));
        change(folder.path(), |tensors| drop(tensors.insert(name.into(), values(shape, 5))));
        refused(folder.path(), &[name, "has no such weight"]);
    }
}

#[test]
fn a_weight_that_would_change_the_function_is_refused() {
    for (name, words) in [
        ("model.layers.0.self_attn.q_norm.weight", "different models"),
        ("model.layers.7.input_layernorm.weight", "different models"),
        ("model.layers.0.post_feedforward_layernorm.weight", "different models"),
        ("model.head.weight", "different models"),
        ("headless.weight", "different models"),
        ("scorer.weight", "different models"),
        ("prompt_embeddings.weight", "different models"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", "adapter"),
    ] {
        let (folder, _) = saved(config(Family::Llama));
        change(folder.path(), |tensors| drop(tensors.insert(name.into(), values(&[4], 5))));
        refused(folder.path(), &[name, words]);
    }
}

/// `theta^(-2i/4)` for heads of four, with the base of the tests.
fn frequencies(factor: f32) -> Tensor {
    Tensor::new(&[1.0f32 / factor, 0.01 / factor], &Device::Cpu).unwrap()
}

#[test]
fn stored_frequencies_are_left_out_where_they_are_those_of_the_configuration() {
    let inner = "model.layers.0.self_attn.rotary_emb.inv_freq";
    let with = |name: &str, tensor: Tensor, rope: Value| {
        let (folder, _) = saved(config(Family::Llama));
        set(&folder, &json!({ "rope_scaling": null, "rope_parameters": rope }));
        change(folder.path(), |tensors| drop(tensors.insert(name.into(), tensor)));
        folder
    };
    let plain = || json!({ "rope_theta": 1e4 });
    for name in [inner, "model.rotary_emb.inv_freq", "rotary_emb.inv_freq"] {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let folder = with(name, frequencies(1.0).to_dtype(dtype).unwrap(), plain());
            assert_eq!(notes(&folder), Vec::<String>::new(), "{name} {dtype:?}");
            open(folder.path()).unwrap();
        }
    }
    let linear = || json!({ "rope_type": "linear", "factor": 2.0, "rope_theta": 1e4 });
    for factor in [1.0, 2.0] {
        open(with(inner, frequencies(factor), linear()).path()).unwrap();
    }
    for (tensor, rope) in [
        (frequencies(2.0), plain()),
        (frequencies(4.0), linear()),
        (frequencies(1.001), plain()),
        (Tensor::ones(2, DType::F32, &Device::Cpu).unwrap(), plain()),
        (Tensor::ones(3, DType::F32, &Device::Cpu).unwrap(), plain()),
    ] {
        refused(with(inner, tensor, rope).path(), &[inner, "rotary frequencies", "10000"]);
    }
}

fn biased() -> ModelConfig {
    let [.., biased] = support::configs();
    biased
}

#[test]
fn biases_that_a_key_asks_for_are_used_and_saved() {
    for config in [
        biased(),
        ModelConfig { biases: Biases::ATTENTION, ..config(Family::Qwen3) },
        ModelConfig { biases: Biases { mlp: true, ..Biases::NONE }, ..config(Family::Llama) },
    ] {
        let (folder, model) = saved(config.clone());
        let (read, _) = open(folder.path()).unwrap();
        assert_eq!(*read.config(), config);
        disk::assert_weights(&read, &model, 0.0);
        // The biases make a difference.
        change(folder.path(), |tensors| {
            let zero = |(name, tensor): (String, Tensor)| {
                let bias = name.ends_with("_proj.bias");
                (name, if bias { tensor.zeros_like().unwrap() } else { tensor })
            };
            *tensors = tensors.drain().map(zero).collect();
        });
        let (zero, _) = open(folder.path()).unwrap();
        assert_ne!(hidden(&zero), hidden(&read));
    }
}

#[test]
fn biases_of_which_none_is_stored_begin_at_zero() {
    let (folder, _) = saved(config(Family::Llama));
    let plain = hidden(&open(folder.path()).unwrap().0);
    set(&folder, &json!({ "attention_bias": true, "mlp_bias": true }));
    noted(&folder, &["self_attn.o_proj.bias", "mlp.up_proj.bias", "begin at zero"]);
    let (read, text) = open(folder.path()).unwrap();
    assert_eq!(read.config().biases, biased().biases);
    assert_eq!(hidden(&read), plain);
    let again = folder.path().join("again");
    save(&read, &text, &again).unwrap();
    assert!(Checkpoint::open(&again).unwrap().notes.is_empty());
    disk::assert_weights(&open(&again).unwrap().0, &read, 0.0);

    // A whole kind may be absent, one of a kind may not.
    let (folder, _) = saved(biased());
    let without = |end: &'static str| {
        move |tensors: &mut Tensors| tensors.retain(|name, _| !name.ends_with(end))
    };
    change(folder.path(), without("o_proj.bias"));
    noted(&folder, &["self_attn.o_proj.bias", "begin at zero"]);
    open(folder.path()).unwrap();
    change(folder.path(), without("layers.1.mlp.up_proj.bias"));
    refused(folder.path(), &["layers.1.mlp.up_proj.bias", "missing"]);
    // Qwen2 has its biases without a key.
    let (folder, _) = saved(config(Family::Qwen2));
    change(folder.path(), without(".bias"));
    refused(folder.path(), &["self_attn.q_proj.bias", "missing"]);
}

#[test]
fn biases_that_no_key_asks_for_are_left_out_only_if_they_are_zero() {
    for (family, name, act) in [
        (Family::Llama, "model.layers.0.self_attn.o_proj.bias", "set attention_bias to true"),
        (Family::Llama, "model.layers.1.mlp.down_proj.bias", "set mlp_bias to true"),
        (Family::Qwen2, "model.layers.0.self_attn.o_proj.bias", "no such bias"),
        (Family::Qwen3, "model.layers.0.mlp.up_proj.bias", "no such bias"),
        (Family::Llama, "lm_head.bias", "no such bias"),
    ] {
        let (folder, model) = saved(config(family));
        let zeros = Tensor::zeros(16, DType::F32, &Device::Cpu).unwrap();
        change(folder.path(), |tensors| drop(tensors.insert(name.into(), zeros)));
        noted(&folder, &["biases that are zero", name]);
        disk::assert_weights(&open(folder.path()).unwrap().0, &model, 0.0);
        let mut numbers = vec![0.0f32; 16];
        numbers[11] = -0.125;
        let one = Tensor::new(numbers, &Device::Cpu).unwrap();
        change(folder.path(), |tensors| drop(tensors.insert(name.into(), one)));
        refused(folder.path(), &[name, "not zero", "0.125", act]);
        let no_number = Tensor::new(&[0.0, f32::NAN], &Device::Cpu).unwrap();
        change(folder.path(), |tensors| drop(tensors.insert(name.into(), no_number)));
        refused(folder.path(), &[name, "not zero"]);
    }
}

fn gguf(config: &ModelConfig, edit: impl FnOnce(&mut disk::GgufFile)) -> (TempDir, Model) {
    let vectors = disk::vectors();
    let vocabulary = &vectors["tokenizers"][0];
    let vocab_size = disk::strings(&vocabulary["tokens"]).len();
    let model = support::model(ModelConfig { vocab_size, ..config.clone() }, DType::F32);
    let mut file = disk::GgufFile::of(&model, GgmlDType::F32, vocabulary);
    edit(&mut file);
    let folder = tempfile::tempdir().unwrap();
    file.write(folder.path());
    (folder, model)
}

fn add(file: &mut disk::GgufFile, name: &str, numbers: &[f32]) {
    let tensor = Tensor::new(numbers, &Device::Cpu).unwrap();
    let tensor = QTensor::quantize(&tensor, GgmlDType::F32).unwrap();
    file.tensors.push((name.into(), tensor));
}

#[test]
fn a_gguf_file_has_the_biases_and_the_head_that_it_stores() {
    for config in support::configs() {
        for tie_embeddings in [true, false] {
            let config = ModelConfig { tie_embeddings, ..config.clone() };
            let (folder, model) = gguf(&config, |_| {});
            let checkpoint = Checkpoint::open(&folder.path().join("model.gguf")).unwrap();
            assert_eq!(checkpoint.notes, Vec::<String>::new());
            assert_eq!(checkpoint.config, *model.config());
            let (read, text) = checkpoint.load(&Device::Cpu, DType::F32).unwrap();
            disk::assert_weights(&read, &model, 0.0);
            let again = folder.path().join("again");
            save(&read, &text, &again).unwrap();
            let (again, _) = load(&again, &Device::Cpu, DType::F32).unwrap();
            assert_eq!(again.config(), read.config());
            disk::assert_weights(&again, &read, 0.0);
        }
    }
}

#[test]
fn what_is_left_over_in_a_gguf_file_is_judged_likewise() {
    let open = |name: &str, numbers: &[f32]| {
        let config = config(Family::Llama);
        let (folder, model) = gguf(&config, |file| add(file, name, numbers));
        let path = folder.path().join("model.gguf");
        let loaded = Checkpoint::open(&path).and_then(|checkpoint| {
            let notes = checkpoint.notes.clone();
            let (read, _) = checkpoint.load(&Device::Cpu, DType::F32)?;
            disk::assert_weights(&read, &model, 0.0);
            Ok(notes)
        });
        loaded.map_err(|error| error.to_string())
    };
    let notes = open("output.bias", &[0.0; 16]).unwrap();
    assert!(notes[0].contains("biases that are zero"), "{notes:?}");
    let error = open("output.bias", &[0.0, 0.5]).unwrap_err();
    assert!(error.contains("output.bias") && error.contains("0.5"), "{error}");
    assert_eq!(open("rope_factors_long.weight", &[1.0, 1.0]).unwrap(), Vec::<String>::new());
    let error = open("rope_factors_short.weight", &[1.0, 1.5]).unwrap_err();
    assert!(error.contains("rope_factors_short.weight"), "{error}");
    let error = open("blk.0.attn_q_norm.weight", &[1.0; 4]).unwrap_err();
    assert!(error.contains("blk.0.attn_q_norm.weight"), "{error}");
    let error = open("head.scale", &[2.0]).unwrap_err();
    assert!(error.contains("head.scale"), "{error}");
    let notes = open("score.bias", &[2.0]).unwrap();
    assert!(notes[0].contains("another task"), "{notes:?}");
    // A bias of a kind that a file has in one layer has to be in all.
    let error = open("blk.0.ffn_up.bias", &[0.0; 24]).unwrap_err();
    assert!(error.contains("bias") && error.contains("missing"), "{error}");
}

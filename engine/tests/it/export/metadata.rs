//! What a written file says of its model, and how it is read again.

use std::path::Path;

use candle::quantized::GgmlDType;
use candle::quantized::gguf_file::Value;
use candle::{DType, Device, Tensor};
use engine::gguf::Gguf;
use engine::text::tokenizers::AddedToken;
use engine::{Checkpoint, Export, Family, ModelConfig, RopeScaling, Text, WeightType, checkpoint};
use serde_json::Value as Json;
use tempfile::TempDir;

use super::{F32, content, open, read};
use crate::disk::{self, GgufFile};
use crate::support::{self, values};

/// One of the synthetic vocabularies.
pub(super) fn vocabulary(pre: &str) -> Json {
    let vectors = disk::vectors();
    let list = vectors["tokenizers"].as_array().unwrap();
    list.iter().find(|entry| entry["pre"] == pre).unwrap().clone()
}

/// A text with one of them.
pub(crate) fn text(pre: &str) -> Text {
    let vocabulary = vocabulary(pre);
    let vocab_size = disk::strings(&vocabulary["tokens"]).len();
    let config = ModelConfig { vocab_size, ..support::config(Family::Llama) };
    let model = support::model(config, DType::F32);
    let temp = TempDir::new().unwrap();
    let file = GgufFile::of(&model, GgmlDType::F32, &vocabulary).write(temp.path());
    Gguf::open(&file).unwrap().text().unwrap()
}

/// A folder with a random model of a configuration and a synthetic vocabulary.
fn folder(config: ModelConfig, text: &Text) -> TempDir {
    let temp = TempDir::new().unwrap();
    let model = support::model(config, DType::F32);
    checkpoint::save(&model, text, temp.path()).unwrap();
    temp
}

/// Writes a folder as a GGUF file.
fn converted(folder: &Path, into: &TempDir) -> std::path::PathBuf {
    let path = into.path().join("model.gguf");
    let export = open(folder);
    Export::of(&export).save_gguf(&path, F32, "a model").unwrap();
    path
}

fn sorted(ids: &[u32]) -> Vec<u32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

/// What both texts do with some texts and conversations.
#[track_caller]
fn assert_same(got: &Text, want: &Text, texts: &[&str]) {
    for source in texts {
        let ids = want.encode(source).unwrap();
        assert_eq!(got.encode(source).unwrap(), ids, "{source:?}");
        assert_eq!(got.decode(&ids).unwrap(), want.decode(&ids).unwrap(), "{source:?}");
    }
    assert_eq!(got.template(), want.template());
    assert_eq!(sorted(got.stop_tokens()), sorted(want.stop_tokens()));
    assert_eq!(got.stop_tokens()[0], want.stop_tokens()[0]);
    assert_eq!(got.begin(), want.begin());
    assert_eq!(got.vocab_size(), want.vocab_size());
    for name in ["bos_token", "eos_token", "unk_token", "pad_token"] {
        assert_eq!(got.named_token(name), want.named_token(name), "{name}");
    }
}

#[test]
fn a_folder_comes_back_from_a_file_with_equal_weights_and_an_equal_tokenizer() {
    let vectors = disk::vectors();
    let mut texts = disk::strings(&vectors["texts"]);
    texts.extend(["a<|im_end|>b", "<tool> yes </tool>", " x  <|endoftext|>\n"]);
    for pre in ["smollm", "qwen2", "llama-bpe", "gpt-2"] {
        for config in support::configs() {
            let rows = disk::strings(&vocabulary(pre)["tokens"]).len();
            // Rows that stand for no token at the end, as in Qwen's models.
            let config = ModelConfig { vocab_size: rows + 7, ..config };
            let text = text(pre);
            let (first, second) = (folder(config.clone(), &text), TempDir::new().unwrap());
            let file = converted(first.path(), &second);
            let (before, text) = read(first.path());
            let (between, its_text) = read(&file);
            assert_eq!(*between.config(), config, "{pre}");
            disk::assert_weights(&between, &before, 0.0);
            assert_same(&its_text, &text, &texts);
            let last = second.path().join("folder");
            Export::of(&open(&file)).save(&last, F32).unwrap();
            let (after, its_text) = read(&last);
            assert_eq!(*after.config(), config, "{pre}");
            for (got, want) in after.parameters().iter().zip(before.parameters()) {
                assert_eq!(values(&got.tensor), values(&want.tensor), "{}", got.name);
            }
            assert_same(&its_text, &text, &texts);
        }
    }
}

#[test]
fn every_pre_tokenizer_that_has_a_name_gets_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/pre_tokenizer_vectors.json");
    let vectors: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let page = vectors["page"].as_str().unwrap();
    let config = ModelConfig {
        vocab_size: disk::strings(&vectors["tokens"]).len(),
        ..support::config(Family::Llama)
    };
    let model = support::model(config, DType::F32);
    let temp = TempDir::new().unwrap();
    for pipeline in vectors["pipelines"].as_array().unwrap() {
        for pre in disk::strings(&pipeline["names"]) {
            let vocabulary = serde_json::json!({
                "pre": pre, "tokens": vectors["tokens"], "merges": vectors["merges"],
            });
            let mut file = GgufFile::of(&model, GgmlDType::F32, &vocabulary);
            file.set("tokenizer.ggml.eos_token_id", Value::U32(1));
            let text = Gguf::open(&file.write(temp.path())).unwrap().text().unwrap();
            let out = temp.path().join("out.gguf");
            Export::of_model(&model, &text).save_gguf(&out, F32, "x").unwrap();
            let again = Gguf::open(&out).unwrap().text().unwrap();
            let got = again.encode(page).unwrap();
            assert_eq!(serde_json::json!(got), pipeline["ids"], "{pre}");
            assert_eq!(again.begin(), text.begin(), "{pre}");
        }
    }
}

#[test]
fn rope_settings_come_back() {
    let scalings = [
        RopeScaling::Linear { factor: 4.0 },
        RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192,
        },
        RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 8192,
        },
    ];
    let text = text("llama-bpe");
    for rope_scaling in scalings {
        for head_dim in [64, 128] {
            let config = ModelConfig {
                vocab_size: text.vocab_size(),
                rope_theta: 500_000.0,
                rope_scaling,
                head_dim,
                context: 131_072,
                ..support::config(Family::Llama)
            };
            let (first, second) = (folder(config.clone(), &text), TempDir::new().unwrap());
            let file = converted(first.path(), &second);
            assert_eq!(open(&file).config, config);
            // And once more, from the file.
            let again = second.path().join("again.gguf");
            Export::of(&open(&file)).save_gguf(&again, F32, "").unwrap();
            assert_eq!(open(&again).config, config);
        }
    }
}

#[test]
fn the_metadata_of_a_file_are_copied_but_for_the_types() {
    let vocabulary = vocabulary("qwen2");
    let rows = disk::strings(&vocabulary["tokens"]).len();
    let config = ModelConfig { vocab_size: rows, ..support::config(Family::Qwen3) };
    let model = support::model(config, DType::F32);
    let mut file = GgufFile::of(&model, GgmlDType::F32, &vocabulary);
    let extra = [
        ("general.file_type", Value::U32(15)),
        ("general.quantization_version", Value::U32(3)),
        ("general.name", Value::String("Größe 你好".into())),
        ("general.tags", Value::Array(vec![Value::String("a".into()), Value::String("b".into())])),
        ("mine.numbers", Value::Array(vec![Value::F32(0.1), Value::F32(-3.5)])),
        ("mine.flags", Value::Array(vec![Value::Bool(true), Value::Bool(false)])),
        ("mine.long", Value::U64(u64::MAX / 3)),
        ("mine.wide", Value::F64(0.1)),
        ("mine.small", Value::I8(-3)),
    ];
    for (key, value) in extra {
        file.set(key, value);
    }
    let temp = TempDir::new().unwrap();
    let path = file.write(temp.path());
    let out = temp.path().join("out.gguf");
    let base = open(&path);
    Export::of(&base).save_gguf(&out, WeightType::F16, "another name").unwrap();
    let (before, after) = (content(&path).0, content(&out).0);
    assert_eq!(before.metadata.len(), after.metadata.len());
    for (key, value) in std::collections::BTreeMap::from_iter(&before.metadata) {
        let found = format!("{:?}", after.metadata[key]);
        match key.as_str() {
            "general.file_type" => assert_eq!(found, "U32(1)"),
            "general.quantization_version" => assert_eq!(found, "U32(2)"),
            _ => assert_eq!(found, format!("{value:?}"), "{key}"),
        }
    }
    disk::assert_weights(&read(&out).0, &model, 2e-3);
}

#[test]
fn tensors_begin_where_the_copied_alignment_says() {
    let vocabulary = vocabulary("qwen2");
    let rows = disk::strings(&vocabulary["tokens"]).len();
    // Every tensor is a multiple of 256 bytes: Candle aligns to 32 whatever the file says. A text
    // of the right length makes up for it in the head.
    let model = support::model(disk::wide_config(Family::Qwen3, rows), DType::F32);
    let temp = TempDir::new().unwrap();
    let mut file = GgufFile::of(&model, GgmlDType::F32, &vocabulary);
    file.set("general.alignment", Value::U32(256));
    let path = (0..8).find_map(|i| {
        file.set("mine.filler", Value::String("x".repeat(32 * i)));
        let path = file.write(temp.path());
        let head = content(&path).0.tensor_data_offset as usize;
        let data: usize = file.tensors.iter().map(|(_, x)| padded(x.storage_size_in_bytes())).sum();
        (head + data == file.bytes().len()).then_some(path)
    });
    let base = open(&path.unwrap());
    let out = temp.path().join("out.gguf");
    Export::of(&base).save_gguf(&out, F32, "").unwrap();
    let after = content(&out).0;
    assert!(after.tensor_data_offset.is_multiple_of(256));
    assert!(after.tensor_infos.values().all(|info| info.offset.is_multiple_of(256)));
    disk::assert_weights(&read(&out).0, &model, 0.0);
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(32)
}

#[test]
fn a_file_gives_its_metadata_to_a_model_of_the_same_tokenizer_alone() {
    let vocabulary = vocabulary("smollm");
    let rows = disk::strings(&vocabulary["tokens"]).len();
    let config = ModelConfig { vocab_size: rows, ..support::config(Family::Llama) };
    let model = support::model(config.clone(), DType::F32);
    let temp = TempDir::new().unwrap();
    let mut file = GgufFile::of(&model, GgmlDType::F32, &vocabulary);
    file.set("general.license", Value::String("apache-2.0".into()));
    let path = file.write(temp.path());
    let gguf = Gguf::open(&path).unwrap();
    // What a run of all weights saves.
    let (trained, text) = read(&path);
    let saved = temp.path().join("saved");
    checkpoint::save(&trained, &text, &saved).unwrap();
    let saved = open(&saved);
    let like = Export::of(&saved).like(&gguf).unwrap();
    assert!(like.copies_metadata());
    let out = temp.path().join("out.gguf");
    like.save_gguf(&out, F32, "x").unwrap();
    assert!(content(&out).0.metadata.contains_key("general.license"));
    // Another chat template, another token, other sizes.
    let templated = Export::of_model(&trained, &text.clone().with_template("x".into()))
        .like(&gguf)
        .map(|export| export.copies_metadata());
    assert!(!templated.unwrap());
    let mut more = text.tokenizer().clone();
    more.add_tokens([AddedToken::from("<more>", false)]).unwrap();
    let more = Text::new(more, text.template().map(str::to_owned), vec![2]).unwrap();
    assert!(!Export::of_model(&trained, &more).like(&gguf).unwrap().copies_metadata());
    let longer = support::model(ModelConfig { context: 128, ..config }, DType::F32);
    assert!(!Export::of_model(&longer, &text).like(&gguf).unwrap().copies_metadata());
}

#[test]
fn ends_of_turns_and_beginnings_are_written_by_their_keys() {
    let rows = disk::strings(&vocabulary("qwen2")["tokens"]).len();
    let config = ModelConfig { vocab_size: rows, ..support::config(Family::Qwen2) };
    let model = support::model(config, DType::F32);
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("x.gguf");
    let tokens = vocabulary("qwen2");
    let tokens = disk::strings(&tokens["tokens"]);
    let id = |token: &str| tokens.iter().position(|&t| t == token).unwrap() as u32;
    let tokenizer = text("qwen2").tokenizer().clone();
    let written = |stops: Vec<u32>| {
        let text = Text::new(tokenizer.clone(), None, stops).unwrap();
        let written = Export::of_model(&model, &text).save_gguf(&path, F32, "x").unwrap();
        let read = Gguf::open(&path).unwrap().text().unwrap();
        (read.stop_tokens().to_vec(), written.notes)
    };
    let (end, text_end) = (id("<|im_end|>"), id("<|endoftext|>"));
    assert_eq!(written(vec![end, text_end]), (vec![end, text_end], vec![]));
    // What readers of this pre-tokenizer take for an end anyway.
    let (stops, notes) = written(vec![text_end]);
    assert_eq!(stops, [text_end, end]);
    assert!(notes[0].contains("<|im_end|> does not end a turn"), "{notes:?}");
    // Two more by keys, and one too many.
    let plain = [id("a"), id("b"), id("c")];
    let (stops, notes) = written([&[end, text_end][..], &plain[..2]].concat());
    assert_eq!(sorted(&stops), sorted(&[end, text_end, plain[0], plain[1]]));
    assert!(notes.is_empty(), "{notes:?}");
    let (_, notes) = written([&[end, text_end][..], &plain].concat());
    assert!(notes[0].starts_with("c ends a turn"), "{notes:?}");
    // A beginning.
    let framed = text("llama-bpe");
    assert!(!framed.begin().is_empty());
    let config = ModelConfig { vocab_size: framed.vocab_size(), ..support::config(Family::Llama) };
    let model = support::model(config, DType::F32);
    Export::of_model(&model, &framed).save_gguf(&path, F32, "x").unwrap();
    assert_eq!(Gguf::open(&path).unwrap().text().unwrap().begin(), framed.begin());
    assert!(matches!(content(&path).0.metadata["tokenizer.ggml.add_bos_token"], Value::Bool(true)));
}

/// What llama.cpp asks of a file: a token for each row, of the kind that it is.
#[test]
fn every_row_of_the_model_has_a_token() {
    let text = text("qwen2");
    let rows = text.vocab_size() + 5;
    let config = ModelConfig { vocab_size: rows, ..support::config(Family::Qwen2) };
    let (first, second) = (folder(config, &text), TempDir::new().unwrap());
    let metadata = content(&converted(first.path(), &second)).0.metadata;
    let list = |key: &str| metadata[key].to_vec().unwrap().clone();
    let tokens = list("tokenizer.ggml.tokens");
    let kinds: Vec<i32> =
        list("tokenizer.ggml.token_type").iter().map(|x| x.to_i32().unwrap()).collect();
    assert_eq!((tokens.len(), kinds.len()), (rows, rows));
    assert_eq!(kinds[rows - 5..], [5; 5]);
    let named =
        |token: &str| tokens.iter().position(|x| x.to_string().is_ok_and(|x| x == token)).unwrap();
    assert_eq!(kinds[named("<|im_end|>")], 3);
    assert_eq!(kinds[named("<tool>")], 4);
    assert_eq!(kinds[named("a")], 1);
    let whole = |key: &str| metadata[key].to_u32().unwrap();
    assert_eq!(whole("qwen2.vocab_size") as usize, rows);
    assert_eq!(whole("general.file_type"), 0);
}

/// The tensors that a file of a model with another layout of queries and keys has.
#[test]
fn rows_of_queries_and_keys_of_a_llama_are_in_llama_cpps_order() {
    for (family, permuted) in [(Family::Llama, true), (Family::Qwen2, false)] {
        let text = text("qwen2");
        let config = ModelConfig { vocab_size: text.vocab_size(), ..support::config(family) };
        let model = support::model(config, DType::F32);
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("x.gguf");
        Export::of_model(&model, &text).save_gguf(&path, F32, "x").unwrap();
        let (content, mut file) = content(&path);
        let stored = content.tensor(&mut file, "blk.0.attn_q.weight", &Device::Cpu).unwrap();
        let stored: Tensor = stored.dequantize(&Device::Cpu).unwrap();
        let want = GgufFile::of(&model, GgmlDType::F32, &vocabulary("qwen2"));
        let (_, want) =
            want.tensors.iter().find(|(name, _)| name == "blk.0.attn_q.weight").unwrap();
        let want = want.dequantize(&Device::Cpu).unwrap();
        assert_eq!(values(&stored), values(&want));
        let own = "model.layers.0.self_attn.q_proj.weight";
        let own = model.parameters().iter().find(|x| x.name == own).unwrap();
        assert_eq!(values(&stored) != values(&own.tensor), permuted);
    }
}

#[test]
fn a_checkpoint_says_whether_it_is_a_file() {
    let (first, second) = (folder_of_qwen(), TempDir::new().unwrap());
    assert!(open(first.path()).gguf().is_none());
    let file: Checkpoint = open(&converted(first.path(), &second));
    assert!(file.gguf().is_some());
}

fn folder_of_qwen() -> TempDir {
    let text = text("qwen2");
    folder(ModelConfig { vocab_size: text.vocab_size(), ..support::config(Family::Qwen2) }, &text)
}

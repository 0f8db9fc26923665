//! Every name of a pre-tokenizer that GGUF files have, against Python, and what GGUF files leave
//! out.

use std::path::Path;

use candle::DType;
use candle::quantized::GgmlDType;
use candle::quantized::gguf_file::Value;
use engine::gguf::Gguf;
use engine::text::tokenizers;
use engine::{Family, ModelConfig, Text};
use serde_json::{Value as Json, json};

use crate::disk::{self, GgufFile};
use crate::support;

fn vectors() -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/pre_tokenizer_vectors.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn file(vectors: &Json, pre: &str) -> GgufFile {
    let vocab_size = disk::strings(&vectors["tokens"]).len();
    let config = ModelConfig { vocab_size, ..support::config(Family::Llama) };
    let vocabulary =
        json!({ "pre": pre, "tokens": vectors["tokens"], "merges": vectors["merges"] });
    let mut file = GgufFile::of(&support::model(config, DType::F32), GgmlDType::F32, &vocabulary);
    file.set("tokenizer.ggml.eos_token_id", Value::U32(1));
    file
}

fn text_of(file: &GgufFile) -> engine::Result<Text> {
    let folder = tempfile::tempdir().unwrap();
    Gguf::open(&file.write(folder.path()))?.text()
}

const NOTHING: [u32; 0] = [];

fn list(values: &[&str]) -> Value {
    Value::Array(values.iter().map(|&s| Value::String(s.into())).collect())
}

#[test]
fn every_name_gives_the_ids_of_python_tokenizers() {
    let vectors = vectors();
    let page = vectors["page"].as_str().unwrap();
    let mut file = file(&vectors, "");
    let mut names = 0;
    for pipeline in vectors["pipelines"].as_array().unwrap() {
        for name in disk::strings(&pipeline["names"]) {
            file.set("tokenizer.ggml.pre", Value::String(name.into()));
            let text = text_of(&file).unwrap();
            let got = text.encode(page).unwrap();
            assert_eq!(json!(got), pipeline["ids"], "{name}");
            names += 1;
            // Saved as tokenizer.json and read again, too.
            if names % 8 == 0 {
                let json = text.tokenizer().to_string(false).unwrap();
                let again: tokenizers::Tokenizer = json.parse().unwrap();
                assert_eq!(again.encode_fast(page, false).unwrap().get_ids(), got, "{name}");
            }
        }
    }
    assert!(names > 80, "{names}");
}

#[test]
fn a_name_that_is_not_known_or_not_byte_level_is_refused() {
    let mut file = file(&vectors(), "");
    for name in ["", "llama", "llama3 ", "Qwen2", "qwen3", "gpt2", "falcon-7b", "tekken2"] {
        file.set("tokenizer.ggml.pre", Value::String(name.into()));
        let error = text_of(&file).unwrap_err().to_string();
        assert!(error.contains(&format!("\"{name}\"")) && error.contains("not known"), "{error}");
        assert!(error.contains("tokenizer.json"), "{error}");
    }
    for name in ["gemma4", "whitespace", "sarvam-moe"] {
        file.set("tokenizer.ggml.pre", Value::String(name.into()));
        let error = text_of(&file).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("not a byte-level one"), "{error}");
    }
}

#[test]
fn the_name_default_comes_with_a_note() {
    let vectors = vectors();
    assert!(text_of(&file(&vectors, "default")).unwrap().notes()[0].contains("\"default\""));
    assert!(text_of(&file(&vectors, "tekken")).unwrap().notes().is_empty());
}

#[test]
fn a_text_begins_as_the_file_says_or_else_as_its_kind_does() {
    let vectors = vectors();
    let begin = |pre: &str, flag: Option<bool>, bos: bool| {
        let mut file = file(&vectors, pre);
        if let Some(flag) = flag {
            file.set("tokenizer.ggml.add_bos_token", Value::Bool(flag));
        }
        if !bos {
            file.metadata.retain(|(key, _)| key != "tokenizer.ggml.bos_token_id");
        }
        text_of(&file).map(|text| text.begin().to_vec())
    };
    for pre in ["llama-bpe", "llama3", "tekken"] {
        assert_eq!(begin(pre, None, true).unwrap(), [0]);
        assert_eq!(begin(pre, Some(false), true).unwrap(), NOTHING);
        assert_eq!(begin(pre, None, false).unwrap(), NOTHING);
    }
    for pre in ["qwen2", "deepseek-r1-qwen", "gpt-2", "default"] {
        assert_eq!(begin(pre, None, true).unwrap(), NOTHING);
        assert_eq!(begin(pre, Some(true), true).unwrap(), [0]);
        let error = begin(pre, Some(true), false).unwrap_err().to_string();
        assert!(error.contains("add_bos_token is true"), "{error}");
        assert!(error.contains("bos_token_id is not set"), "{error}");
    }
}

#[test]
fn without_token_types_the_tokens_that_begin_and_end_a_text_are_special() {
    let vectors = vectors();
    let mut file = file(&vectors, "gpt-2");
    let typed = text_of(&file).unwrap();
    file.metadata.retain(|(key, _)| key != "tokenizer.ggml.token_type");
    let text = text_of(&file).unwrap();
    assert!(text.notes()[0].contains("token_type"), "{:?}", text.notes());
    for source in [vectors["page"].as_str().unwrap(), "a<|im_end|>b<|endoftext|>", "hello"] {
        let ids = typed.encode(source).unwrap();
        assert_eq!(text.encode(source).unwrap(), ids);
        assert_eq!(text.decode(&ids).unwrap(), typed.decode(&ids).unwrap());
    }
    assert_eq!(text.stop_tokens(), [1]);
    // A name that ends a turn in no family is a piece of text.
    let tokens = disk::strings(&vectors["tokens"]);
    let tokens: Vec<_> =
        tokens.iter().map(|&t| if t == "<|im_end|>" { "<|halt|>" } else { t }).collect();
    file.set("tokenizer.ggml.tokens", list(&tokens));
    file.set("tokenizer.ggml.eos_token_id", Value::U32(0));
    let text = text_of(&file).unwrap();
    assert_eq!(text.stop_tokens(), [0]);
    assert!(text.encode("<|halt|>").unwrap().len() > 1);
}

#[test]
fn padded_rows_of_a_file_are_no_tokens() {
    let vectors = vectors();
    let mut file = file(&vectors, "llama-bpe");
    let tokens = disk::strings(&vectors["tokens"]);
    let count = tokens.len() as u32;
    let padding = ["[PAD1]", "[PAD2]", "hello hello hello", ""];
    file.set("tokenizer.ggml.tokens", list(&[tokens.as_slice(), &padding].concat()));
    let kinds = tokens.iter().map(|t| if t.starts_with("<|") { 3 } else { 1 });
    let kinds = kinds.chain([5, 5, 5, 1]).map(Value::I32).collect();
    file.set("tokenizer.ggml.token_type", Value::Array(kinds));
    let text = text_of(&file).unwrap();
    assert_eq!(text.vocab_size() as u32, count);
    assert!(text.unused_ids(count as usize + 6).into_iter().eq(count..count + 6));
    assert!(!text.encode("[PAD1]").unwrap().contains(&count));
    // What a merge needs is a token, whatever its kind.
    let kinds = tokens.iter().map(|t| if t.starts_with("<|") { 3 } else { 5 });
    file.set("tokenizer.ggml.tokens", list(&tokens));
    file.set("tokenizer.ggml.token_type", Value::Array(kinds.map(Value::I32).collect()));
    let merged = vectors["merges"].as_array().unwrap().len();
    assert!(text_of(&file).unwrap().tokenizer().get_vocab_size(true) >= merged);
}

#[test]
fn ids_of_minus_one_name_no_token() {
    let vectors = vectors();
    for none in [Value::I32(-1), Value::U32(u32::MAX), Value::I64(-1)] {
        let mut file = file(&vectors, "llama-bpe");
        file.set("tokenizer.ggml.bos_token_id", none.clone());
        file.set("tokenizer.ggml.padding_token_id", none.clone());
        let text = text_of(&file).unwrap();
        assert_eq!(
            (text.named_token("bos_token"), text.begin(), text.stop_tokens()),
            (None, &[][..], &[1][..])
        );
        file.set("tokenizer.ggml.eos_token_id", none);
        assert_eq!(text_of(&file).unwrap().stop_tokens(), [1], "by its name");
    }
    let mut file = file(&vectors, "gpt-2");
    file.set("tokenizer.ggml.padding_token_id", Value::U32(70_000));
    let error = text_of(&file).unwrap_err().to_string();
    assert!(error.contains("padding_token_id is 70000"), "{error}");
}

#[test]
fn what_a_file_lacks_is_named() {
    for key in ["merges", "tokens", "model"] {
        let mut file = file(&vectors(), "gpt-2");
        let key = format!("tokenizer.ggml.{key}");
        file.metadata.retain(|(name, _)| *name != key);
        let error = text_of(&file).unwrap_err().to_string();
        let named = error.contains(&key) || error.contains("tokenizer model \"(not given)\"");
        assert!(named && error.contains("as a folder"), "{error}");
    }
}

//! The files beside `tokenizer.json` against `transformers`, what a text begins with, and rows that
//! stand for no token.

use std::path::Path;

use engine::Text;
use serde_json::{Value, json};

use crate::disk;

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/special_token_vectors.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A folder with the small tokenizer, and with these files in place of its own.
fn folder(vectors: &Value, changes: &[(&str, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        write(name, vectors[name].as_str().unwrap());
    }
    for (name, text) in changes {
        write(name, text);
    }
    folder
}

fn read(folder: &Path, rows: usize) -> engine::Result<Text> {
    Text::from_folder(folder, &json!({ "vocab_size": rows, "eos_token_id": 0 }))
}

fn refused(changes: &[(&str, Value)], words: &[&str]) {
    let changes: Vec<_> = changes.iter().map(|(name, json)| (*name, json.to_string())).collect();
    let folder = folder(&vectors(), &changes);
    let error = read(folder.path(), 64).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "{error}");
    }
}

fn numbers(list: &Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Everything wrong with a text, against what `transformers` made of the same files.
fn differences(text: &Text, case: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut need = |ok: bool, what: String| {
        if !ok {
            wrong.push(format!("{}: {what}", case["name"]));
        }
    };
    let texts = disk::strings(&case["texts"]);
    for (i, source) in texts.iter().enumerate() {
        let (ids, whole) = (numbers(&case["ids"][i]), numbers(&case["whole"][i]));
        let got = text.encode(source).unwrap();
        need(got == ids, format!("{source:?} is {got:?}, expected {ids:?}"));
        let begun = [text.begin(), &ids].concat();
        need(whole.starts_with(&begun), format!("{source:?} begins {whole:?}, got {begun:?}"));
        need(whole.len() <= begun.len() + 1, format!("{whole:?} begins with {:?}", text.begin()));
        let decoded = text.decode(&ids).unwrap();
        need(case["decoded"][i] == decoded.as_str(), format!("{ids:?} reads {decoded:?}"));
    }
    let named = case["named"].as_object().unwrap();
    for name in ["bos_token", "eos_token", "pad_token", "image_token", "turn_token"] {
        let id = named.get(name).and_then(Value::as_u64).map(|id| id as u32);
        need(text.named_token(name) == id, format!("{name} is {:?}", text.named_token(name)));
        if name == "eos_token"
            && let Some(eos) = id
        {
            need(text.stop_tokens().contains(&eos), format!("{eos} does not stop"));
        }
    }
    wrong
}

#[test]
fn the_files_beside_a_tokenizer_are_read_as_in_transformers() {
    let vectors = vectors();
    let mut wrong = Vec::new();
    for case in vectors["cases"].as_array().unwrap() {
        let changes = case["changes"].as_object().unwrap().iter();
        let changes: Vec<_> = changes
            .map(|(name, text)| (name.as_str(), text.as_str().unwrap().to_owned()))
            .collect();
        let folder = folder(&vectors, &changes);
        for name in disk::strings(&case["absent"]) {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        let rows = case["rows"].as_u64().unwrap() as usize;
        let text = match read(folder.path(), rows) {
            Ok(text) => text,
            Err(e) => {
                wrong.push(format!("{}: {e}", case["name"]));
                continue;
            }
        };
        text.check_vocabulary(rows).unwrap();
        wrong.extend(differences(&text, case));
        let notes = text.notes().join("\n");
        let words = disk::strings(&case["notes"]);
        if words.is_empty() != notes.is_empty() || words.iter().any(|word| !notes.contains(word)) {
            wrong.push(format!("{}: the notes are {notes:?}", case["name"]));
        }
        // Saved and read again, it is the same.
        let saved = tempfile::tempdir().unwrap();
        for (name, contents) in text.to_files().unwrap() {
            std::fs::write(saved.path().join(name), contents).unwrap();
        }
        let again = read(saved.path(), rows).unwrap();
        wrong.extend(differences(&again, case).iter().map(|what| format!("read again: {what}")));
        assert_eq!(again.stop_tokens(), text.stop_tokens());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_listed_token_that_cannot_have_its_id_is_refused() {
    let entry = json!({ "content": "<new>", "special": true });
    let list = |id: &str| json!({ "eos_token": "<stop>", "added_tokens_decoder": { id: entry } });
    // 36 is the next free id.
    refused(&[("added_tokens.json", json!({ "<new>": 40 }))], &["`<new>` has the id 40", "is 36"]);
    refused(&[("added_tokens.json", json!({ "<new>": 20 }))], &["`<new>` has the id 20", "is 36"]);
    refused(&[("tokenizer_config.json", list("37"))], &["`<new>` has the id 37", "is 36"]);
    refused(&[("tokenizer_config.json", list("2"))], &["`<new>` has the id 2", "one checkpoint"]);
}

#[test]
fn a_list_of_tokens_of_another_form_is_refused() {
    let decoder = |decoder: Value| json!({ "added_tokens_decoder": decoder });
    for (file, json, word) in [
        ("added_tokens.json", json!({ "<new>": "36" }), "\"36\" for `<new>`"),
        ("added_tokens.json", json!({ "<new>": -1 }), "-1 for `<new>`"),
        ("added_tokens.json", json!(["<new>"]), "added_tokens.json: not a JSON object"),
        ("special_tokens_map.json", json!(7), "special_tokens_map.json: not a JSON object"),
        ("tokenizer_config.json", decoder(json!([1])), "not an object"),
        ("tokenizer_config.json", decoder(json!({ "x": {} })), "\"x\", expected a token id"),
        ("tokenizer_config.json", decoder(json!({ "36": {} })), "no content for the id 36"),
        ("tokenizer_config.json", decoder(json!({ "36": "<new>" })), "no content"),
    ] {
        refused(&[(file, json)], &[word]);
    }
}

#[test]
fn a_post_processor_that_adds_an_unknown_id_is_refused() {
    let vectors = vectors();
    let mut tokenizer: Value =
        serde_json::from_str(vectors["tokenizer.json"].as_str().unwrap()).unwrap();
    tokenizer["post_processor"] = json!({
        "type": "BertProcessing", "sep": ["<stop>", 2], "cls": ["<begin>", 700]
    });
    refused(&[("tokenizer.json", tokenizer)], &["adds the id 700"]);
}

/// The small tokenizer with this at a path of its JSON.
fn tokenizer_with(path: &str, value: Value) -> Value {
    let mut tokenizer: Value =
        serde_json::from_str(vectors()["tokenizer.json"].as_str().unwrap()).unwrap();
    *tokenizer.pointer_mut(path).unwrap() = value;
    tokenizer
}

/// A byte-pair model of a few letters.
fn bpe(prefix: &str, merges: &Value) -> Value {
    let vocab = json!({ "<begin>": 1, "<stop>": 2, "<unk>": 0, "a": 3, "b": 4, "##b": 5, "ab": 6, "a##b": 7 });
    let prefix = if prefix.is_empty() { Value::Null } else { prefix.into() };
    json!({
        "type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "<unk>",
        "continuing_subword_prefix": prefix,
    })
}

#[test]
fn merges_that_do_not_fit_the_vocabulary_or_the_prefix_are_refused() {
    let model = |prefix: &str, merges: Value| {
        [("tokenizer.json", tokenizer_with("/model", bpe(prefix, &merges)))]
    };
    for merges in [json!([["a", "b"]]), json!(["a b"])] {
        refused(&model("##", merges), &["`a` and `b`", "prefix `##`", "set model.contin"]);
    }
    // Longer than any token, and shorter.
    refused(&model("", json!([["a##b", "ab"]])), &["makes `a##bab`", "same tokenizer"]);
    refused(&model("", json!([["b", "a"]])), &["makes `ba`", "same tokenizer"]);
    for (prefix, merge) in
        [("##", json!(["a", "##b"])), ("", json!(["a", "b"])), ("", json!(["a", "##b"]))]
    {
        let mut file = tokenizer_with("/model", bpe(prefix, &json!([merge])));
        file["post_processor"] = Value::Null;
        assert!(read_file(&file).is_ok(), "{prefix}");
    }
}

fn read_file(file: &Value) -> engine::Result<Text> {
    let folder = folder(&vectors(), &[("tokenizer.json", file.to_string())]);
    read(folder.path(), 64)
}

#[test]
fn parts_that_the_tokenizer_would_fail_on_are_refused() {
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let other = json!({ "Sequence": { "id": "B", "type_id": 0 } });
    let begin = json!({ "SpecialToken": { "id": "<begin>", "type_id": 0 } });
    let template = |single: Value, listed: Value| {
        json!({
            "type": "TemplateProcessing", "single": single, "pair": [text, other],
            "special_tokens": listed,
        })
    };
    let listed = json!({ "<begin>": { "id": "<begin>", "ids": [1], "tokens": ["<begin>"] } });
    let missing = template(json!([begin, text]), json!({}));
    let nested = json!({ "type": "Sequence", "processors": [missing] });
    let file = |path: &str, part: &Value| [("tokenizer.json", tokenizer_with(path, part.clone()))];
    for part in [&missing, &nested, &json!({ "type": "Sequence", "processors": [nested] })] {
        refused(&file("/post_processor", part), &["adds the token `<begin>`", "add it there"]);
    }
    let second = template(json!([other]), json!({}));
    refused(&file("/post_processor", &second), &["the sequence B", "name the sequence A"]);
    let fixed = json!({ "type": "FixedLength", "length": 0 });
    refused(&file("/pre_tokenizer", &fixed), &["has the length 0"]);
    let strip = json!({ "type": "Strip", "content": " ", "start": 0, "stop": 1 });
    refused(&file("/decoder", &strip), &["has stop 1"]);
    for part in [template(json!([begin, text]), listed), template(json!([text]), json!({}))] {
        assert!(read_file(&tokenizer_with("/post_processor", part)).is_ok());
    }
}

#[test]
fn dropout_of_merges_is_switched_off_with_a_note() {
    let merges = json!([["a", "b"]]);
    for (dropout, noted) in [(json!(0.9), true), (json!(0.0), false), (Value::Null, false)] {
        let mut model = bpe("", &merges);
        model["dropout"] = dropout;
        let mut file = tokenizer_with("/model", model);
        file["pre_tokenizer"] = Value::Null;
        file["post_processor"] = Value::Null;
        let text = read_file(&file).unwrap();
        let note = text.notes().iter().find(|note| note.contains("model.dropout is 0.9"));
        assert_eq!(note.is_some(), noted);
        for _ in 0..50 {
            assert_eq!(text.encode("ab").unwrap(), [6]);
        }
    }
}

#[test]
fn end_tokens_that_are_negative_or_null_are_none() {
    let vectors = vectors();
    let stops = |generation: Value, config: Value| {
        let generation = json!({ "eos_token_id": generation }).to_string();
        let folder = folder(&vectors, &[("generation_config.json", generation)]);
        let config = json!({ "vocab_size": 40, "eos_token_id": config });
        Text::from_folder(folder.path(), &config).map(|text| text.stop_tokens().to_vec())
    };
    // The tokenizer's own end is the token 2.
    for none in [json!(-1), json!(null), json!([]), json!([-1, null]), json!(-100)] {
        assert_eq!(stops(none.clone(), json!(-1)).unwrap(), [2]);
        assert_eq!(stops(none.clone(), json!(0)).unwrap(), [0, 2]);
        assert_eq!(stops(json!([1, -1]), none).unwrap(), [1, 2]);
    }
    for id in [36, 39, 40, 4_294_967_295_u64] {
        let error = stops(json!([2, id]), json!(2)).unwrap_err().to_string();
        assert!(error.contains(&id.to_string()), "{error}");
    }
    for other in [json!("2"), json!(1.5), json!(true), json!([[2]]), json!(4_294_967_296_u64)] {
        let error = stops(other, json!(2)).unwrap_err().to_string();
        assert!(error.contains("expected a token id"), "{error}");
    }
}

#[test]
fn rows_without_a_token_are_accepted_counted_and_listed() {
    let text = disk::text(128);
    assert_eq!(text.check_vocabulary(128).unwrap(), None);
    assert!(text.unused_ids(128).is_empty());
    for rows in [129, 134, 200, 49_152] {
        let note = text.check_vocabulary(rows).unwrap().unwrap();
        let unused = text.unused_ids(rows);
        assert!(note.starts_with(&format!("{} of the embedding's {rows} rows", rows - 128)));
        assert!(unused.iter().copied().eq(128..rows as u32));
    }
    for rows in [0, 1, 127] {
        let error = text.check_vocabulary(rows).unwrap_err().to_string();
        let words = ["ids up to 127 (`w127`)", &format!("has {rows} rows"), "same checkpoint"];
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    }
}

#[test]
fn a_gap_between_ids_is_a_row_without_a_token() {
    let vectors = vectors();
    let mut tokenizer: Value =
        serde_json::from_str(vectors["tokenizer.json"].as_str().unwrap()).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    vocab.insert("ab".into(), 41.into());
    vocab.shift_remove("q");
    let gap = vocab["p"].as_u64().unwrap() as u32 + 1;
    let folder = folder(&vectors, &[("tokenizer.json", tokenizer.to_string())]);
    let text = read(folder.path(), 44).unwrap();
    assert_eq!(text.unused_ids(44), [gap, 36, 37, 38, 39, 40, 42, 43]);
    assert_eq!(text.vocab_size(), 42);
    let note = text.check_vocabulary(44).unwrap().unwrap();
    assert!(note.starts_with("8 of the embedding's 44 rows"), "{note}");
    assert!(text.check_vocabulary(42).unwrap().is_some());
    assert!(text.check_vocabulary(41).is_err());
}

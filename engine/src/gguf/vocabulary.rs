//! A tokenizer as the metadata of a GGUF file, which hold byte-level BPE only: tokens with their
//! kinds, merges, the name of a pre-tokenizer, and the ids of a few special tokens.
//!
//! Source: `get_vocab_base` in `convert_hf_to_gguf.py` of llama.cpp.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::pre_tokenizer::Pipeline;
use super::tokenizer::{CONTROL, NORMAL, UNUSED, USER_DEFINED};
use super::write::{Field, Fields};
use crate::{Error, Result, Text};

/// The keys of a tokenizer whose model has `rows` rows, and what they cannot say, one line each.
///
/// # Errors
///
/// Fails when the tokenizer is no byte-level BPE, when its pre-tokenizer has no name, and when it
/// begins a text with several tokens.
pub(super) fn vocabulary(text: &Text, rows: usize) -> Result<(Fields, Vec<String>)> {
    let json = text.tokenizer().to_string(false).map_err(|e| Error::Text(e.to_string()))?;
    let json: Value = serde_json::from_str(&json).map_err(|e| Error::Text(e.to_string()))?;
    let refused = |problem: String| {
        Error::Text(format!(
            "GGUF metadata cannot hold this tokenizer: {problem}\n\
             write the model as a Hugging Face folder, which holds its tokenizer.json"
        ))
    };
    let model = json["model"].as_object().cloned().unwrap_or_default();
    check_model(&model).map_err(refused)?;
    let mut notes = Vec::new();
    let tokens = Tokens::of(&json, rows, &mut notes).map_err(refused)?;
    let (pre, pipeline) = Pipeline::of(&json).map_err(refused)?;
    let mut fields: Fields = Vec::new();
    let mut own = |key: &str, field: Field| fields.push((format!("tokenizer.ggml.{key}"), field));
    own("model", "gpt2".into());
    own("pre", pre.into());
    own("merges", Field::Texts(merges(&model).map_err(refused)?));
    for (key, id) in special(text, &tokens, &pipeline, &mut notes).map_err(refused)? {
        own(&format!("{key}_token_id"), Field::Size(id as usize));
    }
    own("add_bos_token", Field::Flag(!text.begin().is_empty()));
    if !text.end().is_empty() {
        own("add_eos_token", Field::Flag(true));
    }
    own("tokens", Field::Texts(tokens.contents));
    own("token_type", Field::Numbers(tokens.kinds));
    if let Some(template) = text.template() {
        fields.push(("tokenizer.chat_template".into(), template.into()));
    }
    Ok((fields, notes))
}

/// Whether a model of a `tokenizer.json` is byte-level BPE without what the metadata have no key
/// for.
fn check_model(model: &Map<String, Value>) -> Result<(), String> {
    let kind = model.get("type").and_then(Value::as_str).unwrap_or("(not given)");
    if kind != "BPE" {
        return Err(format!("its model is {kind}, expected byte-level BPE"));
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if let Some(affix) = model.get(key).and_then(Value::as_str).filter(|x| !x.is_empty()) {
            return Err(format!("it has the {key} \"{affix}\""));
        }
    }
    // Without a gap in the alphabet nothing is ever unknown.
    let vocab = model.get("vocab").and_then(Value::as_object);
    let has = |byte: &char| vocab.is_some_and(|vocab| vocab.contains_key(&byte.to_string()));
    let whole = ByteLevel::alphabet().iter().all(has);
    let unknown = model.get("unk_token").and_then(Value::as_str);
    let fallback = model.get("byte_fallback") == Some(&Value::Bool(true));
    match (whole, unknown) {
        (false, Some(token)) => Err(format!("it lacks bytes and has {token} in their place")),
        (false, None) if fallback => Err("it falls back to tokens of bytes".into()),
        _ => Ok(()),
    }
}

/// Merges in the order of their ranks, each as two tokens with a space between.
fn merges(model: &Map<String, Value>) -> Result<Vec<String>, String> {
    let merges = model.get("merges").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let merges = merges.iter().map(|merge| match merge {
        Value::String(pair) => Ok(pair.clone()),
        pair => match (pair[0].as_str(), pair[1].as_str()) {
            (Some(a), Some(b)) if !a.contains(' ') && !b.contains(' ') => Ok(format!("{a} {b}")),
            _ => Err(format!("the merge {pair} has a space in a token")),
        },
    });
    merges.collect()
}

struct Tokens {
    contents: Vec<String>,
    kinds: Vec<i32>,
}

impl Tokens {
    /// Each row of the model with its token; a row without one gets a name that stands for no text.
    fn of(json: &Value, rows: usize, notes: &mut Vec<String>) -> Result<Self, String> {
        let mut known: BTreeMap<usize, (String, i64)> = BTreeMap::new();
        for (token, id) in json["model"]["vocab"].as_object().into_iter().flatten() {
            known.insert(id.as_u64().unwrap_or_default() as usize, (token.clone(), NORMAL));
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let content = added["content"].as_str().unwrap_or_default().to_owned();
            let takes = ["lstrip", "rstrip", "single_word"].iter().find(|key| added[**key] == true);
            if let Some(key) = takes {
                notes.push(format!(
                    "the token {content} has {key}, which GGUF metadata cannot say: around it \
                     other programs may find other token ids"
                ));
            }
            let kind = if added["special"] == true { CONTROL } else { USER_DEFINED };
            known.insert(added["id"].as_u64().unwrap_or_default() as usize, (content, kind));
        }
        if let Some((id, (token, _))) = known.last_key_value().filter(|(id, _)| **id >= rows) {
            return Err(format!("the token {token} has the id {id}, and the model {rows} rows"));
        }
        let used: BTreeSet<String> = known.values().map(|(token, _)| token.clone()).collect();
        let (contents, kinds) = (0..rows)
            .map(|id| match known.remove(&id) {
                Some((token, kind)) => (token, kind as i32),
                None => (unused(id, &used), UNUSED as i32),
            })
            .unzip();
        Ok(Self { contents, kinds })
    }

    fn control(&self, name: &str) -> Option<u32> {
        let id = self.contents.iter().position(|token| token == name)?;
        (i64::from(self.kinds[id]) == CONTROL).then_some(id as u32)
    }
}

/// What is said of an end of a turn that the keys have no place for.
pub(super) fn no_key_left(text: &Text, id: u32) -> String {
    let token = text.tokenizer().id_to_token(id).unwrap_or_else(|| id.to_string());
    format!("{token} ends a turn, but GGUF metadata have no key left to say so")
}

/// A name for a row that stands for no token.
fn unused(id: usize, used: &BTreeSet<String>) -> String {
    let mut name = format!("[PAD{id}]");
    while used.contains(&name) {
        name.push(']');
    }
    name
}

/// Ids by the keys that name them.
///
/// Readers take the tokens in [`Pipeline::ends`] for ends of a turn, too: those need no key.
fn special(
    text: &Text,
    tokens: &Tokens,
    pipeline: &Pipeline,
    notes: &mut Vec<String>,
) -> Result<Vec<(&'static str, u32)>, String> {
    let shown = |id: u32| tokens.contents[id as usize].as_str();
    let stops = text.stop_tokens();
    let named = text.named_token("eos_token").filter(|id| stops.contains(id));
    let eos = named.or(stops.first().copied()).ok_or("no token ends a turn")?;
    let by_name: BTreeSet<u32> =
        pipeline.ends.iter().filter_map(|name| tokens.control(name)).collect();
    let mut ids = vec![("eos", eos)];
    let mut others = stops.iter().filter(|&&id| id != eos && !by_name.contains(&id));
    for key in ["eot", "eom"] {
        ids.extend(others.next().map(|&id| (key, id)));
    }
    for &id in others {
        notes.push(no_key_left(text, id));
    }
    for &id in by_name.iter().filter(|id| !stops.contains(id)) {
        notes.push(format!(
            "{} does not end a turn of this model, but readers of GGUF files take it for an end",
            shown(id)
        ));
    }
    let bos = match *text.begin() {
        [] => text.named_token("bos_token"),
        [id] => Some(id),
        [..] => return Err(format!("it begins a text with {} tokens", text.begin().len())),
    };
    ids.extend(bos.map(|id| ("bos", id)));
    ids.extend(text.named_token("unk_token").map(|id| ("unknown", id)));
    ids.extend(text.named_token("pad_token").map(|id| ("padding", id)));
    Ok(ids)
}

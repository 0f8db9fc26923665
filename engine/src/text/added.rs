//! Added and special tokens that the files beside `tokenizer.json` name.
//!
//! Source: `PreTrainedTokenizerBase._from_pretrained` and `TokenizersBackend.__init__` of
//! transformers 5.24. `tokenizer.json` has the ids. The other files may change the flags of a token
//! (whether it is special, which spaces it takes with it), add tokens at the end, and say which
//! token is the begin, the end and so on. Where they differ from one another, the file that
//! `transformers` follows is followed, and a note says so.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tokenizers::{AddedToken, Tokenizer};

use crate::{Error, Result};

/// The keys of `tokenizer_config.json` that hold one token each, in the order in which
/// `transformers` adds them; others that end in `_token` come after them.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
const LISTS: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];
const DECODER: &str = "added_tokens_decoder";

/// The files beside `tokenizer.json`, each empty where it is absent.
#[derive(Default)]
pub(super) struct SideFiles {
    /// `tokenizer_config.json`.
    pub(super) config: Map<String, Value>,
    /// `special_tokens_map.json`.
    pub(super) special: Map<String, Value>,
    /// `added_tokens.json`: ids by token.
    pub(super) added: Map<String, Value>,
    /// Rows of the model's embedding, where they are known.
    pub(super) rows: Option<usize>,
}

/// A token that a file lists with its id.
struct Listed {
    id: u32,
    token: AddedToken,
}

impl SideFiles {
    /// Adds to `tokenizer` what the files name. Gives `tokenizer_config.json` with the special
    /// tokens of all files, each as plain text, and what differed.
    pub(super) fn apply(
        mut self,
        tokenizer: &mut Tokenizer,
    ) -> Result<(Map<String, Value>, Vec<String>)> {
        let mut notes = Vec::new();
        match self.config.shift_remove(DECODER) {
            None | Some(Value::Null) => {
                self.merge_special(&mut notes);
                let listed = self.added(tokenizer, &mut notes)?;
                self.add_listed(tokenizer, listed, &mut notes)?;
            }
            // Beside such a list `transformers` reads neither of the other files.
            Some(decoder) => {
                self.add_listed(tokenizer, decoder_entries(&decoder)?, &mut notes)?;
                self.compare(tokenizer, &mut notes);
            }
        }
        self.add_named(tokenizer, &mut notes)?;
        if self.config.get("split_special_tokens") == Some(&Value::Bool(true)) {
            tokenizer.set_encode_special_tokens(true);
        }
        for value in self.config.iter_mut().filter(|(key, _)| is_named(key)).map(|(_, v)| v) {
            flatten(value);
        }
        for key in LISTS {
            match self.config.get_mut(key) {
                Some(Value::Array(list)) => list.iter_mut().for_each(flatten),
                // Names of the model's own, which templates may use like the others.
                Some(Value::Object(names)) => {
                    let mut names = std::mem::take(names);
                    names.values_mut().for_each(flatten);
                    self.config.shift_remove(key);
                    self.config.extend(names);
                }
                _ => {}
            }
        }
        Ok((self.config, notes))
    }

    /// `special_tokens_map.json` goes before `tokenizer_config.json` where the latter lists no
    /// added tokens.
    fn merge_special(&mut self, notes: &mut Vec<String>) {
        for (key, value) in std::mem::take(&mut self.special) {
            let before = self.config.get(&key);
            if is_named(&key) && before.is_some_and(|before| content(before) != content(&value)) {
                notes.push(format!(
                    "special_tokens_map.json has {} as {key}, tokenizer_config.json {}: the former \
                     is used",
                    shown(&value),
                    shown(before.unwrap_or(&Value::Null)),
                ));
            }
            match (self.config.get_mut(&key), value) {
                (Some(Value::Array(list)), Value::Array(more)) => {
                    for token in more {
                        if !list.iter().any(|other| content(other) == content(&token)) {
                            list.push(token);
                        }
                    }
                }
                (_, value) => {
                    self.config.insert(key, value);
                }
            }
        }
    }

    /// Where `special_tokens_map.json` and `added_tokens.json` differ from what is used instead.
    fn compare(&self, tokenizer: &Tokenizer, notes: &mut Vec<String>) {
        for (key, value) in self.special.iter().filter(|(key, _)| is_named(key)) {
            let used = self.config.get(key).unwrap_or(&Value::Null);
            if content(used) != content(value) {
                notes.push(format!(
                    "special_tokens_map.json has {} as {key}, tokenizer_config.json, which lists \
                     {DECODER}, {}: the latter is used",
                    shown(value),
                    shown(used)
                ));
            }
        }
        for (text, id) in &self.added {
            let used = tokenizer.token_to_id(text);
            if id.as_u64() != used.map(u64::from) {
                let used = used.map_or_else(|| "none".to_owned(), |id| id.to_string());
                notes.push(format!(
                    "added_tokens.json gives `{text}` the id {id}, tokenizer.json and \
                     {DECODER} {used}: the latter are used"
                ));
            }
        }
    }

    /// The tokens of `added_tokens.json`, less those whose id is one of an added token of
    /// `tokenizer.json`.
    fn added(&self, tokenizer: &Tokenizer, notes: &mut Vec<String>) -> Result<Vec<Listed>> {
        let special: BTreeSet<&str> = self.named().into_iter().map(|(_, text, _)| text).collect();
        let known = tokenizer.get_added_tokens_decoder();
        let mut listed = Vec::new();
        for (text, id) in &self.added {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                problem(&format!("added_tokens.json has {id} for `{text}`, expected a token id"))
            })?;
            match known.get(&id) {
                Some(token) if token.content == *text => {}
                Some(token) => notes.push(format!(
                    "added_tokens.json gives the id {id} to `{text}`, tokenizer.json to `{}`: \
                     tokenizer.json is followed",
                    token.content
                )),
                None => {
                    let token = AddedToken::from(text.clone(), special.contains(text.as_str()));
                    listed.push(Listed { id, token });
                }
            }
        }
        Ok(listed)
    }

    /// Adds the listed tokens that `tokenizer` does not have, or has with other flags.
    fn add_listed(
        &self,
        tokenizer: &mut Tokenizer,
        mut listed: Vec<Listed>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        listed.sort_by_key(|entry| entry.id);
        let special: BTreeSet<&str> = self.named().into_iter().map(|(_, text, _)| text).collect();
        let known: BTreeMap<u32, AddedToken> =
            tokenizer.get_added_tokens_decoder().into_iter().collect();
        let mut new = Vec::new();
        let mut absent = Vec::new();
        for Listed { id, mut token } in listed {
            let text = token.content.clone();
            token.special |= special.contains(text.as_str());
            let own = tokenizer.token_to_id(&text);
            match own {
                None => absent.push((id, text.clone())),
                Some(own) if own != id => notes.push(format!(
                    "`{text}` has the id {id} in the list of added tokens and {own} in \
                     tokenizer.json: {own} is used"
                )),
                Some(_) => {}
            }
            let before = own.and_then(|own| known.get(&own));
            // A tokenizer goes on leaving out a token that was special once.
            token.special |= before.is_some_and(|before| before.special);
            if before.is_some_and(|before| *before != token) {
                notes.push(format!(
                    "`{text}` has other flags in the list of added tokens ({}) than in \
                     tokenizer.json ({}): the former are used",
                    flags(&token),
                    before.map(flags).unwrap_or_default()
                ));
            }
            if before != Some(&token) {
                new.push(token);
            }
        }
        add(tokenizer, new)?;
        let moved = absent.iter().find(|(id, text)| tokenizer.token_to_id(text) != Some(*id));
        match moved {
            None => Ok(()),
            Some((id, text)) => Err(problem(&format!(
                "`{text}` has the id {id} in the list of added tokens, but tokenizer.json does not \
                 have it, and its next free id is {}\n\
                 take all tokenizer files from one checkpoint",
                tokenizer.token_to_id(text).unwrap_or_default()
            ))),
        }
    }

    /// Makes every named token a special one. A new one needs a row of the embedding.
    fn add_named(&self, tokenizer: &mut Tokenizer, notes: &mut Vec<String>) -> Result<()> {
        for (key, text, value) in self.named() {
            if text.is_empty() {
                continue;
            }
            let own = tokenizer.token_to_id(text);
            let known = own.and_then(|id| tokenizer.get_added_tokens_decoder().get(&id).cloned());
            let token = match known {
                Some(known) if known.special => continue,
                Some(known) => AddedToken { special: true, ..known },
                None => token(text, value, true),
            };
            if own.is_some() {
                add(tokenizer, vec![token])?;
                continue;
            }
            let mut larger = tokenizer.clone();
            add(&mut larger, vec![token])?;
            let id = larger.token_to_id(text).unwrap_or_default();
            if self.rows.is_none_or(|rows| (id as usize) < rows) {
                notes.push(format!("{key} `{text}` is not in tokenizer.json: it has the id {id}"));
                *tokenizer = larger;
            } else {
                notes.push(format!(
                    "{key} `{text}` is not in tokenizer.json, and the model has no row for another \
                     token: it is left out"
                ));
            }
        }
        Ok(())
    }

    /// Key, text and entry of every special token that the configuration names.
    fn named(&self) -> Vec<(&str, &str, &Value)> {
        let others = self.config.keys().map(String::as_str);
        let others = others.filter(|key| is_named(key) && !NAMED.contains(key));
        let single = NAMED.into_iter().chain(others);
        let single = single.filter_map(|key| Some((key, self.config.get(key)?)));
        let several = LISTS.iter().filter_map(|&key| Some((key, self.config.get(key)?)));
        let several = several.flat_map(|(key, value)| match value {
            Value::Array(list) => list.iter().map(|entry| (key, entry)).collect(),
            Value::Object(names) => {
                names.iter().map(|(name, entry)| (name.as_str(), entry)).collect()
            }
            _ => Vec::new(),
        });
        single
            .chain(several)
            .filter_map(|(key, value)| Some((key, content(value)?, value)))
            .collect()
    }
}

/// The entries of `added_tokens_decoder`.
fn decoder_entries(decoder: &Value) -> Result<Vec<Listed>> {
    let entries = decoder.as_object().ok_or_else(|| {
        problem(&format!("{DECODER} in tokenizer_config.json is not an object of ids"))
    })?;
    entries
        .iter()
        .map(|(id, entry)| {
            let wrong =
                |what: &str| problem(&format!("{DECODER} in tokenizer_config.json has {what}"));
            let number =
                id.parse().map_err(|_| wrong(&format!("\"{id}\", expected a token id")))?;
            let text = entry.get("content").and_then(Value::as_str);
            let text = text.ok_or_else(|| wrong(&format!("no content for the id {id}")))?;
            Ok(Listed { id: number, token: token(text, entry, false) })
        })
        .collect()
}

fn add(tokenizer: &mut Tokenizer, tokens: Vec<AddedToken>) -> Result<()> {
    tokenizer.add_tokens(tokens).map_err(|e| Error::Text(e.to_string()))?;
    Ok(())
}

/// Whether a key holds a special token: `add_bos_token` and its like do not.
fn is_named(key: &str) -> bool {
    key.ends_with("_token") && !key.starts_with("add_")
}

/// The text of a token that is written as text or as an object.
fn content(value: &Value) -> Option<&str> {
    value.get("content").unwrap_or(value).as_str()
}

fn flatten(value: &mut Value) {
    if let Some(text) = content(value) {
        *value = text.into();
    }
}

fn shown(value: &Value) -> String {
    content(value).map_or_else(|| "nothing".to_owned(), |text| format!("`{text}`"))
}

/// A token with the flags of its entry; what the entry does not say has the default of `special`.
fn token(text: &str, entry: &Value, special: bool) -> AddedToken {
    let flag = |name: &str| entry.get(name).and_then(Value::as_bool);
    let special = special || flag("special").unwrap_or(false);
    AddedToken::from(text, special)
        .single_word(flag("single_word").unwrap_or(false))
        .lstrip(flag("lstrip").unwrap_or(false))
        .rstrip(flag("rstrip").unwrap_or(false))
        .normalized(flag("normalized").unwrap_or(!special))
}

fn flags(token: &AddedToken) -> String {
    let all = [
        ("special", token.special),
        ("lstrip", token.lstrip),
        ("rstrip", token.rstrip),
        ("single_word", token.single_word),
        ("normalized", token.normalized),
    ];
    let set: Vec<_> = all.into_iter().filter(|&(_, on)| on).map(|(name, _)| name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join(", ") }
}

fn problem(what: &str) -> Error {
    Error::Text(what.to_owned())
}

//! The tokenizer's files in a checkpoint folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::{ModelWrapper, Tokenizer};

use super::Text;
use super::added::SideFiles;
use super::loadable;
use crate::{Error, Result, file};

impl Text {
    /// Reads the tokenizer's files in a folder: `tokenizer.json`, and where they are there
    /// `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json`,
    /// `generation_config.json` and `chat_template.jinja`.
    ///
    /// `config` is the folder's `config.json`, which may name end-of-turn tokens as well. The
    /// stop tokens are those of the generation configuration, of `config` and the tokenizer's.
    /// [`Text::notes`] has what the files say against one another.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be read or parsed, when a listed token cannot have the id that it
    /// is listed with, and when no token ends a turn.
    pub fn from_folder(folder: &Path, config: &Value) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        let bytes = file::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::File {
                path: path.clone(),
                problem: "the tokenizer is missing\n\
                          AutoTokenizer.from_pretrained(MODEL).save_pretrained(FOLDER) of \
                          transformers writes it"
                    .into(),
            },
            _ => Error::Io { path: path.clone(), source },
        })?;
        let file = serde_json::from_slice(&bytes).map_err(|e| e.to_string());
        let made = file
            .and_then(|file| loadable::check(&file))
            .and_then(|()| Tokenizer::from_bytes(&bytes).map_err(|e| e.to_string()));
        let mut tokenizer =
            made.map_err(|e| Error::File { path, problem: format!("not a tokenizer: {e}") })?;
        let dropout = without_dropout(&mut tokenizer);
        let mut tokenizer_config = object(&folder.join("tokenizer_config.json"))?;
        let generation = object(&folder.join("generation_config.json"))?;
        let (template, origin) =
            chat_template(folder, tokenizer_config.shift_remove("chat_template"))?;
        let side_files = SideFiles {
            config: tokenizer_config,
            special: object(&folder.join("special_tokens_map.json"))?,
            added: object(&folder.join("added_tokens.json"))?,
            rows: config.get("vocab_size").and_then(Value::as_u64).map(|rows| rows as usize),
        };
        let (tokenizer_config, mut notes) = side_files.apply(&mut tokenizer)?;
        let mut stop_tokens = Vec::new();
        for place in [generation.get("eos_token_id"), config.get("eos_token_id")] {
            stop_tokens.extend(token_ids(place)?);
        }
        let eos = tokenizer_config.get("eos_token").and_then(Value::as_str);
        stop_tokens.extend(eos.and_then(|token| tokenizer.token_to_id(token)));
        let text = Self::assemble(tokenizer, template, stop_tokens, tokenizer_config, generation)?;
        notes.extend(text.frame_notes());
        notes.extend(dropout);
        Ok(text.with_template_origin(origin.display().to_string()).with_notes(notes))
    }

    /// Where `tokenizer_config.json` says otherwise than the post-processor, which `transformers`
    /// follows, and where the post-processor ends a text.
    fn frame_notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let said = self.tokenizer_config.get("add_bos_token").and_then(Value::as_bool);
        if said.is_some_and(|said| said == self.frame.begin.is_empty()) {
            let does = if self.frame.begin.is_empty() { "adds none" } else { "adds one" };
            notes.push(format!(
                "add_bos_token is {} in tokenizer_config.json, but the post-processor in \
                 tokenizer.json {does}: the latter is followed; `prompt.bos` sets it",
                said.unwrap_or_default()
            ));
        }
        if !self.frame.end.is_empty() {
            notes.push(
                "the post-processor in tokenizer.json ends a text with a token: prompts go without \
                 it"
                .to_owned(),
            );
        }
        notes
    }

    /// The files that [`Text::from_folder`] reads back as this text, by name.
    ///
    /// # Errors
    ///
    /// Fails when the tokenizer cannot be written as JSON.
    pub fn to_files(&self) -> Result<BTreeMap<&'static str, String>> {
        let tokenizer = self.tokenizer.to_string(true).map_err(|e| Error::Text(e.to_string()))?;
        let mut config = self.tokenizer_config.clone();
        // The class that takes tokenizer.json as it is, where others build their own pipeline.
        config.entry("tokenizer_class").or_insert_with(|| "PreTrainedTokenizerFast".into());
        config.entry("clean_up_tokenization_spaces").or_insert_with(|| false.into());
        if let Some(template) = self.template() {
            config.insert("chat_template".into(), template.into());
        }
        let mut generation = self.generation.clone();
        generation.insert("eos_token_id".into(), self.stop_ids_json());
        Ok(BTreeMap::from([
            ("tokenizer.json", tokenizer),
            ("tokenizer_config.json", pretty(&Value::Object(config))),
            ("generation_config.json", pretty(&Value::Object(generation))),
        ]))
    }

    /// The stop tokens as `eos_token_id`: a number, or a list where there are several.
    pub(crate) fn stop_ids_json(&self) -> Value {
        match self.stop_tokens() {
            [one] => json!(one),
            several => json!(several),
        }
    }
}

/// Switches the dropout of merges off, by which the ids of a text would be random; the note on it.
fn without_dropout(tokenizer: &mut Tokenizer) -> Option<String> {
    let ModelWrapper::BPE(model) = tokenizer.get_model() else { return None };
    let dropout = model.dropout.filter(|&dropout| dropout > 0.0)?;
    let mut model = model.clone();
    model.dropout = None;
    tokenizer.with_model(model);
    Some(format!(
        "model.dropout is {dropout} in tokenizer.json: it is switched off, so that equal texts have \
         equal ids"
    ))
}

pub(crate) fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a JSON value is writable");
    text.push('\n');
    text
}

/// The object in a JSON file; empty where there is no such file.
fn object(path: &Path) -> Result<Map<String, Value>> {
    let bytes = match file::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&bytes).map_err(|e| Error::File {
        path: path.to_owned(),
        problem: format!("not a JSON object: {e}"),
    })
}

/// The chat template, if there is one, and the file that has it or would have it. The file of its
/// own goes before the tokenizer configuration; of several named templates the default one is
/// meant.
fn chat_template(folder: &Path, in_config: Option<Value>) -> Result<(Option<String>, PathBuf)> {
    let path = folder.join("chat_template.jinja");
    match file::read_to_string(&path) {
        Ok(template) => return Ok((Some(template), path)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::Io { path, source }),
    }
    let path = folder.join("tokenizer_config.json");
    let problem = |problem: &str| Error::File { path: path.clone(), problem: problem.into() };
    let template = match in_config {
        None | Some(Value::Null) => None,
        Some(Value::String(template)) => Some(template),
        Some(Value::Array(named)) => named
            .iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str())
            .map(|template| Some(template.to_owned()))
            .ok_or_else(|| problem("chat_template names no default template"))?,
        Some(_) => return Err(problem("chat_template is not text")),
    };
    Ok((template, path))
}

/// Token ids as `eos_token_id` has them: one or a list, where null and negative numbers are none.
fn token_ids(value: Option<&Value>) -> Result<Vec<u32>> {
    let ids = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.as_slice(),
        Some(id) => std::slice::from_ref(id),
    };
    ids.iter()
        .filter(|id| !id.is_null() && id.as_f64().is_none_or(|id| id >= 0.0))
        .map(|id| {
            id.as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| Error::Text(format!("eos_token_id has {id}, expected a token id")))
        })
        .collect()
}

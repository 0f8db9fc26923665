//! Chat templates, as `transformers` renders them.
//!
//! Source: `transformers.utils.chat_template_utils` (5.24): what a template is given, besides the
//! language itself, which is in `jinja`.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value as Json, json};

use super::jinja::{Date, Outcome, Program, Trouble, is_function};
use crate::{Error, Result};

/// A template's source. It is parsed when it is first needed, so that a broken one which nobody
/// asks for stops nothing.
#[derive(Debug, Clone)]
pub(super) struct Template {
    source: String,
    /// The file that it stands in, for messages.
    origin: Option<String>,
    program: Arc<OnceLock<Outcome<Program>>>,
}

/// What a template is given besides the conversation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// Names the special tokens.
    pub(super) tokenizer_config: &'a Map<String, Json>,
    pub(super) args: &'a Map<String, Json>,
    pub(super) date: Date,
}

impl Template {
    pub(super) fn new(source: String) -> Self {
        Self { source, origin: None, program: Arc::default() }
    }

    /// The same, with the file that it stands in.
    pub(super) fn within(self, origin: String) -> Self {
        Self { origin: Some(origin), ..self }
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    fn program(&self) -> Result<&Program> {
        let program = self.program.get_or_init(|| Program::parse(&self.source));
        program.as_ref().map_err(|trouble| self.failure(trouble))
    }

    /// A conversation of `turns`, each a role and what it says; with `generation_prompt`, up to
    /// where the assistant is to speak.
    pub(super) fn render(
        &self,
        turns: &[(&str, &str)],
        generation_prompt: bool,
        context: Context<'_>,
    ) -> Result<String> {
        let message = |&(role, content): &(&str, &str)| json!({ "role": role, "content": content });
        let messages: Vec<_> = turns.iter().map(message).collect();
        let mut given = special_tokens(context.tokenizer_config);
        // None rather than absent, as `transformers` gives them.
        given.insert("tools".into(), Json::Null);
        given.insert("documents".into(), Json::Null);
        given.extend(context.args.clone());
        given.insert("messages".into(), messages.into());
        given.insert("add_generation_prompt".into(), generation_prompt.into());
        self.program()?.render(&given, context.date).map_err(|trouble| self.failure(&trouble))
    }

    fn failure(&self, trouble: &Trouble) -> Error {
        let origin = self.origin.iter().map(|origin| format!(" in {origin}"));
        let line = trouble.line.map(|line| format!(" line {line}"));
        let place: String = origin.chain(line).collect();
        Error::Text(format!("chat template{place}: {}", trouble.message))
    }

    /// The names of `args` that the template does not read.
    pub(super) fn unread<'a>(&self, args: &'a Map<String, Json>) -> Result<Vec<&'a str>> {
        let program = self.program()?;
        Ok(args.keys().map(String::as_str).filter(|name| !program.reads(name)).collect())
    }
}

/// `bos_token` and its kin, each of which may be a string or an object with its `content`.
fn special_tokens(config: &Map<String, Json>) -> Map<String, Json> {
    config
        .iter()
        .filter(|(key, _)| key.ends_with("_token"))
        .filter_map(|(key, value)| {
            let content = value.get("content").unwrap_or(value).as_str()?;
            Some((key.clone(), content.into()))
        })
        .collect()
}

/// Why the name cannot be given to a template, or nothing.
pub(super) fn reserved(name: &str) -> Option<&'static str> {
    let word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !word || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Some("no name in a template");
    }
    match name {
        "messages" => Some("the conversation"),
        "add_generation_prompt" => Some("set by what the prompt is for"),
        "loop" | "self" | "caller" | "varargs" | "kwargs" => Some("a name of the language itself"),
        "true" | "false" | "none" | "True" | "False" | "None" => {
            Some("a value of the language itself")
        }
        name if name.ends_with("_token") => Some("a token of the tokenizer"),
        name if is_function(name) => Some("a function of the language itself"),
        _ => None,
    }
}

//! Text to token ids and back, the chat template, and what ends a turn.
//!
//! Reading order: [`Text`], then `text/template.rs` (Jinja as `transformers` renders it),
//! `text/files.rs` (the tokenizer's files in a checkpoint folder) and [`StopStrings`]. It knows no
//! tensor; that ids fit the embedding is checked by [`Text::check_vocabulary`].

mod continuation;
mod files;
mod special;
mod stop;
mod template;

use std::collections::BTreeSet;

use serde_json::{Map, Value};
pub use tokenizers;
use tokenizers::Tokenizer;

pub(crate) use files::pretty;
pub use special::{KeepRule, KeepSpecialTokens};
pub use stop::StopStrings;
pub use template::Date;
use template::Template;

use crate::{Error, Result};

/// A tokenizer with its chat template, end-of-turn tokens and generation defaults.
#[derive(Debug, Clone)]
pub struct Text {
    tokenizer: Tokenizer,
    template: Option<Template>,
    stop_tokens: Vec<u32>,
    vocab_size: usize,
    /// What `tokenizer_config.json` says, less the chat template.
    tokenizer_config: Map<String, Value>,
    /// What `generation_config.json` says.
    generation: Map<String, Value>,
    date: Date,
}

impl Text {
    /// A text made on the spot: `template` is a Jinja chat template, `stop_tokens` end a turn.
    ///
    /// # Errors
    ///
    /// Fails when the template does not parse, when no stop token is given, or when one is not in
    /// the vocabulary.
    pub fn new(
        tokenizer: Tokenizer,
        template: Option<String>,
        stop_tokens: Vec<u32>,
    ) -> Result<Self> {
        let mut config = Map::new();
        if let Some(end) = stop_tokens.first().and_then(|&id| tokenizer.id_to_token(id)) {
            config.insert("eos_token".into(), end.into());
        }
        Self::assemble(tokenizer, template, stop_tokens, config, Map::new())
    }

    pub(crate) fn assemble(
        mut tokenizer: Tokenizer,
        template: Option<String>,
        stop_tokens: Vec<u32>,
        tokenizer_config: Map<String, Value>,
        generation: Map<String, Value>,
    ) -> Result<Self> {
        if stop_tokens.is_empty() {
            return Err(Error::Text(
                "no token ends a turn\nname one as eos_token_id in generation_config.json".into(),
            ));
        }
        if let Some(id) = stop_tokens.iter().find(|&&id| tokenizer.id_to_token(id).is_none()) {
            return Err(Error::Text(format!(
                "stop token {id} is not in the tokenizer's vocabulary"
            )));
        }
        // Rows are packed and lengths are the recipe's business: nothing is cut or padded here.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| Error::Text(e.to_string()))?;
        let template = template.map(Template::new).transpose()?;
        let mut seen = BTreeSet::new();
        let stop_tokens = stop_tokens.into_iter().filter(|&id| seen.insert(id)).collect();
        let largest = tokenizer.get_vocab(true).into_values().max();
        Ok(Self {
            tokenizer,
            template,
            stop_tokens,
            vocab_size: largest.map_or(0, |id| id as usize + 1),
            tokenizer_config,
            generation,
            date: Date::default(),
        })
    }

    /// Token ids of `text`: no special token is added, but those written in it are recognised.
    ///
    /// # Errors
    ///
    /// Fails when the tokenizer has no token, not even an unknown one, for a part of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding =
            self.tokenizer.encode_fast(text, false).map_err(|e| Error::Text(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `tokens`, special tokens left out.
    ///
    /// # Errors
    ///
    /// Fails when the tokenizer's decoder does.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        self.tokenizer.decode(tokens, true).map_err(|e| Error::Text(e.to_string()))
    }

    /// A conversation of an optional system message and one of the user, through the chat template
    /// and up to where the assistant is to speak.
    ///
    /// # Errors
    ///
    /// Fails when there is no chat template or the template refuses.
    pub fn render(&self, system: Option<&str>, user: &str) -> Result<String> {
        let template = self.template.as_ref().ok_or_else(|| {
            Error::Text(
                "the checkpoint has no chat template\nadd chat_template.jinja to its folder".into(),
            )
        })?;
        let system = system.map(|content| ("system", content));
        let turns: Vec<_> = system.into_iter().chain([("user", user)]).collect();
        template.render(&turns, true, &self.tokenizer_config, self.date)
    }

    /// The tokens that end a turn: those of the generation configuration first.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop_tokens
    }

    /// One more than the largest token id.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The chat template's source.
    pub fn template(&self) -> Option<&str> {
        self.template.as_ref().map(Template::source)
    }

    /// The same text with another chat template.
    ///
    /// # Errors
    ///
    /// Fails when the template does not parse.
    pub fn with_template(mut self, source: String) -> Result<Self> {
        self.template = Some(Template::new(source)?);
        Ok(self)
    }

    /// The same text with the day that templates are told by `strftime_now`.
    #[must_use]
    pub fn with_date(mut self, date: Date) -> Self {
        self.date = date;
        self
    }

    /// The checkpoint's `generation_config.json`, which may name sampling defaults.
    pub fn generation(&self) -> &Map<String, Value> {
        &self.generation
    }

    /// The tokenizer itself.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Whether the token ids and the `rows` of the embedding belong together.
    ///
    /// Embeddings are often padded (Qwen2.5-0.5B: 271 rows of 151,936), so up to one row in 64 may
    /// have no token.
    ///
    /// # Errors
    ///
    /// Fails when a token has no row, and when more rows than that have no token.
    pub fn check_vocabulary(&self, rows: usize) -> Result<()> {
        let tokens = self.vocab_size();
        if tokens > rows || rows - tokens > rows / 64 {
            return Err(Error::Text(format!(
                "the tokenizer has {tokens} tokens, but the model's vocabulary has {rows} rows\n\
                 take the tokenizer and the weights from the same checkpoint"
            )));
        }
        Ok(())
    }
}

//! Text to token ids and back, the chat template, and what ends a turn.
//!
//! Reading order: [`Text`], then `text/template.rs` (what chat templates are given; their language
//! is in `text/jinja.rs`), `text/files.rs` (the tokenizer's files in a checkpoint folder),
//! `text/loadable.rs` (what of `tokenizer.json` is refused), `text/added.rs` (the tokens that files
//! beside `tokenizer.json` add) and [`StopStrings`]. It knows no tensor; that ids fit the embedding
//! is checked by [`Text::check_vocabulary`].

mod added;
mod continuation;
mod ends;
mod files;
mod jinja;
mod loadable;
mod special;
mod stop;
mod template;

use std::collections::BTreeSet;

use serde_json::{Map, Value};
pub use tokenizers;
use tokenizers::tokenizer::{PostProcessor, Token};
use tokenizers::{Encoding, Tokenizer};

use added::SideFiles;
pub(crate) use files::pretty;
pub use jinja::Date;
pub use special::{KeepRule, KeepSpecialTokens};
pub use stop::StopStrings;
use template::{Context, Template};

use crate::{Error, Result};

/// A tokenizer with its chat template, end-of-turn tokens and generation defaults.
#[derive(Debug, Clone)]
pub struct Text {
    tokenizer: Tokenizer,
    template: Option<Template>,
    stop_tokens: Vec<u32>,
    /// Every id that has a token, ascending.
    ids: Vec<u32>,
    /// What the tokenizer puts before a text and after it.
    frame: Frame,
    notes: Vec<String>,
    /// What `tokenizer_config.json` says, less the chat template.
    tokenizer_config: Map<String, Value>,
    /// What `generation_config.json` says.
    generation: Map<String, Value>,
    /// Further names that the chat template may read.
    template_args: Map<String, Value>,
    date: Date,
}

impl Text {
    /// A text made on the spot: `template` is a Jinja chat template, `stop_tokens` end a turn. The
    /// first of them is the tokenizer's `eos_token`, which is a special one.
    ///
    /// # Errors
    ///
    /// Fails when no stop token is given, or when one is not in the vocabulary.
    pub fn new(
        mut tokenizer: Tokenizer,
        template: Option<String>,
        stop_tokens: Vec<u32>,
    ) -> Result<Self> {
        let mut side_files = SideFiles::default();
        if let Some(end) = stop_tokens.first().and_then(|&id| tokenizer.id_to_token(id)) {
            side_files.config.insert("eos_token".into(), end.into());
        }
        let (config, _) = side_files.apply(&mut tokenizer)?;
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
                "stop token {id} is not in the tokenizer's vocabulary\n\
                 name another as eos_token_id in generation_config.json or config.json, or take all \
                 files from one checkpoint"
            )));
        }
        // Rows are packed and lengths are the recipe's business: nothing is cut or padded here.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| Error::Text(e.to_string()))?;
        let template = template.map(Template::new);
        let mut seen = BTreeSet::new();
        let stop_tokens = stop_tokens.into_iter().filter(|&id| seen.insert(id)).collect();
        let ids: BTreeSet<u32> = tokenizer.get_vocab(true).into_values().collect();
        Ok(Self {
            frame: Frame::of(&tokenizer)?,
            tokenizer,
            template,
            stop_tokens,
            ids: ids.into_iter().collect(),
            notes: Vec::new(),
            tokenizer_config,
            generation,
            template_args: Map::new(),
            date: Date::default(),
        })
    }

    /// Token ids of `text`: no special token is added, but those written in it are recognised.
    ///
    /// # Errors
    ///
    /// Fails when the tokenizer has no token, not even an unknown one, for a part of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, false);
        let encoding = encoding.map_err(|e| self.unencodable(text, &e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Where the tokenizer first has no token for a part of `text`, which it answers with
    /// `problem`.
    fn unencodable(&self, text: &str, problem: &str) -> Error {
        /// How much before the part is shown, in characters.
        const SHOWN: usize = 16;
        if !problem.contains("UNK") {
            return Error::Text(problem.to_owned());
        }
        let ends: Vec<usize> = text.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
        let count = ends
            .partition_point(|&end| self.tokenizer.encode_fast(&text[..end], false).is_ok())
            .min(ends.len().saturating_sub(1));
        let start = count.checked_sub(SHOWN).map_or(0, |at| ends[at]);
        let shown = ends.get(count).map_or(text, |&end| &text[start..end]);
        Error::Text(format!(
            "the tokenizer has no token for what ends {shown:?}\n\
             leave it out, or take a model whose vocabulary has it"
        ))
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
    /// Fails when there is no chat template, and when it does not parse or refuses; the message
    /// names its line.
    pub fn render(&self, system: Option<&str>, user: &str) -> Result<String> {
        let system = system.map(|content| ("system", content));
        let turns: Vec<_> = system.into_iter().chain([("user", user)]).collect();
        self.render_turns(&turns)
    }

    /// A conversation of `turns`, each a role and what it says, through the chat template and up to
    /// where the assistant is to speak.
    ///
    /// # Errors
    ///
    /// As [`Text::render`].
    pub fn render_turns(&self, turns: &[(&str, &str)]) -> Result<String> {
        self.chat_template()?.render(turns, true, self.context())
    }

    fn chat_template(&self) -> Result<&Template> {
        self.template.as_ref().ok_or_else(|| {
            Error::Text(
                "the checkpoint has no chat template\nadd chat_template.jinja to its folder".into(),
            )
        })
    }

    fn context(&self) -> Context<'_> {
        let (tokenizer_config, args) = (&self.tokenizer_config, &self.template_args);
        Context { tokenizer_config, args, date: self.date }
    }

    /// The same text with further names that the chat template may read, such as `enable_thinking`,
    /// in place of earlier ones.
    #[must_use]
    pub fn with_template_args(mut self, args: Map<String, Value>) -> Self {
        self.template_args = args;
        self
    }

    /// What [`Text::with_template_args`] gave.
    pub fn template_args(&self) -> &Map<String, Value> {
        &self.template_args
    }

    /// The names of the arguments that the chat template does not read.
    ///
    /// # Errors
    ///
    /// Fails when there is no chat template or it does not parse.
    pub fn unread_template_args(&self) -> Result<Vec<&str>> {
        self.chat_template()?.unread(&self.template_args)
    }

    /// Why an argument of the name cannot be given to a chat template; `None` where it can.
    pub fn reserved_template_arg(name: &str) -> Option<&'static str> {
        template::reserved(name)
    }

    /// The tokens that end a turn: those of the generation configuration first.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop_tokens
    }

    /// Whether this token ends a turn.
    pub(crate) fn stops_at(&self, id: u64) -> bool {
        self.stop_tokens.iter().any(|&stop| u64::from(stop) == id)
    }

    /// One more than the largest token id.
    pub fn vocab_size(&self) -> usize {
        self.ids.last().map_or(0, |&id| id as usize + 1)
    }

    /// The rows of an embedding of `rows` rows that stand for no token, ascending: padding above
    /// the tokenizer's ids, and gaps between them. No text becomes one, and none should be drawn.
    pub fn unused_ids(&self, rows: usize) -> Vec<u32> {
        let mut used = self.ids.iter().copied().peekable();
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        (0..rows).filter(|&id| used.next_if_eq(&id).is_none()).collect()
    }

    /// The tokens that the tokenizer puts before a text that is not a conversation: what
    /// `tokenizer(text)` of `transformers` begins with, most often the begin token or nothing.
    pub fn begin(&self) -> &[u32] {
        &self.frame.begin
    }

    /// The tokens that it puts after one.
    pub(crate) fn end(&self) -> &[u32] {
        &self.frame.end
    }

    /// What a user should know about how the tokenizer's files were read, one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same text, its chat template said to stand in `origin`.
    pub(crate) fn with_template_origin(mut self, origin: String) -> Self {
        self.template = self.template.map(|template| template.within(origin));
        self
    }

    pub(crate) fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    /// The chat template's source.
    pub fn template(&self) -> Option<&str> {
        self.template.as_ref().map(Template::source)
    }

    /// The same text with another chat template, which is parsed when it is first needed.
    #[must_use]
    pub fn with_template(mut self, source: String) -> Self {
        self.template = Some(Template::new(source));
        self
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

    /// Whether the token ids and the `rows` of the embedding belong together. Gives a note where
    /// some rows stand for no token.
    ///
    /// Embeddings are often padded: 271 rows of 151,936 in Qwen2.5-0.5B, 2,385 of 102,400 in
    /// deepseek-llm-7b. Such rows count in the softmax, in sampling and in training alike, as they
    /// do in `transformers`; they are never drawn ([`Text::unused_ids`]).
    ///
    /// # Errors
    ///
    /// Fails when a token has no row.
    pub fn check_vocabulary(&self, rows: usize) -> Result<Option<String>> {
        let tokens = self.vocab_size();
        if tokens > rows {
            let last = self.ids.last().and_then(|&id| self.tokenizer.id_to_token(id));
            return Err(Error::Text(format!(
                "the tokenizer has ids up to {} (`{}`), but the model's embedding has {rows} rows\n\
                 take the tokenizer and the weights from the same checkpoint; where tokens were added \
                 to the tokenizer, resize the embedding first",
                tokens - 1,
                last.unwrap_or_default()
            )));
        }
        let unused = rows - self.ids.len();
        Ok((unused > 0).then(|| {
            format!(
                "{unused} of the embedding's {rows} rows stand for no token: they count in the \
                 softmax and are never drawn"
            )
        }))
    }
}

/// What a tokenizer's post-processor puts around a text.
#[derive(Debug, Clone, Default)]
struct Frame {
    begin: Vec<u32>,
    end: Vec<u32>,
}

impl Frame {
    fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let Some(processor) = tokenizer.get_post_processor() else {
            return Ok(Self::default());
        };
        // A text of one token whose id none has, so that it is found again.
        let text = Encoding::from_tokens(vec![Token::new(u32::MAX, "a".into(), (0, 1))], 0);
        let framed = processor
            .process(text, None, true)
            .map_err(|e| Error::Text(format!("the tokenizer's post-processor: {e}")))?;
        let mut parts = framed.get_ids().split(|&id| id == u32::MAX);
        let mut part = || parts.next().unwrap_or_default().to_vec();
        let frame = Self { begin: part(), end: part() };
        let all = frame.begin.iter().chain(&frame.end);
        if let Some(id) = all.into_iter().find(|&&id| tokenizer.id_to_token(id).is_none()) {
            return Err(Error::Text(format!(
                "the tokenizer's post-processor adds the id {id}, which is not in the vocabulary"
            )));
        }
        Ok(frame)
    }
}

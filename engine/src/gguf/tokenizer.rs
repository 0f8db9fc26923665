//! The tokenizer in a GGUF file's metadata.
//!
//! A GGUF file names its pre-tokenizer only; `gguf/pre_tokenizer.rs` says what the names stand for.
//! A name that is not known is an error, since a stock pre-tokenizer would give other ids without a
//! word.

use std::collections::BTreeSet;

use serde_json::{Map, json};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::Gguf;
use super::header::Value;
use super::pre_tokenizer::Pipeline;
use crate::{Result, Text};

/// Kinds of tokens. Source: `llama_token_type` in llama.cpp.
pub(super) const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
pub(super) const CONTROL: i64 = 3;
pub(super) const USER_DEFINED: i64 = 4;
pub(super) const UNUSED: i64 = 5;

impl Gguf {
    /// Tokenizer, chat template and end-of-turn tokens from the metadata.
    ///
    /// # Errors
    ///
    /// Fails when the tokenizer is not a byte-level BPE, when its pre-tokenizer is not known, and
    /// when the metadata contradict themselves.
    pub fn text(&self) -> Result<Text> {
        let mut vocabulary = Vocabulary::read(self)?;
        let pre = self.string("tokenizer.ggml.pre").unwrap_or("(not given)");
        let pipeline = Pipeline::named(pre).map_err(|problem| self.problem(problem))?;
        let mut notes = Vec::new();
        if pre == "default" {
            notes.push(
                "the pre-tokenizer is \"default\", which is no model's own: token ids may differ from \
                 those the model was trained with"
                    .to_owned(),
            );
        }
        let mut stop_tokens = Vec::new();
        for key in ["eos", "eot", "eom"] {
            stop_tokens.extend(self.special(&vocabulary, key)?);
        }
        stop_tokens.extend(pipeline.ends.iter().filter_map(|name| vocabulary.control(name)));
        if self.metadata(TYPES).is_none() {
            let bos = self.special(&vocabulary, "bos")?;
            for id in stop_tokens.iter().copied().chain(bos) {
                vocabulary.make_control(id);
            }
            notes.push(format!(
                "the file has no {TYPES}: of its tokens those that begin or end a text are special"
            ));
        }
        let tokenizer = self.tokenizer(&vocabulary, pipeline)?;
        let template = self.string("tokenizer.chat_template").map(str::to_owned);
        let mut config = Map::new();
        for (name, key) in [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")]
        {
            if let Some(id) = self.special(&vocabulary, key)? {
                config.insert(
                    format!("{name}_token"),
                    vocabulary.tokens[id as usize].as_str().into(),
                );
            }
        }
        config.insert("model_max_length".into(), json!(self.size_of("context_length")?));
        let mut generation = Map::new();
        for (name, key) in [("bos_token_id", "bos"), ("pad_token_id", "padding")] {
            if let Some(id) = self.special(&vocabulary, key)? {
                generation.insert(name.into(), id.into());
            }
        }
        let text = Text::assemble(tokenizer, template, stop_tokens, config, generation)?;
        let origin = format!("tokenizer.chat_template of {}", self.path.display());
        Ok(text.with_template_origin(origin).with_notes(notes))
    }

    fn tokenizer(&self, vocabulary: &Vocabulary<'_>, parts: Pipeline) -> Result<Tokenizer> {
        let failed = |e: tokenizers::Error| self.problem(format!("tokenizer: {e}"));
        let merges = self.merges()?;
        let vocab = vocabulary.used(&merges).map_err(|problem| self.problem(problem))?;
        let model = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(parts.whole_words);
        let mut tokenizer = Tokenizer::new(model.build().map_err(failed)?);
        if parts.compose {
            tokenizer.with_normalizer(Some(NFC)).map_err(failed)?;
        }
        let pre_tokenizer = parts.pre_tokenizer().map_err(|problem| self.problem(problem))?;
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
        tokenizer.with_decoder(Some(ByteLevel::new(true, true, true)));
        let of_kind = |special: bool, kinds: &'static [i64]| {
            let chosen =
                vocabulary.tokens.iter().zip(&vocabulary.kinds).filter(|(_, k)| kinds.contains(k));
            chosen.map(move |(token, _)| AddedToken::from(token, special).normalized(false))
        };
        tokenizer
            .add_special_tokens(of_kind(true, &[UNKNOWN, CONTROL]))
            .and_then(|_| tokenizer.add_tokens(of_kind(false, &[USER_DEFINED])))
            .map_err(failed)?;
        let key = "tokenizer.ggml.add_bos_token";
        let said = self.flag(key);
        match (said.unwrap_or(parts.adds_bos), self.special(vocabulary, "bos")?) {
            (true, Some(id)) => {
                let bos = vocabulary.tokens[id as usize].as_str();
                tokenizer.with_post_processor(Some(begin_with(bos, id).map_err(failed)?));
            }
            (true, None) if said.is_some() => {
                return Err(self.problem(format!(
                    "{key} is true, but tokenizer.ggml.bos_token_id is not set\n\
                     set it, or set {key} to false"
                )));
            }
            _ => {}
        }
        Ok(tokenizer)
    }

    fn merges(&self) -> Result<Vec<(String, String)>> {
        let merges = self.strings("tokenizer.ggml.merges")?;
        merges
            .iter()
            .map(|merge| {
                let pair = merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
                pair.ok_or_else(|| self.problem(format!("merge \"{merge}\" is not a pair")))
            })
            .collect()
    }

    /// The id of a special token, if the metadata name one; -1 names none, as a number with or
    /// without a sign.
    fn special(&self, vocabulary: &Vocabulary<'_>, key: &str) -> Result<Option<u32>> {
        let id = self.int(&format!("tokenizer.ggml.{key}_token_id"));
        let Some(id) = id.filter(|&id| id >= 0 && id != i64::from(u32::MAX)) else {
            return Ok(None);
        };
        let fits = usize::try_from(id).is_ok_and(|id| id < vocabulary.tokens.len());
        if fits {
            Ok(Some(id as u32))
        } else {
            Err(self.problem(format!(
                "tokenizer.ggml.{key}_token_id is {id}, but there are {} tokens",
                vocabulary.tokens.len()
            )))
        }
    }

    fn strings(&self, key: &str) -> Result<&[String]> {
        match self.metadata(key) {
            Some(Value::Strings(list)) => Ok(list),
            None => Err(self.problem(format!(
                "{key} is missing\ntake the checkpoint as a folder with its tokenizer.json"
            ))),
            Some(_) => Err(self.problem(format!("{key} is not a list of strings"))),
        }
    }
}

const TYPES: &str = "tokenizer.ggml.token_type";

struct Vocabulary<'a> {
    tokens: &'a [String],
    kinds: Vec<i64>,
}

impl<'a> Vocabulary<'a> {
    fn read(gguf: &'a Gguf) -> Result<Self> {
        let model = gguf.string("tokenizer.ggml.model").unwrap_or("(not given)");
        if model != "gpt2" {
            return Err(gguf.problem(format!(
                "tokenizer model \"{model}\", only \"gpt2\" (byte-level BPE) is supported\n\
                 take the checkpoint as a folder with its tokenizer.json"
            )));
        }
        let tokens = gguf.strings("tokenizer.ggml.tokens")?;
        let kinds = match gguf.metadata(TYPES) {
            Some(Value::Numbers(kinds)) => kinds.clone(),
            None => vec![NORMAL; tokens.len()],
            Some(_) => return Err(gguf.problem(format!("{TYPES} is not a list of numbers"))),
        };
        if kinds.len() != tokens.len() {
            return Err(gguf.problem(format!(
                "{TYPES} has {} entries for {} tokens",
                kinds.len(),
                tokens.len()
            )));
        }
        Ok(Self { tokens, kinds })
    }

    /// The token of this name that can end a turn: one that is not an ordinary piece of text, or
    /// any where the file does not tell them apart.
    fn control(&self, name: &str) -> Option<u32> {
        let id = self.tokens.iter().position(|token| token == name)?;
        let told_apart = self.kinds.iter().any(|&kind| kind != NORMAL);
        (self.kinds[id] == CONTROL || !told_apart).then_some(id as u32)
    }

    fn make_control(&mut self, id: u32) {
        self.kinds[id as usize] = CONTROL;
    }

    /// Ids by token, less the rows that the converter padded the vocabulary with: they have a name
    /// in the file, but stand for no text.
    fn used(&self, merges: &[(String, String)]) -> Result<Vocab, String> {
        let parts: BTreeSet<String> =
            merges.iter().flat_map(|(a, b)| [a.clone(), b.clone(), format!("{a}{b}")]).collect();
        let mut vocab = Vocab::default();
        for ((token, &kind), id) in self.tokens.iter().zip(&self.kinds).zip(0..) {
            let padding = kind == UNUSED && !parts.contains(token);
            if padding || token.is_empty() {
                continue;
            }
            if let Some(other) = vocab.insert(token.clone(), id) {
                return Err(format!(
                    "tokenizer.ggml.tokens has \"{token}\" twice, as {other} and as {id}"
                ));
            }
        }
        Ok(vocab)
    }
}

fn begin_with(bos: &str, id: u32) -> Result<TemplateProcessing, tokenizers::Error> {
    TemplateProcessing::builder()
        .try_single(vec![bos.to_owned(), "$A".to_owned()])?
        .try_pair(vec![bos.to_owned(), "$A".to_owned(), "$B:1".to_owned()])?
        .special_tokens(vec![(bos.to_owned(), id)])
        .build()
        .map_err(|e| e.to_string().into())
}

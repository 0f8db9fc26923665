//! The tokenizer in a GGUF file's metadata.
//!
//! A GGUF file names its pre-tokenizer only. Source of what the names stand for: the
//! `tokenizer.json` of the models themselves. A name that is not known is an error, since a stock
//! pre-tokenizer would give other ids without a word.

use serde_json::{Map, json};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, Tokenizer};

use super::Gguf;
use super::header::Value;
use crate::{Result, Text};

/// Kinds of tokens. Source: `llama_token_type` in llama.cpp.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

impl Gguf {
    /// Tokenizer, chat template and end-of-turn tokens from the metadata.
    ///
    /// # Errors
    ///
    /// Fails when the tokenizer is not a byte-level BPE, when its pre-tokenizer is not one of
    /// smollm, qwen2, llama-bpe and gpt-2, and when the metadata contradict themselves.
    pub fn text(&self) -> Result<Text> {
        let vocabulary = Vocabulary::read(self)?;
        let pre = self.string("tokenizer.ggml.pre").unwrap_or("(not given)");
        let pipeline = Pipeline::named(pre).map_err(|problem| self.problem(problem))?;
        let ends = pipeline.ends;
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
        let mut stop_tokens = Vec::new();
        for key in ["eos", "eot", "eom"] {
            stop_tokens.extend(self.special(&vocabulary, key)?);
        }
        stop_tokens.extend(ends.iter().filter_map(|name| vocabulary.control(name)));
        let mut generation = Map::new();
        for (name, key) in [("bos_token_id", "bos"), ("pad_token_id", "padding")] {
            if let Some(id) = self.special(&vocabulary, key)? {
                generation.insert(name.into(), id.into());
            }
        }
        Text::assemble(tokenizer, template, stop_tokens, config, generation)
    }

    fn tokenizer(&self, vocabulary: &Vocabulary<'_>, parts: Pipeline) -> Result<Tokenizer> {
        let failed = |e: tokenizers::Error| self.problem(format!("tokenizer: {e}"));
        let merges = self.strings("tokenizer.ggml.merges")?;
        let merges = merges
            .iter()
            .map(|merge| {
                let pair = merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
                pair.ok_or_else(|| self.problem(format!("merge \"{merge}\" is not a pair")))
            })
            .collect::<Result<Vec<_>>>()?;
        let vocab: Vocab =
            vocabulary.tokens.iter().zip(0..).map(|(token, id)| (token.clone(), id)).collect();
        if vocab.len() != vocabulary.tokens.len() {
            return Err(self.problem("tokenizer.ggml.tokens has a token twice"));
        }
        let model = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(parts.whole_words);
        let mut tokenizer = Tokenizer::new(model.build().map_err(failed)?);
        if parts.compose {
            tokenizer.with_normalizer(Some(NFC)).map_err(failed)?;
        }
        tokenizer.with_pre_tokenizer(Some(parts.pre_tokenizer));
        tokenizer.with_decoder(Some(ByteLevel::new(true, true, true)));
        let of_kind = |special: bool, kinds: &'static [i64]| {
            let chosen =
                vocabulary.tokens.iter().zip(vocabulary.kinds).filter(|(_, k)| kinds.contains(k));
            chosen.map(move |(token, _)| AddedToken::from(token, special).normalized(false))
        };
        tokenizer
            .add_special_tokens(of_kind(true, &[UNKNOWN, CONTROL]))
            .and_then(|_| tokenizer.add_tokens(of_kind(false, &[USER_DEFINED])))
            .map_err(failed)?;
        let adds_bos = self.flag("tokenizer.ggml.add_bos_token").unwrap_or(parts.adds_bos);
        if let (true, Some(id)) = (adds_bos, self.special(vocabulary, "bos")?) {
            let bos = vocabulary.tokens[id as usize].as_str();
            tokenizer.with_post_processor(Some(begin_with(bos, id).map_err(failed)?));
        }
        Ok(tokenizer)
    }

    /// The id of a special token, if the metadata name one.
    fn special(&self, vocabulary: &Vocabulary<'_>, key: &str) -> Result<Option<u32>> {
        let Some(id) = self.int(&format!("tokenizer.ggml.{key}_token_id")) else {
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
            _ => Err(self.problem(format!("{key} is missing or not a list of strings"))),
        }
    }
}

struct Vocabulary<'a> {
    tokens: &'a [String],
    kinds: &'a [i64],
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
        let key = "tokenizer.ggml.token_type";
        let kinds = match gguf.metadata(key) {
            Some(Value::Numbers(kinds)) => kinds.as_slice(),
            _ => return Err(gguf.problem(format!("{key} is missing or not a list of numbers"))),
        };
        if kinds.len() != tokens.len() {
            return Err(gguf.problem(format!(
                "{key} has {} entries for {} tokens",
                kinds.len(),
                tokens.len()
            )));
        }
        Ok(Self { tokens, kinds })
    }

    fn control(&self, name: &str) -> Option<u32> {
        let id = self.tokens.iter().position(|token| token == name)?;
        (self.kinds[id] == CONTROL).then_some(id as u32)
    }
}

/// What a pre-tokenizer's name stands for.
struct Pipeline {
    /// Whether characters are composed first (NFC).
    compose: bool,
    pre_tokenizer: PreTokenizerWrapper,
    /// Whether a word that is a token is taken whole, merges or not.
    whole_words: bool,
    /// Whether text begins with the begin-of-text token where special tokens are added.
    adds_bos: bool,
    /// Tokens that end a turn in the generation configurations of the models with this tokenizer,
    /// where GGUF metadata name but one of them.
    ends: &'static [&'static str],
}

impl Pipeline {
    fn named(name: &str) -> Result<Self, String> {
        let plain = Self {
            compose: false,
            pre_tokenizer: byte_level(true).into(),
            whole_words: false,
            adds_bos: false,
            ends: &[],
        };
        match name {
            "gpt-2" => Ok(plain),
            "smollm" => {
                let steps = vec![Digits::new(true).into(), byte_level(true).into()];
                let pre_tokenizer = Sequence::new(steps).into();
                Ok(Self { pre_tokenizer, ends: &["<|im_end|>"], ..plain })
            }
            "qwen2" => Ok(Self {
                compose: true,
                pre_tokenizer: split(r"\p{N}")?,
                ends: &["<|im_end|>", "<|endoftext|>"],
                ..plain
            }),
            "llama-bpe" => Ok(Self {
                pre_tokenizer: split(r"\p{N}{1,3}")?,
                whole_words: true,
                adds_bos: true,
                ends: &["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"],
                ..plain
            }),
            other => Err(format!(
                "unknown pre-tokenizer \"{other}\" (tokenizer.ggml.pre)\n\
                 supported: smollm, qwen2, llama-bpe, gpt-2; or take the checkpoint as a folder \
                 with its tokenizer.json"
            )),
        }
    }
}

fn byte_level(use_regex: bool) -> ByteLevel {
    ByteLevel::new(false, true, use_regex)
}

/// Words with at most one leading mark, digits by `digits`, punctuation, line ends, spaces.
fn split(digits: &str) -> Result<PreTokenizerWrapper, String> {
    let pattern = format!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    );
    let split = Split::new(SplitPattern::Regex(pattern), SplitDelimiterBehavior::Isolated, false)
        .map_err(|e| e.to_string())?;
    Ok(Sequence::new(vec![split.into(), byte_level(false).into()]).into())
}

fn begin_with(bos: &str, id: u32) -> Result<TemplateProcessing, tokenizers::Error> {
    TemplateProcessing::builder()
        .try_single(vec![bos.to_owned(), "$A".to_owned()])?
        .try_pair(vec![bos.to_owned(), "$A".to_owned(), "$B:1".to_owned()])?
        .special_tokens(vec![(bos.to_owned(), id)])
        .build()
        .map_err(|e| e.to_string().into())
}

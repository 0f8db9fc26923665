//! What the names of pre-tokenizers in GGUF files stand for.
//!
//! Sources: the `tokenizer.json` of the model that each name comes from, as far as it is known
//! (llama.cpp's `convert_hf_to_gguf_update.py` names the models); otherwise the expressions in
//! llama.cpp's `src/llama-vocab.cpp`. The two differ for deepseek-llm, falcon3, gigachat and
//! minerva-7b: there the model's own tokenizer is followed, since the model was trained with it.
//! Whether words are taken whole, and whether a text begins with the begin token where the file
//! does not say, is as in llama.cpp.

mod naming;

use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use Step::{Bytes, Digit, Numbers, Punctuations, SpacedWords, Splits, Words};

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pipeline {
    /// Whether characters are composed first (NFC).
    pub(super) compose: bool,
    steps: &'static [Step],
    /// Whether a word that is a token is taken whole, merges or not.
    pub(super) whole_words: bool,
    /// Whether a text begins with the begin token where the file does not say.
    pub(super) adds_bos: bool,
    /// Tokens that end a turn, where GGUF metadata name but one of them.
    pub(super) ends: &'static [&'static str],
}

/// One step from a text to words, each applied to every piece that the ones before it left.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The matches of an expression, and what lies between them.
    Splits(&'static str),
    /// Every digit by itself.
    Digit,
    /// Runs of digits.
    Numbers,
    /// Punctuation: runs of it, or every mark by itself.
    Punctuations { runs: bool },
    /// GPT-2's words, written as bytes.
    Words,
    /// The same with a space before the first.
    SpacedWords,
    /// The pieces as they are, written as bytes.
    Bytes,
}

impl Pipeline {
    /// # Errors
    ///
    /// Says what is wrong with a name that is not known, or stands for something else than
    /// byte-level BPE.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let found = words(name)
            .or_else(|| one_expression(name))
            .or_else(|| deepseek(name))
            .or_else(|| several_steps(name));
        found.ok_or_else(|| {
            let what = match name {
                "gemma4" | "granite-embed-multi-311m" | "sarvam-moe" | "whitespace" => {
                    "is not a byte-level one, the only kind that is supported"
                }
                _ => "is not known",
            };
            format!(
                "the pre-tokenizer \"{name}\" (tokenizer.ggml.pre) {what}\n\
                 take the checkpoint as a folder with its tokenizer.json"
            )
        })
    }

    /// # Errors
    ///
    /// Fails when an expression does not compile, which a test rules out.
    pub(super) fn pre_tokenizer(&self) -> Result<PreTokenizerWrapper, String> {
        let steps: Vec<_> = self.steps.iter().map(Step::build).collect::<Result<_, _>>()?;
        Ok(Sequence::new(steps).into())
    }
}

impl Step {
    fn build(&self) -> Result<PreTokenizerWrapper, String> {
        Ok(match *self {
            Splits(expression) => {
                let pattern = SplitPattern::Regex(expression.to_owned());
                Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                    .map_err(|e| e.to_string())?
                    .into()
            }
            Digit => Digits::new(true).into(),
            Numbers => Digits::new(false).into(),
            Punctuations { runs: true } => {
                Punctuation::new(SplitDelimiterBehavior::Contiguous).into()
            }
            Punctuations { runs: false } => {
                Punctuation::new(SplitDelimiterBehavior::Isolated).into()
            }
            Words => ByteLevel::new(false, true, true).into(),
            SpacedWords => ByteLevel::new(true, true, true).into(),
            Bytes => ByteLevel::new(false, true, false).into(),
        })
    }
}

const TURN_ENDS: &[&str] =
    &["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|end_of_turn|>", "<end_of_turn>"];

const PLAIN: Pipeline = Pipeline {
    compose: false,
    steps: &[Words],
    whole_words: false,
    adds_bos: false,
    ends: TURN_ENDS,
};

/// Names that stand for GPT-2's words, with or without digits by themselves.
fn words(name: &str) -> Option<Pipeline> {
    let composed = Pipeline { compose: true, ..PLAIN };
    let digits = Pipeline { steps: &[Digit, Words], ..PLAIN };
    Some(match name {
        "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "jina-v2-es" | "jina-v2-de" | "jina-v1-en"
        | "jina-v2-code" | "roberta-bpe" | "a.x-4.0" | "mellum" | "jais" | "trillion"
        | "granite-docling" | "exaone4" => PLAIN,
        "mpt" | "olmo" | "modern-bert" => composed,
        "starcoder" | "refact" | "codeshell" | "exaone" | "mellum2" => digits,
        "smollm" => Pipeline { ends: &["<|im_end|>"], ..digits },
        "command-r" => Pipeline { compose: true, ..digits },
        "minerva-7b" => Pipeline { steps: &[SpacedWords], ..PLAIN },
        "falcon" => Pipeline {
            steps: &[Punctuations { runs: true }, Words, Numbers, Splits("[0-9][0-9][0-9]")],
            ..PLAIN
        },
        "falcon3" => Pipeline {
            steps: &[Punctuations { runs: true }, Words, Digit],
            whole_words: true,
            adds_bos: true,
            ..PLAIN
        },
        _ => return None,
    })
}

macro_rules! contractions {
    () => {
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    };
}

/// What follows the words in most expressions: line ends, then spaces.
macro_rules! blanks {
    () => {
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    };
}

/// Words with at most one leading mark, digits, punctuation, line ends, spaces: cl100k and its kin.
macro_rules! marked_words {
    ($contractions:expr, $letters:literal, $digits:literal, $marks:literal) => {
        concat!($contractions, r"[^\r\n\p{L}\p{N}]?", $letters, "|", $digits, $marks, blanks!())
    };
}

/// Words that end where upper case follows lower case: o200k and its kin.
macro_rules! cased_words {
    ($after:expr, $digits:literal, $marks:literal) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            $after,
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            $after,
            "|",
            $digits,
            $marks,
            blanks!()
        )
    };
}

const LLAMA3: &str = marked_words!(
    concat!(contractions!(), "|"),
    r"\p{L}+",
    r"\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
);
const QWEN2: &str = marked_words!(
    concat!(contractions!(), "|"),
    r"\p{L}+",
    r"\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
);
const QWEN35: &str = marked_words!(
    concat!(contractions!(), "|"),
    r"[\p{L}\p{M}]+",
    r"\p{N}",
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
);
const UFAKZEKA: &str = marked_words!("", r"\p{L}+", r"\p{N}", r"| ?[^\s\p{L}\p{N}]+[\r\n]*");
const SEED_CODER: &str = marked_words!(
    concat!(contractions!(), "|"),
    r"\p{L}+",
    r"\p{N}{1}",
    r"| ?[^\s\p{L}\p{N}\r\n]+"
);
const MINICPM5: &str = marked_words!(
    concat!(contractions!(), "|"),
    r"\p{L}+",
    r"\p{N}+",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
);
const JAIS2: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
    r"|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)",
    r"|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}"
);
const EXAONE_MOE: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?",
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
);
const TEKKEN: &str = cased_words!("", r"\p{N}", r"| ?[^\s\p{L}\p{N}]+[\r\n/]*");
const GPT_4O: &str =
    cased_words!(concat!(contractions!(), "?"), r"\p{N}{1,3}", r"| ?[^\s\p{L}\p{N}]+[\r\n/]*");
const YOUTU: &str =
    cased_words!(concat!(contractions!(), "?"), r"\p{N}", r"| ?[^\s\p{L}\p{N}]+[\r\n/]*");
const KIMI: &str = concat!(
    r"[\p{Han}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+",
    contractions!(),
    r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*",
    contractions!(),
    r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    blanks!()
);
const BLOOM: &str = r" ?[^(\s|[.,!?…。，、।۔،])]+";

/// Names that stand for one expression.
fn one_expression(name: &str) -> Option<Pipeline> {
    let by = |steps| Pipeline { steps, ..PLAIN };
    let qwen = Pipeline { compose: true, ends: &["<|im_end|>", "<|endoftext|>"], ..PLAIN };
    let whole = |steps| Pipeline { steps, whole_words: true, ..PLAIN };
    Some(match name {
        "llama3" | "llama-v3" | "llama-bpe" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2"
        | "jina-v5-nano" => Pipeline {
            adds_bos: true,
            ends: &["<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>"],
            ..whole(&[Splits(LLAMA3), Bytes])
        },
        "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => by(&[Splits(LLAMA3), Bytes]),
        "qwen2" | "deepseek-r1-qwen" | "f2llmv2" => {
            Pipeline { steps: &[Splits(QWEN2), Bytes], ..qwen }
        }
        "qwen35" => Pipeline { steps: &[Splits(QWEN35), Bytes], ..qwen },
        "stablelm2" => Pipeline { compose: true, ..by(&[Splits(QWEN2), Bytes]) },
        "megrez" | "kormo" | "hunyuan" | "solar-open" | "grok-2" | "bailingmoe" | "bailingmoe2"
        | "llada-moe" => by(&[Splits(QWEN2), Bytes]),
        "ufakzeka" => by(&[Splits(UFAKZEKA), Bytes]),
        "seed-coder" => by(&[Splits(SEED_CODER), Bytes]),
        "jais-2" => by(&[Splits(JAIS2), Bytes]),
        "exaone-moe" => by(&[Splits(EXAONE_MOE), Bytes]),
        "tekken" => Pipeline { adds_bos: true, ..whole(&[Splits(TEKKEN), Bytes]) },
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" | "gigachat" => {
            by(&[Splits(GPT_4O), Bytes])
        }
        "granite-embed-multi-97m" => whole(&[Splits(GPT_4O), Bytes]),
        "kimi-k2" => by(&[Splits(KIMI), Bytes]),
        "bloom" | "gpt3-finnish" | "poro-chat" => by(&[Splits(BLOOM), Bytes]),
        _ => return None,
    })
}

/// Cased letters, written so that the file may be normalised without a change.
const DEEPSEEK_LLM_LETTERS: &str = concat!(
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷ",
    "ᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1f7d}ᾀ-ᾴᾶ-ᾼ\u{1fbe}ῂ-ῄῆ-ῌῐ-\u{1fd3}ῖ-\u{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇ",
    "ℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ",
    "\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}",
    "\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+",
);
const HAN_AND_KANA: &str = "[一-龥぀-ゟ゠-ヿ]+";
const DEEPSEEK_WORDS: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+[\r\n]*",
    blanks!()
);
const SPARK_WORDS: &str = concat!(
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
    r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"
);
/// GPT-2's words, where another step follows before they are written as bytes.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const ASIAN: &str = "[一-鿿㐀-䶿\u{f900}-\u{faff}぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+";

/// Names whose expressions come from the tokenizers of `DeepSeek`.
fn deepseek(name: &str) -> Option<Pipeline> {
    let by = |steps| Pipeline { steps, ..PLAIN };
    Some(match name {
        "deepseek-llm" => by(&[
            Splits(r"[\r\n]"),
            Splits(DEEPSEEK_LLM_LETTERS),
            Splits("\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+"),
            Splits(r"\s+$"),
            Splits("[一-龥ࠀ-一가-\u{d7ff}]+"),
            Digit,
            Bytes,
        ]),
        "deepseek-coder" => by(&[
            Splits(r"[\r\n]"),
            Splits(r"\s?\p{L}+"),
            Splits(r"\s?\p{P}+"),
            Splits("[一-龥ࠀ-一가-\u{d7ff}]+"),
            Digit,
            Bytes,
        ]),
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => {
            by(&[Splits(r"\p{N}{1,3}"), Splits(HAN_AND_KANA), Splits(DEEPSEEK_WORDS), Bytes])
        }
        "spark2_5" => {
            by(&[Splits(r"\p{N}{1,3}"), Splits(HAN_AND_KANA), Splits(SPARK_WORDS), Digit, Bytes])
        }
        _ => return None,
    })
}

/// Other names that stand for several expressions, one after another.
fn several_steps(name: &str) -> Option<Pipeline> {
    let by = |steps| Pipeline { steps, ..PLAIN };
    Some(match name {
        // What llama.cpp takes for a file whose model it did not know.
        "default" => by(&[
            Splits(r"[\p{P}\$\+<=>\^~\|]+"),
            Splits(GPT2),
            Splits(r"\p{N}+"),
            Splits("[0-9][0-9][0-9]"),
            Bytes,
        ]),
        "youtu" => Pipeline {
            whole_words: true,
            ..by(&[
                Splits(concat!(
                    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|",
                    "[一-龥぀-ゟ゠-ヿ]+"
                )),
                Splits(YOUTU),
                Bytes,
            ])
        },
        "viking" => by(&[Splits(BLOOM), Digit, Bytes]),
        "laguna" => by(&[Splits(r"[^\n]+|[\n]+"), Splits(QWEN2), Bytes]),
        "minicpm5" => {
            Pipeline { whole_words: true, ..by(&[Splits(r"\p{N}{1,3}"), Splits(MINICPM5), Bytes]) }
        }
        "superbpe" => by(&[Numbers, Splits(r"(?=(\d{3})+(?!\d))"), Bytes]),
        "tiny_aya" | "cohere2moe" => {
            by(&[Splits(r"\d{1,3}(?=(?:\d{3})*\b)"), Splits(GPT_4O), Bytes])
        }
        "afmoe" => by(&[
            Numbers,
            Splits(r"\p{N}{1,3}(?=(?:\p{N}{3})*$)"),
            Splits(ASIAN),
            Splits(DEEPSEEK_WORDS),
            Bytes,
        ]),
        "chameleon" => Pipeline {
            adds_bos: true,
            ..by(&[
                Splits("<sentinel:[0-9]+>"),
                Splits("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
                Splits(r"([\t\n]|    |  )"),
                Digit,
                Punctuations { runs: false },
                Words,
            ])
        },
        _ => return None,
    })
}

//! `samples/step-*.safetensors`: the columns of a step's tokens, and the writer half.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::FORMAT;

/// What the bits of the column `flags` mean.
pub mod flag {
    /// The policy generated it.
    pub const GENERATED: u8 = 1;
    /// The token weighting gave it a weight other than 1, or a penalty.
    pub const SELECTED: u8 = 1 << 1;
    /// It is among the largest surprisals of its advantage's sign, as the metrics
    /// `quadrant/quantile/*` count them.
    pub const SURPRISING: u8 = 1 << 2;
    /// An update of the step clipped its ratio at the upper bound.
    pub const CLIPPED_ABOVE: u8 = 1 << 3;
    /// An update of the step clipped its ratio at the lower bound, or its loss at the ceiling of
    /// the dual clip.
    pub const CLIPPED_BELOW: u8 = 1 << 4;
    /// Its importance weight is out of bounds: truncated, masked, or below the inverse of the cap.
    pub const OUT_OF_BOUNDS: u8 = 1 << 5;
    /// It is left out of the loss: its completion was cut off and is filtered, or nothing is learnt
    /// from its group.
    pub const LEFT_OUT: u8 = 1 << 6;
}

/// What is known of a step's tokens besides their columns: the file's metadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokensAbout {
    /// The step.
    pub step: u64,
    /// Kind of its stage.
    pub stage: String,
    /// Temperature of sampling; NaN where it is not known.
    pub temperature: f64,
    /// Surprisal from which on a token of positive advantage has the flag `SURPRISING`, nats; none
    /// where none has.
    pub threshold_plus: Option<f64>,
    /// The same of negative advantage.
    pub threshold_minus: Option<f64>,
    /// SHA-256 of the tokenizer that the ids are of, as in `run.json`.
    pub tokenizer_sha256: String,
}

/// The token columns of one step: T tokens of C completions of G groups, one after the other.
///
/// Entropies, log-probs and penalties are in nats. A value that was not measured is NaN: `weight`
/// and `train_log_prob` of groups that were not learnt from, `train_log_prob` of completions that
/// the first update did not compute.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepTokens {
    /// Id. Shape (T).
    pub token: Vec<u32>,
    /// Byte of the completion's text at which the token's text ends. Shape (T).
    pub text_end: Vec<u32>,
    /// Bits of [`flag`]. Shape (T).
    pub flags: Vec<u8>,
    /// Log-prob by the rollout, from the full distribution at the sampling temperature. Shape (T).
    pub log_prob: Vec<f32>,
    /// Entropy of that distribution. Shape (T).
    pub entropy: Vec<f32>,
    /// Sum over the vocabulary of p² (ln p + H). Shape (T).
    pub phi_sum: Vec<f32>,
    /// Token weight; 1 where nothing weights. Shape (T).
    pub weight: Vec<f32>,
    /// Log-prob by the forward pass of the step's first update, before anything moved. Shape (T).
    pub train_log_prob: Vec<f32>,
    /// Log-prob by the forward pass of the last update that computed it. Shape (T), where the step
    /// has several updates.
    pub new_log_prob: Option<Vec<f32>>,
    /// Log-prob by the weights before the updates. Shape (T), where it was computed again.
    pub old_log_prob: Option<Vec<f32>>,
    /// Log-prob by the reference. Shape (T), where there is one.
    pub ref_log_prob: Option<Vec<f32>>,
    /// Importance weight. Shape (T), where something is corrected.
    pub importance: Option<Vec<f32>>,
    /// Factor of the distance from the old log-prob. Shape (T), where the loss has that term.
    pub penalty: Option<Vec<f32>>,
    /// Ids of the k likeliest tokens of each position, the likeliest first. Shape (T, k), where
    /// they were asked for.
    pub alt_token: Option<Vec<u32>>,
    /// Their log-probs. Shape (T, k), where there is `alt_token`.
    pub alt_log_prob: Option<Vec<f32>>,
    /// First token of each completion, and the end of the last. Shape (C + 1).
    pub completion_start: Vec<u64>,
    /// Group of each completion, counted within this file. Shape (C).
    pub completion_group: Vec<u32>,
    /// Advantage of each completion; NaN where none was given. Shape (C).
    pub completion_advantage: Vec<f32>,
    /// First prompt token of each group, and the end of the last. Shape (G + 1).
    pub prompt_start: Vec<u64>,
    /// Ids of the prompts. Shape (P).
    pub prompt: Vec<u32>,
}

/// A column's bytes.
struct Raw {
    name: &'static str,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A type of a column's values.
pub(super) trait Number: Sized + Copy {
    const DTYPE: Dtype;
    const BYTES: usize;

    fn put(self, bytes: &mut Vec<u8>);

    fn take(bytes: &[u8]) -> Self;
}

macro_rules! number {
    ($type:ty, $dtype:ident) => {
        impl Number for $type {
            const DTYPE: Dtype = Dtype::$dtype;
            const BYTES: usize = size_of::<Self>();

            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }

            fn take(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("cut to the size of a value"))
            }
        }
    };
}

number!(u8, U8);
number!(u32, U32);
number!(u64, U64);
number!(f32, F32);

fn raw<T: Number>(name: &'static str, values: &[T]) -> Raw {
    let mut bytes = Vec::with_capacity(values.len() * T::BYTES);
    for value in values {
        value.put(&mut bytes);
    }
    Raw { name, dtype: T::DTYPE, shape: vec![values.len()], bytes }
}

/// A column with as many values a row as there are, of so many rows.
fn block<T: Number>(name: &'static str, values: &[T], rows: usize) -> Raw {
    let shape = vec![rows, values.len() / rows.max(1)];
    Raw { shape, ..raw(name, values) }
}

impl StepTokens {
    /// Bytes of a token: of the columns that are always there, of so many of those that are there
    /// in some runs (`new_log_prob`, `old_log_prob`, `ref_log_prob`, `importance`, `penalty`), and
    /// of so many alternatives.
    pub const fn token_bytes(further: u64, alternatives: usize) -> u64 {
        // Seven of four bytes, and the flags.
        7 * 4 + 1 + 4 * further + 8 * alternatives as u64
    }

    /// Bytes of a completion besides its tokens: where it begins, its group, its advantage.
    pub const COMPLETION_BYTES: u64 = 8 + 4 + 4;

    /// Bytes of a group besides: where its prompt begins.
    pub const GROUP_BYTES: u64 = 8;

    /// Bytes of a prompt's token: its id.
    pub const PROMPT_BYTES: u64 = 4;

    /// The file. Columns stand in the order of their sizes, so that each is aligned.
    pub fn to_bytes(&self, about: &TokensAbout) -> Vec<u8> {
        let mut columns = vec![
            raw("completion_start", &self.completion_start),
            raw("prompt_start", &self.prompt_start),
            raw("token", &self.token),
            raw("text_end", &self.text_end),
            raw("log_prob", &self.log_prob),
            raw("entropy", &self.entropy),
            raw("phi_sum", &self.phi_sum),
            raw("weight", &self.weight),
            raw("train_log_prob", &self.train_log_prob),
        ];
        let further = [
            ("new_log_prob", &self.new_log_prob),
            ("old_log_prob", &self.old_log_prob),
            ("ref_log_prob", &self.ref_log_prob),
            ("importance", &self.importance),
            ("penalty", &self.penalty),
        ];
        let there = further.into_iter().filter_map(|(name, column)| Some((name, column.as_ref()?)));
        columns.extend(there.map(|(name, column)| raw(name, column)));
        let rows = self.token.len();
        columns.extend(self.alt_token.iter().map(|own| block("alt_token", own, rows)));
        columns.extend(self.alt_log_prob.iter().map(|own| block("alt_log_prob", own, rows)));
        columns.push(raw("completion_group", &self.completion_group));
        columns.push(raw("completion_advantage", &self.completion_advantage));
        columns.push(raw("prompt", &self.prompt));
        columns.push(raw("flags", &self.flags));
        let header = header(about, &columns);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        for column in columns {
            bytes.extend(column.bytes);
        }
        bytes
    }
}

/// The file's header. The crate writes metadata in the order of a hash map, which differs from run
/// to run, so they are put in here.
fn header(about: &TokensAbout, columns: &[Raw]) -> Vec<u8> {
    let mut end = 0;
    let infos = columns.iter().map(|column| {
        let start = end;
        end += column.bytes.len();
        let (dtype, shape) = (column.dtype, column.shape.clone());
        (column.name.to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    });
    let metadata = Metadata::new(None, infos.collect()).expect("columns follow one another");
    let Ok(Value::Object(tensors)) = serde_json::to_value(&metadata) else {
        unreachable!("a header is an object")
    };
    let mut header = Map::new();
    header.insert("__metadata__".into(), about.to_metadata());
    header.extend(tensors);
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    text
}

impl TokensAbout {
    /// As safetensors has it: an object of texts.
    fn to_metadata(&self) -> Value {
        let Ok(Value::Object(own)) = serde_json::to_value(self) else {
            unreachable!("plain fields become an object")
        };
        let text = |value: Value| match value {
            Value::String(text) => Some(text),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let fields = own.into_iter().filter_map(|(name, value)| Some((name, text(value)?.into())));
        let format = ("format".to_owned(), Value::from(FORMAT.to_string()));
        Value::Object([format].into_iter().chain(fields).collect())
    }

    /// What `metadata` says.
    pub(super) fn of_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, String> {
        fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
            text.parse().ok()
        }
        let format = metadata.get("format").map(String::as_str).unwrap_or_default();
        if number(format) != Some(FORMAT) {
            return Err(format!("expected format {FORMAT}, got \"{format}\""));
        }
        let wrong = |name: &str| format!("expected a number as `{name}` of its metadata, got none");
        let optional = |name: &str| metadata.get(name).and_then(|text| number(text));
        Ok(Self {
            step: metadata.get("step").and_then(|text| number(text)).ok_or(wrong("step"))?,
            stage: metadata.get("stage").cloned().unwrap_or_default(),
            temperature: match metadata.get("temperature") {
                Some(text) => number(text).ok_or(wrong("temperature"))?,
                None => f64::NAN,
            },
            threshold_plus: optional("threshold_plus"),
            threshold_minus: optional("threshold_minus"),
            tokenizer_sha256: metadata.get("tokenizer_sha256").cloned().unwrap_or_default(),
        })
    }
}

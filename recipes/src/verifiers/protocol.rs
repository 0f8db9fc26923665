//! What is said to a verifier outside this process, and what it answers.

use rewards::problem::Turn;
use rewards::rows::{Fields, brief};
use rewards::{Attempt, Outcome, Verdict};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// One attempt, as it is handed over.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    id: usize,
    problem_id: &'a str,
    problem: &'a str,
    gold: &'a str,
    source: &'a str,
    completion: &'a str,
    tokens: usize,
    max_tokens: usize,
    truncated: bool,
    columns: &'a Map<String, Value>,
    /// The turns of a chat before the problem.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    history: &'a [Turn],
}

impl<'a> Request<'a> {
    pub(super) fn new(id: usize, attempt: &Attempt<'a>) -> Self {
        let Attempt { problem, text, num_tokens, max_tokens, truncated } = *attempt;
        Self {
            id,
            problem_id: &problem.id,
            problem: &problem.problem,
            gold: &problem.answer,
            source: &problem.source,
            completion: text,
            tokens: num_tokens,
            max_tokens,
            truncated,
            columns: &problem.columns,
            history: &problem.history,
        }
    }
}

/// Characters of a text in [`in_brief`].
const TEXT_IN_BRIEF: usize = 200;
/// Items of a list in [`in_brief`].
const ITEMS_IN_BRIEF: usize = 8;

/// A request as JSON for a message: texts and lists that are long are cut, so that it is one still.
pub(super) fn in_brief(request: &impl Serialize) -> String {
    fn cut(value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some((end, _)) = text.char_indices().nth(TEXT_IN_BRIEF) {
                    text.truncate(end);
                    text.push('…');
                }
            }
            Value::Array(items) => {
                items.truncate(ITEMS_IN_BRIEF);
                items.iter_mut().for_each(cut);
            }
            Value::Object(fields) => fields.values_mut().for_each(cut),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut value = serde_json::to_value(request).expect("a request has a JSON form");
    cut(&mut value);
    value.to_string()
}

/// A reply that cannot be read, and why.
pub(super) fn misread(reply: &str, problem: &str) -> String {
    // Some problems quote the whole text, which is here anyway.
    let quoted = format!(", got `{}`", brief(reply.trim()));
    let problem = problem.strip_suffix(&quoted).unwrap_or(problem);
    format!("`{}`: {problem}", shortened(reply))
}

/// What a verifier says about one attempt.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) id: usize,
    reward: Option<f64>,
    outcome: Option<Outcome>,
    answer: Option<String>,
    error: Option<String>,
    metrics: Vec<(String, f64)>,
    /// The names of its fields, for a message.
    names: String,
}

/// What a reply looks like.
const FORM: &str = "{\"id\": N, \"reward\": NUMBER} with the `id` of the attempt";

/// What a verifier is to say of a completion that has no reward.
const NO_REWARD: &str = "for a completion that cannot be judged, reply with an `error` and no \
     `reward`: {\"id\": 0, \"error\": \"why\"}";

/// The largest reward: the squares of those of a group must be far from the limits of `f64`.
const MOST_REWARD: f64 = 1e9;

/// Most further numbers of one reply.
const MAX_METRICS: usize = 64;

impl Reply {
    /// Reads one JSON object; further fields are not read.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let fields = object(text)?;
        let id = fields.parsed("id", "the number of an attempt")?;
        let reward: Option<f64> =
            fields.parsed("reward", "a number").map_err(|problem| beyond(&fields, problem))?;
        if let Some(got) = reward.filter(|reward| reward.abs() > MOST_REWARD) {
            return Err(format!(
                "field `reward`: expected a number from {} to {MOST_REWARD}, got {got:e}; {NO_REWARD}",
                -MOST_REWARD
            ));
        }
        Ok(Self {
            id: id.ok_or_else(|| {
                format!("field `id` is missing: expected {FORM}, got {}", names(&fields))
            })?,
            names: names(&fields),
            reward,
            outcome: fields.parsed("outcome", "the name of an outcome")?,
            answer: fields.optional("answer", Fields::text_or_number)?,
            error: fields.optional("error", Fields::text)?,
            metrics: metrics(&fields)?,
        })
    }

    /// The verdict; why there is none where the verifier says so or leaves the reward out.
    pub(super) fn verdict(self, judges_answers: bool) -> Result<Verdict, String> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let Some(reward) = self.reward else {
            return Err(format!(
                "expected `reward` with a number, or `error` with a text, got {}; a reply is {FORM}",
                self.names
            ));
        };
        let verdict = Verdict { metrics: self.metrics, ..Verdict::form(reward) };
        if !judges_answers {
            return Ok(verdict);
        }
        let sign = if reward > 0.0 { Outcome::Correct } else { Outcome::Wrong };
        let (outcome, by_sign) = (Some(self.outcome.unwrap_or(sign)), self.outcome.is_none());
        Ok(Verdict { outcome, by_sign, answer: self.answer, ..verdict })
    }
}

/// The fields of what a verifier wrote.
///
/// # Errors
///
/// Says what else the text is.
pub(super) fn object(text: &[u8]) -> Result<Fields<'_>, String> {
    Fields::read(text).map_err(|problem| {
        if has_no_number(text) {
            return format!("JSON has no NaN and no infinity; {NO_REWARD}");
        }
        problem
    })
}

/// Whether what other languages write for NaN and infinity is in the text, and not in quotes.
fn has_no_number(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).replace("\\\\", "").replace("\\\"", "");
    // Every second part is between quotes.
    let is_none = |part: &str| part.contains("NaN") || part.contains("Infinity");
    text.split('"').step_by(2).any(is_none)
}

/// The problem with a reward, with the next act where it is a number too large for any.
fn beyond(fields: &Fields<'_>, problem: String) -> String {
    let is_number = |value: &str| value.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if fields.raw("reward").is_some_and(is_number) {
        return format!("{problem}; {NO_REWARD}");
    }
    problem
}

/// The names of all fields of a reply, as they are in a message.
fn names(fields: &Fields<'_>) -> String {
    const SHOWN: usize = 8;
    let all: Vec<_> = fields.all().map(|(name, _)| format!("`{}`", brief(name))).collect();
    let left = all.len().saturating_sub(SHOWN);
    let more = if left > 0 { format!(" and {left} more") } else { String::new() };
    match &all[..] {
        [] => "no fields".to_owned(),
        [one] => format!("the field {one}"),
        _ => format!("the fields {}{more}", all[..all.len() - left].join(", ")),
    }
}

/// The numbers in the field `metrics`, by name; null stands for none.
fn metrics(fields: &Fields<'_>) -> Result<Vec<(String, f64)>, String> {
    let expected = "an object of numbers";
    let named: Option<Map<String, Value>> = fields.parsed("metrics", expected)?;
    let named = named.unwrap_or_default();
    if named.len() > MAX_METRICS {
        return Err(format!(
            "field `metrics`: expected at most {MAX_METRICS}, got {}",
            named.len()
        ));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let mut found = Vec::new();
    for (name, value) in &named {
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!(
                "field `metrics`: expected names of letters, digits, `-`, `_`, `.` and `@`, got `{}`",
                brief(name)
            ));
        }
        match value {
            Value::Null => {}
            Value::Bool(holds) => found.push((name.clone(), f64::from(u8::from(*holds)))),
            Value::Number(number) => found.extend(number.as_f64().map(|n| (name.clone(), n))),
            other => {
                let got = brief(&other.to_string());
                return Err(format!("field `metrics.{name}`: expected a number, got {got}"));
            }
        }
    }
    Ok(found)
}

/// The verdict on an attempt that a verifier failed on: no reward, and no zero either.
pub(super) fn failed() -> Verdict {
    Verdict { outcome: Some(Outcome::Error), ..Verdict::form(0.0) }
}

/// Places of the attempts that have no verdict yet.
pub(super) fn pending(verdicts: &[Option<Verdict>]) -> Vec<usize> {
    let places = verdicts.iter().enumerate();
    places.filter(|(_, verdict)| verdict.is_none()).map(|(index, _)| index).collect()
}

/// The first of `text`, for a message.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    let text = text.trim();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", printable(&text[..end])),
        None => printable(text),
    }
}

/// `text` without characters that a terminal obeys.
pub(super) fn printable(text: &str) -> String {
    let visible = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(visible).collect()
}

/// What tells settings apart without showing them: the start of their SHA-256, in hexadecimal.
pub(super) fn digest(parts: &[&[u8]]) -> String {
    const SHOWN: usize = 12;
    let mut hasher = Sha256::new();
    for part in parts {
        // With their lengths, so that other divisions of the same bytes differ.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let sum = format!("{:x}", hasher.finalize());
    sum[..SHOWN].to_owned()
}

#[cfg(test)]
mod tests;

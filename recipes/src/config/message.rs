//! Complaints that say where, what, and what was probably meant.

use std::fmt::Write as _;
use std::ops::Range;

use super::brief::{brief_quotes, shortened, window};
use super::sources::{Source, Sources};
use crate::names::nearest;

/// An error of a source that is not TOML.
pub(super) fn syntax(sources: &Sources, source: &Source, error: &toml::de::Error) -> anyhow::Error {
    let span = error.span().unwrap_or(source.here());
    let twice = error.message() == "duplicate key";
    let Some(key) = source.padded.get(span.clone()).filter(|_| twice) else {
        let extended = extended(source, &span, error.message());
        let mut text = extended.unwrap_or_else(|| reword(error.message()));
        if let Some(other) = other_format(source, &span) {
            let _ = write!(
                text,
                "\nthis is {other}: a recipe is TOML (`stearin recipes` has examples)"
            );
        }
        return anyhow::anyhow!(said(sources, &span, None, &text));
    };
    let act = if key == "stage" {
        "each stage begins with `[[stage]]`, and its keys follow below it"
    } else if source.line_of(&span).0.trim_start().starts_with('[') {
        "keep one of them, with the keys of both"
    } else {
        "keep one of them"
    };
    let text = format!("`{key}` is set twice in one file\n{act}");
    anyhow::anyhow!(said(sources, &span, None, &text))
}

/// What to write where `[a.b]` or `a.b = 1` adds to an `a` that has a value already; `span` is that
/// of `a`.
fn extended(source: &Source, span: &Range<usize>, said: &str) -> Option<String> {
    let said = said.strip_prefix("cannot extend value of type ")?;
    let kind = said.strip_suffix(" with a dotted key")?;
    let name = source.padded.get(span.clone())?;
    let (line, before) = source.line_of(span);
    if kind != "inline table" {
        return Some(format!(
            "`{name}` is set already, to another value than a table\nkeep that value, or the keys below \
             `{name}`"
        ));
    }
    let header = line.trim_start().strip_prefix('[').is_some();
    let path = line.get(before + name.len()..)?.split([']', '=', '#']).next()?;
    let path = path.trim().trim_start_matches('.');
    let value = if header { "{ ... }" } else { "..." };
    let table = line.get(..before + name.len())?.trim_start().trim_start_matches('[');
    let table = if header { format!("`[{table}]`") } else { "its table in brackets".to_owned() };
    Some(format!(
        "`{name}` is set in braces already, and a table in braces is complete\nwrite `{path} = {value}` \
         within the braces, or write {table} and its keys below it, one a line, in place of them"
    ))
}

/// What a source is that is not TOML, by its name or by the line that cannot be read.
fn other_format(source: &Source, span: &Range<usize>) -> Option<&'static str> {
    let extension = source.name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    match extension.as_deref() {
        Some("yaml" | "yml") => return Some("YAML"),
        Some("json") => return Some("JSON"),
        _ if source.is_override => return None,
        _ => {}
    }
    let body = &source.padded[source.start..];
    let line = source.line_of(span).0.trim();
    let name = line.split_once(':').filter(|(_, rest)| rest.is_empty() || rest.starts_with(' '));
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '"');
    let is_yaml = name.is_some_and(|(name, _)| !name.is_empty() && name.chars().all(plain));
    match body.trim_start().chars().next() {
        Some('{') => Some("JSON"),
        _ if is_yaml && !line.contains('=') => Some("YAML"),
        _ => None,
    }
}

/// A complaint about a key at `span`, in words of our own.
pub(super) fn said(
    sources: &Sources,
    span: &Range<usize>,
    key: Option<&str>,
    text: &str,
) -> String {
    let text = &brief_quotes(text);
    let key = key.map(shortened);
    let key = key.as_deref();
    let with_key = || key.map_or_else(|| text.to_owned(), |key| format!("{key}: {text}"));
    let Some(source) = sources.0.iter().rev().find(|s| s.start <= span.start) else {
        return with_key();
    };
    if !source.is_override {
        return in_file(source, span, &with_key());
    }
    let set = source.name.split('=').next().unwrap_or_default().trim();
    let last = |path: &str| path.rsplit('.').next().map(str::to_owned);
    let is_named = key.is_some_and(|key| last(key) == last(set));
    let name = shortened(&source.name);
    format!("--set {name}: {}", if is_named { text.to_owned() } else { with_key() })
}

fn in_file(source: &Source, span: &Range<usize>, text: &str) -> String {
    let body = &source.padded[source.start..];
    let offset = (span.start - source.start).min(body.len());
    let before = &body[..offset];
    let line_number = before.matches('\n').count() + 1;
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = body[line_start..].lines().next().unwrap_or_default();
    let column = body[line_start..offset].chars().count();
    let left = line.chars().count().saturating_sub(column).max(1);
    let width = span.len().clamp(1, left);
    let gutter = line_number.to_string();
    let (blank, name) = (" ".repeat(gutter.len()), &source.name);
    let (line, indent, width) = window(line, column, width);
    let mark = format!("{}{}", " ".repeat(indent), "^".repeat(width));
    let message = format!("{name}:{line_number}:{}: {text}", column + 1);
    if line.trim().is_empty() {
        return message;
    }
    format!("{message}\n{blank} |\n{gutter} | {line}\n{blank} | {mark}")
}

/// The name that the message complains about: the first one in backticks.
pub(super) fn culprit(text: &str) -> Option<&str> {
    if !text.starts_with("unknown ") {
        return None;
    }
    text.split('`').nth(1)
}

/// The names that were expected in its place.
pub(super) fn expected(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).skip(1).collect()
}

/// Names as a choice.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [one, other] => format!("`{one}` or `{other}`"),
        _ => format!("one of `{}`", names.join("`, `")),
    }
}

/// Former names of keys and what they are called now, which their spelling does not tell.
const FORMER: [(&str, &str); 6] = [
    ("policy", "policy_loss"),
    ("policy", "strictness"),
    ("weight", "reweight_w"),
    ("attenuation", "reweight_m"),
    ("weight_max", "w_max"),
    ("attenuation_min", "m_min"),
];

/// Serde's words in ours, with the former or the nearest of the names it expected.
pub(super) fn reword(text: &str) -> String {
    let text = text.trim_end().replace('\n', "; ");
    let text = plain(&text);
    match meant(&text) {
        Some(name) => format!("{text}\ndid you mean `{name}`?"),
        None => text,
    }
}

/// The expected name that an unknown one was probably meant to be: its new name or the nearest one.
pub(super) fn meant(text: &str) -> Option<&str> {
    let wrong = culprit(text)?;
    let known = expected(text);
    let former = FORMER.iter().find(|(old, new)| *old == wrong && known.contains(new));
    former.map(|(_, new)| *new).or_else(|| nearest(wrong, known.iter().copied()))
}

/// Serde's and TOML's words for kinds of values, and what a recipe calls them; the longer come
/// first.
const KINDS: [(&str, &str); 20] = [
    ("variant identifier", "a name in quotation marks"),
    ("a nonzero usize", "a whole number, 1 or more"),
    ("a nonzero u64", "a whole number, 1 or more"),
    ("a nonzero u32", "a whole number, 1 or more"),
    ("usize", "a whole number, 0 or more"),
    ("u64", "a whole number, 0 or more"),
    ("u32", "a whole number, 0 or more"),
    ("u16", "a whole number, 0 or more"),
    ("u8", "a whole number, 0 or more"),
    ("i64", "a whole number"),
    ("i32", "a whole number"),
    ("f64", "a number"),
    ("f32", "a number"),
    ("a boolean", "true or false"),
    ("a string", "text in quotation marks"),
    ("a sequence", "a list"),
    ("sequence", "a list"),
    ("a map", "a table"),
    ("map", "a table"),
    ("string or table", "text in quotation marks or a table"),
];

/// What a recipe calls a kind of value.
fn kind(serde: &str) -> String {
    if let Some(value) = serde.strip_suffix(" or \"off\"") {
        return format!("{} or \"off\"", kind(value));
    }
    if ["struct ", "tuple struct ", "unit struct "].iter().any(|start| serde.starts_with(start)) {
        return "a table".to_owned();
    }
    let known = KINDS.iter().find(|(name, _)| *name == serde);
    known.map_or(serde, |(_, ours)| ours).to_owned()
}

/// What a recipe calls a value: serde says "integer `5`" for 5.
fn value(serde: &str) -> String {
    let number = ["integer `", "floating point `", "boolean `"]
        .iter()
        .find_map(|start| serde.strip_prefix(start)?.strip_suffix('`'));
    match number.or_else(|| serde.strip_prefix("string ")) {
        Some(value) => value.to_owned(),
        None => kind(serde),
    }
}

/// A message without the names that serde has for kinds of values.
pub(super) fn plain(text: &str) -> String {
    let mismatch = ["invalid type: ", "invalid value: ", "invalid length: "]
        .iter()
        .find_map(|start| text.strip_prefix(start)?.rsplit_once(", expected "));
    if let Some((got, expected)) = mismatch {
        return format!("expected {}, got {}", kind(expected), value(got));
    }
    // A list in place of a table: serde takes it for the values of the keys.
    let list = text.strip_prefix("invalid length ").and_then(|rest| rest.split_once(", expected "));
    if let Some((_, expected)) = list {
        return format!("expected {}, got a list", kind(expected));
    }
    if let Some(wanted) = text.strip_prefix("wanted ") {
        return format!("expected {}", kind(wanted));
    }
    [
        ("unknown field", "unknown key"),
        ("missing field", "missing key"),
        ("unknown variant", "unknown value"),
        ("floating-point number overflowed", "expected a number of at most 1.79e308"),
    ]
    .iter()
    .find_map(|(serde, ours)| Some(format!("{ours}{}", text.strip_prefix(serde)?)))
    .unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_values_have_plain_names() {
        for (serde, ours) in [
            (
                "invalid type: integer `5`, expected struct Probe or \"off\"",
                "expected a table or \"off\", got 5",
            ),
            (
                "invalid type: string \"x\", expected struct ModelChoice",
                "expected a table, got \"x\"",
            ),
            (
                "invalid value: integer `0`, expected a nonzero usize",
                "expected a whole number, 1 or more, got 0",
            ),
            ("invalid type: map, expected f64", "expected a number, got a table"),
            (
                "invalid type: sequence, expected a string",
                "expected text in quotation marks, got a list",
            ),
            (
                "invalid type: floating point `1.5`, expected u64",
                "expected a whole number, 0 or more, got 1.5",
            ),
            (
                "invalid type: string \"a, expected b\", expected a boolean",
                "expected true or false, got \"a, expected b\"",
            ),
            (
                "invalid length 0, expected struct DataConfig with 6 elements",
                "expected a table, got a list",
            ),
            ("wanted string or table", "expected text in quotation marks or a table"),
            ("missing field `url`", "missing key `url`"),
            ("floating-point number overflowed", "expected a number of at most 1.79e308"),
            (
                "unknown variant `f64`, expected `f32` or `bf16`",
                "unknown value `f64`, expected `f32` or `bf16`",
            ),
            ("anything else", "anything else"),
        ] {
            assert_eq!(plain(serde), ours);
        }
    }
}

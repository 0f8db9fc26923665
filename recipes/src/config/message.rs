//! Complaints that say where, what, and what was probably meant.

use std::ops::Range;

use super::layers::{Source, Sources};

/// Names within this similarity are offered as what was meant.
const NEAR: f64 = 0.75;

/// An error at `span`: `file:line:column: text`, the line with a mark, and the nearest known name.
pub(super) fn at(sources: &Sources, span: Range<usize>, text: &str) -> anyhow::Error {
    let text = reword(text);
    let Some(source) = sources.0.iter().rev().find(|s| s.start <= span.start) else {
        return anyhow::anyhow!(text);
    };
    if source.is_override {
        return anyhow::anyhow!("--set {}: {text}", source.name);
    }
    anyhow::anyhow!("{}", in_file(source, &span, &text))
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
    let mark = format!("{}{}", " ".repeat(column), "^".repeat(width));
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

/// Serde's words in ours, with the nearest of the names it expected.
fn reword(text: &str) -> String {
    let text = text.trim_end().replace("unknown field", "unknown key").replace('\n', "; ");
    let names: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let Some((wrong, known)) = names.split_first() else { return text };
    if !text.starts_with("unknown ") {
        return text;
    }
    match nearest(wrong, known.iter().copied()) {
        Some(name) => format!("{text}\ndid you mean `{name}`?"),
        None => text,
    }
}

/// The known name most like `wrong`, if any is near.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

//! Marks of chat templates: those that end a turn, and those that enclose reasoning.
//!
//! A response is judged as text, so that a mark may be one that the model wrote out, in any case.

use std::iter::Peekable;
use std::str::MatchIndices;

/// What encloses the name of a mark.
const BRACKETS: [(&str, &str); 8] = [
    ("<|", "|>"),
    ("<|", ">"),
    ("<", "|>"),
    ("<\u{ff5c}", "\u{ff5c}>"),
    ("[|", "|]"),
    ("<", ">"),
    ("[", "]"),
    ("\u{25c1}", "\u{25b7}"),
];

/// The longest name of a mark, in bytes.
const MAX_NAME_BYTES: usize = 40;

/// Names that end a turn or begin another one, in any brackets.
const TURNS: [&str; 16] = [
    "/inst",
    "/s",
    "endofmessage",
    "endofsentence",
    "endoftext",
    "endofturn",
    "eoa",
    "eod",
    "eom",
    "eos",
    "eot",
    "imend",
    "imstart",
    "inst",
    "seed:eos",
    "startofturn",
];

/// The same in `[|` and `|]`, which may enclose mathematics otherwise.
const BARRED: [&str; 4] = ["assistant", "endofturn", "system", "user"];

/// Who speaks: the name of a role closes its turn as a tag, and is no content in a header.
const ROLES: [&str; 7] = ["assistant", "bot", "human", "model", "response", "system", "user"];

/// Words in the names of marks that a model writes within an answer, or around one.
const CONTENT: [&str; 20] = [
    "answer", "audio", "box", "code", "content", "fim", "image", "img", "latex", "math", "object",
    "patch", "point", "python", "quad", "quote", "ref", "solution", "video", "vision",
];

/// Names that begin a text.
const STARTS: [&str; 8] = [
    "beginofsentence",
    "beginoftext",
    "bos",
    "gmask",
    "s",
    "sop",
    "startoftext",
    "startofsentence",
];

/// Names of reasoning.
const REASONING: [&str; 15] = [
    "analysis",
    "chainofthought",
    "cot",
    "draft",
    "innermonologue",
    "rationale",
    "reason",
    "reasoning",
    "reflection",
    "scratchpad",
    "seed:think",
    "think",
    "thinking",
    "thought",
    "thoughts",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// A text begins.
    Start,
    /// A turn ends, or another one begins.
    Turn,
    /// Reasoning begins.
    Opening,
    /// Reasoning ends.
    Closing,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    meaning: Meaning,
    start: usize,
    end: usize,
}

/// What a response says before its turn ends. Marks in front of everything else end nothing.
pub(super) fn turn(response: &str) -> &str {
    let mut start = 0;
    let mut in_channel = false;
    for mark in Marks::of(response) {
        let before = response[start..mark.start].trim();
        // a header may name the role between two marks
        let in_front = before.is_empty() || start > 0 && ROLES.contains(&before);
        match mark.meaning {
            Meaning::Start | Meaning::Turn if in_front => start = mark.end,
            // between its channels, a turn in the harmony format of `gpt-oss` goes on
            Meaning::Turn if !in_channel => return &response[..mark.start],
            Meaning::Opening => in_channel |= is_channel(response, mark),
            Meaning::Closing => in_channel &= !is_channel(response, mark),
            Meaning::Start | Meaning::Turn => {}
        }
    }
    response
}

/// The part of a response that follows its reasoning: what stands after the mark that last ends
/// some, up to one that begins more. A response that never leaves its reasoning has no such part.
pub(crate) fn after_reasoning(response: &str) -> &str {
    let (mut start, mut end) = (0, None);
    for mark in Marks::of(response) {
        match mark.meaning {
            Meaning::Closing => (start, end) = (mark.end, None),
            Meaning::Opening => end = end.or(Some(mark.start)),
            Meaning::Start | Meaning::Turn => {}
        }
    }
    &response[start..end.unwrap_or(response.len())]
}

fn is_channel(response: &str, mark: Mark) -> bool {
    response[mark.start..].starts_with(CHANNEL)
}

/// What begins a channel in the harmony format of `gpt-oss`; the answer stands in the one called
/// `final`.
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";

/// What encloses the reasoning of Gemma 4.
const OPEN_CHANNEL: &str = "<|channel>";
const CLOSE_CHANNEL: &str = "<channel|>";

/// The marks of a text, in order.
struct Marks<'a> {
    text: &'a str,
    /// Where the brackets of marks open.
    places: [Peekable<MatchIndices<'a, char>>; 3],
    /// Where the last mark ends.
    end: usize,
}

impl<'a> Marks<'a> {
    fn of(text: &'a str) -> Self {
        let places = ['<', '[', '\u{25c1}'].map(|open| text.match_indices(open).peekable());
        Self { text, places, end: 0 }
    }
}

impl Iterator for Marks<'_> {
    type Item = Mark;

    fn next(&mut self) -> Option<Mark> {
        loop {
            let next = |places: &mut Peekable<MatchIndices<'_, char>>| places.peek().map(|at| at.0);
            let start = self.places.iter_mut().filter_map(next).min()?;
            for places in &mut self.places {
                let _ = places.next_if(|at| at.0 == start);
            }
            if start < self.end {
                continue;
            }
            if let Some((meaning, length)) = mark(&self.text[start..]) {
                self.end = start + length;
                return Some(Mark { meaning, start, end: start + length });
            }
        }
    }
}

/// What a mark at the start of `text` means, and its length.
fn mark(text: &str) -> Option<(Meaning, usize)> {
    // the end of a sequence in MiniMax's templates
    if text.starts_with("[e~[") {
        return Some((Meaning::Turn, 4));
    }
    if let Some(rest) = text.strip_prefix(CHANNEL) {
        let head = rest.char_indices().nth(MAX_NAME_BYTES).map_or(rest, |(end, _)| &rest[..end]);
        let message = head.find(MESSAGE).map_or(0, |at| at + MESSAGE.len());
        let is_final = rest.trim_start().starts_with("final");
        let meaning = if is_final { Meaning::Closing } else { Meaning::Opening };
        return Some((meaning, CHANNEL.len() + message));
    }
    if text.starts_with(OPEN_CHANNEL) {
        return Some((Meaning::Opening, OPEN_CHANNEL.len()));
    }
    if text.starts_with(CLOSE_CHANNEL) {
        return Some((Meaning::Closing, CLOSE_CHANNEL.len()));
    }
    BRACKETS.iter().find_map(|(left, right)| {
        let inner = text.strip_prefix(left)?;
        let in_name = |c: char| c.is_alphanumeric() || "_-\u{2581}/: ".contains(c);
        let length = inner.find(|c| !in_name(c)).filter(|&length| length <= MAX_NAME_BYTES)?;
        if !inner[length..].starts_with(right) {
            return None;
        }
        let barred = left.chars().count() > 1 || right.chars().count() > 1;
        let meaning = meaning(&inner[..length], left, barred)?;
        Some((meaning, left.len() + length + right.len()))
    })
}

fn meaning(written: &str, left: &str, barred: bool) -> Option<Meaning> {
    let name = written.replace(['_', '-', '\u{2581}', ' '], "").to_lowercase();
    if let Some(meaning) = reasoning(&name, barred) {
        return Some(meaning);
    }
    // `eot_id` and `EOS_TOKEN`
    let known = name.strip_suffix("token").unwrap_or(&name);
    let known = known.strip_suffix("id").unwrap_or(known);
    if TURNS.contains(&known) {
        return Some(Meaning::Turn);
    }
    if STARTS.contains(&known) {
        return Some(Meaning::Start);
    }
    (ends_by_shape(written, &name, left, barred)).then_some(Meaning::Turn)
}

/// Whether a name begins or ends reasoning: `think`, `/think`, `end_of_thought`, `THINK_END`.
fn reasoning(name: &str, barred: bool) -> Option<Meaning> {
    let is = |name: Option<&str>| name.is_some_and(|name| REASONING.contains(&name));
    let of = |edge: &str| {
        is(name.strip_prefix(edge).and_then(|name| name.strip_prefix("of")))
            || barred && (is(name.strip_prefix(edge)) || is(name.strip_suffix(edge)))
    };
    if REASONING.contains(&name) || of("begin") || of("start") {
        return Some(Meaning::Opening);
    }
    (is(name.strip_prefix('/')) || of("end")).then_some(Meaning::Closing)
}

/// Whether a name that is not known has the shape of a mark that ends a turn. The marks of
/// templates are too many to be listed, and whatever stands behind an unknown one is not the
/// answer.
fn ends_by_shape(written: &str, name: &str, left: &str, barred: bool) -> bool {
    let words = || written.split(['_', '-', '\u{2581}', '/', ' ']);
    if words().any(|word| CONTENT.contains(&&*word.to_lowercase())) {
        return false;
    }
    if barred && left.starts_with('<') {
        return is_name(written);
    }
    match left {
        "<" => {
            let tag = name.strip_prefix('/').is_some_and(|role| ROLES.contains(&role));
            let end = name.strip_prefix("eo").or_else(|| name.strip_prefix("endof"));
            let letters =
                |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase());
            tag || !written.contains(' ') && end.is_some_and(letters)
        }
        "[" => {
            let capitals = |c: char| c.is_ascii_uppercase() || c == '_';
            let closed = written.strip_prefix('/').filter(|name| name.len() > 1);
            closed.is_some_and(|name| name.chars().all(capitals))
        }
        _ => BARRED.contains(&name),
    }
}

/// Whether a text between bars is a name, and not a value as in `a <|x|> b`: words of letters, or
/// numbers behind such.
fn is_name(written: &str) -> bool {
    let written = written.strip_prefix('/').unwrap_or(written);
    let letters = |word: &str| word.chars().all(char::is_alphabetic);
    let digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = written.split(['_', '-', '\u{2581}']);
    words.next().is_some_and(letters)
        && words.all(|word| letters(word) || digits(word))
        && written.chars().filter(|c| c.is_alphabetic()).count() > 1
}

#[cfg(test)]
mod tests;

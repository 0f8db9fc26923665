//! First layer: where in a response the answer stands.
//!
//! One pass over the bytes, no recursion, and memory for at most [`MAX_OPEN_BOXES`] positions. It
//! does not know what an answer means: that is [`equivalent`](mod@crate::equivalent)'s part.

use std::ops::Range;

use crate::{Marker, Policy};

/// How many boxes may stand open inside each other before the search gives up.
pub const MAX_OPEN_BOXES: usize = 64;

/// What was found where the answer should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extracted<'a> {
    /// The text of the answer, without surrounding white space.
    Answer(&'a str),
    /// There is no box, or the last one is empty.
    NoAnswer,
    /// The last box never closes: what it would have held is unknown.
    Unclosed,
    /// The answer is too long, or boxes are nested too deeply, to be looked at.
    Limit,
}

/// Finds the answer of `response`: the content of the last `\boxed{...}` or `\fbox{...}` after the
/// reasoning.
///
/// A box inside another closed box is part of that one's content. Braces nest; `\{` and `\}` are
/// text. Work is linear in the length of `response`.
///
/// Source: the last-closed-box rule of `inspect_ai`'s `math()`, without its fallbacks.
pub fn extract(response: &str, policy: Policy, _marker: Marker) -> Extracted<'_> {
    match policy {
        Policy::Rl | Policy::Eval => last_box(after_reasoning(response), policy.max_answer_bytes()),
    }
}

fn last_box(text: &str, max_bytes: usize) -> Extracted<'_> {
    let boxes = Boxes::find(text);
    match (boxes.last_closed, boxes.open) {
        _ if boxes.too_deep => Extracted::Limit,
        // a box is opened after the last closed one: the response was about to answer anew
        (Some(closed), Some(open)) if open > closed.start => Extracted::Unclosed,
        (Some(closed), _) => {
            let answer = trimmed(&text[closed]);
            if answer.is_empty() {
                Extracted::NoAnswer
            } else if answer.len() > max_bytes {
                Extracted::Limit
            } else {
                Extracted::Answer(answer)
            }
        }
        (None, Some(_)) => Extracted::Unclosed,
        (None, None) => Extracted::NoAnswer,
    }
}

/// `content` of a closed box without the white space around it, the control spaces at its end included.
fn trimmed(content: &str) -> &str {
    let mut answer = content.trim();
    // In a closed box, only a control space `\ ` leaves an unpaired backslash at the end.
    while answer.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1 {
        answer = answer[..answer.len() - 1].trim_end();
    }
    answer
}

/// The part of a response that follows its reasoning: what stands after the last `</think>`, up to a
/// further `<think>`. A response that never leaves its reasoning has no such part.
pub(crate) fn after_reasoning(response: &str) -> &str {
    let start = response.rfind("</think>").map_or(0, |at| at + "</think>".len());
    let text = &response[start..];
    &text[..text.find("<think>").unwrap_or(text.len())]
}

/// The boxes of a text.
#[derive(Debug, Default)]
pub(crate) struct Boxes {
    /// Content of the last closed box that stands in no other closed box.
    pub(crate) last_closed: Option<Range<usize>>,
    /// Start of the content of the last box that never closes.
    pub(crate) open: Option<usize>,
    /// How many boxes are opened, nested ones included.
    pub(crate) count: usize,
    /// More than [`MAX_OPEN_BOXES`] stood open at once; the search stopped there.
    pub(crate) too_deep: bool,
}

impl Boxes {
    /// Reads `text` once, as TeX would: a backslash takes the letters after it, or one character.
    pub(crate) fn find(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut found = Self::default();
        // content start of every open box, and how many braces stood open around it
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut depth = 0;
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b'\\' => {
                    let (next, content) = command(bytes, at + 1);
                    at = next;
                    let Some(content) = content else { continue };
                    found.count += 1;
                    if open.len() == MAX_OPEN_BOXES {
                        found.too_deep = true;
                        break;
                    }
                    open.push((content, depth));
                    depth += 1;
                    continue;
                }
                // braces outside every box are of no concern, balanced or not
                b'{' if !open.is_empty() => depth += 1,
                b'}' if !open.is_empty() => {
                    depth -= 1;
                    if let Some((start, _)) = open.pop_if(|(_, outside)| *outside == depth) {
                        found.last_closed = Some(start..at);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        found.open = open.last().map(|&(start, _)| start);
        found
    }
}

/// Reads the command whose name starts at `at`. Returns where reading goes on and, if the command is
/// a box with a braced argument, where that argument starts.
fn command(bytes: &[u8], at: usize) -> (usize, Option<usize>) {
    let letters = bytes[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    if letters == 0 {
        // `\{`, `\\` and their kind: the character after the backslash is spent
        return (at + 1, None);
    }
    let end = at + letters;
    if !matches!(&bytes[at..end], b"boxed" | b"fbox") {
        return (end, None);
    }
    let spaces = bytes[end..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let argument = end + spaces;
    if bytes.get(argument) == Some(&b'{') {
        (argument + 1, Some(argument + 1))
    } else {
        (argument, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(response: &str, expected: Extracted<'_>) {
        assert_eq!(extract(response, Policy::Rl, Marker::Boxed), expected, "{response}");
    }

    #[test]
    fn the_last_closed_box_is_the_answer() {
        check(r"\boxed{1} then \boxed{2}", Extracted::Answer("2"));
        check(r"\fbox {\frac{1}{2}} }}", Extracted::Answer(r"\frac{1}{2}"));
        check(r"\boxed{\{1\}}", Extracted::Answer(r"\{1\}"));
        check(r"\boxed{5 \ \ }", Extracted::Answer("5"));
        check(r"\boxed{5\\ }", Extracted::Answer(r"5\\"));
        check(r"\boxed{a\boxed{b}c}", Extracted::Answer(r"a\boxed{b}c"));
        check(r"\boxed{\frac{1}{2} but \boxed{5}", Extracted::Answer("5"));
    }

    #[test]
    fn what_is_no_box_is_no_answer() {
        for response in
            ["", "42", r"\boxed 42", r"\boxedx{42}", r"\\boxed{42}", r"\boxed{ }", r"\boxed{\ }"]
        {
            check(response, Extracted::NoAnswer);
        }
        check(r"\boxed{1} \boxed{}", Extracted::NoAnswer);
    }

    #[test]
    fn an_open_last_box_is_unclosed() {
        for response in [r"\boxed{20", r"\boxed{", r"\boxed{1} so \boxed{20", r"\boxed{\frac{4}{2}"]
        {
            check(response, Extracted::Unclosed);
        }
    }

    #[test]
    fn only_what_follows_the_reasoning_counts() {
        check(r"<think>\boxed{1}</think>\boxed{2}", Extracted::Answer("2"));
        check(r"<think>\boxed{1}</think>so 2", Extracted::NoAnswer);
        check(r"<think>\boxed{1}", Extracted::NoAnswer);
        check(r"\boxed{1}</think>", Extracted::NoAnswer);
    }

    #[test]
    fn limits_are_exact() {
        let max = Policy::Rl.max_answer_bytes();
        let digits = "1".repeat(max);
        check(&format!(r"\boxed{{ {digits} }}"), Extracted::Answer(&digits));
        check(&format!(r"\boxed{{{digits}1}}"), Extracted::Limit);
        let open = r"\boxed{".repeat(MAX_OPEN_BOXES);
        check(&open, Extracted::Unclosed);
        check(&format!(r"{open}\boxed{{1}}"), Extracted::Limit);
    }
}

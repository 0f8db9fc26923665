//! Whether two texts are the same but for what does not show: white space and spacing commands,
//! sizes of delimiters, dollar signs. Where a text cannot be read, nothing else is left to compare.

use super::{characters, names, read};
use crate::Strictness;

/// Whether a text is struck out, in the marks of Markdown: `~~5~~`.
pub(super) fn is_struck_out(text: &str) -> bool {
    let inner = text.trim().strip_prefix("~~").and_then(|text| text.strip_suffix("~~"));
    inner.is_some_and(|inner| !inner.trim_matches('~').trim().is_empty())
}

/// Whether `gold` and `answer` are the same text. No text without a letter or a digit is an answer,
/// and none whose braces do not match.
pub(super) fn same(gold: &str, answer: &str, strictness: Strictness) -> bool {
    let max_bytes = strictness.max_answer_bytes();
    if gold.len() > max_bytes || answer.len() > max_bytes {
        return false;
    }
    let [gold, answer] = [gold, answer].map(|text| characters::plain(text, strictness));
    let (gold, answer) = (read::trim(&gold), read::trim(&answer));
    Parts::of(gold).eq(Parts::of(answer)) && is_meant(gold)
}

fn is_meant(text: &str) -> bool {
    let (mut depth, mut said) = (0i32, false);
    for part in Parts::of(text) {
        depth += i32::from(part == "{") - i32::from(part == "}");
        said |= part.chars().all(char::is_alphanumeric);
        if depth < 0 {
            return false;
        }
    }
    said && depth == 0
}

/// The parts of a text that show: commands and single characters; a space stands only where it
/// keeps two letters or digits apart.
struct Parts<'a> {
    rest: &'a str,
    in_word: bool,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        Self { rest: text, in_word: false }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut spaced = false;
        loop {
            let part = first_part(self.rest)?;
            let is_word = part.chars().all(char::is_alphanumeric);
            if is_word && self.in_word && spaced {
                self.in_word = false;
                return Some(" ");
            }
            self.rest = &self.rest[part.len()..];
            if is_seen(part) {
                self.in_word = is_word;
                return Some(plainest(part));
            }
            spaced = true;
        }
    }
}

/// A command, or one character.
fn first_part(text: &str) -> Option<&str> {
    let first = text.chars().next()?.len_utf8();
    let name = text.strip_prefix('\\').unwrap_or_default();
    let letters = name.bytes().take_while(u8::is_ascii_alphabetic).count();
    let length = match name.chars().next() {
        Some(_) if letters > 0 => letters,
        Some(sign) => sign.len_utf8(),
        None => 0,
    };
    Some(&text[..first + length])
}

fn is_seen(part: &str) -> bool {
    match part.strip_prefix('\\') {
        Some(
            "left" | "right" | "middle" | "limits" | "nolimits" | "displaystyle" | "textstyle"
            | "quad" | "qquad" | "enspace" | "thinspace" | "" | " " | "\n" | "," | ";" | ":" | "!"
            | ">" | "(" | ")" | "[" | "]",
        ) => false,
        Some(name) => !(name.starts_with(['b', 'B']) && names::is_size(name)),
        None => !(part.starts_with(char::is_whitespace) || matches!(part, "~" | "$")),
    }
}

/// The shortest of several commands that look the same.
fn plainest(part: &str) -> &str {
    match part {
        r"\dfrac" | r"\tfrac" | r"\cfrac" => r"\frac",
        r"\dbinom" | r"\tbinom" => r"\binom",
        r"\leq" => r"\le",
        r"\geq" => r"\ge",
        r"\neq" => r"\ne",
        r"\ldots" | r"\cdots" => r"\dots",
        r"\to" => r"\rightarrow",
        _ => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gold: &str, answer: &str) -> bool {
        let verdict = same(gold, answer, Strictness::Rl);
        assert_eq!(verdict, same(answer, gold, Strictness::Rl), "{gold} and {answer}");
        verdict
    }

    #[test]
    fn what_does_not_show_is_passed_over() {
        assert!(check(r"\oint_C F\,dr", r"\oint _C  F dr"));
        assert!(check(r"\left( 1+2+\cdots+n \right)", r"(1 + 2 + \ldots + n)"));
        assert!(check(r"$\dfrac{1}{2+\ddots}$", r"\( \frac{1}{2+\ddots} \)."));
        assert!(check(r"\bigl[ \nabla f \bigr]", r"[\nabla f]"));
    }

    #[test]
    fn what_shows_is_not() {
        assert!(!check("1+2+...+n", "1+2+...+m"));
        assert!(!check("12 ?", "1 2 ?"));
        assert!(!check(r"\nabla f", r"\nablaf"));
        assert!(!check(r"\nabla f", r"\nabla F"));
        assert!(!check(r"\oint x", r"\int x"));
        assert!(!check(r"\wp", "wp"));
    }

    #[test]
    fn what_says_nothing_is_no_answer() {
        for text in ["", "?", r"\frac{", "}1{", "$$", "{}"] {
            assert!(!check(text, text), "{text}");
        }
    }
}

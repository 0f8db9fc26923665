//! What of a clause is the value that it begins with, and what the words behind it do to it.
//!
//! A clause that denies, doubts or limits its value states none: whoever takes it whole will not
//! accept it as an answer.

use super::markup::unstyled;
use crate::denial::{Denial, is_one_of};

/// Words before which a value ends: what follows says where it comes from, or what it counts.
const CLOSING: &str = "in for of on at as by with because since which that this where so when given \
    after before among within from during altogether total overall here then thus hence therefore \
    indeed too exactly respectively again also per each the its it we you he she they i our his her \
    their there who whose into until via using due thanks based according rounded simplified while \
    now or and to a an left remaining needed required available sold used still";

/// How a sentence takes back, doubts or limits what it states.
const DENYING: [Denial; 5] =
    [Denial::Negation, Denial::Refutation, Denial::Condition, Denial::Doubt, Denial::Contrast];

/// Words that begin a clause of its own, which may deny what it likes, but not the value itself.
const SUBORDINATE: &str = "because since as which so while where given";

/// Words by which it says the value again.
const AGAIN: [&str; 8] =
    ["equivalently", "simply", "approximately", "about", "roughly", "alternatively", "in", "as"];

/// What ends a clause. An exclamation mark may be a factorial.
const PUNCTUATION: [char; 4] = [',', ';', ':', '.'];

/// Longest unit or noun after a value, in words.
const MAX_NOUNS: usize = 4;

/// Whether one of the words of a list.
pub(super) fn is_among(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == word)
}

/// Takes words of a list off the start of a text.
pub(super) fn skip<'a>(mut text: &'a str, list: &str) -> &'a str {
    loop {
        let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        let rest = text[letters..].trim_start_matches([' ', ',', ':', '=']);
        let known = letters > 0 && is_among(list, &text[..letters].to_lowercase());
        if !known || rest.len() == text.len() - letters {
            return text;
        }
        text = rest;
    }
}

/// Whether a clause takes back, doubts or limits what it states.
pub(super) fn denies(clause: &str) -> bool {
    words(clause).any(|word| is_one_of(&DENYING, &word))
}

/// Whether a clause says of a value that it is none.
pub(super) fn is_judged(clause: &str) -> bool {
    words(clause).any(|word| is_one_of(&[Denial::Refutation], &word))
}

/// Whether a text begins with a word, and no name in mathematics.
pub(super) fn starts_with_word(text: &str) -> bool {
    is_word(&tokens(text), 0)
}

/// The words of a text, in lower case, apostrophes included.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !(c.is_alphabetic() || c == '\'' || c == '\u{2019}'))
        .filter(|word| !word.is_empty())
        .map(|word| word.to_lowercase().replace('\u{2019}', "'"))
}

/// A part of a sentence between blanks.
#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    start: usize,
    /// Without the punctuation around it.
    core: &'a str,
    end: usize,
    /// Brackets that are open behind it.
    depth: i32,
}

/// Whether the token at a place is a word, and no name in mathematics.
fn is_word(tokens: &[Token<'_>], at: usize) -> bool {
    const SHORT: &str = "in of to at on by as so if is it we an no up be he us my me do or";
    let Some(token) = tokens.get(at) else { return false };
    let letters = |c: char| c.is_alphabetic() || "'-\u{2019}".contains(c);
    if !token.core.starts_with(char::is_alphabetic) || !token.core.chars().all(letters) {
        return false;
    }
    match token.core {
        // an article or a pronoun, or the name of a number
        "a" | "A" | "I" => is_word(tokens, at + 1),
        word => is_among(SHORT, &word.to_lowercase()) || weight(word) > 0,
    }
}

/// Whether a token begins a remark in parentheses rather than a factor.
fn is_remark(sentence: &str, tokens: &[Token<'_>], at: usize) -> bool {
    let token = tokens[at];
    if !sentence[token.start..].starts_with('(') {
        return false;
    }
    let closes = |at: usize| sentence[tokens[at].start..tokens[at].end].contains(')');
    let last = (at..tokens.len()).find(|&at| closes(at)).unwrap_or(tokens.len() - 1);
    (at..=last).any(|at| is_word(tokens, at) && tokens[at].core != "or")
        || token.core.starts_with("i.e")
        || sentence[token.start + 1..].starts_with(['=', '≈', '~', '$'])
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut at, mut depth) = (0, 0i32);
    while let Some(ahead) = text[at..].find(|c: char| !c.is_whitespace()) {
        let start = at + ahead;
        let end =
            text[start..].find(char::is_whitespace).map_or(text.len(), |length| start + length);
        let token = &text[start..end];
        for c in token.chars() {
            depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        }
        let core = token.trim_matches(|c: char| ".,;:!?\"*_()".contains(c));
        tokens.push(Token { start, core, end, depth });
        at = end;
    }
    tokens
}

/// The value that a sentence begins with, if only words follow that leave it as it is: `72` of
/// `72 in total`, `72 clips` of `72 clips, which is the most`.
pub(super) fn leading(sentence: &str) -> Option<&str> {
    let tokens = tokens(sentence);
    let mut count = 0;
    while let Some(token) = tokens.get(count) {
        let next = tokens.len() > count + 1 && !is_word(&tokens, count + 1);
        let inside = count > 0 && tokens[count - 1].depth > 0 && token.depth >= 0;
        let ends = match &*token.core.to_lowercase() {
            "and" | "or" | "\u{2014}" | "\u{2013}" | "-" | "--" => !next,
            _ => is_word(&tokens, count),
        };
        if count > 0 && is_remark(sentence, &tokens, count) || ends && !inside {
            break;
        }
        count += 1;
    }
    let end = tokens.get(count.checked_sub(1)?)?.end;
    let value = sentence[..end].trim_end_matches(PUNCTUATION);
    let stands = value.contains(|c: char| c.is_numeric() || c == '\\' || c == '$')
        || value.chars().filter(|c| c.is_alphabetic()).count() == 1;
    if !stands || !is_balanced(value) || value.ends_with(|c: char| "+-*/=<>^≈≤≥".contains(c))
    {
        return None;
    }
    let nouns = follows(sentence, &tokens[count..])?;
    let unit = nouns.checked_sub(1).filter(|_| value.len() == end);
    let end = unit.map_or(value.len(), |last| tokens[count + last].end);
    Some(unstyled(sentence[..end].trim_end_matches(PUNCTUATION)))
}

/// How many words right after a value are a unit or a noun; `None` where the words behind it change
/// it.
fn follows(sentence: &str, tail: &[Token<'_>]) -> Option<usize> {
    let (mut nouns, mut is_phrase) = (None, true);
    for (at, token) in tail.iter().enumerate() {
        let word = token.core.to_lowercase().replace('\u{2019}', "'");
        let next = tail.get(at + 1).map_or("", |next| next.core);
        let number = next.starts_with(|c: char| c.is_numeric());
        // a contrast with another value
        if at == 0 && word == "not" && !next.is_empty()
            || matches!((&*word, next), ("rather", "than") | ("instead", "of"))
        {
            return Some(nouns.unwrap_or(at));
        }
        if is_among(SUBORDINATE, &word) {
            let clause = tail[at + 1..].iter().take(3);
            if clause.clone().any(|token| is_one_of(&[Denial::Refutation], token.core))
                || word == "where" && next.len() == 1
            {
                return None;
            }
            return within(nouns.unwrap_or(at));
        }
        if is_one_of(&DENYING, &word) {
            return None;
        }
        let condition = match &*word {
            "for" => next.len() == 1 || is_among("all any every even odd some", next),
            "when" => !is_among("rounded simplified expressed written reduced converted", next),
            _ => false,
        };
        let joined = match &*word {
            "or" => !AGAIN.contains(&next),
            "and" | "to" | "by" | "plus" | "minus" | "times" | "over" => number,
            _ => false,
        };
        let verb = matches!(&*word, "is" | "are" | "was" | "were" | "gives" | "equals" | "makes");
        if nouns.is_none() && (condition || joined || verb) {
            return None;
        }
        // what stands before an operation is an operand, with all its words
        if is_phrase && is_operator(&sentence[token.start..]) {
            return None;
        }
        is_phrase &= is_word(tail, at) && !sentence[..token.end].ends_with(PUNCTUATION);
        let closes =
            is_among(CLOSING, &word) || !is_word(tail, at) || is_remark(sentence, tail, at);
        if nouns.is_none() && closes {
            // a unit of length, where nothing is said to be in something
            let inches = word == "in" && next.is_empty();
            nouns = Some(if inches { at + 1 } else { at });
        }
        if nouns.is_none() && sentence[..token.end].ends_with([',', ';', ':', ')']) {
            nouns = Some(at + 1);
        }
    }
    within(nouns.unwrap_or(tail.len()))
}

/// Whether a text goes on with an operation on what stands before it.
pub(super) fn is_operator(text: &str) -> bool {
    let mut tokens = text.split_whitespace();
    let sign = tokens.next().unwrap_or_default();
    let operand = tokens.next();
    match sign {
        "*" | "+" | "\u{d7}" | "\u{f7}" => true,
        "-" | "\u{2212}" | "x" | "/" => {
            operand.is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit() || c == '$'))
        }
        _ => false,
    }
}

fn within(nouns: usize) -> Option<usize> {
    (nouns <= MAX_NOUNS).then_some(nouns)
}

fn is_balanced(text: &str) -> bool {
    let mut depth = 0i32;
    text.chars().all(|c| {
        depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
        depth >= -1
    }) && (depth == 0 || text.starts_with(['[', '(', ']']))
}

/// Whether words behind a value leave it as it is, other than by a unit.
pub(super) fn leaves(rest: &str) -> bool {
    let tokens = tokens(rest);
    let Some(nouns) = follows(rest, &tokens) else { return false };
    let unit = nouns.checked_sub(1).map_or("", |last| &rest[..tokens[last].end]);
    !scales(unit) && !rest.trim_start().starts_with('%')
}

/// Whether words behind a number make it another one.
fn scales(words: &str) -> bool {
    const SCALES: &str = "hundred hundreds thousand thousands million millions billion billions \
        trillion trillions dozen dozens percent percentage lakh lakhs crore crores pair pairs";
    self::words(words).any(|word| is_among(SCALES, &word))
}

/// How much a run of letters speaks against mathematics: 3 is enough.
pub(super) fn weight(run: &str) -> u32 {
    const NAMES: [&str; 16] = [
        "and", "sin", "cos", "tan", "log", "exp", "sqrt", "arcsin", "arccos", "arctan", "infinity",
        "percent", "boxed", "cot", "negative", "minus",
    ];
    match run {
        "is" | "are" | "was" | "because" | "since" | "therefore" | "equals" | "gives" | "makes"
        | "gets" | "has" | "have" | "not" | "Not" | "no" | "No" | "Answer" | "answer" => 3,
        _ if NAMES.contains(&run) || run.len() < 3 => 0,
        // points and segments are capitals
        _ => u32::from(run.chars().skip(1).any(char::is_lowercase)),
    }
}

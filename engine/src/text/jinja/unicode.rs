//! Classes and cases of characters, as Python's `str` has them.

use std::sync::LazyLock;

use regex::Regex;

use super::{Outcome, trouble};

/// Characters that are digits to Python but not decimal ones: powers, circled digits and the like.
const DIGITS: [(u32, u32); 20] = [
    (0xb2, 0xb3),
    (0xb9, 0xb9),
    (0x1369, 0x1371),
    (0x19da, 0x19da),
    (0x2070, 0x2070),
    (0x2074, 0x2079),
    (0x2080, 0x2089),
    (0x2460, 0x2468),
    (0x2474, 0x247c),
    (0x2488, 0x2490),
    (0x24ea, 0x24ea),
    (0x24f5, 0x24fd),
    (0x24ff, 0x24ff),
    (0x2776, 0x277e),
    (0x2780, 0x2788),
    (0x278a, 0x2792),
    (0x10a40, 0x10a43),
    (0x10e60, 0x10e68),
    (0x11052, 0x1105a),
    (0x1f100, 0x1f10a),
];

fn class(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern of a class is valid")
}

static LETTER: LazyLock<Regex> = LazyLock::new(|| class(r"^\p{L}$"));
static DECIMAL: LazyLock<Regex> = LazyLock::new(|| class(r"^\p{Nd}$"));
static NUMBER: LazyLock<Regex> = LazyLock::new(|| class(r"^\p{N}$"));
static TITLE: LazyLock<Regex> = LazyLock::new(|| class(r"^\p{Lt}$"));

fn matches(class: &Regex, c: char) -> bool {
    class.is_match(c.encode_utf8(&mut [0; 4]))
}

pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

pub(super) fn trim_end(text: &str) -> &str {
    text.trim_end_matches(is_space)
}

pub(super) fn is_letter(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { matches(&LETTER, c) }
}

pub(super) fn is_decimal(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { matches(&DECIMAL, c) }
}

pub(super) fn is_digit(c: char) -> bool {
    let code = u32::from(c);
    is_decimal(c) || DIGITS.iter().any(|&(first, last)| (first..=last).contains(&code))
}

pub(super) fn is_number(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { matches(&NUMBER, c) }
}

fn is_title(c: char) -> bool {
    !c.is_ascii() && matches(&TITLE, c)
}

fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase() || is_title(c)
}

/// Whether `repr` writes the character as it is.
pub(super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // The standard library escapes what is not printable, by the same categories as Python. A
    // letter in front keeps it from escaping marks that would combine with a quote.
    ['a', c].iter().collect::<String>().escape_debug().eq(['a', c])
}

/// All cased characters are lower ones, and there is one.
pub(super) fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(|c| c.is_uppercase() || is_title(c))
}

/// All cased characters are upper ones, and there is one.
pub(super) fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(|c| c.is_lowercase() || is_title(c))
}

/// Upper characters follow uncased ones only, and lower characters cased ones only.
pub(super) fn is_titled(text: &str) -> bool {
    let mut cased = false;
    let mut any = false;
    for c in text.chars() {
        let upper = c.is_uppercase() || is_title(c);
        if (upper && cased) || (c.is_lowercase() && !cased) {
            return false;
        }
        cased = upper || c.is_lowercase();
        any |= cased;
    }
    any
}

/// The character as the first of a word.
fn titled(c: char) -> Outcome<String> {
    match c {
        'ŉ' => Ok("ʼN".into()),
        'Ǆ'..='ǆ' => Ok("ǅ".into()),
        'Ǉ'..='ǉ' => Ok("ǈ".into()),
        'Ǌ'..='ǌ' => Ok("ǋ".into()),
        'Ǳ'..='ǳ' => Ok("ǲ".into()),
        '\u{10d0}'..='\u{10ff}' => Ok(c.into()),
        '\u{1f80}'..='\u{1fff}' if c.to_uppercase().count() > 1 => {
            Err(trouble(format!("the title case of {c:?} is not supported")))
        }
        c => {
            let mut upper = c.to_uppercase();
            let first = upper.next().into_iter();
            Ok(first.chain(upper.flat_map(char::to_lowercase)).collect())
        }
    }
}

/// `str.capitalize`.
pub(super) fn capitalize(text: &str) -> Outcome<String> {
    let Some(first) = text.chars().next() else { return Ok(String::new()) };
    // The whole text is lowered, since a sigma's form depends on what is before it.
    let rest: String = text.to_lowercase().chars().skip(first.to_lowercase().count()).collect();
    Ok(titled(first)? + &rest)
}

/// `str.title`.
pub(super) fn title(text: &str) -> Outcome<String> {
    let lowered = text.to_lowercase();
    let mut lowered = lowered.chars();
    let mut out = String::with_capacity(text.len());
    let mut cased = false;
    for c in text.chars() {
        let lower: String = lowered.by_ref().take(c.to_lowercase().count()).collect();
        out.push_str(&if cased { lower } else { titled(c)? });
        cased = is_cased(c);
    }
    Ok(out)
}

/// `str.swapcase`.
pub(super) fn swapcase(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_uppercase() {
            out.extend(c.to_lowercase());
        } else if c.is_lowercase() {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}

/// `str.splitlines`; the ends of lines stay where `keep` is set.
pub(super) fn lines(text: &str, keep: bool) -> Vec<&str> {
    let ends = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        let length = rest[at..].chars().next().map_or(0, char::len_utf8);
        let end = at + if rest[at..].starts_with("\r\n") { 2 } else { length };
        lines.push(&rest[..if keep { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

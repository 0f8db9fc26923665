//! Rational numbers as people and LaTeX write them.

use dashu_int::{IBig, UBig};

use super::literal::{Separators, whole_digits};

/// Wrappers that may stand around each other, such as `$`, braces and `\text{...}`.
const MAX_WRAPPERS: usize = 16;

/// Commands whose braced argument is the text itself.
const TRANSPARENT: [&str; 11] = [
    "text", "textbf", "textrm", "mathrm", "mathbf", "mathit", "mathsf", "mbox", "hbox", "boxed",
    "fbox",
];

/// A fraction, not reduced, with a positive denominator.
///
/// Compared by cross-multiplication: reducing costs more than one comparison needs.
#[derive(Debug)]
pub(super) struct Number {
    numerator: IBig,
    denominator: UBig,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        if self.denominator == other.denominator {
            return self.numerator == other.numerator;
        }
        &self.numerator * &other.denominator == &other.numerator * &self.denominator
    }
}

impl Number {
    /// Reads a whole text as one number. Work is at most quadratic in its length.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = undress(text)?;
        // an answer may end a sentence, inside its wrappers or outside
        let text = match text.strip_suffix('.') {
            Some(sentence) => undress(sentence)?,
            None => text,
        };
        let (negative, magnitude) = signed(text);
        let (negative, magnitude) = match currency(magnitude) {
            Some(amount) if negative.is_none() => signed(amount),
            Some(amount) => (negative, amount),
            None => (negative, magnitude),
        };
        let number = if let Some(arguments) = fraction_command(magnitude) {
            let (above, rest) = argument(arguments)?;
            let (below, rest) = argument(rest)?;
            if !rest.is_empty() {
                return None;
            }
            Self::ratio(&Self::decimal(above)?, &Self::decimal(below)?)?
        } else if let Some((above, below)) = magnitude.split_once('/') {
            Self::ratio(&Self::decimal(above)?, &Self::decimal(below)?)?
        } else {
            Self::unsigned(magnitude)?
        };
        Some(if negative == Some(true) { number.negated() } else { number })
    }

    fn negated(self) -> Self {
        Self { numerator: -self.numerator, ..self }
    }

    /// `None` where the denominator is zero.
    fn ratio(above: &Self, below: &Self) -> Option<Self> {
        if below.numerator.is_zero() {
            return None;
        }
        let (sign, magnitude) = below.numerator.clone().into_parts();
        let numerator = sign * (&above.numerator * &below.denominator);
        Some(Self { numerator, denominator: &above.denominator * magnitude })
    }

    /// A decimal with its sign, in its own wrappers.
    fn decimal(text: &str) -> Option<Self> {
        let (negative, magnitude) = signed(undress(text)?);
        let number = Self::unsigned(magnitude)?;
        Some(if negative == Some(true) { number.negated() } else { number })
    }

    /// Digits, with thousands separators or without, and a decimal part that needs a digit.
    fn unsigned(text: &str) -> Option<Self> {
        let separators = Separators { comma: true, space: false };
        let (mut digits, rest) = whole_digits(text, separators)?;
        let places = match rest.strip_prefix('.') {
            Some(places) if !places.is_empty() => places,
            None if rest.is_empty() && !digits.is_empty() => "",
            _ => return None,
        };
        if !places.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.push_str(places);
        Some(Self {
            numerator: UBig::from_str_radix(&digits, 10).ok()?.into(),
            denominator: if places.is_empty() {
                UBig::ONE
            } else {
                UBig::from(10u8).pow(places.len())
            },
        })
    }
}

/// The sign, `Some(true)` for minus, and what follows it.
fn signed(text: &str) -> (Option<bool>, &str) {
    let mut characters = text.chars();
    let negative = match characters.next() {
        // the second is U+2212, which LaTeX renders and some models write
        Some('-' | '\u{2212}') => true,
        Some('+') => false,
        _ => return (None, text),
    };
    (Some(negative), trim(characters.as_str()))
}

/// What follows a dollar sign in front.
fn currency(text: &str) -> Option<&str> {
    match text.as_bytes() {
        [b'\\', b'$', ..] => Some(trim(&text[2..])),
        [b'$', ..] => Some(trim(&text[1..])),
        _ => None,
    }
}

/// What follows `\frac` or one of its kin.
fn fraction_command(text: &str) -> Option<&str> {
    let (name, rest) = command(text)?;
    matches!(name, "frac" | "dfrac" | "tfrac" | "cfrac").then_some(rest)
}

/// A command's name, and what follows it.
fn command(text: &str) -> Option<(&str, &str)> {
    // by its byte, as elsewhere in this file: to ask for a prefix is a call, and half the time of a
    // pair
    if text.as_bytes().first() != Some(&b'\\') {
        return None;
    }
    let text = &text[1..];
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    (letters > 0).then(|| text.split_at(letters))
}

/// Splits off a command's argument: braced, or a single digit.
fn argument(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    if text.starts_with('{') {
        let end = closing(text)?;
        return Some((&text[1..end], &text[end + 1..]));
    }
    text.starts_with(|first: char| first.is_ascii_digit()).then(|| text.split_at(1))
}

/// Where the brace that opens `text` closes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Takes off everything that only dresses a text. `None` where the dress is too thick.
fn undress(text: &str) -> Option<&str> {
    let mut text = trim(text);
    for _ in 0..MAX_WRAPPERS {
        match inside(text) {
            Some(inner) => text = trim(inner),
            None => return Some(text),
        }
    }
    None
}

/// What stands in the outermost wrapper, if one encloses the whole text.
fn inside(text: &str) -> Option<&str> {
    if text.starts_with(['$', '\\']) {
        for (left, right) in [("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")] {
            if let Some(inner) = text.strip_prefix(left).and_then(|text| text.strip_suffix(right)) {
                return Some(inner);
            }
        }
    }
    let braced = match command(text) {
        Some(("displaystyle", rest)) => return Some(rest),
        Some((name, rest)) if TRANSPARENT.contains(&name) => rest.trim_start(),
        Some(_) => return None,
        None => text,
    };
    (braced.as_bytes().first() == Some(&b'{') && closing(braced)? + 1 == braced.len())
        .then(|| &braced[1..braced.len() - 1])
}

/// Takes white space and LaTeX's spaces off both ends.
fn trim(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(rest) = without_space_in_front(text) {
        text = rest.trim_start();
    }
    while let Some(rest) = without_space_behind(text) {
        text = rest.trim_end();
    }
    text
}

/// What a backslash makes a space.
const SPACES: [&str; 7] = [" ", ",", ";", ":", "!", "quad", "qquad"];

fn without_space_in_front(text: &str) -> Option<&str> {
    match text.as_bytes().first()? {
        b'~' => Some(&text[1..]),
        b'\\' => SPACES.iter().find_map(|space| text[1..].strip_prefix(space)),
        _ => None,
    }
}

fn without_space_behind(text: &str) -> Option<&str> {
    match text.as_bytes().last()? {
        // `\ ` has lost its space to the trimming already
        b'~' | b'\\' => Some(&text[..text.len() - 1]),
        b',' | b';' | b':' | b'!' | b'd' => {
            SPACES.iter().find_map(|space| text.strip_suffix(space)?.strip_suffix('\\'))
        }
        _ => None,
    }
}

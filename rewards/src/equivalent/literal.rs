//! Numbers as they are written out: digits, separators, decimals, powers of ten, bases.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::words;
use crate::Strictness;

/// How far the decimal point may be moved by an exponent.
const MAX_EXPONENT: usize = 4096;

/// A number as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) value: RBig,
    /// Digits after the point; `None` where there is no point.
    pub(super) places: Option<u32>,
}

impl Literal {
    pub(super) fn whole(value: UBig) -> Self {
        Self { value: RBig::from(value), places: None }
    }

    /// A whole number without a sign, as the whole part of a mixed number must be.
    pub(super) fn is_whole(&self) -> bool {
        self.places.is_none() && self.value.is_int()
    }
}

/// Where a number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Open,
    /// Between brackets, where a bare comma separates elements and not thousands.
    Bracketed,
    /// An exponent or the like: digits and a decimal point at most.
    Argument,
}

/// A number at the start of `text`, and how many bytes it takes; `None` where none starts there or
/// where it is malformed.
pub(super) fn literal(
    text: &str,
    place: Place,
    strictness: Strictness,
) -> Option<(Literal, usize)> {
    if let Some((value, length)) = digits_with_letters(text) {
        return Some((Literal::whole(value), length));
    }
    let open = place == Place::Open;
    let separators = Separators { comma: open, space: open && strictness == Strictness::Eval };
    let (digits, rest) = whole_digits(text, separators)?;
    if let Some(after) = rest.strip_prefix('.')
        && after.starts_with(|next: char| next.is_ascii_digit() || next == '\\' || next == '(')
        && let Some((literal, rest)) = decimal(&digits, after)
    {
        return Some((literal, text.len() - rest.len()));
    }
    if digits.is_empty() {
        return None;
    }
    if place == Place::Argument {
        return Some((Literal::whole(parse(&digits)), text.len() - rest.len()));
    }
    if let Some((exponent, after)) = power_of_ten(rest, false) {
        let value = scaled(RBig::from(parse(&digits)), exponent)?;
        return Some((Literal { value, places: None }, text.len() - after.len()));
    }
    if let Some((base, after)) = base(rest) {
        let value = UBig::from_str_radix(&digits, base).ok()?;
        return Some((Literal::whole(value), text.len() - after.len()));
    }
    if let Some((above, below, after)) = plain_fraction(rest) {
        let value = RBig::from(parse(&digits)) + RBig::from_parts(above.into(), below);
        return Some((Literal { value, places: None }, text.len() - after.len()));
    }
    // a decimal comma can only be meant where no number has thousands: after a zero
    if separators.space
        && digits == "0"
        && let Some(after) = rest.strip_prefix(',')
        && let (places, end) = split_digits(after)
        && places.len() >= 2
        && end.is_empty()
    {
        let value = RBig::from_parts(parse(places).into(), power(places.len()));
        return Some((Literal { value, places: Some(places.len() as u32) }, text.len()));
    }
    Some((Literal::whole(parse(&digits)), text.len() - rest.len()))
}

/// What follows the decimal point: digits, and a repeating group under a bar.
fn decimal<'a>(whole: &str, text: &'a str) -> Option<(Literal, &'a str)> {
    let (first, mut rest) = split_digits(text);
    let mut places = first.to_owned();
    while let Some(group) = thin_group(rest).filter(|_| places.len() % 3 == 0 && !places.is_empty())
    {
        places.push_str(group);
        rest = &rest[r"\,".len() + group.len()..];
    }
    let digits = parse(&format!("0{whole}{places}"));
    let mut value = RBig::from_parts(digits.into(), power(places.len()));
    let mut count = Some(places.len() as u32);
    if let Some((group, after)) = dotted(rest) {
        let nines = power(group.len()) - UBig::ONE;
        value += RBig::from_parts(parse(&group).into(), nines * power(places.len()));
        return Some((Literal { value, places: None }, after));
    }
    if let Some((group, after)) = repeating(rest, places.is_empty()) {
        let nines = power(group.len()) - UBig::ONE;
        value += RBig::from_parts(parse(group).into(), nines * power(places.len()));
        (rest, count) = (after, None);
    } else if places.is_empty() {
        return None;
    } else if let Some((exponent, after)) = power_of_ten(rest, true) {
        value = scaled(value, exponent)?;
        (rest, count) = (after, None);
    }
    Some((Literal { value, places: count }, rest))
}

/// Three digits after a thin space, as they follow a decimal point.
fn thin_group(text: &str) -> Option<&str> {
    let (group, _) = split_digits(text.strip_prefix(r"\,")?);
    (group.len() == 3).then_some(group)
}

/// `\overline{3}`, `\bar{3}`; and `(3)` right after the point.
fn repeating(text: &str, first: bool) -> Option<(&str, &str)> {
    if let Some(inner) = text.strip_prefix('(').filter(|_| first) {
        let (group, rest) = split_digits(inner);
        return (!group.is_empty()).then_some((group, rest.strip_prefix(')')?));
    }
    let text = [r"\overline", r"\bar"].iter().find_map(|name| text.strip_prefix(name))?;
    let text = text.trim_start();
    let Some(inner) = text.strip_prefix('{') else {
        let (digit, rest) = text.split_at_checked(1)?;
        return digit.starts_with(|c: char| c.is_ascii_digit()).then_some((digit, rest));
    };
    let (group, rest) = split_digits(inner);
    (!group.is_empty()).then_some((group, rest.strip_prefix('}')?))
}

/// `\dot{1}2\dot{3}`: dots over the ends of the repeating group, or over its only digit.
fn dotted(text: &str) -> Option<(String, &str)> {
    let dot = |text: &'_ str| -> Option<(char, usize)> {
        let inner = text.strip_prefix(r"\dot")?;
        let digit = inner.chars().find(|c| !c.is_whitespace() && *c != '{')?;
        let at = inner.find(digit)?;
        let braced = inner[..at].contains('{');
        let closed = !braced || inner[at + digit.len_utf8()..].starts_with('}');
        (digit.is_ascii_digit() && closed)
            .then_some((digit, r"\dot".len() + at + 1 + usize::from(braced)))
    };
    let (first, length) = dot(text)?;
    let mut group = String::from(first);
    let rest = &text[length..];
    let (middle, end) = split_digits(rest);
    match dot(end.trim_start()) {
        Some((last, length)) => {
            group.push_str(middle);
            group.push(last);
            Some((group, &end.trim_start()[length..]))
        }
        None if middle.is_empty() => Some((group, rest)),
        None => None,
    }
}

/// `E-13`; with a small `e`, which may also be Euler's number, only after a decimal or at the end.
fn power_of_ten(text: &str, decimal: bool) -> Option<((bool, usize), &str)> {
    let small = text.starts_with('e');
    let text = match text.strip_prefix('E') {
        Some(text) => text,
        None => text.strip_prefix('e')?,
    };
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, rest) = split_digits(text);
    if rest.starts_with(|next: char| next.is_ascii_alphabetic() || next == '.') {
        return None;
    }
    if small && !decimal && !rest.is_empty() {
        return None;
    }
    Some(((negative, digits.parse().ok()?), rest))
}

fn scaled(value: RBig, (negative, exponent): (bool, usize)) -> Option<RBig> {
    if exponent > MAX_EXPONENT {
        return None;
    }
    let scale = RBig::from(power(exponent));
    Some(if negative { value / scale } else { value * scale })
}

/// `_8`, `_{8}`, `_{\text{8}}`: the base that a number is written in.
fn base(text: &str) -> Option<(u32, &str)> {
    let text = text.trim_start().strip_prefix('_')?.trim_start();
    let mut opened = 0;
    let mut inner = text;
    loop {
        if let Some(after) = inner.strip_prefix('{') {
            (inner, opened) = (after.trim_start(), opened + 1);
        } else if let Some(after) = inner.strip_prefix('(').filter(|_| opened > 0) {
            inner = after;
        } else if let Some(after) =
            inner.strip_prefix(r"\text").or_else(|| inner.strip_prefix(r"\mathrm"))
        {
            inner = after;
        } else {
            break;
        }
    }
    let (digits, mut rest) = split_digits(inner);
    let mut word = None;
    if digits.is_empty() {
        let letters = inner.bytes().take_while(u8::is_ascii_alphabetic).count();
        word = words::number_word(&inner[..letters]).map(u32::from);
        rest = &inner[letters..];
    }
    for _ in 0..opened {
        rest = rest.trim_start_matches([' ', ')']).strip_prefix('}')?;
    }
    let base: u32 = digits.parse().ok().or(word)?;
    (2..=36).contains(&base).then_some((base, rest))
}

/// `2A_{16}`: a number whose digits go on into letters, and how many bytes it takes.
pub(super) fn digits_with_letters(text: &str) -> Option<(UBig, usize)> {
    let digit = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
    let length = text.bytes().take_while(|byte| digit(byte)).count();
    let digits = &text[..length];
    if length < 2 || digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (base, rest) = base(&text[length..]).filter(|(base, _)| *base > 10)?;
    Some((UBig::from_str_radix(digits, base).ok()?, text.len() - rest.len()))
}

/// ` 1/2` after the whole part of a mixed number.
fn plain_fraction(text: &str) -> Option<(UBig, UBig, &str)> {
    let start = text.trim_start_matches(' ');
    let (above, rest) = split_digits(start);
    let (below, rest) = split_digits(rest.strip_prefix('/')?);
    if start.len() == text.len() || above.is_empty() || below.is_empty() {
        return None;
    }
    let (above, below) = (parse(above), parse(below));
    (above < below && !rest.starts_with(['.', '/', '^', '_'])).then_some((above, below, rest))
}

/// Which bare characters may stand between thousands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Separators {
    pub(super) comma: bool,
    pub(super) space: bool,
}

/// Splits off the digits before the decimal point; separators must cut groups of three, all of one
/// kind, and the first group must not start with a zero. Where a group does not fit, `None`, unless
/// the separator separates something else: then the digits before it.
pub(super) fn whole_digits(text: &str, allowed: Separators) -> Option<(String, &str)> {
    let (first, mut rest) = split_digits(text);
    let mut digits = first.to_owned();
    let mut kind = None;
    while let Some((found, after)) = separator(rest, allowed) {
        let (group, after) = split_digits(after);
        let same = *kind.get_or_insert(found) == found;
        let fits = group.len() == 3 && (1..=3).contains(&first.len()) && !first.starts_with('0');
        if !fits || !same {
            // `1, 2` is a list; `12,34` is one too, `1{,}23` is nothing
            let ambiguous = digits.len() == first.len() || !same;
            return (ambiguous && found != Separator::Braced).then_some((digits, rest));
        }
        digits.push_str(group);
        rest = after;
    }
    Some((digits, rest))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    Comma,
    Braced,
    ThinSpace,
    Space,
}

/// A thousands separator: `,`, `{,}`, either followed by `\!` and spaces, or `\,`.
fn separator(text: &str, allowed: Separators) -> Option<(Separator, &str)> {
    let digit_follows = |rest: &str| rest.starts_with(|next: char| next.is_ascii_digit());
    if text.is_empty() {
        return None;
    }
    for space in [r"\,", r"\;", r"\:", r"\ ", "~"] {
        if let Some(rest) = text.strip_prefix(space) {
            return digit_follows(rest).then_some((Separator::ThinSpace, rest));
        }
    }
    if let Some(rest) = text.strip_prefix(' ').filter(|_| allowed.space)
        && rest.starts_with(|next: char| next.is_ascii_digit())
    {
        return Some((Separator::Space, rest));
    }
    let (mut kind, mut rest) = match braced_comma(text) {
        Some(rest) => (Separator::Braced, rest),
        None => (Separator::Comma, text.strip_prefix(',')?),
    };
    while let Some(after) = rest.strip_prefix(r"\!") {
        kind = Separator::Braced;
        rest = after.trim_start();
    }
    (kind == Separator::Braced
        || allowed.comma && rest.starts_with(|next: char| next.is_ascii_digit()))
    .then_some((kind, rest))
}

/// `answer` with a decimal point for its decimal comma; `None` where it has none, or the comma may
/// stand between thousands or, beside a `gold` of several values, between values.
pub(super) fn decimal_point(gold: &str, answer: &str) -> Option<String> {
    if gold.contains([',', ';']) || !answer.contains(',') {
        return None;
    }
    let answer = answer.replace("{,}", ",");
    let (whole, rest) = answer.split_once(',')?;
    let (places, behind) = split_digits(rest);
    let start = whole.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (before, whole) = whole.split_at(start);
    let groups: Vec<_> = whole.split('.').collect();
    let thousands = groups.len() > 1 && groups[1..].iter().all(|group| group.len() == 3);
    let fits =
        groups.len() == 1 && !groups[0].is_empty() && (places.len() != 3 || groups[0] == "0")
            || thousands && (1..=3).contains(&groups[0].len());
    // nothing else may be a number, nor several things
    let bare = |text: &str| !text.contains(|c: char| c.is_ascii_digit() || "([,;".contains(c));
    // `5,0` for 5 may be two values
    let decimal = places.bytes().any(|digit| digit != b'0');
    (fits && decimal && bare(before) && bare(behind))
        .then(|| format!("{before}{}.{places}{behind}", groups.concat()))
}

/// What follows `{,}`.
fn braced_comma(text: &str) -> Option<&str> {
    let inner = text.trim_start().strip_prefix('{')?.trim_start();
    inner.strip_prefix(',')?.trim_start().strip_prefix('}')
}

pub(super) fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn parse(digits: &str) -> UBig {
    UBig::from_str_radix(digits, 10).expect("a run of digits")
}

fn power(exponent: usize) -> UBig {
    UBig::from(10u8).pow(exponent)
}

/// A whole number in another base; `None` where a digit does not exist there.
pub(super) fn in_base(value: &IBig, base: u32) -> Option<UBig> {
    UBig::from_str_radix(&value.to_string(), base).ok()
}

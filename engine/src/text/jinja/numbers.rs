//! Numbers as text, by a precision, a sign and a base: what `%` and `str.format` share.

use super::value::Value;
use super::{Outcome, trouble};

/// No format asks for more: longer ones are mistakes or attacks.
pub(super) const MAX_WIDTH: usize = 10_000;

/// How a number is laid out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout {
    /// `+` or a blank before what is not negative.
    pub(super) sign: Option<char>,
    /// `#`: the prefix of a base, or a point after all.
    pub(super) alternate: bool,
    pub(super) precision: Option<usize>,
}

impl Layout {
    fn sign(self, negative: bool) -> String {
        if negative { "-".into() } else { self.sign.map(String::from).unwrap_or_default() }
    }

    /// Sign with prefix, and digits, of an integer in base 2, 8, 10 or 16.
    ///
    /// `kind` is `b`, `o`, `x`, `X` or anything else for base ten.
    pub(super) fn integer(self, number: i128, kind: char) -> (String, String) {
        let magnitude = number.unsigned_abs();
        let digits = match kind {
            'b' => format!("{magnitude:b}"),
            'o' => format!("{magnitude:o}"),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            _ => magnitude.to_string(),
        };
        let prefix = match kind {
            'b' | 'o' | 'x' | 'X' if self.alternate => format!("0{kind}"),
            _ => String::new(),
        };
        (self.sign(number < 0) + &prefix, digits)
    }

    /// Sign, and digits, of a float by `e`, `E`, `f`, `F`, `g` or `G`.
    pub(super) fn float(self, number: f64, kind: char) -> (String, String) {
        let sign = self.sign(number.is_sign_negative() && !number.is_nan());
        let magnitude = number.abs();
        let precision = self.precision.unwrap_or(6);
        let digits = match kind.to_ascii_lowercase() {
            _ if number.is_nan() => "nan".into(),
            _ if number.is_infinite() => "inf".into(),
            'f' => self.point(format!("{magnitude:.precision$}")),
            'e' => self.scientific(magnitude, precision),
            _ => self.general(magnitude, precision.max(1)),
        };
        (sign, if kind.is_ascii_uppercase() { digits.to_ascii_uppercase() } else { digits })
    }

    /// A point even where there is no fraction, if asked for.
    fn point(self, digits: String) -> String {
        if self.alternate && !digits.contains('.') { digits + "." } else { digits }
    }

    fn scientific(self, magnitude: f64, precision: usize) -> String {
        let (digits, exponent) = decimal(magnitude, precision);
        format!("{}{}", self.point(digits), power(exponent))
    }

    fn general(self, magnitude: f64, precision: usize) -> String {
        let (digits, exponent) = decimal(magnitude, precision - 1);
        let least = i32::try_from(precision).unwrap_or(i32::MAX);
        let strip = |digits: String| {
            if self.alternate || !digits.contains('.') {
                return self.point(digits);
            }
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        if exponent < -4 || exponent >= least {
            return strip(digits) + &power(exponent);
        }
        let places = (least - 1 - exponent).max(0) as usize;
        strip(format!("{magnitude:.places$}"))
    }
}

/// Digits with one before the point, and the exponent of ten.
fn decimal(magnitude: f64, precision: usize) -> (String, i32) {
    let text = format!("{magnitude:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or_default())
}

fn power(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.abs())
}

/// A value as the integer that `%d` and its kin take.
pub(super) fn truncated(value: &Value) -> Option<Outcome<i128>> {
    match value {
        Value::Float(number) if number.is_finite() && number.abs() < 1e38 => {
            Some(Ok(number.trunc() as i128))
        }
        Value::Float(number) => {
            Some(Err(trouble(format!("cannot convert the float {number} to an integer"))))
        }
        other => other.as_int().map(Ok),
    }
}

/// `int(text, radix)`; 0 takes the base from the prefix. `None` where it is no integer.
pub(super) fn parse_int(text: &str, radix: u32) -> Option<i128> {
    let text = text.trim_matches(super::unicode::is_space);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefix = [("0b", 2), ("0o", 8), ("0x", 16)];
    let prefix = prefix.iter().find(|(prefix, _)| lower.starts_with(prefix)).map(|(_, base)| *base);
    let (digits, base) = match (prefix, radix) {
        (Some(base), 0) => (&lower[2..], base),
        (Some(base), radix) if base == radix => (&lower[2..], base),
        (None, 0) if lower.starts_with('0') && !lower.trim_matches(['0', '_']).is_empty() => {
            return None;
        }
        (_, 0) => (&lower[..], 10),
        _ => (&lower[..], radix),
    };
    // A prefix may be followed by an underscore.
    let digits = if digits.len() < lower.len() {
        digits.strip_prefix('_').unwrap_or(digits)
    } else {
        digits
    };
    let number = i128::from_str_radix(&grouped(digits)?, base).ok()?;
    Some(if negative { -number } else { number })
}

/// `float(text)`. `None` where it is no number.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(super::unicode::is_space);
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text).to_ascii_lowercase();
    if !matches!(&*unsigned, "inf" | "infinity" | "nan")
        && !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
    {
        return None;
    }
    grouped(text)?.parse().ok()
}

/// Without the underscores, which stand between digits only.
fn grouped(text: &str) -> Option<String> {
    let alone = text.starts_with(['_', '-', '+']) && text.starts_with('_');
    if alone || text.ends_with('_') || text.contains("__") || text.is_empty() {
        return None;
    }
    let around = text.match_indices('_').all(|(at, _)| {
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        digit(text[..at].chars().next_back()) && digit(text[at + 1..].chars().next())
    });
    around.then(|| text.replace('_', ""))
}

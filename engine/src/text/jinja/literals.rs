//! Literals inside tags: how far they reach, and what they stand for.

use super::{Outcome, trouble};

/// Length of `(\d+_)*\d+` at the start of `text`; 0 where there is no digit.
fn digits(text: &str) -> usize {
    run(text, |c| c.is_ascii_digit())
}

/// Length of digits with single underscores between them.
fn run(text: &str, digit: impl Fn(char) -> bool) -> usize {
    let mut length = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let joins = c == '_' && length > 0 && chars.peek().is_some_and(|&next| digit(next));
        if !digit(c) && !joins {
            break;
        }
        length += 1;
    }
    length
}

/// Length of the float at the start of `text`, which needs a fraction or an exponent.
pub(super) fn float_length(text: &str) -> Option<usize> {
    let whole = digits(text);
    if whole == 0 {
        return None;
    }
    let mut length = whole;
    if let Some(fraction) = text[whole..].strip_prefix('.') {
        match digits(fraction) {
            0 => {}
            digits => length += 1 + digits,
        }
    }
    if text[length..].starts_with(['e', 'E']) {
        let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
        match digits(&text[length + 1 + sign..]) {
            0 => {}
            digits => length += 1 + sign + digits,
        }
    }
    (length > whole).then_some(length)
}

/// Length and radix of the integer at the start of `text`.
pub(super) fn integer_length(text: &str) -> Option<(usize, u32)> {
    let prefix = text.get(..2).map(str::to_ascii_lowercase);
    let radix = match prefix.as_deref() {
        Some("0b") => 2,
        Some("0o") => 8,
        Some("0x") => 16,
        _ => 10,
    };
    if radix != 10 {
        let rest = text[2..].strip_prefix('_').unwrap_or(&text[2..]);
        let length = run(rest, |c| c.is_digit(radix));
        if length > 0 {
            return Some((text.len() - rest.len() + length, radix));
        }
    }
    match text.chars().next() {
        Some('0') => Some((run(text, |c| c == '0'), 10)),
        Some('1'..='9') => Some((digits(text), 10)),
        _ => None,
    }
}

pub(super) fn integer(text: &str, radix: u32) -> Outcome<i128> {
    let plain = text.replace('_', "");
    let digits = if radix == 10 { plain.as_str() } else { &plain[2..] };
    i128::from_str_radix(digits, radix)
        .map_err(|_| trouble(format!("the integer {text} is beyond 128 bits")))
}

/// What the text between two quotes stands for, by Python's `unicode-escape`.
pub(super) fn unescape(text: &str) -> Outcome<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(code) = rest.chars().next() else { break };
        rest = &rest[code.len_utf8()..];
        match code {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(code),
            'a' => out.push('\x07'),
            'b' => out.push('\x08'),
            'f' => out.push('\x0c'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\x0b'),
            '0'..='7' => {
                let more = rest.chars().take(2).take_while(|c| c.is_digit(8)).count();
                let octal = format!("{code}{}", &rest[..more]);
                rest = &rest[more..];
                out.push(character(u32::from_str_radix(&octal, 8).unwrap_or_default())?);
            }
            'x' | 'u' | 'U' => {
                let length = [('x', 2), ('u', 4), ('U', 8)].iter().find(|(c, _)| *c == code);
                let length = length.map_or(0, |&(_, length)| length);
                let hex =
                    rest.get(..length).filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
                let hex = hex.ok_or_else(|| {
                    trouble(format!("the escape \\{code} needs {length} hexadecimal digits"))
                })?;
                rest = &rest[length..];
                out.push(character(u32::from_str_radix(hex, 16).unwrap_or(u32::MAX))?);
            }
            'N' => return Err(trouble("the escape \\N is not supported: write the character")),
            other => out.extend(['\\', other]),
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn character(code: u32) -> Outcome<char> {
    char::from_u32(code).ok_or_else(|| {
        trouble(format!("an escape stands for {code:#x}, which is no character on its own"))
    })
}

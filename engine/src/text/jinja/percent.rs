//! `%` on text: Python's printf-style formatting.

use super::bounds::Budget;
use super::numbers::{Layout, MAX_WIDTH, truncated};
use super::value::Value;
use super::{Outcome, printing, trouble};

/// `format % values`: a tuple is taken item by item, a dict by key, anything else is one value.
pub(super) fn format(format: &str, values: &Value, budget: &Budget) -> Outcome<String> {
    budget.text(format.len())?;
    let single = std::slice::from_ref(values);
    let (items, tuple) = match values {
        Value::Tuple(seq) | Value::Group(seq) => (seq.items.as_slice(), true),
        _ => (single, false),
    };
    let mut state = State { values, items, at: 0, rest: format, out: String::new(), budget };
    while let Some(at) = state.rest.find('%') {
        state.out.push_str(&state.rest[..at]);
        state.rest = &state.rest[at + 1..];
        state.directive()?;
    }
    state.out.push_str(state.rest);
    // A list, a dict or nothing may be left over: it could be a mapping.
    let mapping =
        matches!(values, Value::Dict(_) | Value::List(_) | Value::Range(..) | Value::Undefined(_));
    if state.at < items.len() && (tuple || !mapping) {
        return Err(trouble("not all arguments converted during string formatting"));
    }
    Ok(state.out)
}

struct State<'a> {
    values: &'a Value,
    items: &'a [Value],
    at: usize,
    rest: &'a str,
    out: String,
    budget: &'a Budget,
}

#[derive(Default)]
struct Flags {
    left: bool,
    zero: bool,
    layout: Layout,
}

impl<'a> State<'a> {
    fn next(&mut self) -> Outcome<&'a Value> {
        let value = self.items.get(self.at);
        self.at += 1;
        value.ok_or_else(|| trouble("not enough arguments for format string"))
    }

    fn directive(&mut self) -> Outcome<()> {
        let named = self.name()?;
        let mut flags = Flags::default();
        while let Some(flag) = self.rest.chars().next().filter(|c| "-0+ #".contains(*c)) {
            match flag {
                '-' => flags.left = true,
                '0' => flags.zero = true,
                '#' => flags.layout.alternate = true,
                '+' => flags.layout.sign = Some('+'),
                _ => {
                    flags.layout.sign.get_or_insert(' ');
                }
            }
            self.rest = &self.rest[1..];
        }
        let mut width = self.number()?.unwrap_or(0);
        if width < 0 {
            flags.left = true;
            width = -width;
        }
        if let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            flags.layout.precision = Some(self.number()?.unwrap_or(0).max(0) as usize);
        }
        self.rest = self.rest.strip_prefix(['h', 'l', 'L']).unwrap_or(self.rest);
        let kind = self.rest.chars().next().ok_or_else(|| trouble("incomplete format"))?;
        self.rest = &self.rest[kind.len_utf8()..];
        if kind == '%' {
            self.out.push('%');
            return Ok(());
        }
        let value = match named {
            Some(value) => value,
            None => self.next()?.clone(),
        };
        self.write(kind, &value, &flags, width as usize)
    }

    /// The value of a `(key)`, if there is one.
    fn name(&mut self) -> Outcome<Option<Value>> {
        let Some(rest) = self.rest.strip_prefix('(') else { return Ok(None) };
        let mut depth = 1;
        let end = rest.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let end = end.ok_or_else(|| trouble("incomplete format key"))?;
        let Value::Dict(dict) = self.values else {
            return Err(trouble("format requires a mapping"));
        };
        let key = &rest[..end];
        self.rest = &rest[end + 1..];
        self.at = self.items.len();
        let value = dict
            .get(&Value::str(key), self.budget)?
            .ok_or_else(|| trouble(format!("no key {key:?}")))?;
        Ok(Some(value.clone()))
    }

    /// A width or a precision; `*` takes it from the values.
    fn number(&mut self) -> Outcome<Option<i64>> {
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            let value = self.next()?.as_int().ok_or_else(|| trouble("* wants int"))?;
            return bounded(i64::try_from(value).unwrap_or(i64::MAX)).map(Some);
        }
        let length =
            self.rest.len() - self.rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        if digits.is_empty() {
            return Ok(None);
        }
        bounded(digits.parse().unwrap_or(i64::MAX)).map(Some)
    }

    fn write(&mut self, kind: char, value: &Value, flags: &Flags, width: usize) -> Outcome<()> {
        let (sign, digits) = match kind {
            's' | 'r' | 'a' => {
                let text = match kind {
                    's' => printing::text(value, self.budget)?,
                    'r' => printing::repr(value, self.budget)?,
                    _ => ascii(&printing::repr(value, self.budget)?),
                };
                let limit = flags.layout.precision.unwrap_or(usize::MAX);
                return self.pad(
                    "",
                    &text.chars().take(limit).collect::<String>(),
                    flags.left,
                    ' ',
                    width,
                );
            }
            'c' => return self.pad("", &character(value)?, flags.left, ' ', width),
            'd' | 'i' | 'u' => flags.layout.integer(integer(kind, value, true)?, 'd'),
            'x' | 'X' | 'o' => flags.layout.integer(integer(kind, value, false)?, kind),
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                let number = value.defined()?.as_float();
                let number = number.ok_or_else(|| {
                    trouble(format!("%{kind} wants a number, got '{}'", value.kind()))
                })?;
                flags.layout.float(number, kind)
            }
            other => return Err(trouble(format!("unsupported format character {other:?}"))),
        };
        // The precision of an integer is the least number of its digits.
        let least = if "diuxXo".contains(kind) { flags.layout.precision.unwrap_or(0) } else { 0 };
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        let fill = if flags.zero && !flags.left { '0' } else { ' ' };
        self.pad(&sign, &(zeros + &digits), flags.left, fill, width)
    }

    fn pad(&mut self, sign: &str, text: &str, left: bool, fill: char, width: usize) -> Outcome<()> {
        let missing = width.saturating_sub(sign.chars().count() + text.chars().count());
        self.budget.text(text.len() + missing)?;
        let padding: String = std::iter::repeat_n(fill, missing).collect();
        let parts = match (left, fill) {
            (true, _) => [sign, text, &padding],
            (false, '0') => [sign, &padding, text],
            _ => [&padding, sign, text],
        };
        self.out.extend(parts);
        Ok(())
    }
}

fn bounded(number: i64) -> Outcome<i64> {
    if number.unsigned_abs() > MAX_WIDTH as u64 {
        return Err(trouble(format!("a width or precision above {MAX_WIDTH}: {number}")));
    }
    Ok(number)
}

fn integer(kind: char, value: &Value, floats: bool) -> Outcome<i128> {
    let wrong = || {
        let wanted = if floats { "a number" } else { "an integer" };
        trouble(format!("%{kind} wants {wanted}, got '{}'", value.kind()))
    };
    let value = value.defined()?;
    if !floats && matches!(value, Value::Float(_)) {
        return Err(wrong());
    }
    truncated(value).ok_or_else(wrong)?
}

fn character(value: &Value) -> Outcome<String> {
    let wrong = || trouble("%c wants a character or its number");
    match value {
        Value::Str(text) | Value::Safe(text) if text.chars().count() == 1 => Ok(text.to_string()),
        other => {
            let code = other.as_int().and_then(|code| u32::try_from(code).ok());
            code.and_then(char::from_u32).map(String::from).ok_or_else(wrong)
        }
    }
}

/// With escapes in place of all that is not ASCII.
fn ascii(text: &str) -> String {
    let one = |c: char| if c.is_ascii() { c.to_string() } else { printing::escaped(c) };
    text.chars().map(one).collect()
}

//! `tojson`: Python's `json.dumps`.

use std::fmt::Write as _;

use super::bounds::Budget;
use super::order::sorted;
use super::printing::float;
use super::value::{Dict, Value};
use super::{Outcome, trouble};

/// How JSON is written.
pub(super) struct Layout {
    ascii: bool,
    sort: bool,
    /// What a level is indented by; `None` is all on one line.
    indent: Option<String>,
    comma: String,
    colon: String,
}

impl Layout {
    pub(super) fn new(
        ascii: bool,
        indent: &Value,
        separators: &Value,
        sort: bool,
        budget: &Budget,
    ) -> Outcome<Self> {
        let indent = match indent {
            Value::None => None,
            Value::Str(text) | Value::Safe(text) => Some(text.to_string()),
            other => {
                let width = other.as_int().ok_or_else(|| {
                    trouble(format!("`tojson` wants an indent, got '{}'", other.kind()))
                })?;
                let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
                budget.text(width)?;
                Some(" ".repeat(width))
            }
        };
        let comma = if indent.is_some() { "," } else { ", " };
        let (comma, colon) = match separators {
            Value::None => (comma.to_owned(), ": ".to_owned()),
            other => match super::order::iterate(other, budget)?.as_slice() {
                [Value::Str(comma), Value::Str(colon)] => (comma.to_string(), colon.to_string()),
                _ => return Err(trouble("`tojson` wants two texts as separators")),
            },
        };
        Ok(Self { ascii, sort, indent, comma, colon })
    }

    pub(super) fn dump(&self, value: &Value, budget: &Budget) -> Outcome<String> {
        let mut out = String::new();
        self.write(value, 0, budget, &mut out)?;
        Ok(out)
    }

    fn write(&self, value: &Value, level: usize, budget: &Budget, out: &mut String) -> Outcome<()> {
        budget.spend(1)?;
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Int(number) => out.push_str(&number.to_string()),
            Value::Float(number) => out.push_str(&number_text(*number)),
            Value::Str(text) | Value::Safe(text) => {
                budget.text(2 * text.len())?;
                self.quote(text, out);
            }
            Value::List(seq) | Value::Tuple(seq) | Value::Group(seq) => {
                self.all(("[", "]"), &seq.items, level, budget, out, |item, out| {
                    self.write(item, level + 1, budget, out)
                })?;
            }
            Value::Dict(dict) => {
                let items = self.items(dict, budget)?;
                self.all(("{", "}"), &items, level, budget, out, |(key, value), out| {
                    let key = key_text(key)?;
                    budget.text(2 * key.len() + self.colon.len())?;
                    self.quote(&key, out);
                    out.push_str(&self.colon);
                    self.write(value, level + 1, budget, out)
                })?;
            }
            other => return Err(trouble(format!("'{}' cannot be written as JSON", other.kind()))),
        }
        Ok(())
    }

    fn items(&self, dict: &Dict, budget: &Budget) -> Outcome<Vec<(Value, Value)>> {
        budget.slots(2 * dict.items().len())?;
        if !self.sort {
            return Ok(dict.items().to_vec());
        }
        let (keys, values) = dict.items().iter().cloned().unzip();
        sorted(values, keys, false, budget)
    }

    fn all<T>(
        &self,
        (start, end): (&str, &str),
        items: &[T],
        level: usize,
        budget: &Budget,
        out: &mut String,
        write: impl Fn(&T, &mut String) -> Outcome<()>,
    ) -> Outcome<()> {
        let margin = self.indent.as_ref().filter(|_| !items.is_empty());
        let line = |level: usize, out: &mut String| -> Outcome<()> {
            if let Some(margin) = margin {
                budget.text(margin.len().saturating_mul(level) + 1)?;
                out.push('\n');
                out.push_str(&margin.repeat(level));
            }
            Ok(())
        };
        out.push_str(start);
        for (at, item) in items.iter().enumerate() {
            budget.text(self.comma.len())?;
            out.push_str(if at > 0 { &self.comma } else { "" });
            line(level + 1, out)?;
            write(item, out)?;
        }
        line(level, out)?;
        out.push_str(end);
        Ok(())
    }

    fn quote(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                c if u32::from(c) < 0x20 || (self.ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(out, "\\u{unit:04x}").expect("text is written to memory");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

fn number_text(number: f64) -> String {
    if number.is_nan() {
        "NaN".into()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        float(number)
    }
}

fn key_text(key: &Value) -> Outcome<String> {
    Ok(match key {
        Value::Str(text) | Value::Safe(text) => text.to_string(),
        Value::None => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number_text(*number),
        other => return Err(trouble(format!("'{}' cannot be a key of JSON", other.kind()))),
    })
}

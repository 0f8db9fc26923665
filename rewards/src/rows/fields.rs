use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};

use super::without_bom;

/// The fields of one JSON object, each as it is written.
///
/// A derived reader would take an array for an object, keep the last of several equal names, and
/// round long numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields<'a>(BTreeMap<String, &'a str>);

impl<'a> Fields<'a> {
    /// Reads an object whose names differ.
    ///
    /// # Errors
    ///
    /// Says what else the text is, or what is wrong with it and in which column, counted in bytes.
    pub fn read(text: &'a [u8]) -> Result<Self, String> {
        let text = without_bom(text);
        if let Some(at) = text.iter().position(|&byte| byte == 0) {
            let column = at + 1;
            return Err(format!(
                "a NUL byte at column {column}: expected UTF-8, the text is UTF-16 or damaged"
            ));
        }
        let text = std::str::from_utf8(text).map_err(|error| {
            let column = error.valid_up_to() + 1;
            format!("column {column} is not UTF-8")
        })?;
        if !text.trim_start().starts_with('{') {
            return Err(no_object(text.trim()));
        }
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| syntax(text, &error))?;
        let mut fields = BTreeMap::new();
        let mut rest = inside(text);
        while rest.starts_with('"') {
            let (name, after) = first(rest);
            let name =
                string(name).map_err(|problem| format!("the name {}: {problem}", brief(name)))?;
            if fields.contains_key(&name) {
                let name = brief(&name);
                return Err(format!("field `{name}` occurs twice: expected each field once"));
            }
            let (value, after) = first(after.trim_start_matches([':', ' ', '\t', '\n', '\r']));
            fields.insert(name, value);
            rest = next(after);
        }
        Ok(Self(fields))
    }

    /// Reads an object, or a list as an object whose names are the numbers of its items, from 0.
    ///
    /// # Errors
    ///
    /// As [`Fields::read`].
    pub fn read_item(text: &'a [u8]) -> Result<Self, String> {
        match items_of(text) {
            Ok(items) => {
                let numbered = items.into_iter().enumerate();
                Ok(Self(numbered.map(|(at, item)| (at.to_string(), item)).collect()))
            }
            Err(_) => Self::read(text),
        }
    }

    /// All names and values, in the order of the names.
    pub fn all(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The value at a path: a name, or names and numbers of items with dots between; none where
    /// there is no such value.
    ///
    /// # Errors
    ///
    /// Fails when an object on the way is malformed.
    pub fn at(&self, path: &str) -> Result<Option<&'a str>, String> {
        if let Some(value) = self.raw(path) {
            return Ok(Some(value));
        }
        let Some((name, rest)) = path.split_once('.') else { return Ok(None) };
        match self.raw(name) {
            Some(value) if value.starts_with(['{', '[']) => {
                let inside = Self::read_item(value.as_bytes());
                inside.map_err(|problem| format!("field `{}`: {problem}", brief(name)))?.at(rest)
            }
            _ => Ok(None),
        }
    }

    /// The value of `name` as it is written.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// Whether there is no field `name`, or null in it.
    pub fn is_absent(&self, name: &str) -> bool {
        self.raw(name).is_none_or(|value| value == "null")
    }

    /// A field that holds text.
    ///
    /// # Errors
    ///
    /// Names the field where it is missing or holds something else.
    pub fn text(&self, name: &str) -> Result<String, String> {
        let expected = "text";
        let value = self.required(name, expected)?;
        if value.starts_with('"') {
            text_of(name, value)
        } else {
            Err(unlike(name, expected, value))
        }
    }

    /// A field that holds text, or a number, which is then the text as it is written.
    ///
    /// # Errors
    ///
    /// Names the field where it is missing or holds something else.
    pub fn text_or_number(&self, name: &str) -> Result<String, String> {
        let expected = "text or a number";
        let value = self.required(name, expected)?;
        match value.as_bytes()[0] {
            b'"' => text_of(name, value),
            b'-' | b'0'..=b'9' => Ok(value.to_owned()),
            _ => Err(unlike(name, expected, value)),
        }
    }

    /// A field that `read` takes, such as [`Fields::text`]; none where it is absent or null.
    ///
    /// # Errors
    ///
    /// Fails where `read` does.
    pub fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&Self, &str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        (!self.is_absent(name)).then(|| read(self, name)).transpose()
    }

    /// A field that `T` reads, such as a number or a list; none where it is absent or null.
    ///
    /// # Errors
    ///
    /// Names the field and what was `expected` where it holds something else.
    pub fn parsed<T: DeserializeOwned>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.raw(name).filter(|value| *value != "null") else { return Ok(None) };
        serde_json::from_str(value).map(Some).map_err(|_| unlike(name, expected, value))
    }

    /// The items of a field that holds a list, as they are written.
    ///
    /// # Errors
    ///
    /// Names the field where it is missing or holds something else.
    pub fn list(&self, name: &str) -> Result<Vec<&'a str>, String> {
        let value = self.required(name, "a list")?;
        if !value.starts_with('[') {
            return Err(unlike(name, "a list", value));
        }
        Ok(items(value))
    }

    fn required(&self, name: &str, expected: &str) -> Result<&'a str, String> {
        self.raw(name).ok_or_else(|| {
            let names: Vec<_> =
                self.0.keys().take(8).map(|own| format!("`{}`", brief(own))).collect();
            let there = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            let more = if self.0.len() > names.len() { ", ..." } else { "" };
            format!("field `{name}` is missing: expected {expected}, the object has {there}{more}")
        })
    }
}

/// The items of a valid JSON list, as they are written.
///
/// # Panics
///
/// Panics where the text is no list.
pub fn items(list: &str) -> Vec<&str> {
    let (mut items, mut rest) = (Vec::new(), inside(list));
    while !rest.starts_with(']') {
        let (item, after) = first(rest);
        items.push(item);
        rest = next(after);
    }
    items
}

/// The items of a JSON list.
///
/// # Errors
///
/// Says what is wrong where the text is no list, with line and column.
pub fn items_of(text: &[u8]) -> Result<Vec<&str>, String> {
    let text = without_bom(text);
    let text = std::str::from_utf8(text)
        .map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to() + 1))?
        .trim();
    if !text.starts_with('[') {
        return Err(format!("expected a list, got `{}`", brief(text)));
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    Ok(items(text))
}

/// A value for a message: at most 40 characters of it, none of which a terminal obeys.
pub fn brief(value: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown = String::new();
    for c in value.chars().take(SHOWN) {
        if c.is_control() { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    if value.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn unlike(name: &str, expected: &str, value: &str) -> String {
    format!("field `{name}`: expected {expected}, got {}", brief(value))
}

fn text_of(name: &str, value: &str) -> Result<String, String> {
    string(value).map_err(|problem| format!("field `{name}`: {problem}"))
}

/// The text of a JSON string.
fn string(value: &str) -> Result<String, String> {
    serde_json::from_str(value).map_err(|error| without_place(&error))
}

/// What follows the opening bracket of an object or a list.
fn inside(value: &str) -> &str {
    value.trim_start()[1..].trim_start()
}

/// The value at the start of a valid JSON text, and what follows it.
fn first(text: &str) -> (&str, &str) {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next();
    text.split_at(values.byte_offset())
}

/// What follows the comma after a value, or the closing bracket.
fn next(after: &str) -> &str {
    let after = after.trim_start();
    after.strip_prefix(',').unwrap_or(after).trim_start()
}

/// What is said of a list of objects or of lists.
pub(super) const ARRAY: &str = "a JSON array";

/// What is said of an object that its line does not end.
pub(super) const NOT_CLOSED: &str = "the object is not closed at the end of the text";

/// What a text is that does not begin as an object.
fn no_object(text: &str) -> String {
    let begins = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    if let Some(rest) = text.strip_prefix('[') {
        let rest = rest.trim_start();
        let what =
            if rest.is_empty() || rest.starts_with(['{', '[', ']']) { ARRAY } else { "a list" };
        return format!("{what}, expected an object with named fields, got `{}`", brief(text));
    }
    if begins(&["//", "/*", "#"]) {
        return format!("a comment, and JSON has none: remove `{}`", brief(text));
    }
    let what = match text.as_bytes().first() {
        Some(b'"') => "text",
        Some(b'0'..=b'9') => "a number",
        Some(b'-') if text.as_bytes().get(1).is_some_and(u8::is_ascii_digit) => "a number",
        _ if begins(&["true", "false", "null"]) => "a bare value",
        _ => "no JSON",
    };
    format!("{what}, expected a JSON object, got `{}`", brief(text))
}

/// What is wrong with an object that does not parse, with the column and a hint.
fn syntax(text: &str, error: &serde_json::Error) -> String {
    let column = error.column();
    let place = match error.line() {
        1 => format!("column {column}"),
        line => format!("line {line} column {column}"),
    };
    if error.is_eof() {
        return NOT_CLOSED.into();
    }
    let said = without_place(error);
    // The parser has just read this byte, or looks at it.
    let at = text.lines().nth(error.line() - 1).unwrap_or_default();
    let near = at.as_bytes().get(column.saturating_sub(1)..).unwrap_or_default();
    let word = |words: &[&str]| words.iter().any(|word| near.starts_with(word.as_bytes()));
    if said == "trailing characters" {
        return format!("a second value after the object at {place}: expected one object a line");
    }
    let hint = match near.first() {
        Some(b'\'') => ": JSON puts text in double quotes",
        Some(b'/' | b'#') => ": JSON has no comments",
        Some(b'}') if said == "key must be a string" => ": no comma follows the last field",
        Some(b'N' | b'I') if word(&["NaN", "Inf"]) => {
            ": JSON has no NaN and no infinity, leave the field out or write text"
        }
        Some(b'T' | b'F' | b'N') if word(&["True", "False", "None"]) => {
            ": JSON writes true, false and null"
        }
        Some(b'0'..=b'9') if said == "invalid number" => {
            ": a number with leading zeros has to be text, in quotes"
        }
        _ => "",
    };
    format!("{said} at {place}{hint}")
}

/// The parser's words alone: it sees one row and counts lines from there.
fn without_place(error: &serde_json::Error) -> String {
    let (text, line, column) = (error.to_string(), error.line(), error.column());
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(words) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests;

//! Chat templates: Jinja as `transformers` renders it.
//!
//! Source: `transformers.utils.chat_template_utils`, whose environment trims blocks, allows loop
//! controls, and adds `raise_exception`, `strftime_now`, `tojson` and the `generation` tags.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::{Error, Result};

/// A day. Templates that write today's date are told this one, so that a run does not depend on
/// the day it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Year of the common era.
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

impl Default for Date {
    /// The day that Llama 3.2's template falls back to.
    fn default() -> Self {
        Self { year: 2024, month: 7, day: 26 }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Template {
    source: String,
    prepared: String,
}

impl Template {
    pub(super) fn new(source: String) -> Result<Self> {
        let template = Self { prepared: open_generation_tags(&source), source };
        template.environment(Date::default())?;
        Ok(template)
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// A conversation of `turns`, each a role and what it says; with `generation_prompt`, up to where
    /// the assistant is to speak.
    pub(super) fn render(
        &self,
        turns: &[(&str, &str)],
        generation_prompt: bool,
        tokenizer_config: &Map<String, Json>,
        date: Date,
    ) -> Result<String> {
        let message = |&(role, content): &(&str, &str)| json!({ "role": role, "content": content });
        let messages: Vec<_> = turns.iter().map(message).collect();
        let mut values = special_tokens(tokenizer_config);
        values.insert("messages".into(), messages.into());
        values.insert("tools".into(), Json::Null);
        values.insert("documents".into(), Json::Null);
        values.insert("add_generation_prompt".into(), generation_prompt.into());
        self.environment(date)?
            .get_template(NAME)
            .and_then(|template| template.render(Value::from(Serde(&values))))
            .map_err(|e| failure(&e))
    }

    fn environment(&self, date: Date) -> Result<Environment<'_>> {
        let mut env = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        env.set_syntax(syntax.map_err(|e| failure(&e))?);
        env.set_unknown_method_callback(unknown_method_callback);
        env.add_filter("tojson", |value: &Value, options: Kwargs| to_json(value, &options));
        env.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        env.add_function("strftime_now", move |format: &str| strftime(date, format));
        env.add_template(NAME, &self.prepared).map_err(|e| failure(&e))?;
        Ok(env)
    }
}

const NAME: &str = "chat_template";

fn failure(error: &minijinja::Error) -> Error {
    let line = error.line().map(|line| format!(" line {line}")).unwrap_or_default();
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    Error::Text(format!("chat template{line}: {detail}"))
}

/// `bos_token` and its kin, each of which may be a string or an object with its `content`.
fn special_tokens(config: &Map<String, Json>) -> Map<String, Json> {
    config
        .iter()
        .filter(|(key, _)| key.ends_with("_token"))
        .filter_map(|(key, value)| {
            let content = value.get("content").unwrap_or(value).as_str()?;
            Some((key.clone(), content.into()))
        })
        .collect()
}

/// `{% generation %}` marks what the assistant said; as a block that is always taken it keeps its
/// white-space marks.
fn open_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let name = tag[2..end].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        match name {
            "generation" => out.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Python's `json.dumps(value, ensure_ascii=False, ...)`: spaces after commas and colons, nothing
/// escaped for HTML.
fn to_json(value: &Value, kwargs: &Kwargs) -> Result<Value, minijinja::Error> {
    let indent = kwargs.get::<Option<usize>>("indent")?;
    let ascii = kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sort = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    let failed =
        |e: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string());
    let mut json = serde_json::to_value(value).map_err(failed)?;
    if sort {
        json.sort_all_objects();
    }
    let mut bytes = Vec::new();
    if let Some(indent) = indent {
        let spaces = vec![b' '; indent];
        let format = serde_json::ser::PrettyFormatter::with_indent(&spaces);
        json.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, format))
    } else {
        json.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonFormat))
    }
    .map_err(failed)?;
    let text = String::from_utf8(bytes).expect("serde_json writes UTF-8");
    Ok(Value::from_safe_string(if ascii { escape_non_ascii(&text) } else { text }))
}

fn escape_non_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

struct PythonFormat;

impl serde_json::ser::Formatter for PythonFormat {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The codes of `strftime` that name a part of a day; the time of day is midnight.
fn strftime(date: Date, format: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    const DAYS: [&str; 7] =
        ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let month = MONTHS[(date.month.clamp(1, 12) - 1) as usize];
    let weekday = DAYS[weekday(date)];
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        let code = if c == '%' { chars.next() } else { None };
        let part = match code {
            Some('d') => format!("{:02}", date.day),
            Some('m') => format!("{:02}", date.month),
            Some('y') => format!("{:02}", date.year % 100),
            Some('Y') => date.year.to_string(),
            Some('B') => month.to_owned(),
            Some('b') => month[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('H' | 'M' | 'S') => "00".to_owned(),
            Some('%') | None => c.to_string(),
            Some(other) => format!("%{other}"),
        };
        out.push_str(&part);
    }
    out
}

/// Days after Sunday. Source: Sakamoto's rule for the Gregorian calendar.
fn weekday(date: Date) -> usize {
    const SHIFT: [u32; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let month = date.month.clamp(1, 12);
    let year = if month < 3 { date.year - 1 } else { date.year };
    let days = year + year / 4 - year / 100 + year / 400 + SHIFT[(month - 1) as usize] + date.day;
    (days % 7) as usize
}

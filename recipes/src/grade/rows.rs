//! Rows of predictions: `{id?, gold, prediction, mode}`, one JSON object a line.

use std::borrow::Cow;
use std::fmt;
use std::io::BufRead;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Serialize;
use serde_json::{Map, Value};

/// What a row is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number: its own, or that of its line.
    Number(serde_json::Number),
    /// A text.
    Text(String),
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// What a prediction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A whole response: its answer is to be found.
    Response,
    /// A bare answer.
    Answer,
}

/// A text, as it stands or in runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// As it stands.
    Plain(String),
    /// Pieces, each with how often it is repeated.
    Runs(Vec<(String, usize)>),
}

/// Longest text that runs may stand for, in bytes.
pub const MAX_EXPANDED: usize = 64 << 20;

impl Text {
    /// The whole text.
    pub fn expanded(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Runs(runs) => {
                Cow::Owned(runs.iter().map(|(piece, count)| piece.repeat(*count)).collect())
            }
        }
    }

    /// Its beginning, for a table.
    pub fn start(&self) -> String {
        const SHOWN: usize = 100;
        match self {
            Self::Plain(text) => text.chars().take(SHOWN).collect(),
            Self::Runs(runs) => {
                let chars = runs.iter().flat_map(|(piece, count)| {
                    std::iter::repeat_n(piece, *count).flat_map(|piece| piece.chars())
                });
                chars.take(SHOWN).collect()
            }
        }
    }
}

/// One prediction to be graded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is called in the output.
    pub id: Id,
    /// The gold answer.
    pub gold: Text,
    /// What is judged by it.
    pub prediction: Text,
    /// What the prediction is.
    pub mode: Mode,
}

/// Reads all rows, in order; empty lines and further fields are passed over.
///
/// A long text may be written in runs, `"prediction_rle": [["\\sqrt{", 1000], ["2", 1]]`, instead of
/// the field without `_rle`.
///
/// # Errors
///
/// Fails at the first line that cannot be read or is no such row, with its number and the field, and
/// when there is no row at all.
pub fn read_rows(mut lines: impl BufRead) -> Result<Vec<Row>> {
    let (mut rows, mut bytes) = (Vec::new(), Vec::new());
    for number in 1_u64.. {
        bytes.clear();
        let read = lines.read_until(b'\n', &mut bytes);
        if read.with_context(|| format!("line {number}"))? == 0 {
            break;
        }
        if !bytes.trim_ascii().is_empty() {
            rows.push(row(&bytes, number).with_context(|| format!("line {number}"))?);
        }
    }
    if rows.is_empty() {
        bail!("no rows: expected one JSON object a line, {{id?, gold, prediction, mode}}");
    }
    Ok(rows)
}

fn row(bytes: &[u8], number: u64) -> Result<Row> {
    let fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| {
        // The parser saw one line only: its "line 1" would contradict ours.
        anyhow!(error.to_string().replace(" at line 1 column ", " at column "))
    })?;
    let id = match fields.get("id") {
        None | Some(Value::Null) => Id::Number(number.into()),
        Some(Value::String(text)) => Id::Text(text.clone()),
        Some(Value::Number(own)) if !own.is_f64() => Id::Number(own.clone()),
        Some(other) => bail!("field `id`: expected text or a whole number, got {}", brief(other)),
    };
    let mode = match fields.get("mode") {
        Some(Value::String(mode)) if mode == "response" => Mode::Response,
        Some(Value::String(mode)) if mode == "answer" => Mode::Answer,
        None => bail!("field `mode` is missing: expected \"response\" or \"answer\""),
        Some(other) => {
            bail!("field `mode`: expected \"response\" or \"answer\", got {}", brief(other))
        }
    };
    let (gold, prediction) = (text(&fields, "gold")?, text(&fields, "prediction")?);
    Ok(Row { id, gold, prediction, mode })
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<Text> {
    let in_runs = format!("{name}_rle");
    match (fields.get(name), fields.get(&in_runs)) {
        (Some(Value::String(text)), _) => Ok(Text::Plain(text.clone())),
        (None | Some(Value::Null), Some(Value::Array(list))) => {
            let pieces: Option<Vec<_>> = list.iter().map(run).collect();
            let Some(pieces) = pieces else {
                bail!(
                    "field `{in_runs}`: expected a list of [text, count], got {}",
                    brief(&fields[&in_runs])
                );
            };
            let length = pieces.iter().try_fold(0_usize, |sum, (piece, count)| {
                sum.checked_add(piece.len().checked_mul(*count)?)
            });
            match length {
                Some(length) if length <= MAX_EXPANDED => Ok(Text::Runs(pieces)),
                _ => bail!("field `{in_runs}`: expected a text of at most {MAX_EXPANDED} bytes"),
            }
        }
        (None | Some(Value::Null), Some(other)) if !other.is_null() => {
            bail!("field `{in_runs}`: expected a list of [text, count], got {}", brief(other))
        }
        (None, _) => bail!("field `{name}` is missing: expected text"),
        (Some(other), _) => bail!("field `{name}`: expected text, got {}", brief(other)),
    }
}

fn run(value: &Value) -> Option<(String, usize)> {
    match value.as_array()?.as_slice() {
        [Value::String(piece), count] => Some((piece.clone(), count.as_u64()?.try_into().ok()?)),
        _ => None,
    }
}

/// A value for a message.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_and_their_names() {
        let text = concat!(
            r#"{"id":"a","gold":"1","prediction":"2","mode":"answer","level":5}"#,
            "\n\n",
            r#"{"id":7,"gold":"1","prediction":"","mode":"response"}"#,
            "\r\n",
            r#"{"gold":"é","prediction":null,"prediction_rle":[["ab",2],["c",1]],"mode":"answer"}"#,
        );
        let rows = read_rows(text.as_bytes()).unwrap();
        let names: Vec<_> = rows.iter().map(|row| row.id.to_string()).collect();
        assert_eq!(names, ["a", "7", "4"]);
        assert_eq!((rows[0].mode, rows[1].mode), (Mode::Answer, Mode::Response));
        assert_eq!(rows[2].prediction.expanded(), "ababc");
        assert_eq!(rows[2].prediction.start(), "ababc");
        assert_eq!(rows[2].gold.expanded(), "é");
    }

    #[test]
    fn a_bad_row_is_named_by_line_and_field() {
        let refused = |row: &str, message: &str| {
            let good = r#"{"gold":"1","prediction":"2","mode":"answer"}"#;
            let error = read_rows(format!("{good}\n{row}").as_bytes()).unwrap_err();
            assert_eq!(format!("{error:#}"), format!("line 2: {message}"));
        };
        refused("{\"gold\"", "EOF while parsing an object at column 7");
        refused("[1]", "invalid type: sequence, expected a map at column 0");
        refused(r#"{"prediction":"2","mode":"answer"}"#, "field `gold` is missing: expected text");
        let row = r#"{"gold":"1","mode":"answer"}"#;
        refused(row, "field `prediction` is missing: expected text");
        let row = r#"{"gold":"1","prediction":["2"],"mode":"answer"}"#;
        refused(row, "field `prediction`: expected text, got [\"2\"]");
        let row = r#"{"gold":"1","prediction":null,"mode":"answer"}"#;
        refused(row, "field `prediction`: expected text, got null");
        let row = r#"{"gold":1,"prediction":"2","mode":"answer"}"#;
        refused(row, "field `gold`: expected text, got 1");
        let modes = "expected \"response\" or \"answer\"";
        let row = r#"{"gold":"1","prediction":"2"}"#;
        refused(row, &format!("field `mode` is missing: {modes}"));
        let row = r#"{"gold":"1","prediction":"2","mode":"bare"}"#;
        refused(row, &format!("field `mode`: {modes}, got \"bare\""));
        let row = r#"{"id":1.5,"gold":"1","prediction":"2","mode":"answer"}"#;
        refused(row, "field `id`: expected text or a whole number, got 1.5");
        let row = r#"{"gold_rle":[["1"]],"prediction":"2","mode":"answer"}"#;
        refused(row, "field `gold_rle`: expected a list of [text, count], got [[\"1\"]]");
        let row = r#"{"gold_rle":[["1",100000000]],"prediction":"2","mode":"answer"}"#;
        refused(row, "field `gold_rle`: expected a text of at most 67108864 bytes");
        let none = read_rows(&b"\n"[..]).unwrap_err().to_string();
        assert!(none.starts_with("no rows: "));
    }
}

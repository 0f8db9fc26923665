//! Rows of predictions: `{id?, gold, prediction, as}`, one JSON object a line.

use std::borrow::Cow;
use std::fmt;
use std::io::BufRead;

use clap::ValueEnum;
use rewards::rows::{self, Fields, brief};
use serde::Serialize;

/// What a row is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number of up to 64 bits: its own, or that of its line.
    Number(serde_json::Number),
    /// A text, or another number as it is written.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TakenAs {
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
    pub taken_as: TakenAs,
}

/// Reads all rows, in order, from lines as those of [`rows::read_rows`]; further fields are not
/// read.
///
/// `gold` and `prediction` are text or a number, which is taken as it is written. A long text may
/// be written in runs, `"prediction_rle": [["\\sqrt{", 1000], ["2", 1]]`, instead of the field
/// without `_rle`. `mode` is another name of `as`.
///
/// # Errors
///
/// Fails at the first line that cannot be read or is no such row, with its number and the field,
/// and when there is no row at all.
pub fn read_rows(lines: impl BufRead) -> rewards::Result<Vec<Row>> {
    let mut found = Vec::new();
    rows::read_rows(lines, "{id?, gold, prediction, as}", |line, fields| {
        found.push(row(fields, line)?);
        Ok(())
    })?;
    Ok(found)
}

fn row(fields: &Fields<'_>, line: usize) -> Result<Row, String> {
    let name = if fields.is_absent("as") && !fields.is_absent("mode") { "mode" } else { "as" };
    let expected = "expected \"response\" or \"answer\"";
    let taken_as = match fields.raw(name) {
        Some("\"response\"") => TakenAs::Response,
        Some("\"answer\"") => TakenAs::Answer,
        Some(other) => return Err(format!("field `{name}`: {expected}, got {}", brief(other))),
        None => return Err(format!("field `{name}` is missing: {expected}")),
    };
    let (id, gold, prediction) =
        (id(fields, line)?, text(fields, "gold")?, text(fields, "prediction")?);
    Ok(Row { id, gold, prediction, taken_as })
}

fn id(fields: &Fields<'_>, line: usize) -> Result<Id, String> {
    let Some(text) = fields.optional("id", Fields::text_or_number)? else {
        return Ok(Id::Number(line.into()));
    };
    let is_number = fields.raw("id").is_some_and(|value| !value.starts_with('"'));
    // Wider numbers and fractions would not be written back as they came.
    Ok(match serde_json::from_str::<serde_json::Number>(&text) {
        Ok(number) if is_number && !number.is_f64() => Id::Number(number),
        _ => Id::Text(text),
    })
}

fn text(fields: &Fields<'_>, name: &str) -> Result<Text, String> {
    let in_runs = format!("{name}_rle");
    if !fields.is_absent(name) || fields.is_absent(&in_runs) {
        return fields.text_or_number(name).map(Text::Plain);
    }
    let runs: Option<Vec<(String, usize)>> = fields.parsed(&in_runs, "a list of [text, count]")?;
    let runs = runs.unwrap_or_default();
    let length = runs
        .iter()
        .try_fold(0_usize, |sum, (piece, count)| sum.checked_add(piece.len().checked_mul(*count)?));
    match length {
        Some(length) if length <= MAX_EXPANDED => Ok(Text::Runs(runs)),
        _ => Err(format!("field `{in_runs}`: expected a text of at most {MAX_EXPANDED} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_and_their_names() {
        let text = concat!(
            r#"{"id":"a","gold":"1","prediction":"2","as":"answer","level":5}"#,
            "\n\n",
            r#"{"id":7,"gold":"1","prediction":"","mode":"response"}"#,
            "\r\n",
            r#"{"gold":"é","prediction":null,"prediction_rle":[["ab",2],["c",1]],"as":"answer"}"#,
        );
        let rows = read_rows(text.as_bytes()).unwrap();
        let names: Vec<_> = rows.iter().map(|row| row.id.to_string()).collect();
        assert_eq!(names, ["a", "7", "4"]);
        assert_eq!((rows[0].taken_as, rows[1].taken_as), (TakenAs::Answer, TakenAs::Response));
        assert_eq!(rows[2].prediction.expanded(), "ababc");
        assert_eq!(rows[2].prediction.start(), "ababc");
        assert_eq!(rows[2].gold.expanded(), "é");
    }

    #[test]
    fn numbers_are_taken_as_they_are_written() {
        let read = |row: &str| read_rows(row.as_bytes()).unwrap().remove(0);
        for number in ["42", "-0", "1.50", "1e3", "12345678901234567890123"] {
            let row = format!(r#"{{"gold":{number},"prediction":{number},"as":"answer"}}"#);
            let row = read(&row);
            assert_eq!((&row.gold, &row.prediction), (&Text::Plain(number.into()), &row.gold));
        }
        let named = |id: &str| {
            let row = read(&format!(r#"{{"id":{id},"gold":1,"prediction":1,"as":"answer"}}"#));
            serde_json::to_string(&row.id).unwrap()
        };
        for (id, shown) in [
            ("7", "7"),
            ("-7", "-7"),
            ("18446744073709551615", "18446744073709551615"),
            ("\"7\"", "\"7\""),
            ("null", "1"),
            ("1.0", "\"1.0\""),
            ("-0", "\"-0\""),
            ("12345678901234567890123", "\"12345678901234567890123\""),
        ] {
            assert_eq!(named(id), shown);
        }
    }

    #[test]
    fn a_bad_row_is_named_by_line_and_field() {
        let refused = |row: &str, message: &str| {
            let good = r#"{"gold":"1","prediction":"2","as":"answer"}"#;
            let error = read_rows(format!("{good}\n{row}").as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("line 2: {message}")), "{error}");
        };
        refused("{\"gold\"", "the object is not closed");
        refused("[1]", "a list, expected an object with named fields, got `[1]`");
        refused(r#"["7","8","answer"]"#, "a list, expected an object with named fields");
        refused(
            r#"{"gold":1,"gold":2,"prediction":"2","as":"answer"}"#,
            "field `gold` occurs twice",
        );
        let number = "expected text or a number";
        let row = r#"{"prediction":"2","as":"answer"}"#;
        refused(row, &format!("field `gold` is missing: {number}"));
        let row = r#"{"gold":"1","as":"answer"}"#;
        refused(row, &format!("field `prediction` is missing: {number}"));
        for value in ["[\"2\"]", "null", "true", "{}"] {
            let row = format!(r#"{{"gold":"1","prediction":{value},"as":"answer"}}"#);
            refused(&row, &format!("field `prediction`: {number}, got {value}"));
        }
        let expected = "expected \"response\" or \"answer\"";
        let row = r#"{"gold":"1","prediction":"2"}"#;
        refused(row, &format!("field `as` is missing: {expected}"));
        let row = r#"{"gold":"1","prediction":"2","as":"bare"}"#;
        refused(row, &format!("field `as`: {expected}, got \"bare\""));
        let row = r#"{"gold":"1","prediction":"2","mode":"bare"}"#;
        refused(row, &format!("field `mode`: {expected}, got \"bare\""));
        let row = r#"{"id":true,"gold":"1","prediction":"2","as":"answer"}"#;
        refused(row, &format!("field `id`: {number}, got true"));
        let row = r#"{"gold_rle":[["1"]],"prediction":"2","as":"answer"}"#;
        refused(row, "field `gold_rle`: expected a list of [text, count], got [[\"1\"]]");
        let row = r#"{"gold_rle":{"1":1},"prediction":"2","as":"answer"}"#;
        refused(row, "field `gold_rle`: expected a list of [text, count], got {\"1\":1}");
        let row = r#"{"gold_rle":[["1",100000000]],"prediction":"2","as":"answer"}"#;
        refused(row, "field `gold_rle`: expected a text of at most 67108864 bytes");
        let none = read_rows(&b"\n"[..]).unwrap_err().to_string();
        assert!(none.starts_with("no rows: "));
    }
}

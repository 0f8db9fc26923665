//! Reading a log line by line, whatever its fields.

use std::io::Read as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::open_file;
use crate::{Error, Result};

/// One line of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The step it belongs to.
    pub step: u64,
    /// Everything in the line, the step included.
    pub fields: Map<String, Value>,
}

impl Line {
    /// The number under `key`.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.fields.get(key).and_then(Value::as_f64)
    }
}

/// Reads a log; a last line without its end is still being written and is left out. No file is no
/// lines.
///
/// # Errors
///
/// Fails when the file cannot be read or a whole line is not an object with a step.
pub fn read_log(path: &Path) -> Result<Vec<Line>> {
    read_lines(path, parse)
}

pub(super) fn read_lines<T>(
    path: &Path,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let Some(mut file) = open_file(path).map_err(|problem| failed(problem.into_io(path)))? else {
        return Ok(Vec::new());
    };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    text.split_inclusive('\n')
        .enumerate()
        .filter(|(_, line)| line.ends_with('\n'))
        .map(|(at, line)| {
            parse(line).map_err(|problem| Error::Line {
                path: path.to_owned(),
                line: at + 1,
                problem,
            })
        })
        .collect()
}

fn parse(line: &str) -> Result<Line, String> {
    let fields: Map<String, Value> =
        serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
    let step = fields
        .get("step")
        .and_then(Value::as_u64)
        .ok_or_else(|| "no `step` that is a whole number".to_owned())?;
    Ok(Line { step, fields })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_line_being_written_is_left_out_and_a_broken_one_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("metrics.jsonl");
        assert_eq!(read_log(&path).unwrap(), []);
        fs::write(&path, "{\"step\":1,\"actor/lr\":0.5}\n{\"step\":2,\"act").unwrap();
        let lines = read_log(&path).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].step, lines[0].number("actor/lr")), (1, Some(0.5)));
        fs::write(&path, "{\"step\":1}\n{\"stop\":2}\n").unwrap();
        let error = read_log(&path).unwrap_err().to_string();
        assert!(error.ends_with("line 2: no `step` that is a whole number"), "{error}");
    }
}

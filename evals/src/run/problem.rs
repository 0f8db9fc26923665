//! What cannot be read in a run directory, and the files that are one JSON value.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FORMAT, open_file};

/// Something in a run directory that cannot be read, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, counted from 1; none where it is the whole file.
    pub line: Option<u64>,
    /// What was expected and found.
    pub reason: String,
    /// What to do.
    pub act: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, reason, act } = self;
        match line {
            Some(line) => write!(f, "{file}, line {line}: {reason}\n{act}"),
            None => write!(f, "{file}: {reason}\n{act}"),
        }
    }
}

impl std::error::Error for Problem {}

/// What to do about a file that a crash or another program has damaged.
pub(super) const DAMAGED: &str =
    "the rest of the record is readable; restore the file from a copy, or delete it";

impl Problem {
    /// Of a whole file.
    pub(super) fn of(path: &Path, reason: impl Into<String>, act: impl Into<String>) -> Self {
        let file = path.display().to_string();
        Self { file, line: None, reason: reason.into(), act: act.into() }
    }

    /// Of one line, which is skipped.
    pub(super) fn of_line(path: &Path, line: u64, reason: impl Into<String>) -> Self {
        let act = "this line is skipped and the others are read; resuming the run writes it again \
                   where it is after the checkpoint";
        Self { line: Some(line), ..Self::of(path, reason, act) }
    }

    /// As an error of the system about the file at `path`, which whoever reports it names.
    pub fn into_io(self, path: &Path) -> io::Error {
        let Self { file, reason, act, .. } = self;
        let of_file = Path::new(&file) == path;
        let what = if of_file { String::new() } else { format!("{file}: ") };
        io::Error::other(format!("{what}{reason}\n{act}"))
    }

    /// Of a file that the system does not open or read.
    pub(super) fn of_system(path: &Path, error: &io::Error) -> Self {
        let act = match error.kind() {
            io::ErrorKind::NotFound => "name the folder of a run",
            io::ErrorKind::PermissionDenied => "let yourself read it: chmod u+r",
            _ => DAMAGED,
        };
        Self::of(path, error.to_string(), act)
    }
}

/// Largest file that is read as one JSON value, in bytes.
const LARGEST: u64 = 64 << 20;

/// Reads a file that is one JSON object with a `format`; none where there is no such file.
///
/// # Errors
///
/// Fails where it cannot be read, is not such an object, or is of another format.
pub fn read_json<T: Serialize + DeserializeOwned>(path: &Path) -> Result<Option<T>, Problem> {
    let Some(file) = open_file(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| Problem::of_system(path, &error))?;
    if bytes.len() as u64 > LARGEST {
        let reason = format!("expected at most {} MiB, got more", LARGEST >> 20);
        return Err(Problem::of(path, reason, DAMAGED));
    }
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::of(path, format!("not JSON: {error}"), DAMAGED))?;
    check_format(path, &value)?;
    let read = rewards::json::read(&value);
    read.map(Some).map_err(|problem| Problem::of(path, problem, DAMAGED))
}

/// Fails on a file of another format than this version reads.
fn check_format(path: &Path, value: &Value) -> Result<(), Problem> {
    match value.get("format").map(Value::as_u64) {
        Some(Some(format)) if format == u64::from(FORMAT) => Ok(()),
        Some(Some(format)) => {
            let mut text = Vec::new();
            if let Ok(Some(facts)) = open_file(&path.with_file_name("run.json")) {
                // What was read before an error is no JSON, and says nothing.
                let _ = facts.take(LARGEST).read_to_end(&mut text);
            }
            let by = written_by(&text);
            let act = format!("read it with the version of stearin that wrote it{by}");
            Err(Problem::of(path, format!("expected format {FORMAT}, got {format}"), act))
        }
        _ if !value.is_object() => Err(Problem::of(path, "expected an object", DAMAGED)),
        _ => {
            let reason = format!("expected a format of {FORMAT}, got none");
            Err(Problem::of(path, reason, DAMAGED))
        }
    }
}

fn written_by(facts: &[u8]) -> String {
    let facts: Value = serde_json::from_slice(facts).unwrap_or_default();
    let commit = facts.get("commit").and_then(Value::as_str).unwrap_or_default();
    if commit.is_empty() { String::new() } else { format!(": commit {commit}") }
}

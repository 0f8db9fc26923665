//! Cutting the record back, so that a resumed run writes what an unbroken one would have.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use serde_json::Value;

use super::index::INDEX;
use super::step_of_name;
use crate::{Error, Log, Result};

/// Files that grow by a line.
const LOGS: [&str; 4] = ["metrics.jsonl", "timings.jsonl", "health.jsonl", INDEX];
/// Folders with entries of steps.
const BY_STEP: [&str; 3] = ["samples", "tokens", "evals"];

/// Removes from the record under `root` everything after `step`, and with `None` everything.
///
/// A last line that a crash tore is removed as well.
///
/// # Errors
///
/// Fails when a file cannot be read, cut or removed.
pub fn cut(root: &Path, step: Option<u64>) -> Result<()> {
    for log in LOGS {
        let path = root.join(log);
        cut_log(&path, step).map_err(|source| Error::Read { path, source })?;
    }
    for folder in BY_STEP {
        let path = root.join(folder);
        cut_folder(&path, step).map_err(|source| Error::Read { path, source })?;
    }
    Ok(())
}

/// Removes the values of `step` and later ones from one log under `root`.
///
/// # Errors
///
/// Fails when the log cannot be read or cut.
pub fn cut_values(root: &Path, log: Log, step: u64) -> Result<()> {
    let path = root.join(log.to_string());
    cut_log(&path, step.checked_sub(1)).map_err(|source| Error::Read { path, source })
}

/// Removes the evaluations at `step` and later ones from the record under `root`.
///
/// # Errors
///
/// Fails when a folder cannot be read or removed.
pub fn cut_evaluations(root: &Path, step: u64) -> Result<()> {
    let path = root.join("evals");
    cut_folder(&path, step.checked_sub(1)).map_err(|source| Error::Read { path, source })
}

fn cut_log(path: &Path, step: Option<u64>) -> io::Result<()> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes?,
    };
    let keep = kept_bytes(&bytes, step);
    if keep < bytes.len() {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(keep as u64)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Length of the whole lines up to and with `step`; lines stand in the order of their steps.
fn kept_bytes(bytes: &[u8], step: Option<u64>) -> usize {
    let Some(step) = step else { return 0 };
    let mut keep = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let of_line = line
            .ends_with(b"\n")
            .then(|| serde_json::from_slice::<Value>(line).ok())
            .flatten()
            .and_then(|line| line.get("step").and_then(Value::as_u64));
        match of_line {
            Some(at) if at <= step => keep += line.len(),
            _ => break,
        }
    }
    keep
}

fn cut_folder(folder: &Path, step: Option<u64>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if folder.join("index.jsonl") == path {
            continue;
        }
        let at = path.file_name().and_then(|name| step_of_name(name.to_str()?));
        if at.is_some_and(|at| step.is_some_and(|step| at <= step)) {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(log: &str, step: Option<u64>, expected: &str) {
        let keep = kept_bytes(log.as_bytes(), step);
        assert_eq!(&log[..keep], expected);
    }

    #[test]
    fn lines_after_the_step_go() {
        let log = "{\"step\":0}\n{\"step\":1}\n{\"step\":1,\"b\":2}\n{\"step\":2}\n";
        check(log, Some(2), log);
        check(log, Some(1), "{\"step\":0}\n{\"step\":1}\n{\"step\":1,\"b\":2}\n");
        check(log, Some(0), "{\"step\":0}\n");
        check(log, None, "");
    }

    #[test]
    fn a_torn_line_goes() {
        check("{\"step\":1}\n{\"step\":2", Some(5), "{\"step\":1}\n");
        // Torn so that the rest parses, but without the line's end: it may lack a digit.
        check("{\"step\":1}\n{\"step\":2}", Some(5), "{\"step\":1}\n");
        check("{\"st\n{\"step\":2}\n", Some(5), "");
    }

    #[test]
    fn files_after_the_step_and_partial_ones_go() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("samples");
        fs::create_dir(&folder).unwrap();
        for name in ["step-000001.jsonl", "step-000002.jsonl", "step-000002.jsonl.partial"] {
            fs::write(folder.join(name), "{}\n").unwrap();
        }
        fs::create_dir_all(root.path().join("evals/step-000002")).unwrap();
        cut(root.path(), Some(1)).unwrap();
        let names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["step-000001.jsonl"]);
        assert!(!root.path().join("evals/step-000002").exists());
        cut(root.path(), None).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}

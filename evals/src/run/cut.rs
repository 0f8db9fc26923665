//! Cutting the record back, so that a resumed run writes what an unbroken one would have.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

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
/// Fails when a file cannot be read, cut or removed, and before anything is removed when a line up
/// to `step` cannot be read.
pub fn cut(root: &Path, step: Option<u64>) -> Result<()> {
    let cut_logs = LOGS.iter().map(|log| CutLog::read(root.join(log), step));
    for log in cut_logs.collect::<Result<Vec<_>>>()? {
        log.cut()?;
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
/// Fails when the log cannot be read or cut, and when a line before `step` cannot be read.
pub fn cut_values(root: &Path, log: Log, step: u64) -> Result<()> {
    CutLog::read(root.join(log.to_string()), step.checked_sub(1))?.cut()
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

/// A log, and how much of it stays.
struct CutLog {
    path: PathBuf,
    length: usize,
    keep: usize,
}

impl CutLog {
    fn read(path: PathBuf, step: Option<u64>) -> Result<Self> {
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::Read { path, source }),
            Ok(bytes) => bytes,
        };
        match kept_bytes(&bytes, step) {
            Ok(keep) => Ok(Self { path, length: bytes.len(), keep }),
            Err(line) => {
                let problem = "not a JSON object with a `step`, and lines after it would be lost; \
                               restore it from a copy, or remove it to go on without its values";
                Err(Error::Line { path, line, problem: problem.to_owned() })
            }
        }
    }

    fn cut(self) -> Result<()> {
        let Self { path, length, keep } = self;
        if keep == length {
            return Ok(());
        }
        let cut = || {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(keep as u64)?;
            file.sync_all()
        };
        cut().map_err(|source| Error::Read { path: path.clone(), source })
    }
}

/// Length of the whole lines up to and with `step`; lines stand in the order of their steps. An
/// error is the number of a line among them that cannot be read, counted from 1.
fn kept_bytes(bytes: &[u8], step: Option<u64>) -> Result<usize, usize> {
    let Some(step) = step else { return Ok(0) };
    let mut keep = 0;
    for (at, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if !line.ends_with(b"\n") {
            break;
        }
        let value = serde_json::from_slice::<Value>(line).ok();
        match value.and_then(|line| line.get("step").and_then(Value::as_u64)) {
            Some(at) if at <= step => keep += line.len(),
            Some(_) => break,
            None => return Err(at + 1),
        }
    }
    Ok(keep)
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
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let whole = name.strip_suffix(".partial");
        let at = step_of_name(whole.unwrap_or(name));
        let is_kept = match (at, whole) {
            (Some(at), None) => step.is_some_and(|step| at <= step),
            (Some(_), Some(_)) | (None, Some("index.jsonl")) => false,
            // What others put there is theirs.
            (None, _) => true,
        };
        if is_kept {
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
        assert_eq!(keep.map(|keep| &log[..keep]), Ok(expected));
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
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_nothing_is_removed() {
        assert_eq!(kept_bytes(b"{\"st\n{\"step\":2}\n", Some(5)), Err(1));
        let log = "{\"step\":1}\nx\n{\"step\":3}\n";
        assert_eq!(kept_bytes(log.as_bytes(), Some(3)), Err(2));
        assert_eq!(kept_bytes(log.as_bytes(), None), Ok(0));
        // What is after the step goes, whatever it is.
        check("{\"step\":1}\n{\"step\":2}\nx\n", Some(1), "{\"step\":1}\n");
        let root = tempfile::tempdir().unwrap();
        let [metrics, health] =
            ["metrics.jsonl", "health.jsonl"].map(|name| root.path().join(name));
        fs::write(&metrics, "{\"step\":1}\n{\"step\":5}\n").unwrap();
        fs::write(&health, log).unwrap();
        let error = cut(root.path(), Some(3)).unwrap_err().to_string();
        assert!(error.contains("health.jsonl") && error.contains("remove it to go on"), "{error}");
        assert_eq!(fs::read_to_string(&metrics).unwrap(), "{\"step\":1}\n{\"step\":5}\n");
        assert_eq!(fs::read_to_string(&health).unwrap(), log);
    }

    #[test]
    fn what_others_put_there_stays() {
        let root = tempfile::tempdir().unwrap();
        for folder in BY_STEP {
            let plots = root.path().join(folder).join("plots");
            fs::create_dir_all(&plots).unwrap();
            fs::write(plots.join("step-000009.png"), "x").unwrap();
            fs::write(plots.with_file_name("notes.txt"), "x").unwrap();
            fs::write(plots.with_file_name("mine.partial"), "x").unwrap();
            fs::write(plots.with_file_name("step-9.jsonl"), "x").unwrap();
        }
        cut(root.path(), Some(1)).unwrap();
        cut(root.path(), None).unwrap();
        for folder in BY_STEP {
            let folder = root.path().join(folder);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 4, "{}", folder.display());
            assert!(folder.join("plots/step-000009.png").is_file());
        }
    }

    #[test]
    fn files_after_the_step_and_partial_ones_go() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("samples");
        fs::create_dir(&folder).unwrap();
        for name in [
            "step-000001.jsonl",
            "step-000002.jsonl",
            "step-000002.jsonl.partial",
            "step-000001.safetensors.partial",
            "index.jsonl.partial",
        ] {
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

//! Cutting the record back, so that a resumed run writes what an unbroken one would have.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::index::INDEX;
use super::sink::PARTIAL;
use super::{FORMAT, cut_file, folder_problem, open_file, read_file, step_name, step_of_name};
use crate::{Error, Log, Result};

/// Files that grow by a line.
const LOGS: [&str; 4] = ["metrics.jsonl", "timings.jsonl", "health.jsonl", INDEX];
/// Folders with files of steps, and what the names of these end in.
const BY_STEP: [(&str, &[&str]); 2] =
    [("samples", &[".jsonl", ".safetensors"]), ("tokens", &[".jsonl"])];
/// The folder with a folder for each evaluated step.
const EVALS: &str = "evals";

/// Removes from the record under `root` everything after `step`, and with `None` everything.
///
/// A last line that a crash tore is removed as well. Files that the record does not write stay.
///
/// # Errors
///
/// Fails when a file cannot be read, cut or removed, and before anything is removed when a line up
/// to `step` cannot be read or stands after one of a later step, when a log is no regular file, and
/// when one of its folders is a link or no folder.
pub fn cut(root: &Path, step: Option<u64>) -> Result<()> {
    for folder in BY_STEP.iter().map(|(folder, _)| *folder).chain([EVALS]) {
        let path = root.join(folder);
        if let Some(problem) = folder_problem(&path) {
            let source = problem.into_io(&path);
            return Err(Error::Read { path, source });
        }
    }
    let cut_logs = LOGS.iter().map(|log| CutLog::read(root.join(log), step));
    for log in cut_logs.collect::<Result<Vec<_>>>()? {
        log.cut()?;
    }
    for (folder, ends) in BY_STEP {
        let path = root.join(folder);
        cut_files(&path, ends, step).map_err(|source| Error::Read { path, source })?;
    }
    cut_evals(root, step)
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
    cut_evals(root, step.checked_sub(1))
}

fn cut_evals(root: &Path, step: Option<u64>) -> Result<()> {
    let path = root.join(EVALS);
    cut_evaluated(&path, step).map_err(|source| Error::Read { path, source })
}

/// A log, and how much of it stays.
struct CutLog {
    path: PathBuf,
    length: usize,
    keep: usize,
}

impl CutLog {
    fn read(path: PathBuf, step: Option<u64>) -> Result<Self> {
        let bytes = match read_file(&path) {
            Err(problem) => {
                let source = problem.into_io(&path);
                return Err(Error::Read { path, source });
            }
            Ok(bytes) => bytes.unwrap_or_default(),
        };
        match kept_bytes(&bytes, step) {
            Ok(keep) => Ok(Self { path, length: bytes.len(), keep }),
            Err((line, what)) => {
                let problem = format!(
                    "this line is {what}, and lines after it would be lost; restore it from a copy, or remove it to \
                     go on without its values"
                );
                Err(Error::Line { path, line, problem })
            }
        }
    }

    fn cut(self) -> Result<()> {
        let Self { path, length, keep } = self;
        if keep == length {
            return Ok(());
        }
        cut_file(&path, keep as u64).map_err(|problem| {
            let source = problem.into_io(&path);
            Error::Read { path, source }
        })
    }
}

/// Length of the whole lines up to and with `step`; lines stand in the order of their steps. An
/// error is the number of the line that damages this, counted from 1, and what it is: one among
/// them that cannot be read, or one of a later step before some of them.
fn kept_bytes(bytes: &[u8], step: Option<u64>) -> Result<usize, (usize, String)> {
    let Some(step) = step else { return Ok(0) };
    let (mut keep, mut later) = (0, None);
    for (at, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if !line.ends_with(b"\n") {
            break;
        }
        let value = serde_json::from_slice::<Value>(line).ok();
        let own = value.and_then(|line| line.get("step").and_then(Value::as_u64));
        match (own, later) {
            (Some(own), None) if own <= step => keep += line.len(),
            (Some(own), Some((line, late))) if own <= step => {
                return Err((line, format!("of step {late}, before lines of step {own}")));
            }
            (Some(own), None) => later = Some((at + 1, own)),
            (None, None) => return Err((at + 1, "not a JSON object with a `step`".to_owned())),
            // What is after the step goes, whatever it is.
            (_, Some(_)) => {}
        }
    }
    Ok(keep)
}

/// Removes the files of later steps whose names end in one of `ends`, and those half-written.
fn cut_files(folder: &Path, ends: &[&str], step: Option<u64>) -> io::Result<()> {
    for path in entries(folder)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let whole = name.strip_suffix(PARTIAL);
        let of = step_of_name(whole.unwrap_or(name));
        let of = of.filter(|_| ends.iter().any(|end| whole.unwrap_or(name).ends_with(end)));
        let goes = match (of, whole) {
            (Some(of), None) => step.is_none_or(|step| of > step),
            (Some(_), Some(_)) => true,
            (None, whole) => whole.is_some_and(|whole| INDEX == format!("samples/{whole}")),
        };
        if goes && !path.is_dir() {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes the evaluations of later steps, and the folders that are then empty.
fn cut_evaluated(folder: &Path, step: Option<u64>) -> io::Result<()> {
    for path in entries(folder)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let of = step_of_name(name).filter(|of| step_name(*of) == name && path.is_dir());
        if of.is_none_or(|of| step.is_some_and(|step| of <= step)) {
            continue;
        }
        for file in entries(&path)? {
            if is_of_evaluation(&file)? {
                fs::remove_file(&file)?;
            }
        }
        if entries(&path)?.is_empty() {
            fs::remove_dir(&path)?;
        }
    }
    Ok(())
}

/// Whether the record can have written this file of an evaluation, whole or in part: by its name
/// and the first bytes, of columns after the length of their header. The names of sets alone would
/// not tell it from a file of others.
fn is_of_evaluation(path: &Path) -> io::Result<bool> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let whole = name.strip_suffix(PARTIAL).unwrap_or(name);
    let mut skipped = 0;
    let expected = if let Some(set) = whole.strip_suffix(".json") {
        let set = Value::from(set);
        format!("{{\n  \"format\": {FORMAT},\n  \"set\": {set},")
    } else if whole.strip_suffix(".jsonl").is_some() {
        "{\"number\":".to_owned()
    } else if whole.strip_suffix(".safetensors").is_some() {
        skipped = 8;
        format!("{{\"__metadata__\":{{\"format\":\"{FORMAT}\"")
    } else {
        return Ok(false);
    };
    // A link or a pipe is of others.
    if !path.symlink_metadata()?.is_file() {
        return Ok(false);
    }
    let file = open_file(path).map_err(|problem| problem.into_io(path))?;
    let Some(file) = file else { return Ok(false) };
    let mut start = Vec::new();
    file.take(skipped + expected.len() as u64).read_to_end(&mut start)?;
    let own = start.get(skipped as usize..).unwrap_or_default();
    Ok(expected.as_bytes().starts_with(own))
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDERS: [&str; 3] = ["samples", "tokens", EVALS];

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
        let line = |log: &str| kept_bytes(log.as_bytes(), Some(3)).map_err(|(line, _)| line);
        assert_eq!(line("{\"st\n{\"step\":2}\n"), Err(1));
        let log = "{\"step\":1}\nx\n{\"step\":3}\n";
        assert_eq!(line(log), Err(2));
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
    fn a_line_of_a_later_step_before_others_is_named_and_none_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let index = root.path().join(INDEX);
        let log = "{\"step\":1}\n{\"step\":9}\nx\n{\"step\":2}\n{\"step\":3}\n";
        fs::create_dir(root.path().join("samples")).unwrap();
        fs::write(&index, log).unwrap();
        for step in [2, 3, 8] {
            let error = cut(root.path(), Some(step)).unwrap_err().to_string();
            assert!(
                error.contains(
                    "index.jsonl, line 2: this line is of step 9, before lines of step 2"
                ),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&index).unwrap(), log);
        }
        // Where nothing after it is to be kept.
        check(log, Some(1), "{\"step\":1}\n");
    }

    /// The start of the summary of a set, as it is written.
    fn summary(set: &str) -> String {
        let summary =
            super::super::Summary { format: FORMAT, set: set.into(), ..Default::default() };
        serde_json::to_string_pretty(&summary).unwrap()
    }

    #[test]
    fn files_of_others_in_an_evaluation_stay() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("evals/step-000005");
        fs::create_dir_all(folder.join("plots.json")).unwrap();
        let own = [
            ("a.json", summary("a")),
            ("b.json.partial", summary("b")[..20].to_owned()),
            ("a.jsonl", "{\"number\":0,\"id\":\"x\"}\n".to_owned()),
            ("c.jsonl", String::new()),
            ("a.safetensors", format!("12345678{{\"__metadata__\":{{\"format\":\"{FORMAT}\"}}}}")),
            ("b.safetensors.partial", "123".to_owned()),
            ("a.jsonl.partial", "{\"nu".to_owned()),
        ];
        let others = [
            ("notes.md", "x".to_owned()),
            ("mine.json", "{\"a\":1}".to_owned()),
            ("copy.json", summary("a")),
            ("mine.jsonl", "{\"step\":1}\n".to_owned()),
            ("a.csv", "{\"number\":".to_owned()),
            ("model.safetensors", "12345678{\"__metadata__\":{\"format\":\"pt\"}}".to_owned()),
        ];
        for (name, text) in own.iter().chain(&others) {
            fs::write(folder.join(name), text).unwrap();
        }
        let names = || {
            let paths = entries(&folder).unwrap().into_iter();
            let mut names: Vec<PathBuf> =
                paths.map(|path| path.file_name().unwrap().into()).collect();
            names.sort();
            names
        };
        let all = names();
        cut(root.path(), Some(5)).unwrap();
        assert_eq!(names(), all);
        cut(root.path(), Some(4)).unwrap();
        let mut left: Vec<_> = others.iter().map(|(name, _)| PathBuf::from(name)).collect();
        left.push("plots.json".into());
        left.sort();
        assert_eq!(names(), left);
    }

    #[test]
    fn what_others_put_there_stays() {
        let root = tempfile::tempdir().unwrap();
        for folder in FOLDERS {
            let plots = root.path().join(folder).join("plots");
            fs::create_dir_all(&plots).unwrap();
            fs::write(plots.join("step-000009.png"), "x").unwrap();
            fs::write(plots.with_file_name("notes.txt"), "x").unwrap();
            fs::write(plots.with_file_name("mine.partial"), "x").unwrap();
            fs::write(plots.with_file_name("step-9.jsonl"), "x").unwrap();
            fs::write(plots.with_file_name("step-000009.png"), "x").unwrap();
            fs::write(plots.with_file_name("step-000009"), "x").unwrap();
            fs::create_dir(plots.with_file_name("step-000009.safetensors")).unwrap();
        }
        fs::write(root.path().join("evals/step-000009.jsonl"), "x").unwrap();
        fs::write(root.path().join("tokens/index.jsonl"), "x").unwrap();
        cut(root.path(), Some(1)).unwrap();
        cut(root.path(), None).unwrap();
        for (folder, count) in FOLDERS.into_iter().zip([7, 8, 8]) {
            let folder = root.path().join(folder);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), count, "{}", folder.display());
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

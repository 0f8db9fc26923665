//! `stearin curves`: what it writes of a real run, and what it refuses.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crate::binary::{stderr, stdout, stearin};
use crate::runs::Run;

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_value_of_a_run_is_exported() {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    Run::new(&run).train().unwrap();
    let root = run.to_str().unwrap().to_owned();
    let output = stearin(out.path(), &["curves", &root, "--format", "jsonl"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let rows: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let metrics = lines(&run.join("metrics.jsonl"));
    assert_eq!(rows.len(), metrics.len());
    assert!(rows.len() > 2);
    for (row, values) in rows.iter().zip(&metrics) {
        assert_eq!(row["_step"], values["step"]);
        let values = values.as_object().unwrap().iter();
        for (key, value) in values.filter(|(key, _)| !matches!(key.as_str(), "step" | "stage")) {
            assert_eq!(row[key].as_f64(), value.as_f64(), "{key}");
        }
    }
    // A run that has ended is exported, and following it ends.
    let arguments = ["curves", &root, "--format", "csv", "--follow", "-o", "a/b.csv"];
    let output = stearin(out.path(), &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = fs::read_to_string(out.path().join("a/b.csv")).unwrap();
    assert_eq!(table.lines().count(), rows.len() + 1);
}

#[test]
fn what_cannot_be_exported_is_bad_input() {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    Run::new(&run).train().unwrap();
    fs::write(out.path().join("file"), "").unwrap();
    let root = run.to_str().unwrap().to_owned();
    let inside = run.join("metrics.jsonl").display().to_string();
    for (arguments, expected) in [
        (vec!["missing", "--format", "csv"], "expected a folder, got nothing"),
        (vec![".", "--format", "csv"], "a folder without one"),
        (vec![&root, "--format", "tensorboard"], "--output <PATH>"),
        (vec![&root, "--format", "csv", "--follow"], "--output <PATH>"),
        (vec![&root, "--format", "tensorboard", "-o", "file"], "expected a folder, got a file"),
        (vec![&root, "--format", "csv", "-o", "."], "expected a file, got a folder"),
        (vec![&root, "--format", "csv", "-o", &inside], "outside of the run directory"),
        (vec![&root, "--format", "tensorboard", "-o", &root], "outside of the run directory"),
    ] {
        let output = stearin(out.path(), &[&["curves"], arguments.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
}

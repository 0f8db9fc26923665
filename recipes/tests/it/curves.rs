//! `stearin curves`: what it writes of a real run, and what it refuses.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

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
    let below = run.join("new/folder/x.csv").display().to_string();
    let new = run.join("tb").display().to_string();
    // Of another run, and an evaluation by itself.
    let [other, eval] = ["other", "eval"].map(|name| out.path().join(name));
    let facts = fs::read_to_string(run.join("run.json")).unwrap();
    fs::create_dir_all(other.join("samples")).unwrap();
    fs::write(other.join("run.json"), &facts).unwrap();
    fs::create_dir(&eval).unwrap();
    assert!(facts.contains("\"kind\": \"train\""), "{facts}");
    fs::write(eval.join("run.json"), facts.replace("\"train\"", "\"eval\"")).unwrap();
    let foreign = other.join("samples/x.csv").display().to_string();
    for (arguments, expected) in [
        (vec![&root, "--format", "tensorboard", "-o", &new], "outside of the run directory"),
        (vec![&root, "--format", "csv", "-o", &foreign], "outside of the run directory"),
        (vec![&root, "--format", "tensorboard", "-o", "other"], "outside of the run directory"),
        (vec!["eval", "--format", "csv"], "stearin eval --table eval"),
        (vec!["missing", "--format", "csv"], "expected a folder, got nothing"),
        (vec![".", "--format", "csv"], "a folder without one"),
        (vec![&root, "--format", "tensorboard"], "--output <PATH>"),
        (vec![&root, "--format", "csv", "--follow"], "--output <PATH>"),
        (vec![&root, "--format", "tensorboard", "-o", "file"], "expected a folder, got a file"),
        (vec![&root, "--format", "csv", "-o", "."], "expected a file, got a folder"),
        (vec![&root, "--format", "csv", "-o", &inside], "outside of the run directory"),
        (vec![&root, "--format", "csv", "-o", &below], "outside of the run directory"),
        (vec![&root, "--format", "tensorboard", "-o", &root], "outside of the run directory"),
    ] {
        let output = stearin(out.path(), &[&["curves"], arguments.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
    let before = fs::read(run.join("metrics.jsonl")).unwrap();
    let output = stearin(&run, &["curves", ".", "--format", "csv", "-o", "metrics.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read(run.join("metrics.jsonl")).unwrap(), before);
}

#[test]
fn what_the_logs_of_an_ended_run_lack_is_said() {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    Run::new(&run).train().unwrap();
    let said = || {
        let output = stearin(out.path(), &["curves", "run", "--format", "csv", "-o", "x.csv"]);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    assert_eq!(said().lines().count(), 1, "{}", said());
    let path = run.join("metrics.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let third = whole.lines().take(3).map(|line| line.len() + 1).sum::<usize>();
    for (bytes, words) in [
        (third + 20, "its last line has no end; it has steps up to 2, and the run did 6"),
        (third, "metrics.jsonl: it has steps up to 2, and the run did 6"),
        (0, "metrics.jsonl: it has no step, and the run did 6"),
    ] {
        fs::write(&path, &whole[..bytes]).unwrap();
        assert!(said().contains(words), "{}", said());
    }
    fs::remove_file(&path).unwrap();
    let words = "metrics.jsonl: there is no such file, and the run did 6 steps";
    assert!(said().contains(words), "{}", said());
    // A step that no run has hides none of those after it.
    let damaged = whole.replace("{\"step\":3,", "{\"step\":18446744073709551615,");
    fs::write(&path, &damaged).unwrap();
    assert!(said().contains("line 4: expected a step of at most 1000000000,"), "{}", said());
    assert_eq!(fs::read_to_string(out.path().join("x.csv")).unwrap().lines().count(), 1 + 7);
    // While the run goes on, its logs may be behind.
    fs::write(&path, &whole[..third]).unwrap();
    let status = fs::read_to_string(run.join("status.json")).unwrap();
    let running = status.replace("\"finished\"", "\"running\"");
    assert_ne!(running, status);
    fs::write(run.join("status.json"), running).unwrap();
    assert_eq!(said().lines().count(), 1, "{}", said());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let out = tempfile::tempdir().unwrap();
    let run = out.path().join("run");
    Run::new(&run).train().unwrap();
    // More than a pipe holds, so that writing goes on after the reader has gone.
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let last = metrics.lines().last().unwrap().to_owned();
    let step = |step: usize| last.replacen("\"step\":6", &format!("\"step\":{step}"), 1) + "\n";
    fs::write(run.join("metrics.jsonl"), metrics + &(7..400).map(step).collect::<String>())
        .unwrap();
    for format in ["csv", "jsonl"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stearin"))
            .args(["curves", run.to_str().unwrap(), "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut head = [0; 8];
        let mut reader = child.stdout.take().unwrap();
        reader.read_exact(&mut head).unwrap();
        drop(reader);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{format}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{format}");
    }
}

//! The directory of an evaluation with something else in place of each file.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::binary::{stderr, stdout};

const SHORT: [&str; 12] = [
    "eval",
    "--model",
    "builtin:atom",
    "--bench",
    "arithmetic:count=4,min_digits=1,max_digits=1",
    "--samples",
    "1",
    "--max-new-tokens",
    "2",
    "--out",
    "run",
    "--prompt=plain",
];

/// What the command says, which has to end by itself.
pub(crate) fn ending(folder: &Path, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stearin"))
        .args(arguments)
        .current_dir(folder)
        .env("RAYON_NUM_THREADS", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(2);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("{arguments:?} does not end");
        }
        sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// Puts something else in place of the file at `path`.
fn replace(path: &Path, by: &str) {
    fs::remove_file(path).unwrap();
    match by {
        "a folder" => fs::create_dir(path).unwrap(),
        "a pipe" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "a link to a file of mine" => symlink(path.parent().unwrap().join("mine"), path).unwrap(),
        "a dangling link" => symlink("no/such/file", path).unwrap(),
        other => panic!("{other}"),
    }
}

fn remove(path: &Path) {
    if path.symlink_metadata().is_ok_and(|about| about.is_dir()) {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn something_else_in_place_of_a_file_is_refused_or_passed_over_and_nothing_is_lost() {
    let temp = tempfile::tempdir().unwrap();
    let first = ending(temp.path(), &SHORT);
    assert!(first.status.success(), "{}", stderr(&first));
    let root = temp.path().join("run");
    let results = "evals/step-000000/arithmetic";
    let (lines, figures) = (format!("{results}.jsonl"), format!("{results}.json"));
    let table = ["eval", "--table", "run"];
    let names = ["eval.toml", &lines, &figures, "run.json", "status.json", "lock"];
    for name in names {
        let path = root.join(name);
        let whole = fs::read(&path).unwrap();
        let mine = path.parent().unwrap().join("mine");
        for by in ["a folder", "a pipe", "a link to a file of mine", "a dangling link"] {
            fs::write(&mine, "precious").unwrap();
            replace(&path, by);
            // The table reads the settings and the results alone.
            let is_read = !["run.json", "status.json", "lock"].contains(&name);
            let output = ending(temp.path(), &table);
            let said = format!("{name}, {by}: {}", stderr(&output));
            assert_eq!(output.status.code(), Some(if is_read { 2 } else { 0 }), "{said}");
            if is_read {
                assert!(said.contains("expected a file, got") || said.contains("no eval.toml"));
                assert!(said.lines().count() > 1, "it says what to do: {said}");
            }
            let output = ending(temp.path(), &SHORT);
            let said = format!("{name}, {by}: {}", stderr(&output));
            let is_written = ["run.json", "status.json"].contains(&name);
            if output.status.success() {
                assert!(is_written, "{said}");
                assert_eq!(stdout(&output), stdout(&first), "{said}");
            } else {
                assert_eq!(output.status.code(), Some(2), "{said}");
                assert!(said.contains(path.file_name().unwrap().to_str().unwrap()), "{said}");
                assert!(said.lines().count() > 1, "it says what to do: {said}");
            }
            assert_eq!(fs::read_to_string(&mine).unwrap(), "precious", "{said}");
            remove(&path);
            fs::write(&path, &whole).unwrap();
            fs::remove_file(&mine).unwrap();
        }
    }
    let again = ending(temp.path(), &SHORT);
    assert_eq!(stdout(&again), stdout(&first));
}

//! Evaluations that go on where they stopped, on a torn line or by another build.

use std::fs;
use std::path::Path;

use evals::run::Run as Record;
use serde_json::Value;

use crate::binary::{stderr, stdout, stearin};
use crate::runs::Run;

const COMMAND: [&str; 12] = [
    "eval",
    "--model",
    "builtin:atom",
    "--bench",
    "arithmetic:count=6,min_digits=1,max_digits=1",
    "--samples",
    "2",
    "--max-new-tokens",
    "4",
    "--prompt=plain",
    "--out",
    "run",
];

/// A finished evaluation, and what it printed.
fn evaluated(folder: &Path) -> String {
    let output = stearin(folder, &COMMAND);
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn a_torn_last_line_is_judged_again_wherever_it_is_torn() {
    let temp = tempfile::tempdir().unwrap();
    let printed = evaluated(temp.path());
    let folder = temp.path().join("run/evals/step-000000");
    let (lines, figures) = (folder.join("arithmetic.jsonl"), folder.join("arithmetic.json"));
    let whole = fs::read_to_string(&lines).unwrap();
    let before = whole.lines().take(3).map(|line| line.len() + 1).sum::<usize>();
    let fourth = whole.lines().nth(3).unwrap().len();
    for torn in [0, 1, 11, fourth / 2, fourth - 1, fourth] {
        fs::write(&lines, &whole[..before + torn]).unwrap();
        // As a kill leaves it: the figures are written at the end.
        let _ = fs::remove_file(&figures);
        let output = stearin(temp.path(), &COMMAND);
        assert!(output.status.success(), "{torn}: {}", stderr(&output));
        assert_eq!(stdout(&output), printed, "{torn}");
        assert_eq!(fs::read_to_string(&lines).unwrap(), whole, "{torn}");
    }
}

#[test]
fn another_build_that_goes_on_is_said_and_kept() {
    let temp = tempfile::tempdir().unwrap();
    let printed = evaluated(temp.path());
    let root = temp.path().join("run");
    let facts = root.join("run.json");
    let mut own: Value = serde_json::from_slice(&fs::read(&facts).unwrap()).unwrap();
    own["commit"] = "0123456789".into();
    fs::write(&facts, own.to_string()).unwrap();
    // Nothing is left to judge, so nobody goes on.
    let output = stearin(temp.path(), &COMMAND);
    assert!(!stderr(&output).contains("another build"), "{}", stderr(&output));
    let folder = root.join("evals/step-000000");
    let lines = folder.join("arithmetic.jsonl");
    let whole = fs::read_to_string(&lines).unwrap();
    let three: String = whole.split_inclusive('\n').take(3).collect();
    fs::write(&lines, three).unwrap();
    fs::remove_file(folder.join("arithmetic.json")).unwrap();
    let output = stearin(temp.path(), &COMMAND);
    let said = stderr(&output);
    assert!(said.contains("another build or machine") && said.contains("0123456789"), "{said}");
    assert_eq!(stdout(&output), printed);
    let accepted = Record::open(&root).unwrap().facts.unwrap().accepted;
    let [one] = &accepted[..] else { panic!("one change: {accepted:?}") };
    assert_eq!(one.step, 3);
    assert!(one.changes[0].starts_with("commit: 0123456789 then, "), "{:?}", one.changes);
}

#[test]
fn of_a_run_the_checkpoint_is_named() {
    let temp = tempfile::tempdir().unwrap();
    Run::new(&temp.path().join("mine")).train().unwrap();
    let bench = ["--bench", "arithmetic:count=2", "--max-new-tokens", "2", "--out", "x"];
    let output = stearin(temp.path(), &[&["eval", "--model", "mine"][..], &bench].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let facts = Record::open(&temp.path().join("x")).unwrap().facts.unwrap();
    let place = facts.model.unwrap().path;
    assert!(place.contains("mine/checkpoints/step-"), "{place}");
    let said = stderr(&output);
    assert!(said.contains(&format!("note: of the run mine, {place} is taken, ")), "{said}");
    // One that is named says nothing.
    let named = ["eval", "--model", &place, "--dry-run"];
    let output = stearin(temp.path(), &[&named[..], &bench[..4]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stderr(&output).contains("of the run"), "{}", stderr(&output));
}

//! Problems that a run cannot use are found before its first step and by a dry run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::binary::{stderr, stearin};

const RECIPE: &str = r#"
model = { path = "builtin:atom" }
prompt = { template = { kind = "none" } }
[data]
train = { kind = "jsonl", path = "rows.jsonl" }
held_out = { kind = "jsonl", path = "held.jsonl" }
[eval.sampling]
max_new_tokens = 4
[[stage]]
kind = "sft"
steps = 1
batch = 1
schedule = { kind = "constant", lr = 1e-3 }
"#;

fn row(id: &str, problem: &str, solution: &str) -> String {
    serde_json::json!({
        "id": id, "problem": problem, "answer": "1", "source": "x", "solution": solution,
    })
    .to_string()
}

/// Trains on `rows`, or tells what that would do.
fn run(folder: &Path, rows: &[String], arguments: &[&str]) -> Output {
    fs::write(folder.join("mine.toml"), RECIPE).unwrap();
    fs::write(folder.join("rows.jsonl"), rows.join("\n")).unwrap();
    fs::write(folder.join("held.jsonl"), row("h", "2+3", "5")).unwrap();
    stearin(folder, &[&["train", "mine.toml"], arguments].concat())
}

#[test]
fn a_solution_beyond_the_context_is_refused_by_its_id() {
    let folder = tempfile::tempdir().unwrap();
    // The context is 512 tokens, the prompt has 3, and a token ends the solution.
    let fits = "1".repeat(512 - 3 - 1);
    let long = format!("{fits}1");
    let rows = [row("short", "1+1", "2"), row("fits", "2+1", &fits), row("long", "2+2", &long)];
    for arguments in [&["--dry-run"][..], &[]] {
        let output = run(folder.path(), &rows, arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("long (513 tokens)") && said.contains("512 tokens"), "{said}");
        assert!(!said.contains("fits (") && !said.contains("short ("), "{said}");
        assert!(said.contains("data.max_solution_tokens (to 512, say)"), "{said}");
        assert!(!folder.path().join("runs").exists());
    }
    // What the message advises works.
    let output = run(folder.path(), &rows, &["--set", "data.max_solution_tokens=512"]);
    let dropped = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{dropped}");
    assert!(dropped.contains("dropped 1 of 3 problems with prompts and solutions"), "{dropped}");
    assert!(dropped.contains("the model's context = 512: long (513 tokens)"), "{dropped}");
    // A limit of the solution alone drops by its own length.
    let arguments = ["--run-dir", "other", "--set", "data.max_solution_tokens=508"];
    let output = run(folder.path(), &rows, &arguments);
    let dropped = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{dropped}");
    assert!(dropped.contains("dropped 2 of 3 problems with solutions longer"), "{dropped}");
    assert!(dropped.contains("fits (509 tokens), long (510 tokens)"), "{dropped}");
}

#[test]
fn a_limit_that_leaves_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [row("a", "1+1", "2222"), row("b", "2+1", "3333")];
    let output = run(folder.path(), &rows, &["--set", "data.max_solution_tokens=4"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("every solution is longer than"), "{}", stderr(&output));
    let output = run(folder.path(), &rows, &["--dry-run", "--set", "data.max_prompt_tokens=2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("every prompt is longer than"), "{}", stderr(&output));
}

#[test]
fn a_row_without_solution_is_named_by_a_dry_run_too() {
    let folder = tempfile::tempdir().unwrap();
    let bare = r#"{"id": "bare", "problem": "3+3", "answer": "6", "source": "x"}"#.to_owned();
    for arguments in [&["--dry-run"][..], &[]] {
        let output = run(folder.path(), &[row("a", "1+1", "2"), bare.clone()], arguments);
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains("problem bare: no solution to learn"), "{said}");
    }
}

#[test]
fn a_special_token_that_does_not_exist_is_named_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--dry-run"][..], &[]] {
        let keep = ["--set", "prompt.keep_special_tokens=[\"<thnk>\"]"];
        let output = run(folder.path(), &[row("a", "1+1", "2")], &[arguments, &keep].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("names \"<thnk>\""), "{}", stderr(&output));
    }
}

//! `/paired` and `/problem`: evaluations beside each other.

use std::fs::File;
use std::path::Path;

use evals::Paired;
use serde_json::{Value, json};

use crate::client::{evaluation, json as get, line, only_run, put, serve};

fn run(root: &Path, rows: &str, lines: &[Value]) {
    put(root, "metrics.jsonl", "{\"step\":1}\n");
    evaluation(root, "sums", 1, rows, &[line(0, "a", &["wrong"; 2])]);
    evaluation(root, "sums", 2, rows, lines);
}

/// The answer on the runs `a` and `b` below `root`, in this order.
fn paired(root: &Path) -> Value {
    let address = serve(root);
    let runs = get(address, "/runs");
    let id = |name: &str| {
        let own = runs.as_array().unwrap().iter().find(|run| run["name"] == name).unwrap();
        own["id"].as_str().unwrap().to_owned()
    };
    get(address, &format!("/paired?a={}&b={}", id("a"), id("b")))
}

#[test]
fn runs_are_paired_by_the_figures_of_evaluations() {
    let temp = tempfile::tempdir().unwrap();
    let solved = [4, 3, 2, 1, 0, 4, 2, 0]
        .map(|solved| [vec!["correct"; solved], vec!["wrong"; 4 - solved]].concat());
    let lines = |shift: usize| -> Vec<Value> {
        let one = |(at, all): (usize, &Vec<&str>)| line(at as u64, &format!("p{at}"), all);
        let mut lines: Vec<_> =
            solved.iter().skip(shift).chain(&solved[..shift]).enumerate().map(one).collect();
        // Nothing is known of a problem whose verifier failed.
        lines.push(line(8, "p8", if shift == 0 { &["error"; 4] } else { &["correct"; 4] }));
        lines
    };
    run(&temp.path().join("a"), "one", &lines(0));
    run(&temp.path().join("b"), "one", &lines(3));
    let found = paired(temp.path());
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!((&found[0]["set"], &found[0]["steps"]), (&json!("sums"), &json!([2, 2])));
    let shares = [4, 3, 2, 1, 0, 4, 2, 0].map(|solved| f64::from(solved) / 4.0);
    let differences: Vec<_> = (0..8).map(|at| shares[at] - shares[(at + 3) % 8]).collect();
    let mut expected = serde_json::to_value(Paired::of(&differences, Some(1.0))).unwrap();
    expected["figure"] = "avg".into();
    assert_eq!(found[0]["figures"][0], expected);
    assert_eq!(found[0]["figures"][0]["problems"], 8);
    let names: Vec<_> =
        found[0]["figures"].as_array().unwrap().iter().map(|one| one["figure"].clone()).collect();
    assert_eq!(
        names,
        ["avg", "pass@2", "pass@4", "maj@2", "maj@4", "reward", "truncated", "tokens"]
    );
}

#[test]
fn other_rows_are_not_paired_and_the_answer_says_so() {
    let temp = tempfile::tempdir().unwrap();
    run(&temp.path().join("a"), "one", &[line(0, "x", &["correct"])]);
    run(&temp.path().join("b"), "two", &[line(0, "x", &["correct"])]);
    let found = paired(temp.path());
    assert!(found[0]["error"].as_str().unwrap().contains("not the same: SHA-256 one here, two"));
    assert_eq!(found[0]["figures"], json!([]));
    // What does not say what its rows were is paired by ids.
    run(&temp.path().join("b"), "", &[line(5, "x", &["wrong"])]);
    let found = paired(temp.path());
    assert_eq!((&found[0]["error"], &found[0]["figures"][0]["mean"]), (&Value::Null, &json!(1.0)));
    run(&temp.path().join("b"), "", &[line(5, "y", &["wrong"])]);
    assert!(paired(temp.path())[0]["error"].as_str().unwrap().contains("no problem"));
}

#[test]
fn an_evaluation_is_read_again_for_a_problem_only_where_it_changed() {
    let temp = tempfile::tempdir().unwrap();
    run(temp.path(), "one", &[line(0, "a", &["correct"; 2])]);
    let address = serve(temp.path());
    let asked = format!("{}/problem?id=a", only_run(address));
    let solved = || -> Vec<Value> {
        get(address, &asked).as_array().unwrap().iter().map(|one| one["correct"].clone()).collect()
    };
    assert_eq!(solved(), [0, 2]);
    // The same length and time: nobody looks into it.
    let log = temp.path().join("evals/step-000002/sums.jsonl");
    let time = log.metadata().unwrap().modified().unwrap();
    let other = line(0, "a", &["correct"; 2]).to_string().replace("\"correct\":2", "\"correct\":1");
    std::fs::write(&log, other + "\n").unwrap();
    File::options().write(true).open(&log).unwrap().set_modified(time).unwrap();
    assert_eq!(solved(), [0, 2]);
    File::options().write(true).open(&log).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(solved(), [0, 1]);
}

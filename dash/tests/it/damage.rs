//! Damage in a run's folder is named, and nothing of it is waited for.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::client::{ask, json as get, only_run, put, serve};

/// The reasons of the problems of the only run below `root`.
fn problems(root: &Path) -> Vec<String> {
    let address = serve(root);
    let about = get(address, &only_run(address));
    let all = about["problems"].as_array().unwrap();
    let text = |one: &Value| format!("{}: {}", one["file"].as_str().unwrap(), one["problem"]);
    all.iter().map(text).collect()
}

#[track_caller]
fn has(problems: &[String], parts: [&str; 2]) {
    let fits = |one: &String| parts.iter().all(|part| one.contains(part));
    assert_eq!(problems.iter().filter(|one| fits(one)).count(), 1, "{parts:?}: {problems:#?}");
}

#[test]
fn problems_beyond_those_that_are_kept_are_counted() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), "metrics.jsonl", &format!("{{\"step\":1}}\n{}", "{\n".repeat(50)));
    put(temp.path(), "samples/index.jsonl", &"x\n".repeat(23));
    let address = serve(temp.path());
    let run = only_run(address);
    let about = get(address, &run);
    // One is of run.json, which is not there.
    assert_eq!(about["problems"].as_array().unwrap().len(), 41);
    assert_eq!(about["more_problems"], 30 + 3);
    assert_eq!(get(address, "/runs")[0]["problems"], 41 + 33);
}

#[test]
fn a_huge_step_does_not_hide_the_others() {
    let temp = tempfile::tempdir().unwrap();
    let log = "{\"step\":1,\"a\":1}\n{\"step\":1000000000000000,\"a\":2}\n{\"step\":2,\"a\":3}\n";
    put(temp.path(), "metrics.jsonl", log);
    let address = serve(temp.path());
    let run = only_run(address);
    let series = get(address, &format!("{run}/series?keys=a&format=json"));
    assert_eq!(series["values"], json!([[1.0, 2.0], [1.0, 3.0]]));
    let problem = &get(address, &run)["problems"][1];
    assert_eq!(problem["line"], 2);
    assert!(problem["problem"].as_str().unwrap().contains("got 1000000000000000"), "{problem}");
}

#[test]
fn a_recipe_that_cannot_be_read_is_a_problem_of_the_run() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), "metrics.jsonl", "{\"step\":1}\n");
    let path = put(temp.path(), "recipe.toml", "[[stage]]\nkind = \"rl\"\nsteps = 3\n");
    let address = serve(temp.path());
    let run = only_run(address);
    assert_eq!(get(address, &run)["stages"][0]["to"], 3);
    fs::write(&path, "steps = = 1").unwrap();
    has(&problems(temp.path()), ["recipe.toml", "expected TOML"]);
    // Also of a server that has read it before.
    assert_eq!(get(address, &run)["stages"], json!([]));
    fs::write(&path, [0xff, 0xfe]).unwrap();
    has(&problems(temp.path()), ["recipe.toml", "no UTF-8"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    has(&problems(temp.path()), ["recipe.toml", "got a folder"]);
    let (status, answer) = ask(address, &format!("{run}/recipe"));
    assert_eq!(status, 410, "{answer}");
}

#[cfg(unix)]
#[test]
fn links_and_pipes_are_problems_and_no_wait() {
    use std::os::unix::fs::symlink;
    let (temp, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(temp.path(), "metrics.jsonl", "{\"step\":1}\n");
    let secret = put(outside.path(), "index.jsonl", "{}\n");
    symlink(outside.path(), temp.path().join("samples")).unwrap();
    crate::client::evaluation(outside.path(), "sums", 3, "", &[]);
    symlink(outside.path().join("evals"), temp.path().join("evals")).unwrap();
    fs::create_dir_all(outside.path().join("checkpoints/step-000002")).unwrap();
    symlink(outside.path().join("checkpoints"), temp.path().join("checkpoints")).unwrap();
    let pipe = |name: &str| {
        let made = std::process::Command::new("mkfifo").arg(temp.path().join(name)).status();
        assert!(made.unwrap().success());
    };
    pipe("recipe.toml");
    pipe("health.jsonl");
    let address = serve(temp.path());
    let run = only_run(address);
    let about = get(address, &run);
    for list in ["sampled", "evals", "checkpoints"] {
        assert_eq!(about[list], json!([]), "{list}");
    }
    let found = problems(temp.path());
    for name in ["samples", "evals", "checkpoints"] {
        has(&found, [&format!("/{name}:"), "expected a folder, got a link"]);
    }
    for name in ["recipe.toml", "health.jsonl"] {
        has(&found, [name, "got a pipe or a device"]);
    }
    // A file within the folder that is a link.
    fs::remove_file(temp.path().join("samples")).unwrap();
    fs::create_dir(temp.path().join("samples")).unwrap();
    symlink(secret, temp.path().join("samples/index.jsonl")).unwrap();
    has(&problems(temp.path()), ["index.jsonl", "expected a file, got a link"]);
}

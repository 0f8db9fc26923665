//! Where a run stands for one of its checkpoints, it is said which.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::adapters::{json, recipe as adapted, trained};
use crate::binary::{stderr, stdout, stearin};
use crate::going_back::steps;
use crate::runs::RECIPE;

/// A run of two checkpoints, of which the older has the better score. Returns their paths, the
/// better first.
fn with_an_older_best(temp: &Path, name: &str, recipe: &str) -> [String; 2] {
    let root = temp.join(name);
    trained(&root, recipe);
    let all = steps(&root);
    let newest = all.len() - 1;
    let paths = all.iter().enumerate().map(|(at, step)| {
        let path = format!("{name}/checkpoints/step-{step:06}");
        let state = temp.join(&path).join("trainer.json");
        let mut own = json(&state);
        let value = if at == 0 { 0.75 } else { 0.25 };
        own["score"] =
            serde_json::json!({ "set": "held-out", "figure": "avg", "value": value, "measured": "" });
        fs::write(&state, own.to_string()).unwrap();
        path
    });
    let paths: Vec<_> = paths.collect();
    [paths[0].clone(), paths[newest].clone()]
}

/// What is said of the run `name`.
fn note(name: &str, [best, newest]: &[String; 2]) -> String {
    let newest = newest.rsplit('/').next().unwrap();
    format!(
        "of the run {name}, {best} is taken, the best by held-out accuracy 75.0 % (the newest is \
         {newest}); to take another checkpoint, name its path"
    )
}

/// The commands that take a model, with `model` and perhaps an adapter on it.
fn commands<'a>(model: &[&'a str]) -> Vec<Vec<&'a str>> {
    let named: Vec<&str> = [&["--model"], model].concat();
    let with = |before: &[&'a str], after: &[&'a str]| [before, &named, after].concat();
    let one =
        ["--prompts", "1", "--group", "1", "--new", "1", "--prompt-tokens", "2", "--reps", "1"];
    vec![
        with(&["sample"], &["--max-new-tokens", "2", "1+1"]),
        with(&["eval", "--bench", "arithmetic:count=2", "--dry-run"], &[]),
        with(&["bench", "decode"], &one),
        [&["export"], model, &["--format", "peft", "-o", "out"]].concat(),
    ]
}

#[test]
fn every_command_says_which_checkpoint_of_a_run_it_takes() {
    let temp = tempfile::tempdir().unwrap();
    let paths = with_an_older_best(temp.path(), "mine", &adapted());
    let run = |command: &[&str]| {
        let _ = fs::remove_dir_all(temp.path().join("out"));
        let output = stearin(temp.path(), command);
        let said = stderr(&output);
        assert!(output.status.success(), "{command:?}: {said}");
        assert!(!stdout(&output).contains("of the run"), "{command:?}: stdout is data");
        said
    };
    let note = format!("note: {}", note("mine", &paths));
    let on_base = ["builtin:atom", "--adapter", "mine"];
    for command in commands(&["mine"]).iter().chain(&commands(&on_base)) {
        let said = run(command);
        assert_eq!(said.matches(&note).count(), 1, "{command:?}: {said}");
    }
    // One that is named says nothing.
    let named = ["builtin:atom", "--adapter", &paths[1]];
    for command in commands(&[&paths[1]]).iter().chain(&commands(&named)) {
        let said = run(command);
        assert!(!said.contains("of the run"), "{command:?}: {said}");
    }
}

/// It fails at the port, which is asked for once the model is found.
#[cfg(feature = "dash")]
#[test]
fn the_dashboard_says_which_checkpoint_it_scores_by() {
    let temp = tempfile::tempdir().unwrap();
    let paths = with_an_older_best(temp.path(), "mine", &adapted());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for model in [&["mine"][..], &["builtin:atom", "--adapter", "mine"]] {
        let command = [&["dash", ".", "--port", &port, "--model"], model].concat();
        let said = stderr(&stearin(temp.path(), &command));
        assert!(said.contains("is taken, perhaps by another"), "{said}");
        assert!(said.contains(&note("mine", &paths)), "{said}");
    }
}

#[test]
fn training_and_its_dry_run_say_which_checkpoints_they_begin_with() {
    let temp = tempfile::tempdir().unwrap();
    let adapter = with_an_older_best(temp.path(), "mine", &adapted());
    let whole = with_an_older_best(temp.path(), "whole", RECIPE);
    let own = "adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }";
    let text = adapted();
    let kl = "loss = { kl = { kind = \"k3\" } }";
    assert!(text.contains(own) && text.contains(kl));
    let named = text
        .replace(own, &format!("{own}, adapters = {{ first = {{ from = \"mine\" }} }}"))
        .replace(kl, &format!("reference = {{ kind = \"adapter\", name = \"first\" }}\n{kl}"));
    for (recipe, key, paths) in [
        (text.replace(own, "adapter = { from = \"mine\" }"), "model.adapter.from", &adapter),
        (named, "model.adapters.first.from", &adapter),
        (RECIPE.replace("builtin:atom", "whole"), "model.path", &whole),
    ] {
        fs::write(temp.path().join("small.toml"), recipe).unwrap();
        let name = paths[0].split('/').next().unwrap();
        let expected = format!("{key}: {}", note(name, paths));
        let output = stearin(temp.path(), &["train", "small.toml", "--dry-run"]);
        let said = stdout(&output);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(said.matches(&format!("note  {expected}")).count(), 1, "{said}");
        let output = stearin(temp.path(), &["train", "small.toml", "--run-dir", key]);
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches(&format!("note: {expected}")).count(), 1, "{said}");
        let log = fs::read_to_string(temp.path().join(key).join("log.txt")).unwrap();
        assert!(log.contains(&expected), "{log}");
    }
}

#[test]
fn a_run_names_what_its_kl_looks_back_at() {
    let temp = tempfile::tempdir().unwrap();
    let kl = "loss = { kl = { kind = \"k3\" } }";
    for (reference, line) in [
        ("", "the KL of stage 1 is taken to the policy at the start of stage 1"),
        ("reference = \"base\"\n", "the KL of stage 1 is taken to the model without its adapter"),
        (
            "reference = { kind = \"ema\", decay = 0.5 }\n",
            "the KL of stage 1 is taken to a moving average of the policy from the start of stage 1 on",
        ),
    ] {
        let text = adapted().replace(kl, &format!("{reference}{kl}"));
        fs::write(temp.path().join("small.toml"), text).unwrap();
        let _ = fs::remove_dir_all(temp.path().join("runs"));
        let output = stearin(temp.path(), &["train", "small.toml"]);
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        let log = fs::read_to_string(temp.path().join("runs/small/log.txt")).unwrap();
        for text in [&said, &log] {
            assert_eq!(text.matches("the KL of ").count(), 1, "stage 0 has none: {text}");
            assert!(text.lines().any(|there| there.starts_with(line)), "{line}: {text}");
        }
    }
}

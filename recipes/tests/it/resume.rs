//! A run that was cut off ends as one that was not.

use std::fs;

use recipes::run_dir::{State, status};
use recipes::train::Ended;

use crate::runs::{RECIPE, Run, assert_equal, contents};

#[test]
fn stopped_after_any_step_and_resumed_it_equals_an_unbroken_run() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, broken) = (temp.path().join("whole"), temp.path().join("broken"));
    Run::new(&whole).train().unwrap();
    let ended = Run { one_step: true, ..Run::new(&broken) }.train().unwrap();
    assert_eq!(ended, Ended::Interrupted);
    assert_eq!(status(&broken).unwrap().state, State::Interrupted);
    for step in 2..6 {
        let ended = Run { one_step: true, ..Run::resumed(&broken) }.train().unwrap();
        assert_eq!(ended, Ended::Interrupted);
        assert_eq!(status(&broken).unwrap().step, step);
    }
    let ended = Run { one_step: true, ..Run::resumed(&broken) }.train().unwrap();
    assert_eq!(ended, Ended::Finished);
    assert_equal(&whole, &broken);
}

#[test]
fn what_the_watch_saw_before_a_stop_counts_after_it() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, broken) = (temp.path().join("whole"), temp.path().join("broken"));
    // Of one token each no completion ends by itself, which is said in the fifth such step.
    let recipe = RECIPE
        .replace("rollout = { max_new_tokens = 6 }", "rollout = { max_new_tokens = 1 }")
        .replace("steps = 4", "steps = 6");
    Run { recipe: &recipe, ..Run::new(&whole) }.train().unwrap();
    let mut ended = Ended::Interrupted;
    while ended == Ended::Interrupted {
        let run = if broken.exists() { Run::resumed(&broken) } else { Run::new(&broken) };
        ended = Run { one_step: true, recipe: &recipe, ..run }.train().unwrap();
    }
    assert_equal(&whole, &broken);
    let health = fs::read_to_string(broken.join("health.jsonl")).unwrap();
    let said = |name: &str| health.lines().filter(|line| line.contains(name)).count();
    assert_eq!((said("all_truncated"), said("end_token_never_sampled")), (6, 1), "{health}");
    let metrics = fs::read_to_string(broken.join("metrics.jsonl")).unwrap();
    assert!(metrics.lines().nth(7).unwrap().contains("\"health/end_token_never_sampled\":1.0"));
}

#[test]
fn logs_beyond_the_checkpoint_are_cut_also_where_torn() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, broken) = (temp.path().join("whole"), temp.path().join("broken"));
    Run::new(&whole).train().unwrap();
    Run::new(&broken).train().unwrap();
    // As if killed while the fifth checkpoint was being written, after the fourth.
    fs::remove_dir_all(broken.join("checkpoints/step-000006")).unwrap();
    let fifth = broken.join("checkpoints/step-000005");
    fs::rename(&fifth, broken.join("checkpoints/step-000005.partial")).unwrap();
    fs::create_dir_all(broken.join("checkpoints/step-000004.partial")).unwrap();
    for log in ["metrics.jsonl", "timings.jsonl"] {
        let bytes = fs::read(broken.join(log)).unwrap();
        fs::write(broken.join(log), &bytes[..bytes.len() - 7]).unwrap();
    }
    // No checkpoint is left: from the first step on.
    assert_eq!(Run::resumed(&broken).train().unwrap(), Ended::Finished);
    assert_equal(&whole, &broken);
}

#[test]
fn another_kernel_of_bf16_is_refused_by_name() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = RECIPE.replace("builtin:atom\"", "builtin:atom\", dtype = \"bf16\"");
    assert_ne!(recipe, RECIPE);
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let path = root.join("environment.json");
    let text = fs::read_to_string(&path).unwrap();
    let kernel = engine::bf16_kernel();
    assert!(text.contains(kernel), "{text}");
    fs::write(&path, text.replace(kernel, "abacus")).unwrap();
    let error = Run { recipe: &recipe, ..Run::resumed(&root) }.train().unwrap_err().to_string();
    let line = format!("changing    environment.bf16_kernel: \"abacus\" then, \"{kernel}\" now");
    assert!(error.contains(&line) && error.contains("--resume --changed"), "{error}");
}

#[test]
fn a_resume_that_would_do_nothing_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let error = Run::resumed(&root).train().unwrap_err().to_string();
    assert!(error.starts_with("nothing to resume: ") && !root.exists(), "{error}");
    Run::new(&root).train().unwrap();
    let before = contents(&root);
    let error = Run::resumed(&root).train().unwrap_err().to_string();
    assert!(error.starts_with("nothing to resume: all 6 steps of "), "{error}");
    assert_eq!(contents(&root), before);
}

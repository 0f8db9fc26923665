//! A run that was cut off ends as one that was not.

use std::fs;
use std::path::Path;

use evals::run::State;
use recipes::run_dir::status;
use recipes::train::Ended;
use serde_json::Value;

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
fn the_orders_of_epochs_are_those_of_an_unbroken_run() {
    let temp = tempfile::tempdir().unwrap();
    let (once, whole, broken) =
        (temp.path().join("once"), temp.path().join("whole"), temp.path().join("broken"));
    let recipe = RECIPE.replace("batch =", "epochs = 3\nbatch =");
    Run::new(&once).train().unwrap();
    Run { recipe: &recipe, ..Run::new(&whole) }.train().unwrap();
    let mut ended = Ended::Interrupted;
    while ended == Ended::Interrupted {
        let run = if broken.exists() { Run::resumed(&broken) } else { Run::new(&broken) };
        ended = Run { one_step: true, recipe: &recipe, ..run }.train().unwrap();
    }
    assert_equal(&whole, &broken);
    let of = |root: &Path, key: &str| -> Vec<f64> {
        let metrics = fs::read_to_string(root.join("metrics.jsonl")).unwrap();
        let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line[key].as_f64()).collect()
    };
    // Two supervised steps of one update an epoch, four of two.
    assert_eq!(of(&once, "training/updates"), [1.0, 2.0, 2.0, 4.0, 6.0, 8.0]);
    assert_eq!(of(&whole, "training/updates"), [3.0, 6.0, 6.0, 12.0, 18.0, 24.0]);
    // The schedule is spread over all of them: its last rate is that of its last update.
    for (root, updates) in [(&once, 8.0), (&whole, 24.0)] {
        let last = *of(root, "actor/lr").last().unwrap();
        assert!((last - 1e-3 / updates).abs() < 1e-15, "{last}");
    }
    assert_eq!(of(&once, "rollout_corr/log_prob_gap_max"), [0.0; 4]);
    assert_eq!(of(&whole, "rollout_corr/log_prob_gap_max"), [0.0; 4]);
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
    fs::rename(&fifth, broken.join("checkpoints/step-000005.77-1.partial")).unwrap();
    fs::create_dir_all(broken.join("checkpoints/step-000004.77-0.partial")).unwrap();
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
    let path = root.join("run.json");
    let text = fs::read_to_string(&path).unwrap();
    let kernel = engine::bf16_kernel();
    assert!(text.contains(kernel), "{text}");
    fs::write(&path, text.replace(kernel, "abacus")).unwrap();
    let error = Run { recipe: &recipe, ..Run::resumed(&root) }.train().unwrap_err().to_string();
    let line =
        format!("changing    environment.bf16_kernel: \"abacus\" in the run, \"{kernel}\" now");
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
    assert!(error.contains("stearin train small.toml --set stage.1.steps=8 --resume"), "{error}");
    assert_eq!(contents(&root), before);
}

//! What a resume with other settings does to the steps after it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use evals::run::read_log;
use recipes::run_dir::status;
use recipes::train::Ended;

use crate::runs::{RECIPE, Run, assert_equal};

/// Runs `recipe` up to the first step of reinforcement learning.
fn begin(root: &Path, recipe: &str) {
    Run { recipe, one_step: true, ..Run::new(root) }.train().unwrap();
    while status(root).unwrap().step < 3 {
        Run { recipe, one_step: true, ..Run::resumed(root) }.train().unwrap();
    }
}

fn go_on(root: &Path, recipe: &str) -> anyhow::Result<Ended> {
    Run { recipe, changed: true, ..Run::resumed(root) }.train()
}

/// The recipe with this in place of its KL.
fn with(settings: &str) -> String {
    let kl = "loss = { kl = { kind = \"k3\" } }\n";
    assert!(RECIPE.contains(kl));
    RECIPE.replace(kl, settings)
}

/// The values of a metric in the steps after the second.
fn values(root: &Path, key: &str) -> Vec<f64> {
    let lines = read_log(&root.join("metrics.jsonl")).unwrap();
    let lines = lines.iter().filter(|line| line.step > 2);
    lines.map(|line| line.number(key).unwrap()).collect()
}

#[test]
fn changed_coefficients_and_weights_hold_from_the_next_step_on() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let settings = |kl: f64, bonus: f64, w: f64, m: f64| {
        with(&format!(
            "reward_kl = {{ kind = \"k1\", coefficient = {kl} }}\n\
             entropy_bonus = {{ kind = \"fixed\", coefficient = {bonus} }}\n\
             weighting = {{ kind = \"stare\", reweight_w = {w}, reweight_m = {m} }}\n"
        ))
    };
    begin(&root, &settings(0.25, 0.125, 1.25, 0.75));
    assert_eq!(go_on(&root, &settings(0.5, 0.0625, 1.5, 0.5)).unwrap(), Ended::Finished);
    for (key, then, now) in [
        ("actor/reward_kl_penalty_coeff", 0.25, 0.5),
        ("actor/entropy_coefficient", 0.125, 0.0625),
        ("stare/reweight_w", 1.25, 1.5),
        ("stare/reweight_m", 0.75, 0.5),
    ] {
        assert_eq!(values(&root, key), [then, now, now, now], "{key}");
    }
}

#[test]
fn a_schedule_ends_with_its_stage_also_with_other_updates_per_step() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = with("");
    begin(&root, &recipe);
    let other = recipe.replace("updates_per_step = 2", "updates_per_step = 1");
    assert_eq!(go_on(&root, &other).unwrap(), Ended::Finished);
    // Linear from 1e-3 to 0: two updates of eight, then three more of five.
    let expected = [1e-3 * 7.0 / 8.0, 1e-3 * 3.0 / 5.0, 1e-3 * 2.0 / 5.0, 1e-3 / 5.0];
    let found = values(&root, "actor/lr");
    let close = found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-12);
    assert!(close && found.len() == 4, "{found:?}");
}

#[test]
fn a_kl_in_the_loss_begins_with_the_reference_of_that_in_the_reward() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let reward = "reward_kl = { kind = \"k1\", coefficient = 0.25 }\n";
    begin(&root, &with(reward));
    let both = with(&format!("{reward}loss = {{ kl = {{ kind = \"k3\" }} }}\n"));
    assert_eq!(go_on(&root, &both).unwrap(), Ended::Finished);
    let lines = read_log(&root.join("metrics.jsonl")).unwrap();
    let with_kl = lines.iter().filter(|line| line.number("actor/kl_loss").is_some());
    assert_eq!(with_kl.map(|line| line.step).collect::<Vec<_>>(), [4, 5, 6]);
}

#[test]
fn a_change_with_which_the_stage_cannot_begin_leaves_the_run_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, root) = (temp.path().join("whole"), temp.path().join("run"));
    Run::new(&whole).train().unwrap();
    begin(&root, RECIPE);
    let (reference, away) = (root.join("reference/stage-1"), temp.path().join("away"));
    fs::rename(&reference, &away).unwrap();
    let before = fs::read_to_string(root.join("recipe.toml")).unwrap();
    let error = go_on(&root, &RECIPE.replace("seed = 3", "seed = 4")).unwrap_err();
    assert!(format!("{error:#}").contains("reference/stage-1"), "{error:#}");
    assert_eq!(fs::read_to_string(root.join("recipe.toml")).unwrap(), before);
    assert!(!root.join("changes.jsonl").exists(), "nothing went on with the change");
    fs::rename(&away, &reference).unwrap();
    assert_eq!(Run::resumed(&root).train().unwrap(), Ended::Finished);
    assert_equal(&whole, &root);
}

//! What a resume keeps, changes, records and says of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use evals::run::State;
use recipes::run_dir::status;
use recipes::train::Ended;

#[cfg(unix)]
use crate::binary::{printed, typed};
use crate::binary::{stderr, stdout, stearin};
use crate::runs::{RECIPE, Run, assert_equal, contents};

#[test]
fn a_resume_that_fails_in_its_first_step_records_no_change() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, root) = (temp.path().join("whole"), temp.path().join("run"));
    Run::new(&whole).train().unwrap();
    begin(&root, 2);
    let before = contents(&root);
    let cap = "group_size = 4\ndynamic_sampling = { metric = \"reward\", gen_batch = 1, max_batches = 1, at_cap = \"error\" }";
    let capped = RECIPE.replace("group_size = 4", cap);
    let run = Run { recipe: &capped, changed: true, ..Run::resumed(&root) };
    let error = run.train().unwrap_err().to_string();
    assert!(error.contains("dynamic sampling of step 3"), "{error}");
    let mut after = contents(&root);
    // What the stage began with, and the samples from which nothing could be learnt.
    after.retain(|name, _| !name.starts_with("reference/") && !name.starts_with("samples/"));
    let mut before = before;
    before.retain(|name, _| !name.starts_with("samples/"));
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(after == before, "nothing of the run is another one");
    // The old command goes on, without a flag.
    assert_eq!(Run::resumed(&root).train().unwrap(), Ended::Finished);
    assert_equal(&whole, &root);
}

/// Runs [`RECIPE`] until this many steps are done.
fn begin(root: &Path, steps: u64) {
    Run { one_step: true, ..Run::new(root) }.train().unwrap();
    while status(root).unwrap().step < steps {
        Run { one_step: true, ..Run::resumed(root) }.train().unwrap();
    }
}

#[test]
#[cfg(unix)]
fn the_command_that_keeps_the_settings_keeps_all_of_them() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("small.toml"), RECIPE).unwrap();
    let sets = ["checkpoint.every=3", "stage.rl.steps=2", "stage.sft.schedule.lr=1e-2", "name=own"];
    let sets = sets.into_iter().flat_map(|setting| ["--set", setting]);
    let begun: Vec<_> = ["train", "small.toml"].into_iter().chain(sets).collect();
    let whole = stearin(temp.path(), &[&begun[..], &["--run-dir", "whole"]].concat());
    assert!(whole.status.success(), "{}", stderr(&whole));
    let root = temp.path().join("run");
    let whole = temp.path().join("whole");
    let recipe = fs::read_to_string(whole.join("recipe.toml")).unwrap();
    let own = recipes::config::Recipe::parse("own", &recipe).unwrap().to_toml().unwrap();
    assert_eq!(own, recipe);
    Run { recipe: &recipe, threads: 1, one_step: true, ..Run::new(&root) }.train().unwrap();
    // Without the settings, and with one twice.
    let other = ["train", "small.toml", "--run-dir", "run", "--set", "seed=9", "--resume"];
    let refused = stearin(temp.path(), &[&other[..], &["--set", "stage.rl.steps=5"]].concat());
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let keep = printed(&said, "to keep the settings of the run");
    for key in ["checkpoint.every=3", "steps=2", "schedule.lr=0.01", "seed=3"] {
        assert_eq!(keep.matches(key).count(), 1, "{key}: {keep}");
    }
    assert_eq!(keep.matches("steps").count(), 1, "{keep}");
    let output = typed(temp.path(), &keep);
    assert!(output.status.success(), "{keep}: {}", stderr(&output));
    assert!(!root.join("changes.jsonl").exists(), "{keep}");
    assert_equal(&whole, &root);
}

#[test]
#[cfg(unix)]
fn a_run_whose_steps_are_done_is_told_how_to_go_on_with_more() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("small.toml"), RECIPE).unwrap();
    let begun = ["train", "small.toml", "--set", "stage.rl.steps=2"];
    assert!(stearin(temp.path(), &begun).status.success());
    // Without the setting, and with one that the run cannot go on with.
    let again = ["train", "small.toml", "--resume", "--set", "stage.rl.batch=4"];
    let said = stderr(&stearin(temp.path(), &again));
    assert!(said.contains("stage.1.batch"), "{said}");
    let command = printed(&said, "all steps of the run are done; to go on with more, and to keep");
    assert!(
        command.contains("stage.1.steps=4") && command.contains("stage.1.batch=3"),
        "{command}"
    );
    let output = typed(temp.path(), &command);
    assert!(output.status.success(), "{command}: {}", stderr(&output));
    assert_eq!(status(&temp.path().join("runs/small")).unwrap().step, 6);
}

#[test]
fn a_run_of_other_steps_says_so_in_a_line() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, 1);
    let log = || fs::read_to_string(root.join("log.txt")).unwrap();
    assert!(!log().contains("steps: "), "{}", log());
    let longer = RECIPE.replace("steps = 4", "steps = 40");
    Run { recipe: &longer, one_step: true, ..Run::resumed(&root) }.train().unwrap();
    assert!(log().lines().any(|line| line == "steps: 6 before, 42 now"), "{}", log());
}

#[test]
fn a_run_killed_after_its_last_step_is_ended_by_a_resume() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    Run::new(&root).train().unwrap();
    let before = contents(&root);
    let path = root.join("status.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"finished\"", "\"running\"")).unwrap();
    assert_eq!(status(&root).unwrap().state, State::Running);
    // The older one that a kill leaves after the last checkpoint is written.
    let folder = |step: u64| root.join(format!("checkpoints/step-{step:06}"));
    fs::create_dir(folder(4)).unwrap();
    for file in fs::read_dir(folder(5)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder(4).join(file.file_name())).unwrap();
    }
    let trainer = folder(4).join("trainer.json");
    let state = fs::read_to_string(&trainer).unwrap().replace("\"step\": 5", "\"step\": 4");
    fs::write(&trainer, state).unwrap();
    assert_eq!(Run::resumed(&root).train().unwrap(), Ended::Finished);
    assert_eq!(status(&root).unwrap().state, State::Finished);
    assert!(contents(&root) == before);
    let log = fs::read_to_string(root.join("log.txt")).unwrap();
    let (_, resumed) =
        log.split_once("all 6 steps are done: the run had only to be ended").unwrap();
    assert!(resumed.contains("6 of 6 in "), "its summary: {log}");
    // Fewer steps are no way to end a run early: what is due at the end would not be done.
    let stopped = temp.path().join("stopped");
    begin(&stopped, 4);
    let fewer = RECIPE.replace("steps = 4", "steps = 2");
    let run = Run { recipe: &fewer, changed: true, ..Run::resumed(&stopped) };
    assert!(run.train().unwrap_err().to_string().starts_with("nothing to resume: all 4 steps"));
}

#[test]
fn a_dry_run_of_a_resume_says_how_it_goes_on_and_touches_nothing() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("small.toml"), RECIPE).unwrap();
    let root = temp.path().join("run");
    begin(&root, 3);
    // What a resume would remove.
    fs::write(root.join("status.json.partial"), "{").unwrap();
    let files = || {
        let own = ["run.json", "status.json", "log.txt", "timings.jsonl", "lock"];
        let own = own.map(|name| {
            let about = fs::metadata(root.join(name)).unwrap();
            (about.len(), about.modified().unwrap())
        });
        (contents(&root), own)
    };
    let before = files();
    let dry = |more: &[&str]| {
        let own = ["train", "small.toml", "--run-dir", "run", "--resume", "--dry-run"];
        let output = stearin(temp.path(), &[&own[..], more].concat());
        assert!(files() == before, "{more:?}");
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, plan, said) = dry(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(plan.contains("run: after step 3 of 6, from run/checkpoints/step-000003"), "{plan}");
    assert!(plan.contains("stage 1 rl") && plan.contains("checkpoints"), "{plan}");
    let more = ["--set", "stage.rl.steps=9", "--set", "seed=4"];
    let (code, _, said) = dry(&more);
    assert!(code == Some(2) && said.contains("changing    seed: 3 in the run, 4 now"), "{said}");
    let (code, plan, said) = dry(&[&more[..], &["--changed"]].concat());
    assert_eq!(code, Some(0), "{said}");
    for line in ["changing    seed: 3 then, 4 now", "free        stage.1.steps: 4 then, 9 now"] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    assert!(said.contains("steps: 6 before, 11 now"), "{said}");
}

//! Runs that train without gradients: their logs, how they go on, and replays.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use optim::zeroth::log::Kind;
use recipes::run_dir::status;
use recipes::train::Ended;
use recipes::zeroth::logs;

use crate::adapters::trained;
use crate::binary::{stderr, stdout, stearin};
use crate::going_back::begin;
use crate::runs::{RECIPE, Run, assert_equal, contents};

/// [`RECIPE`] with this optimizer in both stages.
fn with(optim: &str) -> String {
    let text = RECIPE
        .replace(
            "schedule = { kind = \"constant\", lr = 3e-2 }",
            "schedule = { kind = \"constant\", lr = 1e-3 }",
        )
        .replace("schedule =", &format!("optim = {optim}\nschedule ="));
    assert_ne!(text, RECIPE);
    text
}

const SPSA: &str = "{ kind = \"spsa\", probes = 2 }";

/// The same with an adapter, on blocks of a builtin's weights.
fn adapted(optim: &str) -> String {
    let own = "path = \"builtin:atom\", adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }";
    with(optim).replace("path = \"builtin:atom\"", own)
}

fn replay(root: &Path, arguments: &[&str]) -> std::process::Output {
    let folder = root.parent().unwrap();
    let name = root.file_name().unwrap().to_str().unwrap();
    stearin(folder, &[&["replay", name], arguments].concat())
}

#[test]
fn every_method_leaves_equal_runs_that_go_on_as_unbroken_ones() {
    let methods = [
        SPSA,
        "{ kind = \"fzoo\", probes = 3 }",
        "{ kind = \"coordinates\", tensors = [\"model.norm.weight\"], keep = 0.5 }",
        "{ kind = \"spsa\", direction = { kind = \"smallest\", keep = 0.3 } }",
        "{ kind = \"spsa\", direction = { kind = \"low-rank\", rank = 2, interval = 2 } }",
        "{ kind = \"spsa\", direction = { kind = \"dense\", noise = \"gaussian\" }, weight_decay = 0.1 }",
    ];
    for recipe in methods.iter().map(|method| with(method)).chain([adapted(SPSA)]) {
        let temp = tempfile::tempdir().unwrap();
        let [whole, again, broken] = ["whole", "again", "broken"].map(|one| temp.path().join(one));
        trained(&whole, &recipe);
        Run { recipe: &recipe, threads: 1, ..Run::new(&again) }.train().unwrap();
        assert_equal(&whole, &again);
        begin(&broken, &recipe, 5);
        trained(&broken, &recipe);
        assert_equal(&whole, &broken);
        let found = logs(&whole).unwrap();
        let places: Vec<_> = found.iter().map(|log| (log.stage, log.first)).collect();
        assert_eq!(places, [(0, 0), (1, 0)], "{recipe}");
        let said = replay(&whole, &[]);
        assert!(said.status.success(), "{recipe}: {}", stderr(&said));
        let said = stdout(&said);
        assert_eq!(said.matches("equal to the bit: ").count(), 3, "{said}");
    }
}

#[test]
fn a_log_has_a_record_of_so_many_bytes_for_each_update() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    trained(&root, &with(SPSA));
    // Two supervised steps of one update, four of two.
    for (log, updates) in logs(&root).unwrap().iter().zip([2_u64, 8]) {
        let read = log.read().unwrap();
        assert_eq!(u64::from(read.next_step()), updates);
        assert!(read.records.iter().all(|record| record.kind == Kind::Update));
        let mut header = read.clone();
        header.cut(0);
        assert_eq!(read.end - header.end, updates * (19 + 4 * 2));
        assert_eq!(fs::metadata(&log.path).unwrap().len(), read.end);
    }
}

#[test]
fn a_replay_writes_the_weights_of_any_step() {
    let temp = tempfile::tempdir().unwrap();
    for (name, recipe, file) in [
        ("run", with(SPSA), "model.safetensors"),
        ("adapted", adapted(SPSA), "adapter_model.safetensors"),
    ] {
        let root = temp.path().join(name);
        trained(&root, &recipe);
        let step = |step: u64| root.join(format!("checkpoints/step-{step:06}"));
        assert!(!step(4).exists() && step(5).exists() && step(6).exists());
        for (arguments, checkpoint) in [(&["--step", "5"][..], 5), (&["--step", "6"], 6), (&[], 6)]
        {
            let output = temp.path().join(format!("{name}-{checkpoint}-{}", arguments.len()));
            let output = output.to_str().unwrap();
            let said = replay(&root, &[arguments, &["-o", output]].concat());
            assert!(said.status.success(), "{}", stderr(&said));
            let (own, saved) = (Path::new(output).join(file), step(checkpoint).join(file));
            assert!(fs::read(own).unwrap() == fs::read(saved).unwrap(), "{arguments:?}");
        }
        // A step whose checkpoint is gone, and on from a checkpoint.
        let early = temp.path().join(format!("{name}-early"));
        let said = replay(&root, &["--step", "3", "-o", early.to_str().unwrap()]);
        assert!(said.status.success(), "{}", stderr(&said));
        assert!(early.join(file).is_file());
        let from = step(5).display().to_string();
        let said = replay(&root, &["--from", &from]);
        assert!(stdout(&said).starts_with("2 updates replayed on "), "{said:?}");
        let said = replay(&root, &["--step", "4", "--from", &from]);
        assert!(!said.status.success(), "{said:?}");
    }
}

#[test]
fn a_replay_of_files_that_do_not_fit_says_which() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    trained(&root, &with(SPSA));
    let log = logs(&root).unwrap().pop().unwrap();
    let whole = fs::read(&log.path).unwrap();
    let failed = |code: i32, expected: &str| {
        let said = replay(&root, &[]);
        let error = stderr(&said);
        assert_eq!(said.status.code(), Some(code), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    // A bit of a coefficient in the middle, and an end that is cut.
    let mut damaged = whole.clone();
    let at = whole.len() - 3 * 27 + 17;
    damaged[at] ^= 1;
    fs::write(&log.path, &damaged).unwrap();
    failed(2, "is damaged");
    fs::write(&log.path, &whole[..whole.len() - 5]).unwrap();
    let said = replay(&root, &[]);
    assert!(stderr(&said).contains("dropped"), "{said:?}");
    fs::remove_file(&log.path).unwrap();
    let said = replay(&root, &["--step", "6"]);
    assert!(stderr(&said).contains("there is no log of the updates of stage 1"), "{said:?}");
    fs::write(&log.path, &whole).unwrap();
    // A checkpoint with other weights.
    let weights = root.join("checkpoints/step-000006/model.safetensors");
    let good = fs::read(&weights).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    fs::write(&weights, bad).unwrap();
    failed(1, "has other weights than the log gives");
    fs::write(&weights, good).unwrap();
    // A run of another seed began with other weights.
    let facts = root.join("run.json");
    let text = fs::read_to_string(&facts).unwrap();
    fs::write(&facts, text.replace("\"seed\": 3", "\"seed\": 4")).unwrap();
    failed(2, "it was begun with other weights than these");
}

#[test]
fn a_run_with_gradients_has_nothing_to_replay() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    trained(&root, RECIPE);
    let said = replay(&root, &[]);
    assert_eq!(said.status.code(), Some(2));
    assert!(stderr(&said).contains("has no log of updates"), "{said:?}");
    assert!(!root.join("zeroth").exists());
}

#[test]
fn behind_a_stage_with_gradients_a_replay_starts_from_its_checkpoint() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    // The first stage is left as it is.
    let own = format!("optim = {SPSA}\nschedule = {{ kind = \"linear\"");
    let recipe =
        RECIPE.replace("schedule = { kind = \"linear\"", &own).replace("keep = 2", "keep = 9");
    trained(&root, &recipe);
    let said = stdout(&replay(&root, &[]));
    assert!(said.starts_with("8 updates replayed on ") && said.contains("step-000002"), "{said}");
    assert_eq!(said.matches("equal to the bit").count(), 5, "{said}");
    fs::remove_dir_all(root.join("checkpoints/step-000002")).unwrap();
    let said = stdout(&replay(&root, &[]));
    assert!(said.starts_with("6 updates replayed on ") && said.contains("step-000003"), "{said}");
}

#[test]
fn a_resume_with_other_settings_begins_a_log_of_its_own_and_a_replay_takes_both() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, &with(SPSA), 4);
    let own = "optim = { kind = \"spsa\", probes = 3 }\nschedule = { kind = \"linear\"";
    let changed =
        with(SPSA).replace(&format!("optim = {SPSA}\nschedule = {{ kind = \"linear\""), own);
    assert_ne!(changed, with(SPSA));
    let run = Run { recipe: &changed, changed: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
    let places: Vec<_> = logs(&root).unwrap().iter().map(|log| (log.stage, log.first)).collect();
    assert_eq!(places, [(0, 0), (1, 0), (1, 4)]);
    let said = replay(&root, &[]);
    assert!(stdout(&said).starts_with("10 updates replayed on "), "{said:?}");
}

#[test]
fn what_a_kill_left_behind_the_checkpoint_is_cut_off_and_what_is_missing_refused() {
    let temp = tempfile::tempdir().unwrap();
    let [whole, broken] = ["whole", "broken"].map(|name| temp.path().join(name));
    let recipe = with(SPSA);
    trained(&whole, &recipe);
    begin(&broken, &recipe, 4);
    let log = logs(&broken).unwrap().pop().unwrap();
    let good = fs::read(&log.path).unwrap();
    // Records of updates that no checkpoint has, and part of one.
    let longer = fs::read(&logs(&whole).unwrap().pop().unwrap().path).unwrap();
    for end in [good.len() + 27, good.len() + 11, longer.len()] {
        fs::write(&log.path, &longer[..end]).unwrap();
        let copy = temp.path().join(format!("copy-{end}"));
        copy_folder(&broken, &copy);
        trained(&copy, &recipe);
        assert_equal(&whole, &copy);
    }
    // A log that lacks an update of the checkpoint, or is not there.
    for short in [Some(&good[..good.len() - 27]), None] {
        match short {
            Some(bytes) => fs::write(&log.path, bytes).unwrap(),
            None => fs::remove_file(&log.path).unwrap(),
        }
        let before = contents(&broken);
        let error = Run { recipe: &recipe, ..Run::resumed(&broken) }.train().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("restore the file from a copy"), "{error}");
        assert_eq!(contents(&broken), before);
    }
    assert_eq!(status(&broken).unwrap().step, 4);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// The mean loss of the first and of the last twenty steps.
fn losses(root: &Path) -> [f64; 2] {
    let text = fs::read_to_string(root.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let all: Vec<f64> = lines.filter_map(|line| line["train/loss"].as_f64()).collect();
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    [mean(&all[..20]), mean(&all[all.len() - 20..])]
}

#[test]
fn losses_fall_by_the_rate() {
    let temp = tempfile::tempdir().unwrap();
    for (kind, seed) in [("spsa", 1), ("spsa", 2), ("spsa", 3), ("fzoo", 1)] {
        for (lr, falls) in [("3e-3", true), ("1e-12", false)] {
            let recipe = format!(
                "seed = {seed}\nmodel = {{ path = \"builtin:atom\" }}\n[data]\n\
                 train = {{ kind = \"arithmetic\", count = 64, min_digits = 1, max_digits = 1, \
                 operations = [\"+\"] }}\n[checkpoint]\nevery = 1000\n[[stage]]\n\
                 kind = \"sft\"\nsteps = 160\nbatch = 16\n\
                 optim = {{ kind = \"{kind}\", probes = 8 }}\n\
                 schedule = {{ kind = \"constant\", lr = {lr} }}\n"
            );
            let root = temp.path().join(format!("{kind}-{seed}-{falls}"));
            trained(&root, &recipe);
            let [first, last] = losses(&root);
            // Batches differ by some hundredths.
            assert_eq!(last < first - 0.5, falls, "{kind}, {seed}, {lr}: {first} to {last}");
        }
    }
}

//! Whole runs: what they leave behind, and what stops them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::float_cmp, reason = "rounded numbers differ from full ones")]

use std::fs;
use std::io;
use std::path::Path;

use evals::metrics::spec;
use evals::run::{Folder, Line, Sink, State, read_log};
use recipes::run_dir::status;
use recipes::train::Ended;

use crate::runs::{RECIPE, Run, assert_equal, contents};

#[test]
fn equal_recipes_leave_equal_runs() {
    let temp = tempfile::tempdir().unwrap();
    let (one, other) = (temp.path().join("one"), temp.path().join("other"));
    assert_eq!(Run::new(&one).train().unwrap(), Ended::Finished);
    assert_eq!(Run::new(&other).train().unwrap(), Ended::Finished);
    assert_equal(&one, &other);
    assert_eq!(status(&one).unwrap().state, State::Finished);
}

/// Weights stay `f32`; what is rounded is rounded alike in sampling and in training.
#[test]
fn with_rounded_products_sampling_and_training_still_agree() {
    let temp = tempfile::tempdir().unwrap();
    let [full, rounded] = ["f32", "bf16"].map(|dtype| {
        let root = temp.path().join(dtype);
        let model = format!("model = {{ path = \"builtin:atom\", dtype = \"{dtype}\" }}");
        let recipe = RECIPE.replace("model = { path = \"builtin:atom\" }", &model);
        Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
        read_log(&root.join("metrics.jsonl")).unwrap()
    });
    for (full, rounded) in full[3..].iter().zip(&rounded[3..]) {
        let gap = rounded.number("rollout_corr/log_prob_gap_max").unwrap();
        assert_eq!(gap, 0.0, "rollout and training agree to the bit");
        let entropy = |line: &Line| line.number("actor/entropy").unwrap();
        assert!((entropy(full) - entropy(rounded)).abs() < 0.2);
        assert!(entropy(full) != entropy(rounded), "nothing was rounded");
    }
}

#[test]
fn a_run_leaves_its_record() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    Run::new(&root).train().unwrap();
    let lines = read_log(&root.join("metrics.jsonl")).unwrap();
    let steps: Vec<_> = lines.iter().map(|line| line.step).collect();
    assert_eq!(steps, [0, 1, 2, 3, 4, 5, 6]);
    for (name, key) in lines.iter().flat_map(|line| &line.fields) {
        assert!(matches!(name.as_str(), "step" | "stage") || spec(name).is_some(), "{name}: {key}");
    }
    for key in ["actor/entropy", "actor/kl_loss", "critic/rewards/mean", "reward/part/length"] {
        assert!(lines[3].number(key).is_some(), "{key}");
    }
    let gap = lines[3].number("rollout_corr/log_prob_gap_max").unwrap();
    assert_eq!(gap, 0.0, "rollout and training agree to the bit");
    // The first update of a step is on the policy that sampled; by the second it has moved.
    let moved = lines[3..].iter().any(|line| line.number("actor/ppo_kl") != Some(0.0));
    assert!(moved, "two updates a step move the ratio");
    let ratio = |at: &str| lines[3].number(&format!("actor/ratio/quantile/{at}")).unwrap();
    assert!(ratio("p10") <= ratio("p50") && ratio("p50") <= ratio("p99") && ratio("p99") > 1.0);
    let groups = ["all_correct", "none_correct", "mixed"];
    let share = |name: &str| lines[3].number(&format!("reward/group/{name}")).unwrap();
    assert!((groups.map(share).iter().sum::<f64>() - 1.0).abs() < 1e-12, "three kinds of groups");
    let files = contents(&root);
    for file in [
        "recipe.toml",
        "reference/stage-1/model.safetensors",
        "checkpoints/step-000006/model.safetensors",
        "checkpoints/step-000006/optimizer.safetensors",
        "checkpoints/step-000006/trainer.json",
        "samples/index.jsonl",
        "samples/step-000003.jsonl",
        "samples/step-000003.safetensors",
        "tokens/step-000006.jsonl",
        "evals/step-000000/held-out.json",
        "evals/step-000006/held-out.json",
    ] {
        assert!(files.contains_key(file), "{file} is not among {:?}", files.keys());
    }
    let status = status(&root).unwrap();
    assert_eq!((status.state, status.step, status.stage), (State::Finished, 6, 1));
    let log = fs::read_to_string(root.join("log.txt")).unwrap();
    assert!(log.contains("sft step 1/6, loss ") && log.contains("rl step 6/6, "), "{log}");
}

/// The log's numbers under `key`, step by step.
fn curve(root: &Path, key: &str) -> Vec<f64> {
    let lines = read_log(&root.join("metrics.jsonl")).unwrap();
    lines.iter().filter_map(|line| line.number(key)).collect()
}

/// Trains `RECIPE` with `from` replaced by `to`.
fn changed(root: &Path, from: &str, to: &str) {
    assert!(RECIPE.contains(from), "{from}");
    let recipe = RECIPE.replace(from, to);
    Run { recipe: &recipe, ..Run::new(root) }.train().unwrap();
}

#[test]
fn the_likeliest_completions_are_judged_besides() {
    let temp = tempfile::tempdir().unwrap();
    let root = |name: &str| temp.path().join(name);
    changed(&root("plain"), "every = 2", "every = 2\nsamples = 4");
    changed(&root("greedy"), "every = 2", "every = 2\nsamples = 4\ngreedy = true");
    let lines = read_log(&root("greedy").join("metrics.jsonl")).unwrap();
    let last = lines.last().unwrap();
    for key in [
        "val-core/held-out/acc/mean@4",
        "val-aux/held-out/pass@4/low",
        "val-aux/held-out/distinct_correct",
        "val-core/held-out-greedy/acc/mean@1",
    ] {
        assert!(last.number(key).is_some(), "{key}");
    }
    let mut files = contents(&root("greedy"));
    let set = |file: &String| file.ends_with("/held-out-greedy.json");
    assert_eq!(files.keys().filter(|file| set(file)).count(), 4);
    // Judging more changes nothing else: neither what is learnt nor which checkpoint is best.
    let plain = contents(&root("plain"));
    for (file, bytes) in files.iter().filter(|(file, _)| file.ends_with("/held-out.json")) {
        let [mut with, without] = [bytes, &plain[file]]
            .map(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap());
        assert!(with.as_object_mut().unwrap().remove("greedy").is_some());
        assert_eq!(with, without, "{file}");
    }
    files.retain(|file, _| file.ends_with(".safetensors"));
    assert!(files.iter().all(|(file, bytes)| plain.get(file) == Some(bytes)));
}

#[test]
fn slots_change_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let run = |slots: usize| {
        let root = temp.path().join(slots.to_string());
        changed(&root, "group_size = 4", &format!("group_size = 4\nslots = {slots}"));
        fs::read_to_string(root.join("metrics.jsonl")).unwrap()
    };
    let one = run(1);
    assert_eq!(one, run(3));
    assert_eq!(one, run(16));
}

#[test]
fn micro_batches_and_a_rescoring_pass_change_no_more_than_rounding() {
    let temp = tempfile::tempdir().unwrap();
    let root = |name: &str| temp.path().join(name);
    Run::new(&root("small")).train().unwrap();
    changed(&root("one"), "micro_batch_tokens = 40", "micro_batch_tokens = 4000");
    changed(&root("rescored"), "group_size = 4", "group_size = 4\nold_log_probs = \"rescore\"");
    for other in ["one", "rescored"] {
        for key in ["train/loss", "actor/pg_loss", "actor/kl_loss", "actor/grad_norm"] {
            let (small, other) = (curve(&root("small"), key), curve(&root(other), key));
            assert!(!small.is_empty() && small.len() == other.len());
            let far = small.iter().zip(&other).map(|(a, b)| (a - b).abs()).max_by(f64::total_cmp);
            assert!(far.unwrap() < 1e-4, "{key}: {small:?} and {other:?}");
        }
    }
}

#[test]
fn what_is_rewarded_grows() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = RECIPE
        .replace("steps = 4", "steps = 25")
        .replace("batch = 3", "batch = 8")
        .replace("max_new_tokens = 6", "max_new_tokens = 16")
        .replace("micro_batch_tokens = 40", "micro_batch_tokens = 4000")
        .replace("lr = 1e-3", "lr = 1e-2");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let rewards = curve(&root, "critic/rewards/mean");
    let (first, last) = (rewards[0], rewards[rewards.len() - 1]);
    assert!(last > first + 0.2, "short answers are rewarded: {rewards:?}");
}

#[test]
fn an_existing_run_is_refused_and_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    Run::new(&root).train().unwrap();
    let before = contents(&root);
    let error = Run::new(&root).train().unwrap_err().to_string();
    assert!(error.contains("exists already\nuse --resume"), "{error}");
    assert_eq!(contents(&root), before);
}

/// A disk that has room for so many bytes.
#[derive(Debug)]
struct Full {
    room: usize,
    folder: Folder,
}

impl Full {
    fn take(&mut self, bytes: usize) -> io::Result<()> {
        self.room = self.room.checked_sub(bytes).ok_or(io::ErrorKind::StorageFull)?;
        Ok(())
    }
}

impl Sink for Full {
    fn append(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.take(bytes.len())?;
        self.folder.append(file, bytes)
    }

    fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.take(bytes.len())?;
        self.folder.replace(file, bytes)
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.folder.remove(file)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.folder.sync()
    }
}

fn full(root: &Path, room: usize) -> Box<dyn Sink> {
    Box::new(Full { room, folder: Folder::new(root) })
}

#[test]
fn a_full_disk_stops_the_run_and_it_can_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let whole = temp.path().join("whole");
    // Without checkpoints on the way, so that what is kept was saved in need.
    let recipe = RECIPE.replace("every = 1\nkeep = 2", "every = 50\nkeep = 1\nbest = \"off\"");
    Run { recipe: &recipe, ..Run::new(&whole) }.train().unwrap();
    let size = |file: &str| fs::metadata(whole.join(file)).unwrap().len() as usize;
    let line = |file: &str| fs::read_to_string(whole.join(file)).unwrap().find('\n').unwrap() + 1;
    // An evaluation writes its problems twice: one by one, and all of them.
    let first = 2 * size("evals/step-000000/held-out.jsonl")
        + size("evals/step-000000/held-out.json")
        + line("metrics.jsonl")
        + line("timings.jsonl");
    for room in [1000, 3500, 5500, 8500].map(|more| first + more) {
        let root = temp.path().join(room.to_string());
        let run = Run { recipe: &recipe, sink: Some(full(&root, room)), ..Run::new(&root) };
        let error = run.train().unwrap_err().to_string();
        assert!(error.starts_with("writing ") && error.contains("no storage space"), "{error}");
        let left = status(&root).unwrap();
        let State::Failed { reason } = left.state else { panic!("{:?}", left.state) };
        assert!(error.starts_with(&reason), "{error}");
        assert!(left.step > 0 && left.step < 6, "it stopped on the way, in step {}", left.step);
        let saved = format!("checkpoints/step-{:06}", left.step);
        assert!(root.join(&saved).exists(), "the step is not lost: {saved}");
        Run { recipe: &recipe, ..Run::resumed(&root) }.train().unwrap();
        assert_equal(&whole, &root);
    }
}

#[test]
fn a_supervised_stage_needs_solutions() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("rows.jsonl");
    fs::write(&data, "{\"id\":\"a\",\"problem\":\"1+1\",\"answer\":\"2\",\"source\":\"\"}\n")
        .unwrap();
    let file = format!("{{ kind = \"jsonl\", path = \"{}\" }}", data.display());
    let recipe = RECIPE.replace(
        "{ kind = \"arithmetic\", count = 60, min_digits = 1, max_digits = 1, operations = [\"+\"] }",
        &file,
    );
    let held_out = temp.path().join("held.jsonl");
    fs::write(&held_out, "{\"id\":\"b\",\"problem\":\"1+2\",\"answer\":\"3\",\"source\":\"\"}\n")
        .unwrap();
    let recipe = recipe.replace(
        "{ kind = \"split\", count = 6 }",
        &format!("{{ kind = \"jsonl\", path = \"{}\" }}", held_out.display()),
    );
    let root = temp.path().join("run");
    let error = Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("problem a: no solution to learn"), "{error}");
    assert!(!root.exists(), "nothing was begun");
}

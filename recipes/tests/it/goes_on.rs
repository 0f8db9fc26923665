//! A run that was ended by something can go on, also with other settings.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use evals::run::{Changes, Class, Folder, Sink, State, read_log};
use recipes::run_dir::status;
use recipes::signals::{INTERRUPTED, Stop};
use recipes::train::Ended;

use crate::runs::{RECIPE, Run, assert_equal, contents};

/// Checkpoints at the ends of stages alone, of which the last is kept: whatever else is saved is
/// saved in need.
fn rarely_saved(recipe: &str) -> String {
    let rare = "[checkpoint]\nevery = 50\nkeep = 1\nbest = \"off\"\n";
    let text = recipe.replace("[checkpoint]\nevery = 1\nkeep = 2\n", rare);
    assert_ne!(text, recipe);
    text
}

/// The files of a run's last checkpoint.
fn last_checkpoint(root: &Path, name: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = format!("checkpoints/{name}/");
    let files = contents(root).into_iter().filter(|(path, _)| path.starts_with(&folder));
    files.collect()
}

fn changes(root: &Path) -> Vec<Changes> {
    let text = fs::read_to_string(root.join("changes.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last line of a message, which is a command, without the program's name.
fn command(error: &str) -> Vec<String> {
    let line = error.lines().last().unwrap().trim();
    line.strip_prefix("stearin ").unwrap().split(' ').map(str::to_owned).collect()
}

#[test]
fn a_run_ended_by_the_cap_resumes_with_a_raised_cap_and_finishes() {
    let temp = tempfile::tempdir().unwrap();
    let sampling = |rounds: usize| {
        let cap = format!("max_batches = {rounds}, at_cap = \"error\"");
        let sampling =
            format!("dynamic_sampling = {{ metric = \"reward\", gen_batch = 1, {cap} }}");
        rarely_saved(RECIPE).replace("group_size = 4", &format!("group_size = 4\n{sampling}"))
    };
    let (whole, root) = (temp.path().join("whole"), temp.path().join("run"));
    // More rounds than are ever needed: the cap changes nothing before it is met.
    Run { recipe: &sampling(100), ..Run::new(&whole) }.train().unwrap();
    let batches = read_log(&whole.join("metrics.jsonl")).unwrap();
    let batches = batches.iter().filter_map(|line| line.number("dynamic_sampling/batches"));
    let first = batches.clone().next().unwrap() as usize;
    let most = batches.fold(0.0, f64::max) as usize;
    assert!(most > first, "the cap is met in a later step than the first: {first}, {most}");

    let begun = sampling(first);
    let error = Run { recipe: &begun, ..Run::new(&root) }.train().unwrap_err().to_string();
    assert!(error.contains("dynamic sampling of step "), "{error}");
    let advice =
        format!("--set stage.1.dynamic_sampling.max_batches={} --resume --changed", 2 * first);
    assert!(error.ends_with(&advice), "{error}");
    let left = status(&root).unwrap();
    assert!(matches!(left.state, State::Failed { .. }) && left.step >= 3, "{left:?}");
    assert!(error.contains(&format!("the state after step {} is saved", left.step)), "{error}");
    let saved = root.join(format!("checkpoints/step-{:06}/trainer.json", left.step));
    assert!(saved.is_file(), "the steps since the last checkpoint are not lost");

    let error = Run { recipe: &sampling(100), ..Run::resumed(&root) }.train().unwrap_err();
    assert!(error.to_string().contains("--changed"), "{error}");
    let run = Run { recipe: &sampling(100), changed: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
    let end = |root| last_checkpoint(root, "step-000006");
    assert_eq!(end(&root), end(&whole), "it ends as if the cap had always been that");
    let metrics = read_log(&root.join("metrics.jsonl")).unwrap();
    let marked = metrics.iter().filter(|line| line.number("training/changed").is_some());
    assert_eq!(marked.map(|line| line.step).collect::<Vec<_>>(), [left.step + 1]);
    let changes = changes(&root);
    assert_eq!((changes.len(), changes[0].step), (1, left.step));
    assert_eq!(changes[0].changes[0].key, "stage.1.dynamic_sampling.max_batches");
    assert_eq!(changes[0].changes[0].now, Some(100.into()));
    let old = fs::read_to_string(root.join("recipe-0001.toml")).unwrap();
    assert!(old.contains(&format!("max_batches = {first}")), "{old}");
}

#[test]
fn the_command_of_a_message_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let sampling = "group_size = 4\ndynamic_sampling = { metric = \"reward\", gen_batch = 1, max_batches = 1, at_cap = \"error\" }";
    let recipe = temp.path().join("small.toml");
    fs::write(&recipe, rarely_saved(RECIPE).replace("group_size = 4", sampling)).unwrap();
    let run = |arguments: &[String]| {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = crate::binary::stearin(temp.path(), &arguments);
        (output.status.code(), crate::binary::stderr(&output))
    };
    let begin: Vec<_> = ["train", "small.toml"].map(str::to_owned).into();
    let (mut code, mut said) = run(&begin);
    let mut tries = 0;
    while code == Some(1) {
        tries += 1;
        assert!(tries < 10 && said.contains("error: dynamic sampling of step "), "{said}");
        let next = command(&said);
        let caps = next.iter().filter(|word| word.contains("max_batches")).count();
        assert_eq!(caps, 1, "each key once: {next:?}");
        (code, said) = run(&next);
    }
    assert!(tries >= 2, "one round of one problem never fills a batch of three: {tries}");
    assert_eq!(code, Some(0), "{said}");
    let root = temp.path().join("runs/small");
    assert_eq!(status(&root).unwrap().state, State::Finished);
    // One with which no step was done is not a change of the run.
    let changes = changes(&root);
    assert!((1..=tries).contains(&changes.len()), "{changes:?}");
    let steps: Vec<_> = changes.iter().map(|change| change.step).collect();
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    let log = fs::read_to_string(root.join("log.txt")).unwrap();
    assert!(log.contains("sft step 1/6") && log.contains("rl step 6/6"), "{log}");
    assert_eq!(log.matches("error: dynamic sampling of step ").count(), tries);
    assert_eq!(log.matches("the run goes on with other settings").count(), tries);
}

#[test]
fn settings_that_change_no_step_are_others_without_a_flag() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, root) = (temp.path().join("whole"), temp.path().join("run"));
    Run::new(&whole).train().unwrap();
    Run { one_step: true, ..Run::new(&root) }.train().unwrap();
    let other =
        RECIPE.replace("name = \"small\"", "name = \"other\"").replace("keep = 2", "keep = 3");
    // Another number of threads is noted too.
    let run = Run { recipe: &other, threads: 1, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
    let found = &changes(&root)[0];
    let keys: Vec<_> = found.changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["checkpoint.keep", "name", "environment.threads"]);
    assert!(found.changes.iter().all(|change| change.class == Class::Free));
    assert_eq!((found.step, found.recipe.as_deref()), (1, Some("recipe-0001.toml")));
    let read = |root: &Path, name| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(read(&root, "recipe-0001.toml"), read(&whole, "recipe.toml"));
    assert_eq!(read(&root, "metrics.jsonl"), read(&whole, "metrics.jsonl"), "no step is marked");
    let end = |root| last_checkpoint(root, "step-000006");
    assert_eq!(end(&root), end(&whole));
}

#[test]
fn a_finished_run_goes_on_with_more_steps() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, root) = (temp.path().join("whole"), temp.path().join("run"));
    let constant = RECIPE.replace("kind = \"linear\"", "kind = \"constant\"");
    let longer = constant.replace("steps = 4", "steps = 5");
    Run { recipe: &longer, ..Run::new(&whole) }.train().unwrap();
    Run { recipe: &constant, ..Run::new(&root) }.train().unwrap();
    let run = Run { recipe: &longer, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
    let end = |root| last_checkpoint(root, "step-000007");
    assert!(!end(&whole).is_empty());
    assert_eq!(end(&root), end(&whole));
}

#[test]
fn a_refusal_lists_every_difference_with_its_class_and_the_command_that_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    Run { one_step: true, ..Run::new(&root) }.train().unwrap();
    let before = contents(&root);
    let recipe = RECIPE
        .replace("name = \"small\"", "name = \"other\"")
        .replace("group_size = 4", "group_size = 5")
        .replace("seed = 3", "seed = 4");
    let refused = |recipe: &str, changed| {
        let run = Run { recipe, changed, ..Run::resumed(&root) };
        let error = run.train().unwrap_err().to_string();
        assert_eq!(contents(&root), before, "it is left as it is");
        error
    };
    let error = refused(&recipe, false);
    for line in [
        "changing    seed: 3 in the run, 4 now",
        "changing    stage.1.group_size: 4 in the run, 5 now",
        "free        name: \"small\" in the run, \"other\" now",
        "stearin train small.toml --set seed=3 --set stage.1.group_size=4 --set 'name=\"small\"' --run-dir ",
        "stearin train small.toml --resume --changed\n",
    ] {
        assert!(error.contains(line), "{line} is not in: {error}");
    }
    let recipe = recipe.replace("builtin:atom", "builtin:tiny");
    let error = refused(&recipe, true);
    let line =
        "impossible  model.path: \"builtin:atom\" in the run, \"builtin:tiny\" now (the weights";
    assert!(error.contains(line) && !error.contains("--changed"), "{error}");
}

/// A folder that asks for a stop when a file of some name is written.
#[derive(Debug)]
struct StopsAt {
    file: &'static str,
    folder: Folder,
    stop: Stop,
}

impl Sink for StopsAt {
    fn append(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.folder.append(file, bytes)
    }

    fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        if file == self.file {
            self.stop.request();
        }
        self.folder.replace(file, bytes)
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.folder.remove(file)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.folder.sync()
    }
}

#[test]
fn a_stop_within_an_evaluation_keeps_the_step_before_it() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, root) = (temp.path().join("whole"), temp.path().join("run"));
    let long = "sampling = { max_new_tokens = 40, min_new_tokens = 40 }";
    let recipe = rarely_saved(RECIPE).replace("sampling = { max_new_tokens = 6 }", long);
    Run { recipe: &recipe, ..Run::new(&whole) }.train().unwrap();
    // The completions of a step are written before its evaluation.
    let run = Run { recipe: &recipe, ..Run::new(&root) };
    let (stop, folder) = (run.stop.clone(), Folder::new(&root));
    let sink: Box<dyn Sink> = Box::new(StopsAt { file: "samples/step-000004.jsonl", folder, stop });
    assert_eq!(Run { sink: Some(sink), ..run }.train().unwrap(), Ended::Interrupted);
    let trainer = root.join("checkpoints/step-000004/trainer.json");
    let trainer = fs::read_to_string(trainer).unwrap();
    assert!(trainer.contains("\"pending\""), "the evaluation is left to do");
    let metrics = || read_log(&root.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics().last().unwrap().step, 3);
    assert_eq!(Run { recipe: &recipe, ..Run::resumed(&root) }.train().unwrap(), Ended::Finished);
    assert_equal(&whole, &root);
}

#[test]
fn a_stop_before_the_first_step_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, root) = (temp.path().join("whole"), temp.path().join("run"));
    Run::new(&whole).train().unwrap();
    let run = Run::new(&root);
    run.stop.request();
    assert_eq!(run.train().unwrap(), Ended::Interrupted);
    assert_eq!(status(&root).unwrap().state, State::Interrupted);
    assert_eq!(Run::resumed(&root).train().unwrap(), Ended::Finished);
    assert_equal(&whole, &root);
}

/// Samples for many seconds in each step of reinforcement learning, and learns from one group.
fn slow(temp: &Path) -> std::path::PathBuf {
    let path = temp.join("slow.toml");
    let sampling =
        "batch = 1\ndynamic_sampling = { metric = \"reward\", gen_batch = 3000, max_batches = 1 }";
    let text = RECIPE
        .replace("batch = 3", sampling)
        .replace("updates_per_step = 2\n", "")
        .replace(
            "rollout = { max_new_tokens = 6 }",
            "rollout = { max_new_tokens = 24, min_new_tokens = 20 }",
        )
        .replace(
            "sampling = { max_new_tokens = 6 }",
            "sampling = { max_new_tokens = 6, min_new_tokens = 0 }",
        )
        .replace("steps = 4", "steps = 2")
        .replace("tokens_every = 1\nsamples = { every = 1, groups = 2 }\n", "");
    fs::write(&path, text).unwrap();
    path
}

fn start(recipe: &Path, root: &Path, flags: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_stearin"))
        .arg("train")
        .args([recipe, Path::new("--run-dir"), root])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Starts a run, asks it to stop while a step samples, and returns how long it took to end.
#[cfg(unix)]
fn stopped_while_sampling(recipe: &Path, root: &Path, lasts: Duration) -> Duration {
    let mut child = start(recipe, root, &[]);
    let wait = Instant::now();
    while status(root).map_or(0, |status| status.step) < 2 {
        assert!(wait.elapsed() < Duration::from_mins(5), "the stage does not begin");
        sleep(Duration::from_millis(5));
    }
    // Into the sampling of a step that takes a good part of the whole.
    sleep(lasts / 8);
    let signal = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(signal.success());
    let asked = Instant::now();
    let code = child.wait().unwrap().code();
    let took = asked.elapsed();
    assert_eq!(code, Some(i32::from(INTERRUPTED)));
    let left = status(root).unwrap();
    assert_eq!((left.state, left.step), (State::Interrupted, 2), "it was within the step");
    took
}

#[test]
#[cfg(unix)]
fn a_sigterm_during_long_sampling_ends_the_run_within_two_seconds() {
    /// What is promised, and half a second for a process to end on a busy machine.
    const BOUND: Duration = Duration::from_millis(2500);
    let temp = tempfile::tempdir().unwrap();
    let recipe = slow(temp.path());
    let whole = temp.path().join("whole");
    let began = Instant::now();
    assert!(start(&recipe, &whole, &[]).wait().unwrap().success());
    let lasts = began.elapsed();
    // Other work on the machine may delay one measurement, and hardly three.
    let mut times = Vec::new();
    let root = loop {
        let root = temp.path().join(format!("run-{}", times.len()));
        times.push(stopped_while_sampling(&recipe, &root, lasts));
        if times.last().is_some_and(|took| *took < BOUND) {
            break root;
        }
        assert!(times.len() < 3, "{times:?}");
    };
    println!("the whole run took {lasts:?}, the stop {times:?}");
    assert!(start(&recipe, &root, &["--resume"]).wait().unwrap().success());
    assert_equal(&whole, &root);
}

#[test]
fn two_starters_of_one_folder_race_and_one_wins_whole() {
    let temp = tempfile::tempdir().unwrap();
    let recipe = temp.path().join("small.toml");
    fs::write(&recipe, RECIPE.replace("steps = 4", "steps = 1")).unwrap();
    let whole = temp.path().join("whole");
    assert!(start(&recipe, &whole, &[]).wait().unwrap().success());
    for round in 0..8 {
        let root = temp.path().join(format!("runs-{round}/a"));
        let starters = [0, 1, 2].map(|_| start(&recipe, &root, &[]));
        let outputs = starters.map(|starter| starter.wait_with_output().unwrap());
        let said = |output: &std::process::Output| crate::binary::stderr(output);
        let (won, lost): (Vec<_>, Vec<_>) =
            outputs.iter().partition(|output| output.status.success());
        assert_eq!((won.len(), lost.len()), (1, 2), "round {round}");
        for output in lost {
            assert_eq!(output.status.code(), Some(2), "{}", said(output));
            let is_clear = ["another process is starting a run in ", "exists already"];
            assert!(is_clear.iter().any(|line| said(output).contains(line)), "{}", said(output));
        }
        assert_equal(&whole, &root);
        let beside = fs::read_dir(root.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "round {round}: nothing is left beside it");
    }
}

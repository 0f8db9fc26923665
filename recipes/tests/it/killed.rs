//! The program itself, ended from outside: by SIGKILL at any moment, by Ctrl-C.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use evals::run::{Run as Record, State};
use rand_philox::Philox;
use recipes::run_dir::{checkpoints, status};
use recipes::signals::INTERRUPTED;

use crate::binary;
use crate::record::large;
use crate::runs::{RECIPE, assert_equal};

/// Long enough to be caught on its way.
fn recipe(temp: &Path) -> PathBuf {
    let path = temp.join("small.toml");
    let long = RECIPE.replace("steps = 4", "steps = 20").replace("steps = 2", "steps = 5");
    let long = long.replace("updates_per_step = 2", "epochs = 3\nupdates_per_step = 2");
    fs::write(&path, long).unwrap();
    path
}

/// The same with an adapter.
fn adapted(temp: &Path) -> PathBuf {
    let path = recipe(temp);
    let text = fs::read_to_string(&path).unwrap();
    let adapted = text.replace("builtin:atom\"", "builtin:atom\", adapter = { rank = 4 }");
    assert_ne!(adapted, text);
    fs::write(&path, adapted).unwrap();
    path
}

fn stearin(recipe: &Path, root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stearin"));
    command.arg("train").arg(recipe).arg("--run-dir").arg(root).env("RAYON_NUM_THREADS", "1");
    // Begun runs are gone on with; one that was killed before it had a folder begins again.
    if root.exists() {
        command.arg("--resume");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn finish(recipe: &Path, root: &Path) {
    let output = stearin(recipe, root).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

fn is_finished(root: &Path) -> bool {
    status(root).is_ok_and(|status| status.state == State::Finished)
}

/// Waits until `root` says that `steps` steps are in its record.
fn wait_for_steps(child: &mut Child, root: &Path, steps: usize) {
    let began = Instant::now();
    loop {
        let log = fs::read_to_string(root.join("metrics.jsonl")).unwrap_or_default();
        if log.lines().count() > steps {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before step {steps}");
        assert!(began.elapsed() < Duration::from_mins(10), "no step {steps} in ten minutes");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn killed_at_random_moments_it_ends_as_if_it_had_not_been() {
    let temp = tempfile::tempdir().unwrap();
    kill_at_random_moments(temp.path(), &recipe(temp.path()), 11);
}

#[test]
fn killed_at_random_moments_a_run_with_an_adapter_ends_as_if_it_had_not_been() {
    let temp = tempfile::tempdir().unwrap();
    kill_at_random_moments(temp.path(), &adapted(temp.path()), 13);
    let last = checkpoints(&temp.path().join("killed")).unwrap().pop().unwrap();
    assert!(last.path.join("adapter_model.safetensors").is_file());
}

#[test]
fn killed_at_random_moments_a_run_with_an_average_ends_as_if_it_had_not_been() {
    let temp = tempfile::tempdir().unwrap();
    let path = adapted(temp.path());
    let text = fs::read_to_string(&path).unwrap();
    let kl = "loss = { kl";
    assert!(text.contains(kl));
    let average = "reference = { kind = \"ema\", decay = 0.75, every = 4 }\n";
    fs::write(&path, text.replace(kl, &format!("{average}{kl}"))).unwrap();
    kill_at_random_moments(temp.path(), &path, 17);
}

/// Kills a run again and again until it ends, and compares it with one that was not.
#[track_caller]
fn kill_at_random_moments(temp: &Path, recipe: &Path, seed: u64) {
    let (whole, killed) = (temp.join("whole"), temp.join("killed"));
    let began = Instant::now();
    finish(recipe, &whole);
    let lasts = began.elapsed().as_micros() as u32;
    let mut moments = Philox::from_u64_seed(seed);
    let mut kills = 0;
    while kills < 12 && !is_finished(&killed) {
        let mut child = stearin(recipe, &killed).spawn().unwrap();
        sleep(Duration::from_micros(u64::from(moments.bounded(lasts / 2))));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    if !is_finished(&killed) {
        finish(recipe, &killed);
    }
    assert_equal(&whole, &killed);
}

#[test]
fn thinned_and_killed_at_random_moments_it_leaves_the_files_of_an_unbroken_run() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("large.toml");
    // A checkpoint every third step: a kill takes it back behind thinnings.
    fs::write(&path, large().replace("every = 1\nkeep = 2", "every = 3\nkeep = 2")).unwrap();
    let (whole, killed) = (temp.path().join("whole"), temp.path().join("killed"));
    finish(&path, &whole);
    let recorded = Record::open(&whole).unwrap().samples().unwrap().steps();
    assert!(recorded.len() < 7, "it thinned: {recorded:?}");
    let mut moments = Philox::from_u64_seed(12);
    let mut generation = None;
    for step in [3, 4, 6, 7, 8] {
        let mut child = stearin(&path, &killed).spawn().unwrap();
        wait_for_steps(&mut child, &killed, step);
        // Somewhere in the next step, which records and thins.
        sleep(Duration::from_micros(u64::from(moments.bounded(50_000))));
        child.kill().unwrap();
        child.wait().unwrap();
        let left = status(&killed).unwrap();
        assert!(generation < Some(left.generation), "{generation:?} then, {left:?}");
        generation = Some(left.generation);
        if left.state == State::Finished {
            break;
        }
    }
    if !is_finished(&killed) {
        finish(&path, &killed);
        assert!(generation < Some(status(&killed).unwrap().generation));
    }
    assert_equal(&whole, &killed);
}

/// What a terminal sends on Ctrl-C.
#[cfg(unix)]
fn interrupt(child: &Child) {
    let signal = Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap();
    assert!(signal.success());
}

#[test]
#[cfg(unix)]
fn a_second_ctrl_c_quits_without_saving() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("endless.toml");
    // One step that would take minutes.
    let endless = RECIPE.replace("batch = 8", "batch = 200000").replace("count = 60", "count = 50");
    fs::write(&path, endless).unwrap();
    let root = temp.path().join("run");
    let mut child = stearin(&path, &root).spawn().unwrap();
    wait_for_steps(&mut child, &root, 0);
    interrupt(&child);
    sleep(Duration::from_millis(1200));
    assert!(child.try_wait().unwrap().is_none(), "one Ctrl-C lets the step go on");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(i32::from(INTERRUPTED)));
    // It did not get to save: readers see a run that says so and that nobody is at work in.
    assert_eq!(status(&root).unwrap().state, State::Running);
}

#[test]
#[cfg(unix)]
fn signals_within_a_second_are_one() {
    let temp = tempfile::tempdir().unwrap();
    let recipe = recipe(temp.path());
    let root = temp.path().join("run");
    let mut child = stearin(&recipe, &root).spawn().unwrap();
    wait_for_steps(&mut child, &root, 3);
    let twice = format!("kill -INT {0}; kill -INT {0}", child.id());
    assert!(Command::new("sh").args(["-c", &twice]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("press Ctrl-C again after a second").count(), 1, "{said}");
    let left = status(&root).unwrap();
    assert_eq!(left.state, State::Interrupted, "{said}");
    assert!(root.join(format!("checkpoints/step-{:06}/trainer.json", left.step)).is_file());
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_and_says_how_to_go_on() {
    let temp = tempfile::tempdir().unwrap();
    stop_by_ctrl_c(temp.path(), &recipe(temp.path()));
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_the_adapter_of_a_run_with_one() {
    let temp = tempfile::tempdir().unwrap();
    stop_by_ctrl_c(temp.path(), &adapted(temp.path()));
}

/// Stops a run by Ctrl-C, goes on with it, and compares it with one that was not stopped.
#[cfg(unix)]
#[track_caller]
fn stop_by_ctrl_c(temp: &Path, recipe: &Path) {
    let (whole, stopped) = (temp.join("whole"), temp.join("stopped"));
    finish(recipe, &whole);
    let mut child = stearin(recipe, &stopped).spawn().unwrap();
    wait_for_steps(&mut child, &stopped, 3);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(i32::from(INTERRUPTED)), "{said}");
    assert!(said.contains("stopping: ") && said.contains("--resume"), "{said}");
    let left = status(&stopped).unwrap();
    assert_eq!(left.state, State::Interrupted);
    let saved = stopped.join(format!("checkpoints/step-{:06}", left.step));
    assert!(saved.join("trainer.json").is_file(), "{} is saved", saved.display());
    finish(recipe, &stopped);
    assert_equal(&whole, &stopped);
}

#[test]
fn an_existing_run_directory_is_bad_input() {
    let temp = tempfile::tempdir().unwrap();
    let recipe = recipe(temp.path());
    let root = temp.path().join("run");
    finish(&recipe, &root);
    let [recipe, root] = [&recipe, &root].map(|path| path.to_str().unwrap());
    let output = binary::stearin(temp.path(), &["train", recipe, "--run-dir", root]);
    assert_eq!(output.status.code(), Some(2));
    let said = binary::stderr(&output);
    assert!(said.contains("exists already"), "{said}");
}

//! What is left of a run may be damaged or measured otherwise: the run says so, and how to go on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use recipes::run_dir::{checkpoints, status};
use recipes::train::Ended;

use crate::runs::{RECIPE, Run, assert_equal};

/// Runs `recipe` until this many steps are done.
pub(crate) fn begin(root: &Path, recipe: &str, steps: u64) {
    Run { recipe, one_step: true, ..Run::new(root) }.train().unwrap();
    while status(root).unwrap().step < steps {
        Run { recipe, one_step: true, ..Run::resumed(root) }.train().unwrap();
    }
}

pub(crate) fn steps(root: &Path) -> Vec<u64> {
    checkpoints(root).unwrap().iter().map(|saved| saved.state.step).collect()
}

fn log(root: &Path) -> String {
    fs::read_to_string(root.join("log.txt")).unwrap()
}

/// Cuts a file to half its length.
pub(crate) fn halve(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_damaged_checkpoint_names_the_one_to_go_back_to_and_how() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("optimizer.safetensors", halve),
        ("optimizer.safetensors", |path| fs::remove_file(path).unwrap()),
        ("model.safetensors", halve),
        ("model.safetensors", |path| fs::remove_file(path).unwrap()),
        ("trainer.json", |path| fs::write(path, "").unwrap()),
        ("trainer.json", |path| {
            let text = fs::read_to_string(path).unwrap();
            assert!(text.contains("\"step\": 4"), "{text}");
            fs::write(path, text.replace("\"step\": 4", "\"step\": 3")).unwrap();
        }),
    ];
    let temp = tempfile::tempdir().unwrap();
    let whole = temp.path().join("whole");
    Run::new(&whole).train().unwrap();
    for (number, (file, damage)) in damages.into_iter().enumerate() {
        let root = temp.path().join(number.to_string());
        begin(&root, RECIPE, 4);
        let folder = root.join("checkpoints/step-000004");
        damage(&folder.join(file));
        let error = Run::resumed(&root).train().unwrap_err();
        let error = format!("{error:#}");
        let remove = format!("rm -r {}", folder.display());
        assert!(error.contains("the checkpoint after step 3 is whole"), "{number}: {error}");
        assert!(error.contains(&remove), "{number}: {error}");
        assert!(!error.contains("to go on once the cause"), "{number}: {error}");
        assert!(error.ends_with("\n  stearin train small.toml --resume"), "{number}: {error}");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(Run::resumed(&root).train().unwrap(), Ended::Finished, "{number}");
        assert_eq!(steps(&root), steps(&whole));
    }
    let root = temp.path().join("0");
    assert_equal(&whole, &root);
}

#[test]
fn a_damaged_line_about_changes_keeps_the_record_whole() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = RECIPE.replace("keep = 2", "keep = 9");
    begin(&root, &recipe, 4);
    // The record has steps that a resume cuts.
    fs::remove_dir_all(root.join("checkpoints/step-000004")).unwrap();
    fs::remove_dir_all(root.join("checkpoints/step-000003")).unwrap();
    let read = |name: &str| fs::read(root.join(name)).unwrap();
    let before = ["metrics.jsonl", "status.json"].map(read);
    for line in ["garbage\n", "{\"format\": 2, \"step\": \"x\"}\n"] {
        fs::write(root.join("changes.jsonl"), line).unwrap();
        let error = Run { recipe: &recipe, ..Run::resumed(&root) }.train().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("changes.jsonl, line 1: "), "{error}");
        assert!(error.ends_with("or remove the line to go on without what it says"), "{error}");
        assert_eq!(["metrics.jsonl", "status.json"].map(read), before, "{error}");
    }
    fs::remove_file(root.join("changes.jsonl")).unwrap();
    let run = Run { recipe: &recipe, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
}

#[test]
fn a_damaged_reference_is_made_anew_from_before_its_stage() {
    let temp = tempfile::tempdir().unwrap();
    let whole = temp.path().join("whole");
    let recipe = RECIPE.replace("keep = 2", "keep = 9");
    Run { recipe: &recipe, ..Run::new(&whole) }.train().unwrap();
    let root = temp.path().join("run");
    begin(&root, &recipe, 4);
    halve(&root.join("reference/stage-1/model.safetensors"));
    let run = || Run { recipe: &recipe, ..Run::resumed(&root) };
    let error = format!("{:#}", run().train().unwrap_err());
    let folder = |step: u64| root.join(format!("checkpoints/step-{step:06}"));
    let remove = format!("rm -r {} {}\n", folder(3).display(), folder(4).display());
    assert!(error.contains("it is the reference of the stage"), "{error}");
    assert!(error.contains("the checkpoint after step 2") && error.contains(&remove), "{error}");
    for step in [3, 4] {
        fs::remove_dir_all(folder(step)).unwrap();
    }
    assert_eq!(run().train().unwrap(), Ended::Finished);
    assert_equal(&whole, &root);
}

#[test]
fn a_cut_model_is_replaced_from_where_it_came() {
    use recipes::config::{DTypeChoice, DeviceChoice};
    use recipes::policy::{Compute, locate};
    use recipes::search_path::SearchPath;

    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, RECIPE, 2);
    let folder = root.join("checkpoints/step-000002");
    halve(&folder.join("model.safetensors"));
    let said = || {
        let model = locate(&folder.display().to_string(), &SearchPath::of_command()).unwrap();
        let compute = Compute::new(DeviceChoice::Cpu, DTypeChoice::F32).unwrap();
        format!("{:#}", model.open("run", 1, &compute).unwrap_err())
    };
    let of_run = said();
    let act =
        format!("name another checkpoint of the run, in {}", root.join("checkpoints").display());
    assert!(of_run.contains("was cut short\n") && of_run.ends_with(&act), "{of_run}");
    // Without it the folder is anybody's.
    fs::remove_file(folder.join("trainer.json")).unwrap();
    assert!(said().ends_with("was cut short\nfetch or save it again"), "{}", said());
}

#[test]
fn where_no_other_checkpoint_is_whole_the_message_does_not_promise_one() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, RECIPE, 3);
    for step in [2, 3] {
        halve(&root.join(format!("checkpoints/step-{step:06}/model.safetensors")));
    }
    let error = format!("{:#}", Run::resumed(&root).train().unwrap_err());
    assert!(error.contains("no other whole checkpoint"), "{error}");
    assert!(!error.contains("rm -r"), "{error}");
}

#[test]
fn all_damaged_checkpoints_after_the_whole_one_are_to_be_removed() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = RECIPE.replace("keep = 2", "keep = 3");
    begin(&root, &recipe, 4);
    let folder = |step: u64| root.join(format!("checkpoints/step-{step:06}"));
    halve(&folder(4).join("optimizer.safetensors"));
    fs::remove_file(folder(3).join("model.safetensors")).unwrap();
    let error = Run { recipe: &recipe, ..Run::resumed(&root) }.train().unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("the checkpoint after step 2 is whole"), "{error}");
    let remove = format!("rm -r {} {}\n", folder(3).display(), folder(4).display());
    assert!(error.contains(&remove), "{error}");
}

#[test]
fn a_state_of_another_step_than_its_folder_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, RECIPE, 3);
    let folder = root.join("checkpoints");
    fs::rename(folder.join("step-000003"), folder.join("step-000005")).unwrap();
    let error = format!("{:#}", Run::resumed(&root).train().unwrap_err());
    assert!(error.contains("expected step 5, as its folder is named, got 3"), "{error}");
    assert!(error.contains("the checkpoint after step 2 is whole"), "{error}");
}

#[test]
fn a_run_without_a_checkpoint_says_when_the_first_is_due() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let rare = RECIPE.replace("every = 1\nkeep", "every = 50\nkeep");
    let run = Run { recipe: &rare, ..Run::new(&root) };
    run.stop.request();
    assert_eq!(run.train().unwrap(), Ended::Interrupted);
    let error = recipes::policy::locate(
        &root.display().to_string(),
        &recipes::search_path::SearchPath::of_command(),
    );
    let error = format!("{:#}", error.unwrap_err());
    // The first stage has two steps.
    assert!(error.contains("0 steps, and the first is due after step 2"), "{error}");
}

#[test]
fn the_way_back_keeps_the_flags_that_the_resume_needs() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, RECIPE, 4);
    halve(&root.join("checkpoints/step-000004/optimizer.safetensors"));
    let changed = RECIPE.replace("kind = \"linear\", lr = 1e-3", "kind = \"linear\", lr = 2e-3");
    let run =
        Run { recipe: &changed, changed: true, accept_changed_files: true, ..Run::resumed(&root) };
    let error = format!("{:#}", run.train().unwrap_err());
    let command = "stearin train small.toml --resume --changed --accept-changed-files";
    assert!(error.ends_with(command), "{error}");
    // The cause is told once.
    assert_eq!(error.matches("optimizer.safetensors").count(), 1, "{error}");
    // The flags are not asked for where the run has what they accept.
    fs::remove_dir_all(root.join("checkpoints/step-000004")).unwrap();
    let run = Run { recipe: &changed, changed: true, one_step: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Interrupted);
    halve(&root.join("checkpoints/step-000004/optimizer.safetensors"));
    let error = Run { recipe: &changed, ..Run::resumed(&root) }.train().unwrap_err();
    assert!(format!("{error:#}").ends_with("stearin train small.toml --resume"), "{error:#}");
}

#[test]
fn a_run_whose_checkpoints_were_removed_does_not_lose_its_record() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, RECIPE, 4);
    fs::remove_dir_all(root.join("checkpoints")).unwrap();
    let record = fs::read(root.join("metrics.jsonl")).unwrap();
    let error = format!("{:#}", Run::resumed(&root).train().unwrap_err());
    assert!(error.contains("has done 4 steps and has no checkpoint"), "{error}");
    assert!(error.ends_with(&format!("rm -r {}", root.display())), "{error}");
    assert_eq!(fs::read(root.join("metrics.jsonl")).unwrap(), record);
    // Where none was due, a stop or the end had saved the state.
    let recipe = RECIPE.replace("every = 1\nkeep = 2", "every = 50\nkeep = 2\nbest = \"off\"");
    for (name, steps, done) in [("stopped", 1, "1 step"), ("finished", 6, "6 steps")] {
        let root = temp.path().join(name);
        begin(&root, &recipe, steps);
        fs::remove_dir_all(root.join("checkpoints")).unwrap();
        let error = Run { recipe: &recipe, ..Run::resumed(&root) }.train().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(&format!("has done {done} and has no checkpoint")), "{error}");
    }
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again_and_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let (root, whole) = (temp.path().join("run"), temp.path().join("whole"));
    let recipe = RECIPE.replace("every = 1\nkeep = 2", "every = 50\nkeep = 2\nbest = \"off\"");
    Run { recipe: &recipe, ..Run::new(&whole) }.train().unwrap();
    begin(&root, &recipe, 2);
    // As a kill leaves it: the first stage ends after step 2, where the checkpoint was not whole.
    fs::remove_dir_all(root.join("checkpoints")).unwrap();
    let path = root.join("status.json");
    let stopped = fs::read_to_string(&path).unwrap();
    assert!(stopped.contains("\"interrupted\""), "{stopped}");
    fs::write(&path, stopped.replace("\"interrupted\"", "\"running\"")).unwrap();
    let run = Run { recipe: &recipe, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
    let note = "no checkpoint, so it begins again at step 0; it had ended after step 2 without one";
    assert!(log(&root).contains(note), "{}", log(&root));
    assert!(!log(&whole).contains("begins again"));
    assert_equal(&whole, &root);
}

#[test]
fn the_state_of_the_optimizer_is_not_taken_for_the_model() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, RECIPE, 2);
    let folder = root.join("checkpoints/step-000002");
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let error = format!("{:#}", Run::resumed(&root).train().unwrap_err());
    assert!(error.contains("its weights are missing"), "{error}");
    assert!(!error.contains("rename"), "{error}");
}

#[test]
fn a_score_measured_otherwise_is_not_compared() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    // Every completion has this reward, and 1 more where it is correct.
    let constant = |weight: &str| {
        let rewards = format!(
            "rewards = [\"math\", {{ kind = \"regex\", pattern = \"^\", weight = {weight} }}]"
        );
        RECIPE
            .replace("[eval]\nevery = 2", &format!("[eval]\nevery = 1\n{rewards}"))
            .replace("keep = 2", "keep = 1\nbest = { figure = \"reward\" }")
    };
    let (high, low) = (constant("5.0"), constant("1.0"));
    begin(&root, &high, 3);
    let scores = || checkpoints(&root).unwrap().into_iter().filter_map(|saved| saved.state.score);
    let old = scores().map(|score| score.value).reduce(f64::max).unwrap();
    assert!(old >= 5.0, "{old}");
    let run = Run { recipe: &low, one_step: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Interrupted);
    assert!(log(&root).contains("was measured with other settings, problems"), "{}", log(&root));
    assert_eq!(steps(&root), [4], "the first score measured so is the best");
    let new = scores().next().unwrap();
    assert!(new.value < old, "it could not have won: {} {old}", new.value);
    let said = log(&root);
    Run { recipe: &low, ..Run::resumed(&root) }.train().unwrap();
    let noted = |text: &str| text.matches("was measured with other settings").count();
    assert_eq!(noted(&log(&root)), noted(&said), "it is said once");
}

#[cfg(unix)]
#[test]
fn a_score_by_another_verifier_file_is_not_compared() {
    let temp = tempfile::tempdir().unwrap();
    let (root, judge) = (temp.path().join("run"), temp.path().join("judge.sh"));
    let written = temp.path().join("written").display().to_string();
    let gives = |reward: u32| {
        let script = format!(
            r#"
            echo '{{"ready": true}}'
            while read -r line; do
                id=${{line#*'"id":'}}
                echo "$id" >> "$1"
                echo '{{"id": '${{id%%,*}}', "reward": {reward}}}'
            done
            "#
        );
        fs::write(&judge, script).unwrap();
    };
    let command = ["sh".to_owned(), judge.display().to_string(), written];
    let rewards = format!("rewards = [{{ kind = \"process\", command = {command:?} }}]");
    let recipe = RECIPE
        .replace("[eval]\nevery = 2", &format!("[eval]\nevery = 1\n{rewards}"))
        .replace("keep = 2", "keep = 1\nbest = { figure = \"reward\" }");
    gives(5);
    begin(&root, &recipe, 1);
    let resumed = |accept_changed_files| {
        let run = Run { recipe: &recipe, one_step: true, ..Run::resumed(&root) };
        let ended = Run { accept_changed_files, ..run }.train().unwrap();
        assert_eq!(ended, Ended::Interrupted);
        let noted = log(&root).matches("was measured with other settings, problems").count();
        let scores = checkpoints(&root).unwrap().into_iter().filter_map(|saved| saved.state.score);
        (noted, steps(&root), scores.map(|score| score.value).collect::<Vec<_>>())
    };
    let same = (0, vec![1, 2], vec![5.0, 5.0]);
    assert_eq!(resumed(false), same, "what it writes is not a file of the run");
    gives(1);
    assert_eq!(
        resumed(true),
        (1, vec![3], vec![1.0]),
        "the first score by the new file is the best"
    );
}

#[test]
fn a_damaged_line_or_file_of_the_record_loses_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, RECIPE, 4);
    let path = root.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let second = text.lines().position(|line| line.starts_with("{\"step\":2,")).unwrap();
    let with = |line: &str| {
        let put = |(at, own)| if at == second { line.to_owned() } else { format!("{own}\n") };
        text.lines().enumerate().map(put).collect::<String>()
    };
    let damaged = with("{\"step\":2,\n");
    fs::write(&path, &damaged).unwrap();
    let error = format!("{:#}", Run::resumed(&root).train().unwrap_err());
    let place = format!("metrics.jsonl, line {}", second + 1);
    assert!(error.contains(&place) && error.contains("remove it to go on"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged, "nothing was cut");
    // What the message says; a damaged evaluation is no reason to stop either.
    fs::write(&path, with("")).unwrap();
    let evaluation = root.join("evals/step-000000/held-out.json");
    assert!(evaluation.is_file());
    fs::write(&evaluation, "{").unwrap();
    assert_eq!(Run::resumed(&root).train().unwrap(), Ended::Finished);
    assert!(log(&root).contains("has no values of step 2:"), "{}", log(&root));
    assert!(log(&root).contains("held-out.json"), "{}", log(&root));
    assert_eq!(fs::read_to_string(&evaluation).unwrap(), "{");
}

#[test]
fn steps_that_the_record_lacks_are_named() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, RECIPE, 4);
    assert!(!log(&root).contains("has no values"), "{}", log(&root));
    let path = root.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lost = ["{\"step\":2,", "{\"step\":3,"];
    let kept = text.lines().filter(|line| !lost.iter().any(|start| line.starts_with(start)));
    let kept = kept.collect::<Vec<_>>().join("\n") + "\n";
    assert!(kept.len() < text.len());
    fs::write(&path, kept).unwrap();
    Run::resumed(&root).train().unwrap();
    assert!(log(&root).contains("metrics.jsonl has no values of steps 2 to 3"), "{}", log(&root));
}

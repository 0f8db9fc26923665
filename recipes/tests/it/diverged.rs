//! A run whose weights or loss diverge says so, and how it is gone on from before that.

use std::fs;
use std::path::Path;

use evals::run::State;
use recipes::run_dir::status;
use recipes::train::Ended;

use crate::adapters::recipe as adapted;
#[cfg(unix)]
use crate::binary::{printed, stderr, stearin, typed};
use crate::going_back::{begin, halve, steps};
use crate::references::naming;
use crate::runs::{RECIPE, Run};

#[test]
fn a_run_that_diverged_keeps_the_checkpoint_to_go_back_to() {
    let temp = tempfile::tempdir().unwrap();
    let kept = RECIPE.replace("keep = 2", "keep = 1\nbest = \"off\"");
    // The third step diverges, which shows in the evaluation after its update or, without one, in
    // the sampling of the next step.
    for (name, every) in [("evaluation", "every = 3"), ("sampling", "every = 50")] {
        let recipe = kept.replace("[eval]\nevery = 2", &format!("[eval]\n{every}"));
        let recipe = recipe.replace("steps = 2\nbatch = 8", "steps = 1\nbatch = 8");
        let root = temp.path().join(name);
        begin(&root, &recipe, 2);
        let broken = recipe.replace("kind = \"linear\", lr = 1e-3", "kind = \"linear\", lr = 1e30");
        let broken = broken.replace("updates_per_step = 2\n", "");
        assert_ne!(broken, recipe);
        let run = Run { recipe: &broken, changed: true, ..Run::resumed(&root) };
        let error = format!("{:#}", run.train().unwrap_err());
        assert!(error.contains("the weights have diverged"), "{name}: {error}");
        let left = steps(&root);
        let [.., older, newest] = left[..] else { panic!("{name}: {left:?}, {error}") };
        let folder = root.join(format!("checkpoints/step-{newest:06}"));
        assert!(error.contains(&format!("after step {older} is whole")), "{name}: {error}");
        assert!(error.contains(&format!("rm -r {}", folder.display())), "{name}: {error}");
        let command = "stearin train small.toml --set stage.1.schedule.lr=1e29 --resume --changed";
        assert!(error.ends_with(command), "{name}: {error}");
        assert!(matches!(status(&root).unwrap().state, State::Failed { .. }));
        fs::remove_dir_all(&folder).unwrap();
        let run = Run { recipe: &recipe, changed: true, ..Run::resumed(&root) };
        assert_eq!(run.train().unwrap(), Ended::Finished, "{name}");
    }
}

#[test]
fn a_loss_that_is_not_finite_is_a_divergence() {
    let temp = tempfile::tempdir().unwrap();
    let recipe = RECIPE.replace("[eval]\nevery = 2", "[eval]\nevery = 50");
    let recipe = recipe.replace("steps = 2\nbatch = 8", "steps = 4\nbatch = 8");
    let root = temp.path().join("saved");
    begin(&root, &recipe, 2);
    let broken = recipe.replace("kind = \"constant\", lr = 3e-2", "kind = \"constant\", lr = 1e9");
    let run = Run { recipe: &broken, changed: true, ..Run::resumed(&root) };
    let error = format!("{:#}", run.train().unwrap_err());
    assert!(error.starts_with("the loss is NaN"), "{error}");
    assert!(!error.contains("rewards"), "{error}");
    assert!(error.contains("its weights have diverged: go back"), "{error}");
    assert!(error.contains("the checkpoint after step 2 is whole"), "{error}");
    let folder = root.join("checkpoints/step-000003");
    assert!(error.contains(&format!("rm -r {}", folder.display())), "{error}");
    let command = "stearin train small.toml --set stage.0.schedule.lr=1e8 --resume --changed";
    assert!(error.ends_with(command), "{error}");
    fs::remove_dir_all(&folder).unwrap();
    let run = Run { recipe: &recipe, changed: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
}

#[test]
fn a_loss_that_is_not_finite_in_an_rl_stage_may_be_the_rewards_fault() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, RECIPE, 3);
    // The first of the two updates of a step makes the weights diverge, and the loss of the second
    // shows it.
    let broken = RECIPE.replace("kind = \"linear\", lr = 1e-3", "kind = \"constant\", lr = 1e9");
    let run = Run { recipe: &broken, changed: true, ..Run::resumed(&root) };
    let error = format!("{:#}", run.train().unwrap_err());
    assert!(error.starts_with("the loss is NaN"), "{error}");
    let or_else = "unless the rewards or old log-probs of this step are at fault: go on with";
    let expected = format!("the updates of step 4 made its weights diverge, {or_else}");
    assert!(error.contains(&expected), "{error}");
    // Those that are saved are from before.
    assert!(!error.contains("rm -r"), "{error}");
    let command = "stearin train small.toml --set stage.1.schedule.lr=1e8 --resume --changed";
    assert!(error.ends_with(command), "{error}");
    let run = Run { recipe: RECIPE, changed: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
}

/// The first step of a stage finds no finite loss, and the weights are those of the stage before.
#[test]
fn a_loss_that_the_settings_of_the_next_stage_make_infinite_is_not_the_fault_of_the_last() {
    let temp = tempfile::tempdir().unwrap();
    let with_bonus = |coefficient: &str| {
        let bonus = format!("{{ kind = \"fixed\", coefficient = {coefficient} }}");
        RECIPE.replace("loss = {", &format!("entropy_bonus = {bonus}\nloss = {{"))
    };
    let (broken, sound) = (with_bonus("1e308"), with_bonus("1e-3"));
    let root = temp.path().join("run");
    let error = Run { recipe: &broken, ..Run::new(&root) }.train().unwrap_err();
    let error = format!("{error:#}");
    assert!(error.starts_with("the loss is "), "{error}");
    assert!(
        error.contains("the state after step 2 is saved, but its weights are sound"),
        "{error}"
    );
    assert!(error.contains("the settings of stage 1 (stage.1.loss, "), "{error}");
    assert!(error.contains("stage.1.entropy_bonus"), "{error}");
    assert!(!error.contains("rm -r") && !error.contains("lr="), "{error}");
    assert!(error.ends_with("\n  stearin train small.toml --resume --changed"), "{error}");
    // As it says.
    let run = Run { recipe: &sound, changed: true, one_step: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Interrupted);
    // In the midst of the stage, where a resume changes them.
    let run = Run { recipe: &broken, changed: true, ..Run::resumed(&root) };
    let error = format!("{:#}", run.train().unwrap_err());
    assert!(error.contains("settings that this resume changes are at fault"), "{error}");
    assert!(error.contains("  changing    stage.1.entropy_bonus.coefficient"), "{error}");
    assert!(!error.contains("rm -r") && !error.contains("lr="), "{error}");
    let run = Run { recipe: &sound, changed: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
}

#[test]
fn an_adapter_that_is_looked_back_at_and_gives_no_numbers_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let [own, huge, root] = ["own", "huge", "run"].map(|name| temp.path().join(name));
    begin(&own, &adapted(), 2);
    fs::create_dir(&huge).unwrap();
    let saved = own.join("checkpoints/step-000002");
    fs::copy(saved.join("adapter_config.json"), huge.join("adapter_config.json")).unwrap();
    let tensors = "adapter_model.safetensors";
    let all = candle::safetensors::load(saved.join(tensors), &candle::Device::Cpu).unwrap();
    let all = all.into_iter().map(|(name, one)| (name, (one * 1e25).unwrap())).collect();
    candle::safetensors::save(&all, huge.join(tensors)).unwrap();
    let recipe = naming(&huge);
    for (name, run) in [("begins", Run::new(&root)), ("is resumed", Run::resumed(&root))] {
        let error = format!("{:#}", Run { recipe: &recipe, ..run }.train().unwrap_err());
        let expected = "the reference of stage 1, the adapter earlier, gives a token the log-prob ";
        assert!(error.starts_with(expected), "{name}: {error}");
        assert!(error.contains("the adapter earlier is at fault, not what was"), "{name}: {error}");
        let command = "stearin train small.toml --set model.adapters.earlier.from=ADAPTER --resume \
                       --accept-changed-files";
        assert!(error.contains(&format!("\n  {command}\n")), "{name}: {error}");
        assert!(error.ends_with("let stage.1.reference be another one, with --changed"), "{error}");
        assert!(!error.contains("rm -r") && !error.contains("lr="), "{name}: {error}");
    }
    // As it says.
    let recipe = naming(&saved);
    let run = Run { recipe: &recipe, accept_changed_files: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
}

#[test]
#[cfg(unix)]
fn a_divergence_in_the_midst_of_a_step_is_gone_on_from_with_a_lower_rate() {
    let temp = tempfile::tempdir().unwrap();
    let rate = ["--set", "stage.sft.schedule.lr=1e9", "--set", "stage.0.schedule.warmup_ratio=0"];
    let output = stearin(temp.path(), &[&["train", "quickstart"], &rate[..]].concat());
    let said = stderr(&output);
    assert!(said.contains("error: the loss is NaN"), "{said}");
    assert!(said.contains("is not saved, but its weights have diverged"), "{said}");
    let command = said.lines().last().unwrap();
    assert!(command.contains("lr=1e8") && command.ends_with("--resume --changed"), "{said}");
}

#[test]
#[cfg(unix)]
fn a_run_whose_only_checkpoint_diverged_begins_again_as_the_message_says() {
    let temp = tempfile::tempdir().unwrap();
    let (temp, root) = (temp.path(), temp.path().join("runs/small"));
    let rare = RECIPE
        .replace("every = 1\nkeep = 2", "every = 50\nkeep = 2\nbest = \"off\"")
        .replace("[eval]\nevery = 2", "[eval]\nevery = 1");
    fs::write(temp.join("small.toml"), &rare).unwrap();
    let rate = ["--set", "stage.sft.schedule.lr=1e27"];
    let mut output = stearin(temp, &["train", "small.toml", rate[0], rate[1]]);
    // The rates that are printed first are too high as well.
    for lower in ["1e26", "1e25"] {
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("the weights have diverged"), "{said}");
        assert_eq!(steps(&root), [1], "{said}");
        let commands = printed(&said, "to begin again at step 0");
        assert_eq!(commands.matches("schedule.lr").count(), 1, "{commands}");
        assert!(commands.contains(&format!("lr={lower} --resume --changed")), "{commands}");
        output = typed(temp, &commands);
    }
    let said = stderr(&output);
    assert!(said.contains("it begins again at step 0"), "{said}");
    let commands = printed(&said, "to begin again at step 0");
    let output = typed(temp, &commands.replace("lr=1e24", "lr=3e-2"));
    assert!(output.status.success(), "{commands}: {}", stderr(&output));
    let (whole, own) = (temp.join("runs/whole"), ["train", "small.toml", "--run-dir"]);
    assert!(stearin(temp, &[&own[..], &["runs/whole"]].concat()).status.success());
    let metrics = |root: &Path| {
        let text = fs::read_to_string(root.join("metrics.jsonl")).unwrap();
        text.replace("\"training/changed\":1.0,", "")
    };
    assert_eq!(metrics(&root), metrics(&whole));
    // Where a checkpoint was due before it, the record of that would be lost.
    let path = root.join("status.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"finished\"", "\"running\"")).unwrap();
    for step in steps(&root) {
        halve(&root.join(format!("checkpoints/step-{step:06}/model.safetensors")));
    }
    let output = stearin(temp, &[&own[..], &["runs/small", "--resume"]].concat());
    let said = stderr(&output);
    assert!(said.contains("start a new run in another --run-dir"), "{said}");
    assert!(!said.contains("rm -r"), "{said}");
}

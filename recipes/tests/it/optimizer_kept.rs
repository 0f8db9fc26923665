//! The state of an optimizer, with the average that a stage looks back at, is the one that the run
//! saved, or it is refused; and so is all else that is damaged, with one exit code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle::Device;
use recipes::train::Ended;
use serde_json::Value;

use crate::adapters::{json, recipe as adapted, refused, trained};
use crate::binary::{stderr, stearin};
use crate::going_back::begin;
use crate::references::{EMA, looking_at};
use crate::runs::{RECIPE, Run, assert_equal};

const FILE: &str = "optimizer.safetensors";

/// Changes `trainer.json` of a checkpoint.
fn edit(saved: &Path, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let path = saved.join("trainer.json");
    let mut state = json(&path);
    change(state.as_object_mut().unwrap());
    fs::write(path, state.to_string()).unwrap();
}

#[test]
fn the_state_of_an_optimizer_of_another_step_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    for (name, recipe) in [
        ("all weights", RECIPE.to_owned()),
        ("adapter", adapted()),
        ("average", looking_at(&adapted(), EMA)),
    ] {
        let [root, whole] = ["run", "whole"].map(|run| temp.path().join(format!("{run} {name}")));
        trained(&whole, &recipe);
        begin(&root, &recipe, 4);
        let saved = |step: u64| root.join(format!("checkpoints/step-{step:06}"));
        let own = fs::read(saved(4).join(FILE)).unwrap();
        fs::copy(saved(3).join(FILE), saved(4).join(FILE)).unwrap();
        let error = refused(&root, &recipe);
        let per_step = if name == "all weights" { 2 } else { 1 };
        let expected = format!(
            "step-000004 cannot be used: {FILE}: expected the state after step 4 and update {} of its \
             stage, got that after step 3 and update {per_step} of its stage",
            2 * per_step
        );
        assert!(error.contains(&expected), "{name}: {error}");
        assert!(error.contains("the checkpoint after step 3 is whole"), "{name}: {error}");
        assert!(error.contains("\n  rm -r ") && error.ends_with("--resume"), "{name}: {error}");
        // A bit of its last number, which is one of the average where there is one.
        let mut flipped = own.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(saved(4).join(FILE), flipped).unwrap();
        let error = refused(&root, &recipe);
        let expected = "the state of the optimizer is not the one that the run saved";
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.contains("the checkpoint after step 3 is whole"), "{name}: {error}");
        fs::remove_file(saved(4).join(FILE)).unwrap();
        let error = refused(&root, &recipe);
        assert!(error.contains(FILE) && error.contains("\n  rm -r "), "{name}: {error}");
        fs::write(saved(4).join(FILE), own).unwrap();
        trained(&root, &recipe);
        assert_equal(&whole, &root);
    }
}

#[test]
fn a_checkpoint_of_an_earlier_version_has_no_digest_of_it_and_is_gone_on_from() {
    let temp = tempfile::tempdir().unwrap();
    let recipe = looking_at(&adapted(), EMA);
    let [root, whole] = ["run", "whole"].map(|name| temp.path().join(name));
    trained(&whole, &recipe);
    begin(&root, &recipe, 4);
    let saved = root.join("checkpoints/step-000004");
    edit(&saved, |state| drop(state.remove("optimizer_sha256").unwrap()));
    let tensors = candle::safetensors::load(saved.join(FILE), &Device::Cpu).unwrap();
    candle::safetensors::save(&tensors, saved.join(FILE)).unwrap();
    trained(&root, &recipe);
    assert_equal(&whole, &root);
    // A part of the average that is missing there is refused all the same.
    let root = temp.path().join("lacks");
    begin(&root, &recipe, 4);
    let saved = root.join("checkpoints/step-000004");
    edit(&saved, |state| drop(state.remove("optimizer_sha256").unwrap()));
    let mut tensors: HashMap<_, _> = tensors;
    tensors.retain(|name, _| !name.starts_with("reference.") || !name.contains("layers.0"));
    candle::safetensors::save(&tensors, saved.join(FILE)).unwrap();
    let error = Run { recipe: &recipe, ..Run::resumed(&root) }.train().unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("a part of the average"), "{error}");
    assert!(error.contains("the checkpoint after step 3 is whole"), "{error}");
}

/// The stage that begins then has an optimizer of its own.
#[test]
fn after_a_stage_its_optimizer_is_not_needed() {
    let temp = tempfile::tempdir().unwrap();
    let [root, whole] = ["run", "whole"].map(|name| temp.path().join(name));
    trained(&whole, &adapted());
    begin(&root, &adapted(), 2);
    let [path, aside] =
        [root.join("checkpoints/step-000002").join(FILE), temp.path().join("aside")];
    fs::rename(&path, &aside).unwrap();
    assert_eq!(Run { recipe: &adapted(), ..Run::resumed(&root) }.train().unwrap(), Ended::Finished);
    fs::rename(&aside, &path).unwrap();
    assert_equal(&whole, &root);
}

#[test]
fn whatever_is_damaged_of_what_a_run_has_saved_has_one_exit_code() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 8] = [
        ("no optimizer", |root| {
            fs::remove_file(root.join("checkpoints/step-000004").join(FILE)).unwrap();
        }),
        ("no weights", |root| {
            fs::remove_file(root.join("checkpoints/step-000004/model.safetensors")).unwrap();
        }),
        ("no state", |root| {
            fs::write(root.join("checkpoints/step-000004/trainer.json"), "{").unwrap();
        }),
        ("a value of the state", |root| {
            edit(&root.join("checkpoints/step-000004"), |state| {
                state["stage_state"].as_object_mut().unwrap().remove("drawn").unwrap();
            });
        }),
        ("a value of another type", |root| {
            edit(&root.join("checkpoints/step-000004"), |state| {
                state["stage_state"]["kl_control"] = "much".into();
            });
        }),
        ("no reference", |root| fs::remove_dir_all(root.join("reference")).unwrap()),
        ("a file for a reference", |root| {
            fs::remove_dir_all(root.join("reference")).unwrap();
            fs::write(root.join("reference"), "").unwrap();
        }),
        ("a line", |root| fs::write(root.join("metrics.jsonl"), "{\n").unwrap()),
    ];
    let temp = tempfile::tempdir().unwrap();
    for (number, (name, damage)) in damages.into_iter().enumerate() {
        let folder = temp.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("small.toml"), RECIPE).unwrap();
        let root = folder.join("runs/small");
        begin(&root, RECIPE, 4);
        damage(&root);
        let output = stearin(&folder, &["train", "small.toml", "--resume"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        let acts = ["\n  rm -r ", "from a copy"];
        assert!(acts.iter().any(|act| said.contains(act)), "{name}: {said}");
    }
}

#[test]
#[cfg(unix)]
fn what_is_in_the_place_of_a_folder_is_named_with_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, &adapted(), 4);
    for folder in ["reference", "checkpoints"] {
        let (path, aside) = (root.join(folder), temp.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let said = |got: &str| {
            let error = Run { recipe: &adapted(), ..Run::resumed(&root) }.train().unwrap_err();
            let error = format!("{error:#}");
            let expected = format!("{}: expected a folder, got {got}", path.display());
            assert!(error.contains(&expected), "{error}");
            assert!(error.contains("restore the folder from a copy, or move away"), "{error}");
            fs::remove_file(&path).unwrap();
        };
        fs::write(&path, "").unwrap();
        said("a file");
        for to in [folder, "no/such/folder"] {
            std::os::unix::fs::symlink(to, &path).unwrap();
            said("a link that leads to none");
        }
        // A link to a folder is one, as of a disk with more room.
        std::os::unix::fs::symlink(&aside, &path).unwrap();
        let one = Run { recipe: &adapted(), one_step: true, ..Run::resumed(&root) };
        one.train().unwrap();
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
}

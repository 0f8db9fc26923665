//! What a run with an adapter keeps is what it goes on with, or it is refused.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use crate::adapters::{json, recipe, refused, trained};
use crate::binary::{stderr, stdout, stearin};
use crate::going_back::begin;
use crate::runs::assert_equal;

/// Replaces a part of a file.
#[track_caller]
fn edit(path: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(old), "{text}");
    fs::write(path, text.replace(old, new)).unwrap();
}

#[test]
fn an_edited_adapter_in_a_checkpoint_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let [root, whole] = ["run", "whole"].map(|name| temp.path().join(name));
    trained(&whole, &recipe());
    begin(&root, &recipe(), 4);
    let saved = root.join("checkpoints/step-000004");
    let (config, tensors) =
        (saved.join("adapter_config.json"), saved.join("adapter_model.safetensors"));
    let own = [&config, &tensors].map(|path| fs::read(path).unwrap());
    for (old, new) in [
        ("\"lora_alpha\": 8", "\"lora_alpha\": 16"),
        ("\"use_rslora\": false", "\"use_rslora\": true"),
    ] {
        edit(&config, old, new);
        let error = refused(&root, &recipe());
        let what = format!("the checkpoint {} cannot be used: ", saved.display());
        assert!(error.starts_with(&what), "{error}");
        assert!(error.contains("its adapter is not the one that the run saved"), "{error}");
        assert!(error.contains("the checkpoint after step 3 is whole"), "{error}");
        assert!(error.contains(&format!("rm -r {}", saved.display())), "{error}");
        fs::write(&config, &own[0]).unwrap();
    }
    // Values of another step, which have the right shapes.
    fs::copy(root.join("checkpoints/step-000003/adapter_model.safetensors"), &tensors).unwrap();
    let error = refused(&root, &recipe());
    assert!(error.contains("its adapter is not the one"), "{error}");
    fs::write(&tensors, &own[1]).unwrap();
    trained(&root, &recipe());
    assert_equal(&whole, &root);
}

#[test]
fn a_reference_that_is_another_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let [root, whole, aside] = ["run", "whole", "aside"].map(|name| temp.path().join(name));
    trained(&whole, &recipe());
    begin(&root, &recipe(), 4);
    let reference = root.join("reference/stage-1");
    fs::rename(&reference, &aside).unwrap();
    let restore = || {
        let _ = fs::remove_dir_all(&reference);
        fs::create_dir(&reference).unwrap();
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(aside.join(name), reference.join(name)).unwrap();
        }
    };
    let said = |what: &str| {
        let error = refused(&root, &recipe());
        let names = format!("{}: the reference of the stage is not the one", reference.display());
        assert!(error.contains(&names), "{what}: {error}");
        // The one at the end of the stage before, after which the reference is made.
        assert!(error.contains("the checkpoint after step 2 is whole"), "{what}: {error}");
    };
    restore();
    edit(&reference.join("adapter_config.json"), "\"lora_alpha\": 8", "\"lora_alpha\": 9");
    said("settings");
    restore();
    let saved = root.join("checkpoints/step-000004/adapter_model.safetensors");
    fs::copy(saved, reference.join("adapter_model.safetensors")).unwrap();
    said("values");
    // The base alone in the place of an adapter.
    fs::remove_dir_all(&reference).unwrap();
    fs::create_dir(&reference).unwrap();
    let base = json(&root.join("checkpoints/step-000004/trainer.json"))["base"].to_string();
    fs::write(reference.join("base.json"), base).unwrap();
    said("kind");
    restore();
    trained(&root, &recipe());
    assert_equal(&whole, &root);
}

/// A tokenizer, such as vLLM wants beside an adapter.
#[test]
fn files_that_are_no_part_of_an_adapter_do_not_keep_a_run_from_going_on() {
    let temp = tempfile::tempdir().unwrap();
    let [root, whole] = ["run", "whole"].map(|name| temp.path().join(name));
    trained(&whole, &recipe());
    begin(&root, &recipe(), 4);
    let places = ["checkpoints/step-000004", "reference/stage-1"].map(|name| root.join(name));
    let files = ["tokenizer.json", "chat_template.jinja"];
    for path in places.iter().flat_map(|place| files.map(|file| place.join(file))) {
        fs::write(path, "{}").unwrap();
    }
    trained(&root, &recipe());
    for path in places.iter().flat_map(|place| files.map(|file| place.join(file))) {
        // Of a checkpoint that is there no longer they are gone.
        let _ = fs::remove_file(path);
    }
    assert_equal(&whole, &root);
}

/// [`recipe`] that starts from an adapter, as a file.
fn starting(folder: &Path, from: &str) -> String {
    let own = format!("adapter = {{ kind = \"lora\", from = {from:?} }}");
    let text = recipe().replace("adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }", &own);
    fs::write(folder.join("small.toml"), &text).unwrap();
    text
}

#[test]
fn a_dry_run_of_a_resume_does_not_ask_for_the_adapter_that_the_run_started_from() {
    let temp = tempfile::tempdir().unwrap();
    let [first, root] = ["first", "runs/small"].map(|name| temp.path().join(name));
    begin(&first, &recipe(), 1);
    let text = starting(temp.path(), first.to_str().unwrap());
    begin(&root, &text, 3);
    fs::remove_dir_all(&first).unwrap();
    let plan = ["train", "small.toml", "--dry-run"];
    let output = stearin(temp.path(), &plan);
    assert!(stderr(&output).contains("there is no adapter "), "{}", stderr(&output));
    let output = stearin(temp.path(), &[&plan[..], &["--resume"]].concat());
    let said = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(said.contains("rank 4, alpha 8") && said.contains("after step 3 of 6"), "{said}");
}

#[test]
fn an_adapter_of_another_base_is_noted_in_the_dry_run_as_in_the_run() {
    let temp = tempfile::tempdir().unwrap();
    let first = temp.path().join("first");
    begin(&first, &recipe(), 1);
    starting(temp.path(), "first");
    // Of the run's own seed the base is the same.
    let plan = |more: &[&str]| {
        let output = stearin(temp.path(), &[&["train", "small.toml"], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let noted = "step-000001 was trained on builtin:atom with another seed: 3 there, ";
    let (said, _) = plan(&["--dry-run"]);
    assert!(!said.contains("was trained on"), "{said}");
    let (said, _) = plan(&["--dry-run", "--set", "seed=4"]);
    assert!(said.contains(noted), "{said}");
    let (_, said) = plan(&["--set", "seed=4", "--set", "stage.rl.steps=1"]);
    assert!(said.contains(noted), "{said}");
    // Without a digest by the name, which a folder of PEFT has.
    let peft = temp.path().join("peft");
    fs::create_dir(&peft).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(first.join("checkpoints/step-000001").join(name), peft.join(name)).unwrap();
    }
    let named = |base: &str| {
        edit(&peft.join("adapter_config.json"), "\"builtin:atom\"", &format!("{base:?}"));
        let (said, _) = plan(&["--dry-run", "--set", "model.adapter.from=peft"]);
        edit(&peft.join("adapter_config.json"), &format!("{base:?}"), "\"builtin:atom\"");
        said
    };
    assert!(!named("builtin:atom").contains("says that its base is"));
    let said = named("meta-llama/Llama-3.1-8B");
    let note = "says that its base is meta-llama/Llama-3.1-8B, and is put on builtin:atom";
    assert!(said.contains(note), "{said}");
}

#[test]
fn that_an_adapter_is_trained_is_said_at_the_start_and_at_the_end() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("small.toml"), recipe()).unwrap();
    let output = stearin(temp.path(), &["train", "small.toml"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    // Of rank 4 on 2 blocks of width 32 with 96 in the feed-forward layer.
    let adapter = "rank 4, alpha 8, all-linear: 5,120 parameters on the ";
    let start = format!("training an adapter of {adapter}");
    let log = fs::read_to_string(temp.path().join("runs/small/log.txt")).unwrap();
    for (text, what) in [(&said, &start), (&log, &start)] {
        assert!(text.contains(what), "{what}: {text}");
        assert!(text.contains(" of builtin:atom, which do not change"), "{text}");
    }
    let end = said.split(&start).nth(1).unwrap();
    assert!(end.contains(&format!("adapter  {adapter}")), "{end}");
    let facts = json(&temp.path().join("runs/small/run.json"));
    let adapter = &facts["model"]["adapter"];
    assert!(adapter.get("path").is_none(), "it began afresh: {adapter}");
    assert_eq!((&adapter["alpha"], &adapter["scaling"]), (&8.0.into(), &"rank".into()));
    assert_eq!(adapter["targets"].as_array().unwrap().len(), 7);
}

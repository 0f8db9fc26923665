//! What a run with an adapter goes on with, and what keeps it from beginning.

use std::fs;

use recipes::train::Ended;
use serde_json::Value;

use crate::adapters::{folder, json, on, recipe, refused};
use crate::going_back::begin;
use crate::runs::Run;

#[test]
fn a_base_is_compared_with_the_checkpoints_where_the_run_has_no_digests() {
    let temp = tempfile::tempdir().unwrap();
    let base = folder(temp.path(), "base", 1);
    let root = temp.path().join("run");
    let recipe = on(base.to_str().unwrap());
    begin(&root, &recipe, 3);
    let mut facts = json(&root.join("run.json"));
    facts.as_object_mut().unwrap().remove("files").unwrap();
    fs::write(root.join("run.json"), facts.to_string()).unwrap();
    let weights = folder(temp.path(), "other", 2).join("model.safetensors");
    fs::copy(weights, base.join("model.safetensors")).unwrap();
    let error = refused(&root, &recipe);
    assert!(error.contains("base is not the base that ") && error.contains("got "), "{error}");
    assert!(error.ends_with("--resume --accept-changed-files"), "{error}");
    let run = Run { recipe: &recipe, accept_changed_files: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
}

#[test]
fn with_another_seed_it_goes_on_with_its_own_base() {
    let temp = tempfile::tempdir().unwrap();
    // That of the recipe's seed, in a folder, where it stays the same.
    let base = folder(temp.path(), "base", 3);
    let [adapter, other] = [recipe(), on(base.to_str().unwrap())].map(|recipe| {
        let root = temp.path().join(recipe.len().to_string());
        begin(&root, &recipe, 3);
        let changed = recipe.replace("seed = 3", "seed = 2");
        assert_ne!(changed, recipe);
        let run = Run { recipe: &changed, changed: true, ..Run::resumed(&root) };
        assert_eq!(run.train().unwrap(), Ended::Finished);
        let saved = root.join("checkpoints/step-000006");
        let seed = json(&saved.join("trainer.json"))["base"]["seed"].clone();
        (fs::read(saved.join("adapter_model.safetensors")).unwrap(), seed)
    });
    assert_eq!((&adapter.1, &other.1), (&3.into(), &Value::Null));
    assert!(adapter.0 == other.0, "trained on the same weights");
}

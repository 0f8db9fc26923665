//! What a run with an adapter goes on with, and what keeps it from beginning.

use std::fs;
use std::path::Path;

use recipes::train::Ended;
use serde_json::Value;

use crate::adapters::{folder, json, on, recipe, refused, trained};
use crate::binary::{stderr, stearin};
use crate::going_back::begin;
use crate::runs::{Run, assert_equal};

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

/// [`recipe`] that starts from the adapter of another run.
fn from(run: &Path) -> String {
    let own = format!("adapter = {{ kind = \"lora\", from = {:?} }}", run.display().to_string());
    recipe().replace("adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }", &own)
}

#[test]
fn what_is_wrong_with_an_adapter_names_the_adapter() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, &recipe(), 1);
    let adapter = root.join("checkpoints/step-000001");
    let config = fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    let tensors = adapter.join("adapter_model.safetensors");
    let mut bytes = fs::read(&tensors).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    let good = fs::read(&tensors).unwrap();
    let said = |expected: &str| {
        let next = temp.path().join("next");
        let error = Run { recipe: &from(&root), ..Run::new(&next) }.train().unwrap_err();
        let error = format!("{error:#}");
        let place = format!("opening the adapter {}", adapter.display());
        assert!(error.contains(&place) && error.contains(expected), "{error}");
        let sample = ["sample", "--model", "builtin:atom", "--adapter", "run", "1+1"];
        let said = stderr(&stearin(temp.path(), &sample));
        assert!(
            said.contains(adapter.strip_prefix(temp.path()).unwrap().to_str().unwrap()),
            "{said}"
        );
    };
    fs::write(&tensors, bytes).unwrap();
    said("not finite");
    fs::write(&tensors, good).unwrap();
    assert!(config.contains("\"r\": 4"), "{config}");
    let path = adapter.join("adapter_config.json");
    fs::write(&path, config.replace("\"r\": 4", "\"r\": 400")).unwrap();
    said(&format!("{}: adapter: rank is 400, expected at most 32", path.display()));
}

#[test]
fn the_adapter_that_a_run_started_from_is_not_needed_any_more() {
    let temp = tempfile::tempdir().unwrap();
    let [first, whole, broken] = ["first", "whole", "broken"].map(|name| temp.path().join(name));
    trained(&first, &recipe());
    let recipe = from(&first);
    trained(&whole, &recipe);
    begin(&broken, &recipe, 3);
    let facts = json(&broken.join("run.json"));
    fs::rename(&first, temp.path().join("elsewhere")).unwrap();
    trained(&broken, &recipe);
    assert_equal(&whole, &broken);
    let files = |facts: Value| facts["files"].clone();
    assert!(files(facts.clone())["adapter/adapter_model.safetensors"].is_object());
    assert_eq!(files(json(&broken.join("run.json"))), files(facts));
    // A new run needs it.
    let next = temp.path().join("next");
    let error = format!("{:#}", Run { recipe: &recipe, ..Run::new(&next) }.train().unwrap_err());
    assert!(error.starts_with("model.adapter.from: there is no adapter"), "{error}");
    assert!(!next.exists());
}

#[test]
fn a_rank_that_does_not_fit_is_found_before_anything_is_started() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let process = "{ kind = \"process\", command = [\"false\"] }";
    let recipe = recipe().replace("{ kind = \"math\" }", process);
    assert!(recipe.contains(process));
    let said =
        |recipe: &str| format!("{:#}", Run { recipe, ..Run::new(&root) }.train().unwrap_err());
    let error = said(&recipe.replace("rank = 4", "rank = 33"));
    assert_eq!(error, "model.adapter.rank: 33 is more than 32, the smaller side of q_proj");
    assert!(!root.exists());
    assert!(said(&recipe).contains("false"), "the verifier is at fault");
}

#[test]
fn a_base_that_is_an_adapter_itself_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, &recipe(), 1);
    let path = root.join("checkpoints/step-000001/trainer.json");
    let own = json(&path);
    for base in [
        serde_json::json!({ "name": "run", "bytes": 0, "sha256": "" }),
        serde_json::json!({ "name": "gone", "path": root.join("checkpoints/step-000001"), "bytes": 0,
            "sha256": "" }),
    ] {
        let mut state = own.clone();
        state["base"] = base;
        fs::write(&path, state.to_string()).unwrap();
        let output = stearin(temp.path(), &["sample", "--model", "run", "1+1"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("is an adapter, and its base ") && said.contains("too"), "{said}");
    }
}

//! The files of runs and evaluations have the schemas that `stearin schema` prints.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use evals::run::SCHEMAS;
use serde_json::{Value, json};

use crate::binary::{stderr, stdout, stearin};
use crate::runs::{RECIPE, Run};

/// What does not fit the schema, each with its place; `root` has the definitions.
fn misfits(root: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    if let Some(path) = schema.get("$ref").and_then(Value::as_str) {
        let own = root.pointer(path.trim_start_matches('#')).unwrap();
        misfits(root, own, value, place, found);
    }
    for any in ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()) {
        let fits = |one: &Value| {
            let mut inner = Vec::new();
            misfits(root, one, value, place, &mut inner);
            inner.is_empty()
        };
        if !any.iter().any(fits) {
            found.push(format!("{place}: {value} is none of {} forms", any.len()));
        }
    }
    let expected = schema.get("const").map(std::slice::from_ref);
    let expected = expected.or_else(|| schema.get("enum")?.as_array().map(Vec::as_slice));
    if expected.is_some_and(|all| !all.contains(value)) {
        found.push(format!("{place}: {value} is not one of {expected:?}"));
    }
    let types = match schema.get("type") {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(one) => vec![one.as_str().unwrap()],
        None => Vec::new(),
    };
    let is = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type {other}"),
    };
    if !types.is_empty() && !types.iter().any(is) {
        found.push(format!("{place}: expected {types:?}, got {value}"));
    }
    parts(root, schema, value, place, found);
}

/// The same for what is in the value.
fn parts(root: &Value, schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let required = schema.get("required").and_then(Value::as_array);
            for name in required.into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    found.push(format!("{place}: there is no {name}"));
                }
            }
            for (name, field) in fields {
                let own = schema.get("properties").and_then(|all| all.get(name));
                let other = schema.get("additionalProperties");
                if let Some(own) = own.or(other).filter(|own| own.is_object()) {
                    misfits(root, own, field, &format!("{place}.{name}"), found);
                }
            }
        }
        Value::Array(items) => {
            let each = schema.get("prefixItems").and_then(Value::as_array);
            for (at, item) in items.iter().enumerate() {
                let own = each.and_then(|each| each.get(at)).or_else(|| schema.get("items"));
                if let Some(own) = own.filter(|own| own.is_object()) {
                    misfits(root, own, item, &format!("{place}[{at}]"), found);
                }
            }
        }
        _ => {}
    }
}

fn check(name: &str, value: &Value) -> Vec<String> {
    let schema = SCHEMAS.iter().find(|(own, _)| *own == name).unwrap().1();
    let schema = serde_json::to_value(schema).unwrap();
    let mut found = Vec::new();
    misfits(&schema, &schema, value, name, &mut found);
    // Every field is described: nothing is written that the schema does not know.
    let known = |key: &String| {
        let mut all = schema["properties"].as_object().into_iter().flatten();
        all.any(|(own, _)| own == key) || schema.get("oneOf").is_some()
    };
    let unknown = value.as_object().unwrap().keys().filter(|key| !known(key));
    found.extend(unknown.map(|key| format!("{name}: `{key}` is not in the schema")));
    found
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The name of a file in [`SCHEMAS`].
fn name_of(path: &str) -> Option<&'static str> {
    let ending = path.rsplit('.').next().unwrap_or_default();
    let path = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["evals", _, _] => format!("evals/NAME.{ending}"),
        [folder, file] if file.starts_with("step-") => format!("{folder}/step.{ending}"),
        _ => path.to_owned(),
    };
    SCHEMAS.iter().map(|(name, _)| *name).find(|name| *name == path)
}

#[test]
fn every_file_of_a_run_and_of_an_evaluation_has_its_schema() {
    let temp = tempfile::tempdir().unwrap();
    let run = temp.path().join("run");
    let recipe = RECIPE.replace("every = 2\n", "every = 2\nsamples = 2\ngreedy = true\n");
    assert_ne!(recipe, RECIPE);
    Run { recipe: &recipe, ..Run::new(&run) }.train().unwrap();
    let bench = ["eval", "--model", "builtin:atom", "--bench", "arithmetic:count=4"];
    let more = ["--samples", "2", "--greedy", "--max-new-tokens", "2", "--out", "eval"];
    let output = stearin(temp.path(), &[&bench[..], &more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let mut seen = BTreeSet::new();
    for root in [run, temp.path().join("eval")] {
        for path in files(&root) {
            let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
            let Some(name) = name_of(relative) else { continue };
            seen.insert(name);
            let text = fs::read_to_string(&path).unwrap();
            let values: Vec<Value> = if name.rsplit('.').next() == Some("jsonl") {
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
            } else {
                vec![serde_json::from_str(&text).unwrap()]
            };
            for value in values {
                assert_eq!(check(name, &value), [""; 0], "{relative}");
            }
        }
    }
    for name in ["run.json", "status.json", "samples/index.jsonl", "samples/step.jsonl"] {
        assert!(seen.contains(name), "{name}: {seen:?}");
    }
    for name in ["tokens/step.jsonl", "evals/NAME.json", "evals/NAME.jsonl"] {
        assert!(seen.contains(name), "{name}: {seen:?}");
    }
    // What does not fit is found.
    let wrong = json!({"format": 2, "state": "walking", "step": -1.5, "more": 1});
    let found = check("status.json", &wrong).join("\n");
    for words in ["walking", "got -1.5", "there is no total_steps"] {
        assert!(found.contains(words), "{words}: {found}");
    }
}

#[test]
fn a_schema_is_printed_by_the_name_of_its_file() {
    let temp = tempfile::tempdir().unwrap();
    let schema = |arguments: &[&str]| stearin(temp.path(), &[&["schema"], arguments].concat());
    for (name, _) in SCHEMAS {
        let printed: Value = serde_json::from_str(&stdout(&schema(&[name]))).unwrap();
        assert!(printed["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    assert_eq!(stdout(&schema(&["recipe"])), stdout(&schema(&[])));
    for (arguments, words) in [
        (&["stats.json"][..], "did you mean `status.json`?"),
        (&["x"], "expected recipe, metrics, run.json, "),
        (&["run.json", "--format", "markdown"], "docs/record.md describes the record"),
        (&["metrics"], "use --format markdown"),
    ] {
        let output = schema(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn the_page_of_the_metrics_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let there = fs::read_to_string(path).unwrap_or_default();
    let now = evals::metrics::page();
    let command = "stearin schema metrics --format markdown > docs/metrics.md";
    assert!(there == now, "docs/metrics.md is stale; rewrite it: {command}");
    let temp = tempfile::tempdir().unwrap();
    let printed = stearin(temp.path(), &["schema", "metrics", "--format", "markdown"]);
    assert_eq!(stdout(&printed), now);
}

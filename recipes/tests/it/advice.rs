//! What a message advises to change can be changed: every key that it names is a recipe's, as
//! `--set` takes it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use evals::Warning;
use evals::run::read_health;
use recipes::config::{Layer, Loaded, load, schema};
use serde_json::Value;

use crate::runs::{self, Run};

const HEALTH: [&str; 2] = [
    include_str!("../../../evals/src/health.rs"),
    include_str!("../../../evals/src/health/watch.rs"),
];
const REMEDIES: [&str; 2] =
    [include_str!("../../src/train/rl/gather.rs"), include_str!("../../src/data.rs")];

const RECIPE: &str = r#"
model = { path = "builtin:atom" }
[data]
train = { kind = "arithmetic", count = 90, min_digits = 1, max_digits = 2, operations = ["+"] }
held_out = { kind = "split", count = 5 }
[[stage]]
kind = "rl"
steps = 1
batch = 4
group_size = 2
weighting = { kind = "stare" }
schedule = { kind = "constant", lr = 1e-4 }
"#;

/// What stands between backticks in the texts of a source file, without its comments and tests.
fn quoted(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let mut text = String::new();
    for line in lines {
        // A backslash at the end joins two lines of a text.
        match line.strip_suffix('\\') {
            Some(begun) => text.push_str(begun),
            None => text.extend([line, "\n"]),
        }
    }
    let text = text.replace("\\\"", "\"");
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether `--set` may name `path` below `node`; `stage` has a selector after it.
fn has(root: &Value, node: &Value, path: &[&str]) -> bool {
    if let Some(name) = node["$ref"].as_str() {
        let target = &root["$defs"][name.rsplit('/').next().unwrap()];
        if has(root, target, path) {
            return true;
        }
    }
    let forms = ["anyOf", "oneOf", "allOf"].iter().filter_map(|form| node[form].as_array());
    if forms.flatten().any(|form| has(root, form, path)) {
        return true;
    }
    let [first, rest @ ..] = path else { return true };
    let is_stage = std::ptr::eq(root, node) && *first == "stage";
    let (node, rest) = match node["properties"].get(first) {
        Some(stages) if is_stage => (&stages["items"], rest.get(1..).unwrap_or_default()),
        Some(key) => (key, rest),
        None => return false,
    };
    rest.is_empty() || has(root, node, rest)
}

/// Whether some table of a recipe has the key.
fn anywhere(node: &Value, key: &str) -> bool {
    match node {
        Value::Object(map) => {
            map.get("properties").is_some_and(|own| own.get(key).is_some())
                || map.values().any(|node| anywhere(node, key))
        }
        Value::Array(items) => items.iter().any(|node| anywhere(node, key)),
        _ => false,
    }
}

#[test]
fn every_key_that_a_health_warning_names_exists() {
    let schema: Value = serde_json::from_str(&schema().unwrap()).unwrap();
    let exists = |key: &str| {
        let path: Vec<_> = key.split('.').collect();
        if path.len() == 1 { anywhere(&schema, key) } else { has(&schema, &schema, &path) }
    };
    let mut keys = 0;
    for text in HEALTH.into_iter().flat_map(quoted) {
        let key = text.split(" = ").next().unwrap();
        assert!(exists(key), "a warning names `{key}`, which is no key of a recipe");
        keys += 1;
        if text.contains(" = ") {
            load(&[Layer::text("small", RECIPE)], std::slice::from_ref(&text)).unwrap();
        }
    }
    assert!(keys >= 20, "{keys}");
    for gone in ["stage.rl.weighting.weight", "weighting.reweight_w", "schedule.lr", "weights"] {
        assert!(!exists(gone), "{gone}");
    }
}

#[test]
fn every_remedy_exists() {
    let schema: Value = serde_json::from_str(&schema().unwrap()).unwrap();
    for text in REMEDIES.into_iter().flat_map(quoted).filter(|text| text.contains('.')) {
        let path: Vec<_> = text.split(" = ").next().unwrap().split('.').collect();
        assert!(has(&schema, &schema, &path), "`{text}` is no key of a recipe");
    }
}

/// [`RECIPE`] with a second stage of the same kind, which only a number tells from the first.
fn two_stages() -> String {
    let (_, stage) = RECIPE.split_once("[[stage]]").unwrap();
    let stage = stage.replace("batch = 4", "batch = 4\ndynamic_sampling = { max_batches = 2 }");
    format!("{RECIPE}[[stage]]{stage}")
}

fn set(recipe: &str, setting: &str) -> anyhow::Result<Loaded> {
    load(&[Layer::text("two", recipe)], &[setting.to_owned()])
}

/// The setting that leaves a key of the resolved recipe at its value.
fn as_it_is(recipe: &str, key: &str) -> String {
    let text = load(&[Layer::text("two", recipe)], &[]).unwrap().recipe.to_toml().unwrap();
    let mut value: toml::Value = toml::from_str(&text).unwrap();
    for name in key.split('.') {
        value = match name.parse::<usize>() {
            Ok(index) => value[index].clone(),
            Err(_) => value.get(name).unwrap_or_else(|| panic!("{key}: {text}")).clone(),
        };
    }
    format!("{key}={value}")
}

#[test]
fn the_keys_of_a_warning_are_taken_where_two_stages_are_of_a_kind() {
    let recipe = two_stages();
    let sources = HEALTH.into_iter().chain([include_str!("../../src/train/rl/gather.rs")]);
    let mut keys = 0;
    for text in sources.flat_map(quoted).filter(|text| text.starts_with("stage.")) {
        let act = format!("raise `{text}`, or stop").into();
        let warning = Warning { name: "a", cause: String::new(), act, limit: None }.in_stage(1);
        let said = warning.act.split('`').nth(1).unwrap();
        let whole = |said: &str| match said.split_once(" = ") {
            Some(_) => said.to_owned(),
            None => as_it_is(&recipe, said),
        };
        let setting = whole(said);
        set(&recipe, &setting).unwrap_or_else(|error| panic!("{setting}: {error:#}"));
        // What the sources have stands for any stage of the kind.
        let setting = setting.replacen("stage.1.", "stage.rl.", 1);
        let error = format!("{:#}", set(&recipe, &setting).unwrap_err());
        assert!(error.contains("more than one stage is `rl`"), "{error}");
        keys += 1;
    }
    assert!(keys >= 15, "{keys}");
}

#[test]
fn the_key_that_a_run_records_is_taken_by_its_recipe() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    // No completion of one token ends by itself.
    let (head, stage) = runs::RECIPE.rsplit_once("[[stage]]").unwrap();
    let stage =
        stage.replace("max_new_tokens = 6", "max_new_tokens = 1").replace("= 4\nb", "= 1\nb");
    let recipe = format!("{head}[[stage]]{stage}[[stage]]{stage}");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let lines = read_health(&root.join("health.jsonl")).unwrap().lines;
    let cut: Vec<_> = lines.iter().filter(|line| line.name == "all_truncated").collect();
    let keys: Vec<_> = cut.iter().map(|line| line.key.clone().unwrap()).collect();
    assert_eq!(keys, [1, 2].map(|at| format!("stage.{at}.rollout.max_new_tokens")));
    for line in cut {
        let key = line.key.as_ref().unwrap();
        assert!(line.act.contains(key.as_str()), "{line:?}");
        set(&recipe, &format!("{key}=2")).unwrap();
    }
    let log = fs::read_to_string(root.join("log.txt")).unwrap();
    assert!(log.contains("raise `stage.1.rollout.max_new_tokens`"), "{log}");
    assert!(!log.contains("stage.rl."), "{log}");
}

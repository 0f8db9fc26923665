//! What a message advises to change can be changed: every key that it names is a recipe's, as
//! `--set` takes it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use recipes::config::{Layer, load, schema};
use serde_json::Value;

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
        let path: Vec<_> = text.split('.').collect();
        assert!(has(&schema, &schema, &path), "`{text}` is no key of a recipe");
    }
}

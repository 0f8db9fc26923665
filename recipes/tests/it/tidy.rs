//! The house keeps its rules: layering, file length, no unfinished business, nothing stale.

mod layers;
mod lines;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every room, and the rooms that it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("settings", &[]),
    ("engine", &["kernels", "settings"]),
    ("rollout", &["engine", "settings"]),
    ("rewards", &["settings"]),
    ("optim", &["kernels", "settings"]),
    ("evals", &["engine", "rewards", "rollout", "settings"]),
    ("dash", &["evals", "rewards"]),
    ("recipes", &["dash", "engine", "evals", "kernels", "optim", "rewards", "rollout", "settings"]),
];

/// Rooms without tensors.
const WITHOUT_TENSORS: &[&str] = &["dash", "kernels", "rewards", "settings"];

/// Lines of a file, without its tests.
const LONGEST: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace").into()
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> = ROOMS.iter().map(|(room, _)| root().join(room)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the source tree is readable") {
            let path = entry.expect("the source tree is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("the source tree is readable");
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "the sources are where this test looks");
    found
}

#[test]
fn rooms_use_only_the_rooms_below() {
    let all: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    for (room, allowed) in ROOMS {
        let text = fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let Some(list) = manifest.get(kind).and_then(toml::Value::as_table) else { continue };
            for name in list.keys().map(String::as_str) {
                assert!(
                    !all.contains(name) || allowed.contains(&name),
                    "{room} must not use {name} ({kind}): {room} -> {allowed:?}"
                );
                assert!(
                    !WITHOUT_TENSORS.contains(room) || !name.starts_with("candle"),
                    "{room} knows no tensors, but uses {name}"
                );
            }
        }
    }
}

/// Names of tests are what stands in backticks in the last column, but for files and commands. One
/// that begins with three dots ends the name of a test.
#[test]
fn the_tests_that_architecture_names_exist() {
    let tests: BTreeSet<String> = sources()
        .iter()
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.trim_start().strip_prefix("fn ")?.split_once("()"))
        .map(|(name, _)| name.to_owned())
        .collect();
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, table) = text.split_once("## Invariants").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut named = 0;
    for line in table.lines().filter(|line| line.starts_with('|')) {
        let kept_by = line.trim_end_matches('|').rsplit('|').next().unwrap();
        for name in kept_by.split('`').skip(1).step_by(2) {
            let end = name.strip_prefix("...");
            if end.unwrap_or(name).contains(['.', '/']) {
                continue;
            }
            named += 1;
            let exists = match end {
                Some(end) => tests.iter().any(|test| test.ends_with(end)),
                None => tests.contains(name),
            };
            assert!(exists, "there is no test `{name}`: {line}");
        }
    }
    assert!(named > 40, "the table is where this test looks, found {named} names");
}

#[test]
fn files_are_short_enough_to_be_read() {
    let tests = |path: &Path| path.components().any(|part| part.as_os_str() == "tests");
    for (path, text) in sources() {
        let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = own.lines().count();
        assert!(tests(&path) || lines <= LONGEST, "{} has {lines} lines", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let calls = [["todo", "!("].concat(), ["unimplemented", "!("].concat()];
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let found = marks.iter().chain(&calls).find(|mark| line.contains(mark.as_str()));
            assert_eq!(found, None, "{}:{}", path.display(), number + 1);
        }
    }
}

#[test]
fn no_file_is_called_mod_and_no_module_is_a_bag() {
    for (path, _) in sources() {
        let stem = path.file_stem().unwrap().to_string_lossy();
        let bags = ["mod", "common", "core", "utils", "util", "types", "helpers"];
        assert!(!bags.contains(&stem.as_ref()), "{}", path.display());
    }
}

#[test]
fn the_schema_beside_the_recipes_is_current() {
    let path = root().join("recipes/recipe.schema.json");
    let there = fs::read_to_string(&path).unwrap_or_default();
    let schema = recipes::config::schema().unwrap();
    assert!(there == schema, "regenerate it: stearin schema > recipes/recipe.schema.json");
}

#[test]
fn every_recipe_file_is_shipped_valid_and_points_to_the_schema() {
    let files: BTreeSet<String> = fs::read_dir(root().join("recipes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| Some(name.strip_suffix(".toml")?.to_owned()))
        .filter(|name| name != "Cargo")
        .collect();
    let shipped: BTreeSet<String> =
        recipes::shipped::ALL.iter().map(|shipped| shipped.name.to_owned()).collect();
    assert_eq!(files, shipped);
    for shipped in recipes::shipped::ALL {
        assert!(shipped.text.starts_with("#:schema ./recipe.schema.json\n"), "{}", shipped.name);
        let recipe = recipes::config::Recipe::parse(shipped.name, shipped.text).unwrap();
        assert!(!recipe.about.is_empty(), "{} says what it shows", shipped.name);
    }
}

#[test]
fn every_metric_key_in_the_code_is_declared() {
    let keys = BTreeSet::from(["set(\"", "set_opt(\""]);
    for (path, text) in sources() {
        if !path.starts_with(root().join("recipes/src")) {
            continue;
        }
        for call in &keys {
            for rest in text.split(call).skip(1) {
                let key = rest.split('"').next().unwrap_or_default();
                let is_key = key.contains('/') && !key.contains('{');
                assert!(
                    !is_key || evals::metrics::spec(key).is_some(),
                    "{}: the metric {key} is not in the table of evals",
                    path.display()
                );
            }
        }
    }
}

/// Serde's own tagged enums lose the place of a mistake, and take any key beside the tag of a unit
/// variant; `settings::tagged!` does neither.
#[test]
fn every_setting_of_several_kinds_is_read_by_the_one_reader() {
    let mut tagged = 0;
    for (path, text) in sources() {
        tagged += text.matches("settings::tagged!(").count();
        for (start, _) in text.match_indices("#[serde(tag = ") {
            let derives = text[..start].lines().rev().find(|line| line.starts_with("#[derive("));
            // Files of the record have a schema as well, and people do not write them.
            let is_setting = derives.is_some_and(|line| line.contains("JsonSchema"))
                && !path.starts_with(root().join("evals/src/run"));
            assert!(!is_setting, "{}: use `settings::tagged!`", path.display());
        }
    }
    assert!(tagged > 15, "the settings are where this test looks, found {tagged}");
}

//! What the results of an evaluation depend on: the file `eval.toml` of its directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};

use anyhow::{Context as _, Result};
use evals::PromptStyle;
use evals::run::Files;
use rollout::Sampling;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::config::{DTypeChoice, DeviceChoice, LONGEST_SET_NAME};
use crate::identity::sha256;
use crate::printable::excerpt;

/// What results depend on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Version of this file.
    pub format: u32,
    /// The model, as the command named it.
    pub model: String,
    /// The adapter on it, as the command named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Name of the settings that it began with.
    pub protocol: String,
    /// Name of the prompt style.
    pub style: String,
    /// Whether the likeliest completion is judged besides.
    pub greedy: bool,
    /// Seed of the draws.
    pub seed: u64,
    /// Where the model runs.
    pub device: DeviceChoice,
    /// In what it computes.
    pub dtype: DTypeChoice,
    /// How completions are drawn.
    pub sampling: Sampling,
    /// How problems become prompts.
    pub prompt: PromptStyle,
    /// SHA-256 of the files of the model and its adapter; none of a model that is made on the spot.
    pub files: BTreeMap<String, String>,
    /// What is judged.
    #[serde(rename = "set")]
    pub sets: Vec<SetSettings>,
}

/// One set of problems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSettings {
    /// Its name.
    pub name: String,
    /// Problems that are judged.
    #[serde(rename = "problems", alias = "asked")]
    pub asked: usize,
    /// Completions of each.
    pub samples: usize,
    /// What judges them.
    pub criterion: String,
    /// SHA-256 of all its rows.
    pub sha256: String,
}

impl Settings {
    /// The file.
    ///
    /// # Errors
    ///
    /// Fails on a number that TOML does not have.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("writing the settings as TOML")
    }

    /// Eight hexadecimal digits that other settings do not have.
    ///
    /// # Errors
    ///
    /// Fails where [`Settings::to_toml`] does.
    pub fn short(&self) -> Result<String> {
        let text = toml::to_string(&self.table()?).context("writing the settings as TOML")?;
        Ok(sha256(text.as_bytes())[..8].to_owned())
    }

    /// The keys that differ from the settings `then`, each with both values, as `eval.toml` has
    /// them.
    ///
    /// # Errors
    ///
    /// Fails where [`Settings::to_toml`] does.
    pub fn changes_since(&self, then: &Self) -> Result<Vec<String>> {
        Ok(self.changes(then)?.iter().map(Change::to_string).collect())
    }

    /// The keys that differ from the settings `then`.
    ///
    /// # Errors
    ///
    /// Fails where [`Settings::to_toml`] does.
    pub(super) fn changes(&self, then: &Self) -> Result<Vec<Change>> {
        // A set that only one has is one change, not one for each of its keys.
        let has = |settings: &Self, name: &str| settings.sets.iter().any(|set| set.name == name);
        let only = |one: &Self, other: &Self| -> Vec<_> {
            let sets = one.sets.iter().filter(|set| !has(other, &set.name));
            sets.map(|set| (vec!["set".to_owned(), set.name.clone()], true.into())).collect()
        };
        let was = |(path, value)| Change { path, was: Some(value), is: None };
        let is = |(path, value)| Change { path, was: None, is: Some(value) };
        let mut changes: Vec<_> = only(then, self).into_iter().map(was).collect();
        changes.extend(only(self, then).into_iter().map(is));
        let common = |one: &Self, other: &Self| -> Result<Value> {
            let mut one = one.clone();
            one.sets.retain(|set| has(other, &set.name));
            Ok(Value::Table(one.table()?))
        };
        let (mut was, mut is) = (BTreeMap::new(), BTreeMap::new());
        flatten(&[], &common(then, self)?, &mut was);
        flatten(&[], &common(self, then)?, &mut is);
        let mut keys: Vec<_> = was.keys().chain(is.keys()).cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        let all = keys.into_iter().map(|path| Change {
            was: was.get(&path).cloned(),
            is: is.get(&path).cloned(),
            path,
        });
        changes.extend(all.filter(|change| change.was != change.is));
        Ok(changes)
    }

    /// What no evaluation has written: a damage, or another's doing.
    pub(super) fn problem(&self) -> Option<String> {
        let mut names = BTreeSet::new();
        self.sets.iter().find_map(|SetSettings { name, samples, asked, .. }| {
            let is_name = name.len() <= LONGEST_SET_NAME
                && !name.starts_with('.')
                && Path::new(name).components().eq([Component::Normal(name.as_ref())]);
            if !is_name {
                return Some(format!("set `{}`: expected a name of a file", excerpt(name, 60)));
            }
            if !names.insert(name) {
                return Some(format!("set `{name}` is there twice"));
            }
            (*samples == 0 || *asked == 0).then(|| {
                format!(
                    "set `{name}`: expected problems and completions, got {asked} and {samples}"
                )
            })
        })
    }

    /// What is compared: a model with files is what they hold, wherever it lies. So is an adapter.
    fn table(&self) -> Result<Table> {
        let mut table = Table::try_from(self).context("writing the settings as TOML")?;
        let has = |what: &str| self.files.keys().any(|name| name.split('/').next() == Some(what));
        if has(Files::MODEL) {
            table.remove("model");
        }
        if has(Files::ADAPTER) {
            table.remove("adapter");
        }
        Ok(table)
    }

    /// The model with its adapter, for people.
    pub fn shown(&self) -> String {
        let Self { model, adapter, .. } = self;
        adapter.as_ref().map_or_else(|| model.clone(), |own| format!("{model} with {own}"))
    }
}

/// A key of `eval.toml` whose value differs. A set that only one has is `set` and its name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// The key, part by part; a set is named by its name.
    pub(super) path: Vec<String>,
    /// The value then; none where there was none.
    pub(super) was: Option<Value>,
    /// The value now.
    pub(super) is: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.path.join(".");
        if matches!(self.path.as_slice(), [set, _] if set == "set") {
            let place = if self.was.is_some() { "then, not now" } else { "now, not then" };
            return write!(f, "{key}: {place}");
        }
        let or_none = |value: &Option<Value>| {
            value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string)
        };
        write!(f, "{key}: {} then, {} now", or_none(&self.was), or_none(&self.is))
    }
}

fn flatten(path: &[String], value: &Value, leaves: &mut BTreeMap<Vec<String>, Value>) {
    let within = |key: &str| [path, &[key.to_owned()]].concat();
    match value {
        Value::Table(table) => {
            table.iter().for_each(|(key, value)| flatten(&within(key), value, leaves));
        }
        Value::Array(values) if values.iter().any(Value::is_table) => {
            for value in values {
                let name = value.get("name").and_then(Value::as_str).unwrap_or_default();
                flatten(&within(name), value, leaves);
            }
        }
        leaf => drop(leaves.insert(path.to_vec(), leaf.clone())),
    }
}

/// The last part of a model's name, as it may stand in the name of a folder.
pub fn model_name(model: &str) -> String {
    let last = model.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let stem = Path::new(last);
    let stem = match stem.extension() {
        Some(extension) if extension == "gguf" => stem.with_extension(""),
        _ => stem.to_owned(),
    };
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = stem.to_string_lossy().chars().map(plain).collect();
    if name.trim_matches('.').is_empty() { "model".to_owned() } else { name }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::eval) fn settings() -> Settings {
        Settings {
            format: 2,
            model: "builtin:tiny".into(),
            adapter: None,
            protocol: "paper".into(),
            style: "plain".into(),
            greedy: true,
            seed: 1,
            device: DeviceChoice::Cpu,
            dtype: DTypeChoice::F32,
            sampling: Sampling::default(),
            prompt: evals::benchmark::styles()["r1-zero"].clone(),
            files: BTreeMap::new(),
            sets: vec![SetSettings {
                name: "arithmetic".into(),
                asked: 4,
                samples: 4,
                criterion: "math".into(),
                sha256: "0".into(),
            }],
        }
    }

    #[test]
    fn the_file_is_read_back() {
        let text = settings().to_toml().unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings());
    }

    #[test]
    fn names_that_lead_elsewhere_and_sets_without_problems_are_no_settings() {
        assert_eq!(settings().problem(), None);
        let with = |change: &dyn Fn(&mut Settings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.problem().unwrap_or_default()
        };
        for name in ["../../esc", "/etc/x", "", ".hidden", "a/b", &"x".repeat(201)] {
            let said = with(&|settings| settings.sets[0].name = name.to_owned());
            assert!(said.contains("expected a name of a file"), "{name}: {said}");
        }
        let twice = with(&|settings| settings.sets.push(settings.sets[0].clone()));
        assert_eq!(twice, "set `arithmetic` is there twice");
        assert!(with(&|settings| settings.sets[0].samples = 0).contains("got 4 and 0"));
    }

    #[test]
    fn what_differs_is_named() {
        let then = settings();
        let mut now = settings();
        assert_eq!(now.changes_since(&then).unwrap(), [""; 0]);
        now.sampling.temperature = 0.5;
        now.sets[0].samples = 8;
        assert_eq!(
            now.changes_since(&then).unwrap(),
            ["sampling.temperature: 1.0 then, 0.5 now", "set.arithmetic.samples: 4 then, 8 now"]
        );
        assert_ne!(now.short().unwrap(), then.short().unwrap());
    }

    #[test]
    fn a_set_that_only_one_has_is_one_line() {
        let (then, mut now) = (settings(), settings());
        now.sets[0].name = "arithmetic.2".into();
        assert_eq!(
            now.changes_since(&then).unwrap(),
            ["set.arithmetic: then, not now", "set.arithmetic.2: now, not then"]
        );
    }

    #[test]
    fn a_model_is_what_its_files_hold() {
        let mut then = settings();
        then.files.insert("model".into(), "ab".into());
        let mut now = then.clone();
        now.model = "elsewhere/model.gguf".into();
        assert_eq!(now.changes_since(&then).unwrap(), [""; 0]);
        assert_eq!(now.short().unwrap(), then.short().unwrap());
        now.files.insert("model".into(), "cd".into());
        assert_eq!(now.changes_since(&then).unwrap(), ["files.model: \"ab\" then, \"cd\" now"]);
    }

    #[test]
    fn an_adapter_is_what_its_files_hold_and_its_model_stays() {
        let mut then = settings();
        then.adapter = Some("runs/a".into());
        then.files.insert("adapter/adapter_model.safetensors".into(), "ab".into());
        assert_eq!(then.shown(), "builtin:tiny with runs/a");
        let mut now = then.clone();
        now.adapter = Some("elsewhere".into());
        assert_eq!(now.changes_since(&then).unwrap(), [""; 0]);
        now.model = "builtin:atom".into();
        now.files.insert("adapter/adapter_model.safetensors".into(), "cd".into());
        assert_eq!(
            now.changes_since(&then).unwrap(),
            [
                "files.adapter/adapter_model.safetensors: \"ab\" then, \"cd\" now",
                "model: \"builtin:tiny\" then, \"builtin:atom\" now"
            ]
        );
    }

    #[test]
    fn a_model_has_a_name_that_a_folder_may_have() {
        for (model, name) in [
            ("builtin:tiny", "tiny"),
            ("models/smollm2-135m.gguf", "smollm2-135m"),
            ("hf://Qwen/Qwen2.5-Math-1.5B", "Qwen2.5-Math-1.5B"),
            ("runs/a b/", "a-b"),
            ("..", "model"),
        ] {
            assert_eq!(model_name(model), name, "{model}");
        }
    }
}

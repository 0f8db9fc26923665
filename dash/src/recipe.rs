//! Resolved recipes: their stages, and how two of them differ.

use std::path::Path;

use evals::run::{Problem, Seen, read_text};
use serde::Serialize;
use toml::{Table, Value};

use crate::watched::Watched;

/// Files with the settings of a run: those of a training, those of an evaluation.
const NAMES: [&str; 2] = ["recipe.toml", "eval.toml"];
/// Longest of them, in bytes.
const LONGEST: u64 = 1 << 20;

/// The settings of a run as they were read last.
#[derive(Debug, Default)]
pub(crate) struct Recipe {
    seen: Vec<Seen>,
    /// As text, whether or not it is TOML.
    pub(crate) text: Option<String>,
    pub(crate) table: Table,
    /// Why there is none.
    pub(crate) problem: Option<Problem>,
}

impl Recipe {
    /// Reads the settings of the run at `root`, unless the files are those that were read.
    pub(crate) fn read(&mut self, root: &Path) {
        let paths = NAMES.map(|name| root.join(name));
        let seen: Vec<_> = paths.iter().map(|path| Seen::of(path)).collect();
        if seen == self.seen {
            return;
        }
        *self = Self { seen, ..Self::default() };
        for path in &paths {
            match read_text(path, LONGEST) {
                Ok(None) => {}
                Ok(Some(text)) => {
                    match text.parse() {
                        Ok(table) => self.table = table,
                        Err(error) => self.problem = Some(not_toml(path, &error)),
                    }
                    self.text = Some(text);
                    return;
                }
                Err(problem) => {
                    self.problem = Some(problem);
                    return;
                }
            }
        }
    }
}

fn not_toml(path: &Path, error: &toml::de::Error) -> Problem {
    Problem {
        file: path.display().to_string(),
        line: None,
        reason: format!("expected TOML: {}", error.message()),
        act: "restore the file from a copy; stages and differences of settings are not shown"
            .into(),
    }
}

/// A stage, with its first and its last step.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Stage {
    name: String,
    kind: String,
    from: u64,
    to: u64,
}

/// The stages of a recipe; none of a table that is no recipe.
pub(crate) fn stages(recipe: &Table) -> Vec<Stage> {
    let stages = recipe.get("stage").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut done = 0_u64;
    let mut stage = |stage: &Value| {
        let text = |key: &str| stage.get(key).and_then(Value::as_str).map(str::to_owned);
        let steps = stage.get("steps").and_then(Value::as_integer).unwrap_or(0);
        let from = done + 1;
        done = done.saturating_add(u64::try_from(steps).unwrap_or(0));
        let kind = text("kind").unwrap_or_default();
        Stage { name: text("name").unwrap_or_else(|| kind.clone()), kind, from, to: done }
    };
    stages.iter().map(&mut stage).collect()
}

/// A setting or fact that two runs do not share; null where one has none.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    key: String,
    a: Option<String>,
    b: Option<String>,
}

/// A setting or fact and its value.
type Setting = (String, String);

/// What differs between the settings and facts of two runs.
pub(crate) fn differences(a: &[Setting], b: &[Setting]) -> Vec<Difference> {
    let find = |of: &[Setting], key: &str| {
        of.iter().find(|(own, _)| own == key).map(|(_, value)| value.clone())
    };
    let only_b = b.iter().filter(|(key, _)| find(a, key).is_none());
    let keys = a.iter().chain(only_b).map(|(key, _)| key);
    keys.map(|key| Difference { key: key.clone(), a: find(a, key), b: find(b, key) })
        .filter(|one| one.a != one.b)
        .collect()
}

/// The settings of a run, and the facts that its numbers depend on.
pub(crate) fn flat(run: &Watched) -> Vec<Setting> {
    let mut found = Vec::new();
    flatten("", &Value::Table(run.recipe().table.clone()), &mut found);
    if let Some(facts) = &run.run.facts {
        let model = facts.model.as_ref().map(|model| model.path.clone());
        found.push(("stearin".into(), facts.stearin.clone()));
        found.push(("commit".into(), facts.commit.clone()));
        found.push(("device".into(), facts.device.clone()));
        found.extend(model.map(|path| ("the model's path".into(), path)));
        let files = facts.files.iter().flat_map(|files| &files.0);
        found.extend(files.map(|(name, digest)| (name.clone(), digest.sha256.clone())));
    }
    found
}

fn flatten(path: &str, value: &Value, found: &mut Vec<Setting>) {
    let within = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Table(table) => {
            table.iter().for_each(|(key, value)| flatten(&within(key), value, found));
        }
        Value::Array(values) if values.iter().any(Value::is_table) => {
            let numbered = values.iter().enumerate();
            numbered.for_each(|(at, value)| flatten(&format!("{path}[{at}]"), value, found));
        }
        leaf => found.push((path.to_owned(), leaf.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_follow_one_another() {
        let recipe = "[[stage]]\nkind = \"sft\"\nsteps = 2\n[[stage]]\nkind = \"rl\"\nname = \"grpo\"\nsteps = 4\n";
        let stage = |name: &str, kind: &str, from, to| Stage {
            name: name.into(),
            kind: kind.into(),
            from,
            to,
        };
        let stages = |text: &str| stages(&text.parse().unwrap());
        assert_eq!(stages(recipe), [stage("sft", "sft", 1, 2), stage("grpo", "rl", 3, 6)]);
        assert_eq!(stages("stage = 3"), []);
    }

    #[test]
    fn lists_of_tables_are_numbered() {
        let table: Table =
            "a = [1, 2]\n[[stage]]\nsteps = 1\n[stage.loss]\nkl = 0.1\n".parse().unwrap();
        let mut found = Vec::new();
        flatten("", &Value::Table(table), &mut found);
        let found: Vec<_> = found.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(found, ["a=[1, 2]", "stage[0].steps=1", "stage[0].loss.kl=0.1"]);
    }
}

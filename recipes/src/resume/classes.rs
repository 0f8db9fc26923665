//! What a change of each setting does to a run that goes on.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use evals::run::{Change, Class};
use toml::{Table, Value};

use crate::printable::counted;
use crate::run_dir::TrainerState;

/// A change, and why it is impossible or what else there is to know.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) change: Change,
    pub(super) note: Option<String>,
}

/// Settings of a stage whose kind has a state in the checkpoint.
const WITH_STATE: [&str; 3] = ["weighting", "entropy_bonus", "optim"];
/// Settings of a stage that compare with its reference.
const KL_TERMS: [&str; 2] = ["loss.kl", "reward_kl"];

/// What differs between two recipes, for a run that stands at `state`.
pub(super) fn differences(
    then: &str,
    now: &str,
    state: Option<&TrainerState>,
) -> Result<Vec<Difference>> {
    let (then, now) = (Recipe::read(then)?, Recipe::read(now)?);
    let (then, now) = (then.with_kinds(&now), now.with_kinds(&then));
    let mut keys: Vec<_> = then.leaves.keys().chain(now.leaves.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let place = Place::of(&then, state);
    let is_of_kind = |key: &String| {
        let is_one_sided = then.leaves.contains_key(key) != now.leaves.contains_key(key);
        is_one_sided && changed_kind(key, &then, &now)
    };
    keys.retain(|key| !is_of_kind(key));
    let differing = keys.into_iter().filter(|key| then.leaves.get(*key) != now.leaves.get(*key));
    let json = |value: Option<&Value>| value.map(serde_json::to_value).transpose();
    differing
        .map(|key| {
            let (class, note) = place.class(key, &then, &now);
            let (then, now) = (json(then.leaves.get(key))?, json(now.leaves.get(key))?);
            Ok(Difference { change: Change { key: key.clone(), class, then, now }, note })
        })
        .collect()
}

/// Steps of a resolved recipe, over all stages.
pub(super) fn total_steps(recipe: &str) -> Result<u64> {
    let recipe = Recipe::read(recipe)?;
    let mut steps = (0..).map(|stage| recipe.steps(stage)).take_while(|steps| *steps > 0);
    Ok(steps.by_ref().fold(0, u64::saturating_add))
}

/// The last stage of a resolved recipe, counted from 0, and its steps.
pub(super) fn last_stage(recipe: &str) -> Result<(usize, u64)> {
    let recipe = Recipe::read(recipe)?;
    let stage = |key: &String| key.strip_prefix("stage.")?.strip_suffix(".steps")?.parse().ok();
    let last = recipe.leaves.keys().filter_map(stage).max().unwrap_or(0);
    Ok((last, recipe.steps(last)))
}

/// The values of a resolved recipe by their keys.
struct Recipe {
    leaves: BTreeMap<String, Value>,
}

impl Recipe {
    fn read(text: &str) -> Result<Self> {
        let mut leaves = BTreeMap::new();
        let table: Table = text.parse().context("reading recipe.toml")?;
        flatten("", Value::Table(table), &mut leaves);
        // Recipes of runs that began before there were adapters do not have the key.
        if !leaves.keys().any(|key| key == "model.adapter" || key.starts_with("model.adapter.")) {
            leaves.insert("model.adapter".to_owned(), "off".into());
        }
        // Nor what an RL stage looks back at, which was the policy of its start.
        let is_rl = |(key, kind): (&String, &Value)| {
            let stage =
                key.strip_suffix(".kind").filter(|stage| stage.matches('.').count() == 1)?;
            (stage.starts_with("stage.") && kind.as_str() == Some("rl")).then(|| stage.to_owned())
        };
        for stage in leaves.iter().filter_map(is_rl).collect::<Vec<_>>() {
            let key = format!("{stage}.reference");
            if !leaves.contains_key(&key) && !leaves.contains_key(&format!("{key}.kind")) {
                leaves.insert(key, "start".into());
            }
        }
        Ok(Self { leaves })
    }

    /// The same, with names that are tables in `other` as the kind of a table: `"off"` is a kind.
    fn with_kinds(&self, other: &Self) -> Self {
        let full = |(key, value): (&String, &Value)| {
            let kind = format!("{key}.kind");
            let is_name = value.is_str() && other.leaves.contains_key(&kind);
            (if is_name { kind } else { key.clone() }, value.clone())
        };
        Self { leaves: self.leaves.iter().map(full).collect() }
    }

    fn steps(&self, stage: usize) -> u64 {
        let steps = self.leaves.get(&format!("stage.{stage}.steps")).and_then(Value::as_integer);
        steps.and_then(|steps| u64::try_from(steps).ok()).unwrap_or(0)
    }
}

fn flatten(path: &str, value: Value, leaves: &mut BTreeMap<String, Value>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Table(table) => {
            table.into_iter().for_each(|(key, value)| flatten(&below(&key), value, leaves));
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            let items = items.into_iter().enumerate();
            items.for_each(|(at, value)| flatten(&below(&at.to_string()), value, leaves));
        }
        leaf => {
            leaves.insert(path.to_owned(), leaf);
        }
    }
}

/// Whether a key is in a table whose kind is another: the line about the kind is enough.
fn changed_kind(key: &str, then: &Recipe, now: &Recipe) -> bool {
    let tables = key.match_indices('.').map(|(at, _)| format!("{}.kind", &key[..at]));
    let mut kinds = tables.map(|kind| (then.leaves.get(&kind), now.leaves.get(&kind)));
    kinds.any(|(then, now)| then.is_some() && now.is_some() && then != now)
}

/// Where a run stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Stage of its last step.
    stage: usize,
    /// Steps done in that stage; 0 before the first step of the run.
    done: u64,
}

impl Place {
    fn of(then: &Recipe, state: Option<&TrainerState>) -> Self {
        let (step, stage) = state.map_or((0, 0), |state| (state.step, state.stage));
        let before: u64 = (0..stage).map(|stage| then.steps(stage)).sum();
        Self { stage, done: step.saturating_sub(before) }
    }

    /// Whether the run has done a step.
    fn has_begun(self) -> bool {
        self.stage > 0 || self.done > 0
    }

    fn class(self, key: &str, then: &Recipe, now: &Recipe) -> (Class, Option<String>) {
        let (first, rest) = key.split_once('.').unwrap_or((key, ""));
        let other_model = "the weights and their tokenizer are of another model";
        let other_adapter = "the adapter in the checkpoints is another one";
        match first {
            "name" | "about" | "threads" | "checkpoint" | "record" | "eval" => (Class::Free, None),
            "model" if rest == "base" => (Class::Free, None),
            "model" if rest == "adapter.from" && self.has_begun() => {
                (Class::Free, Some("the adapter in the checkpoints is the run's own".into()))
            }
            "model" if rest.starts_with("adapters.") => {
                (Class::Free, Some("its files are compared by themselves".into()))
            }
            "model" if rest.starts_with("adapter") => {
                (Class::Impossible, Some(other_adapter.into()))
            }
            "model" if rest != "device" => (Class::Impossible, Some(other_model.into())),
            "stage" => {
                let (index, setting) = rest.split_once('.').unwrap_or((rest, ""));
                let Ok(index) = index.parse() else { return (Class::Changing, None) };
                self.class_in_stage(index, setting, then, now)
            }
            _ => (Class::Changing, None),
        }
    }

    fn class_in_stage(
        self,
        index: usize,
        setting: &str,
        then: &Recipe,
        now: &Recipe,
    ) -> (Class, Option<String>) {
        let impossible = |reason: String| (Class::Impossible, Some(reason));
        let (before, after) = (then.steps(index), now.steps(index));
        let begun = index == self.stage && self.done > 0;
        let is_done = index < self.stage || (begun && self.done >= before && after <= before);
        let name = setting.strip_suffix(".kind").unwrap_or(setting);
        match setting {
            "steps" if begun && after < self.done => {
                impossible(format!("the stage has done {}", counted(self.done, "step")))
            }
            _ if is_done => impossible("the stage is done".into()),
            "slots" => (Class::Free, None),
            "steps" if after > before => (Class::Free, longer(index, then)),
            "kind" if begun => impossible("the stage has begun".into()),
            _ if begun && WITH_STATE.contains(&name) => {
                impossible("its state in the checkpoint is of another kind".into())
            }
            _ if begun && is_reference(setting) && !has_reference(index, then) => {
                (Class::Free, Some("no KL term looks back at it".into()))
            }
            _ if begun && name == "reference" => {
                impossible("the stage has begun with the other reference".into())
            }
            _ if begun && KL_TERMS.contains(&name) && !has_reference(index, then) => {
                impossible("the stage has begun without a reference to look back at".into())
            }
            _ => (Class::Changing, None),
        }
    }
}

/// What more steps do to the learning rate, where they do.
fn longer(index: usize, then: &Recipe) -> Option<String> {
    let key = format!("stage.{index}.schedule.kind");
    let kind = then.leaves.get(&key).and_then(Value::as_str)?;
    let note = format!("its {kind} schedule is spread over more steps from here on");
    Some(note).filter(|_| kind != "constant")
}

/// Whether a setting of a stage says what its KL terms look back at.
fn is_reference(setting: &str) -> bool {
    setting.split('.').next() == Some("reference")
}

/// Whether the stage had a reference.
fn has_reference(index: usize, then: &Recipe) -> bool {
    let is_on = |term: &&str| {
        let keys = ["", ".kind"].map(|end| format!("stage.{index}.{term}{end}"));
        let mut found = keys.iter().filter_map(|key| then.leaves.get(key)?.as_str());
        found.next().is_some_and(|kind| kind != "off")
    };
    KL_TERMS.iter().any(is_on)
}

#[cfg(test)]
mod tests;

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
/// Settings of a stage that compare with the weights of its start.
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
        if !leaves.keys().any(|key| key.starts_with("model.adapter")) {
            leaves.insert("model.adapter".to_owned(), "off".into());
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
            _ if begun && KL_TERMS.contains(&name) && !has_reference(index, then) => impossible(
                "the weights of the stage's start, to look back at, were not kept".into(),
            ),
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

/// Whether the weights of the stage's start were kept.
fn has_reference(index: usize, then: &Recipe) -> bool {
    let is_on = |term: &&str| {
        let keys = ["", ".kind"].map(|end| format!("stage.{index}.{term}{end}"));
        let mut found = keys.iter().filter_map(|key| then.leaves.get(key)?.as_str());
        found.next().is_some_and(|kind| kind != "off")
    };
    KL_TERMS.iter().any(is_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = r#"
        name = "a"
        seed = 1
        model = { path = "m", dtype = "f32", device = "cpu" }
        eval = { every = 2, rewards = [{ kind = "math" }] }
        checkpoint = { every = 1 }
        record = { tokens_every = 1 }

        [[stage]]
        kind = "sft"
        steps = 3
        batch = 4

        [[stage]]
        kind = "rl"
        steps = 6
        slots = 8
        loss = { kl = { kind = "off" } }
        reward_kl = "off"
        weighting = { kind = "uniform" }
        schedule = { kind = "linear", lr = 0.1 }

        [[stage]]
        kind = "rl"
        steps = 2
        weighting = { kind = "uniform" }
        schedule = { kind = "constant", lr = 0.1 }
    "#;

    fn state(step: u64, stage: usize) -> TrainerState {
        TrainerState { step, stage, ..TrainerState::start() }
    }

    fn found(changes: &[(&str, &str)], state: Option<&TrainerState>) -> Vec<Difference> {
        let mut now = THEN.to_owned();
        for (old, new) in changes {
            assert!(now.contains(old), "{old}");
            now = now.replacen(old, new, 1);
        }
        differences(THEN, &now, state).unwrap()
    }

    fn class(old: &str, new: &str, state: Option<&TrainerState>) -> Class {
        let found = found(&[(old, new)], state);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].change.class
    }

    /// In the second stage, after two of its steps.
    fn under_way() -> TrainerState {
        state(5, 1)
    }

    #[test]
    fn what_changes_no_step_is_free() {
        for (old, new) in [
            ("name = \"a\"", "name = \"b\""),
            ("every = 2", "every = 3"),
            ("kind = \"math\"", "kind = \"countdown\""),
            ("checkpoint = { every = 1 }", "checkpoint = { every = 9 }"),
            ("tokens_every = 1", "tokens_every = 0"),
            ("slots = 8", "slots = 9"),
            ("steps = 6", "steps = 7"),
            ("steps = 2", "steps = 7"),
        ] {
            assert_eq!(class(old, new, Some(&under_way())), Class::Free, "{new}");
        }
        let longer = found(&[("steps = 6", "steps = 7")], Some(&under_way()));
        assert!(longer[0].note.as_ref().unwrap().contains("linear schedule"), "{longer:?}");
        let longer = found(&[("steps = 2", "steps = 7")], Some(&under_way()));
        assert_eq!(longer[0].note, None, "a constant rate does not know the end");
    }

    #[test]
    fn what_changes_the_steps_to_come_is_changing() {
        for (old, new) in [
            ("seed = 1", "seed = 2"),
            ("device = \"cpu\"", "device = \"cuda\""),
            ("kind = \"linear\", lr = 0.1", "kind = \"linear\", lr = 0.2"),
            ("kind = \"linear\"", "kind = \"cosine\""),
            ("slots = 8", "slots = 8\n        batch = 3"),
            ("steps = 6", "steps = 5"),
            ("steps = 6", "steps = 2"),
            ("kind = \"constant\"", "kind = \"linear\""),
        ] {
            assert_eq!(class(old, new, Some(&under_way())), Class::Changing, "{new}");
        }
    }

    #[test]
    fn what_a_run_cannot_go_on_with_is_impossible() {
        for (old, new) in [
            ("path = \"m\"", "path = \"n\""),
            ("dtype = \"f32\"", "dtype = \"bf16\""),
            ("batch = 4", "batch = 5"),
            ("steps = 3", "steps = 4"),
            ("steps = 6", "steps = 1"),
            ("kind = \"uniform\"", "kind = \"stare\""),
            ("kind = \"off\"", "kind = \"k3\""),
            ("kind = \"rl\"", "kind = \"sft\""),
        ] {
            let found = found(&[(old, new)], Some(&under_way()));
            assert_eq!(found[0].change.class, Class::Impossible, "{new}");
            assert!(found[0].note.is_some(), "{new}: it says why");
        }
    }

    #[test]
    fn an_adapter_stays_as_it_is_and_how_its_base_is_held_is_free() {
        let model = "model = { path = \"m\", dtype = \"f32\", device = \"cpu\" }";
        let with = |more: &str| {
            let all =
                format!("model = {{ path = \"m\", dtype = \"f32\", device = \"cpu\"{more} }}");
            THEN.replace(model, &all)
        };
        assert!(THEN.contains(model));
        let adapter = ", base = \"f32\", adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }";
        let classes = |then: &str, now: &str| -> Vec<_> {
            let found = differences(then, now, Some(&under_way())).unwrap();
            found.into_iter().map(|one| (one.change.key, one.change.class)).collect()
        };
        let then = with(adapter);
        let stored = with(&adapter.replace("\"f32\"", "\"as-stored\""));
        assert_eq!(classes(&then, &stored), [("model.base".to_owned(), Class::Free)]);
        let other = with(&adapter.replace("rank = 4", "rank = 8"));
        assert_eq!(classes(&then, &other), [("model.adapter.rank".to_owned(), Class::Impossible)]);
        let [from, other] = ["a", "b"]
            .map(|name| with(&format!(", adapter = {{ kind = \"lora\", from = {name:?} }}")));
        let from_is = |class| vec![("model.adapter.from".to_owned(), class)];
        assert_eq!(classes(&from, &other), from_is(Class::Free), "it is not read again");
        let found = differences(&from, &other, None).unwrap();
        assert_eq!(found[0].change.class, Class::Impossible, "the run starts from it");
        let off = with(", adapter = \"off\"");
        assert_eq!(classes(THEN, &off), [], "as before there were adapters");
        let kind = || ("model.adapter.kind".to_owned(), Class::Impossible);
        assert_eq!(classes(&off, &with(&adapter[14..])), [kind()]);
        assert_eq!(classes(&with(&adapter[14..]), THEN), [kind()]);
    }

    #[test]
    fn the_class_depends_on_where_the_run_stands() {
        let kl = ("kind = \"off\"", "kind = \"k3\"");
        assert_eq!(class(kl.0, kl.1, None), Class::Changing);
        assert_eq!(class(kl.0, kl.1, Some(&state(3, 0))), Class::Changing, "it has not begun");
        assert_eq!(class(kl.0, kl.1, Some(&state(4, 1))), Class::Impossible);
        assert_eq!(class("batch = 4", "batch = 5", Some(&state(2, 0))), Class::Changing);
        assert_eq!(class("batch = 4", "batch = 5", Some(&state(3, 0))), Class::Impossible);
        // A stage that is done, of a run that is done, goes on with more steps.
        let done = state(11, 2);
        assert_eq!(class("steps = 2", "steps = 4", Some(&done)), Class::Free);
        let both = found(
            &[("steps = 2", "steps = 4"), ("kind = \"constant\"", "kind = \"linear\"")],
            Some(&done),
        );
        assert!(both.iter().all(|one| one.change.class != Class::Impossible), "{both:?}");
    }

    #[test]
    fn a_kl_in_the_reward_needs_the_weights_of_the_stages_start() {
        let classes = |then: &str, state: &TrainerState| {
            let now = then.replace("reward_kl = \"off\"", "reward_kl = { kind = \"k1\" }");
            let found = differences(then, &now, Some(state)).unwrap();
            found.into_iter().map(|one| one.change.class).collect::<Vec<_>>()
        };
        assert_eq!(classes(THEN, &state(3, 0)), [Class::Changing], "it has not begun");
        assert_eq!(classes(THEN, &state(4, 1)), [Class::Impossible]);
        let kept = THEN.replace("kind = \"off\"", "kind = \"k3\"");
        assert_eq!(classes(&kept, &state(4, 1)), [Class::Changing], "the loss had them kept");
        let kept = THEN.replace("reward_kl = \"off\"", "reward_kl = { kind = \"k1\" }");
        let now = kept.replace("kind = \"off\"", "kind = \"k3\"");
        let found = differences(&kept, &now, Some(&state(4, 1))).unwrap();
        let found: Vec<_> = found.into_iter().map(|one| one.change.class).collect();
        assert_eq!(found, [Class::Changing], "the reward had them kept");
    }

    #[test]
    fn another_kind_is_one_line() {
        let told = |then: &str, now: &str| {
            let found = differences(then, now, None).unwrap();
            found.iter().map(|one| one.change.to_string()).collect::<Vec<_>>()
        };
        let linear = "{ kind = \"linear\", lr = 0.1 }";
        let to = |schedule: &str| told(THEN, &THEN.replace(linear, schedule));
        let kind = "stage.1.schedule.kind: \"linear\" then, \"cosine\" now";
        let cosine = "{ kind = \"cosine\", lr = 0.1, warmup = 3, min_ratio = 0.1 }";
        assert_eq!(to(cosine), [kind]);
        let lr = "stage.1.schedule.lr: 0.1 then, 0.2 now";
        assert_eq!(to(&cosine.replace("0.1, w", "0.2, w")), [kind, lr], "both kinds have it");
        let kind = "kl = { kind = \"off\" }";
        assert!(THEN.contains(linear) && THEN.contains(kind));
        let then = THEN.replace(kind, "kl = \"off\"");
        let now = THEN.replace(kind, "kl = { kind = \"k3\", coefficient = 0.1 }");
        assert_eq!(told(&then, &now), ["stage.1.loss.kl.kind: \"off\" then, \"k3\" now"]);
        assert_eq!(told(&now, &then), ["stage.1.loss.kl.kind: \"k3\" then, \"off\" now"]);
    }

    #[test]
    fn a_difference_names_both_values() {
        let found = found(&[("seed = 1", "seed = 2"), ("slots = 8", "")], Some(&under_way()));
        let lines: Vec<_> = found.iter().map(|one| one.change.to_string()).collect();
        assert_eq!(lines, ["seed: 1 then, 2 now", "stage.1.slots: 8 then, not set now"]);
        assert!(differences(THEN, THEN, None).unwrap().is_empty());
    }
}

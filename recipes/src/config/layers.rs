//! Files and overrides become one tree in which every value remembers where it was written.

use std::ops::Range;

use anyhow::Result;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::sources::{Mistake, Sources};
use super::trees::{OF_THE_ADAPTER, are_items, kind_of, kinds_first, merge, turn_off};
use super::{Stage, message, stages};

impl Sources {
    /// Merges all of them; later ones override earlier ones.
    pub(super) fn merge(&self) -> Result<Merged<'_>> {
        let mut tables = self.0.iter().map(|source| -> Result<DeTable<'_>> {
            let table = DeTable::parse(&source.padded);
            Ok(table.map_err(|error| message::syntax(self, source, &error))?.into_inner())
        });
        let presets = tables.next().expect("the presets are the first source")?;
        let (mut root, mut mistakes, mut replaced) = (DeTable::new(), Vec::new(), Vec::new());
        for table in tables {
            let table = table?;
            replaced.extend(replaced_by_from(&root, &table));
            merge_root(&mut root, table, &mut mistakes);
        }
        if let Some(DeValue::Array(stages)) = root.get_mut("stage").map(Spanned::get_mut) {
            for stage in stages.iter_mut() {
                preset(stage.get_mut(), &presets);
            }
        }
        inherit(&mut root);
        kinds_first(&mut root);
        Ok(Merged { root, mistakes, replaced })
    }
}

/// All sources as one.
pub(super) struct Merged<'a> {
    pub(super) root: DeTable<'a>,
    /// What is wrong with how they name stages.
    pub(super) mistakes: Vec<Mistake>,
    /// Keys of `model.adapter` that do not count, since a later source starts from another adapter,
    /// and where they stand.
    pub(super) replaced: Vec<(&'static str, Range<usize>)>,
}

/// The keys of an adapter in `root` that `over` drops by naming one to start from.
fn replaced_by_from(root: &DeTable<'_>, over: &DeTable<'_>) -> Vec<(&'static str, Range<usize>)> {
    let (Some(old), Some(new)) = (adapter(root), adapter(over)) else { return Vec::new() };
    if !new.contains_key("from") {
        return Vec::new();
    }
    let entry = |key: &'static str| Some((key, old.get_key_value(key)?.0.span()));
    OF_THE_ADAPTER.into_iter().filter_map(entry).collect()
}

/// The table `model.adapter`.
fn adapter<'a, 'b>(root: &'a DeTable<'b>) -> Option<&'a DeTable<'b>> {
    let model = root.get("model")?.get_ref().as_table()?;
    model.get("adapter")?.get_ref().as_table()
}

fn merge_root<'a>(root: &mut DeTable<'a>, mut over: DeTable<'a>, mistakes: &mut Vec<Mistake>) {
    turn_off(root, &over);
    // `[[stage]]` replaces the list of stages; `[stage.rl]` or `[stage.0]` goes into one of it.
    if over.get("stage").is_some_and(|stage| stage.get_ref().is_table())
        && let Some((name, stages)) = over.remove_entry("stage")
        && let DeValue::Table(stages) = stages.into_inner()
    {
        if let Some(DeValue::Array(list)) = root.get_mut("stage").map(Spanned::get_mut) {
            mistakes.extend(stages::set_all(list, stages, name.span()));
        } else {
            let (list, mistake) = stages::listed(stages, name.span());
            over.insert(name, list);
            mistakes.push(mistake);
        }
    } else if let Some(DeValue::Array(list)) = over.get_mut("stage").map(Spanned::get_mut) {
        list.iter_mut().for_each(|stage| mistakes.extend(stages::without_selectors(stage)));
    }
    merge(root, over, Some(""));
}

/// Puts what the stage sets over the settings of the algorithm that it names.
fn preset<'a>(stage: &mut DeValue<'a>, presets: &DeTable<'a>) {
    let DeValue::Table(stage) = stage else { return };
    let name = stage.get("algorithm").and_then(|name| name.get_ref().as_str());
    let found = name.and_then(|name| presets.get(name)).map(Spanned::get_ref);
    if let Some(DeValue::Table(settings)) = found {
        let own = std::mem::replace(stage, settings.clone());
        merge(stage, own, None);
    }
}

/// Gives the evaluation what it leaves out: how the last stage that samples does it, and what
/// judges there; and each named set what `[eval]` and `[prompt]` say.
fn inherit(root: &mut DeTable<'_>) {
    let stages = root.get("stage").and_then(|stages| stages.get_ref().as_array());
    let samples =
        |stage: &&Spanned<DeValue<'_>>| kind_of(stage.get_ref()).is_some_and(Stage::samples);
    let last = stages.and_then(|stages| stages.iter().rev().find(samples));
    let stage = last.and_then(|stage| stage.get_ref().as_table()).cloned().unwrap_or_default();
    let prompt = root.get("prompt").cloned();
    let (name, mut eval) = root.remove_entry("eval").unwrap_or_else(|| {
        (Spanned::new(0..0, "eval".into()), Spanned::new(0..0, DeValue::Table(DeTable::new())))
    });
    if let DeValue::Table(eval) = eval.get_mut() {
        // A list where a table is expected is refused where it stands, and only there.
        let rollout = stage.get("rollout").filter(|rollout| rollout.get_ref().is_table());
        put_under(eval, "sampling", rollout);
        put_under(eval, "rewards", stage.get("rewards"));
        let shared = ["every", "samples", "greedy", "sampling", "rewards"];
        let shared = shared.map(|key| (key, eval.get(key).cloned()));
        if let Some(DeValue::Array(sets)) = eval.get_mut("set").map(Spanned::get_mut) {
            for set in sets.iter_mut() {
                let DeValue::Table(set) = set.get_mut() else { continue };
                for (key, value) in &shared {
                    put_under(set, key, value.as_ref());
                }
                put_under(set, "prompt", prompt.as_ref());
            }
        }
    }
    root.insert(name, eval);
}

/// Puts `value` under what `table` says about `key`: of a table those keys that are missing, of a
/// list the items that are not set, all else where there is nothing.
fn put_under<'a>(table: &mut DeTable<'a>, key: &str, value: Option<&Spanned<DeValue<'a>>>) {
    let Some(value) = value else { return };
    match table.remove_entry(key) {
        None => {
            table.insert(Spanned::new(value.span(), key.to_owned().into()), value.clone());
        }
        Some((name, over)) if value.get_ref().is_table() || sets_items(&over, value) => {
            table.insert(name.clone(), value.clone());
            merge(table, DeTable::from_iter([(name, over)]), None);
        }
        Some((name, over)) => {
            table.insert(name, over);
        }
    }
}

/// Whether `over` sets items of a list.
fn sets_items(over: &Spanned<DeValue<'_>>, list: &Spanned<DeValue<'_>>) -> bool {
    let items = list.get_ref().as_array();
    items.zip(over.get_ref().as_table()).is_some_and(|(items, over)| are_items(over, items.len()))
}

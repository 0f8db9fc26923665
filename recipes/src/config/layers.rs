//! Files and overrides become one tree in which every value remembers where it was written.

use std::ops::Range;

use anyhow::Result;
use settings::off::OFF;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::sources::Sources;
use super::{Stage, message};

impl Sources {
    /// Merges all of them; later ones go over earlier ones.
    pub(super) fn merge(&self) -> Result<DeTable<'_>> {
        let mut tables = self.0.iter().map(|source| -> Result<DeTable<'_>> {
            let table = DeTable::parse(&source.padded)
                .map_err(|e| message::at(self, e.span().unwrap_or(source.here()), e.message()))?;
            Ok(table.into_inner())
        });
        let presets = tables.next().expect("the presets are the first source")?;
        let mut root = DeTable::new();
        for table in tables {
            self.merge_root(&mut root, table?)?;
        }
        if let Some(DeValue::Array(stages)) = root.get_mut("stage").map(Spanned::get_mut) {
            for stage in stages.iter_mut() {
                preset(stage.get_mut(), &presets);
            }
        }
        inherit(&mut root);
        kinds_first(&mut root);
        Ok(root)
    }

    fn merge_root<'a>(&self, root: &mut DeTable<'a>, mut over: DeTable<'a>) -> Result<()> {
        // `[[stage]]` replaces the list of stages; `[stage.rl]` or `[stage.0]` goes into one of it.
        if over.get("stage").is_some_and(|stage| stage.get_ref().is_table())
            && let Some(stages) = over.remove("stage")
            && let DeValue::Table(stages) = stages.into_inner()
        {
            for (selector, settings) in stages {
                let span = selector.span();
                merge_stage(root, &selector, settings)
                    .map_err(|problem| message::at(self, span, &problem))?;
            }
        }
        merge(root, over);
        Ok(())
    }
}

fn merge_stage<'a>(
    root: &mut DeTable<'a>,
    selector: &Spanned<DeString<'a>>,
    over: Spanned<DeValue<'a>>,
) -> Result<(), String> {
    let Some(DeValue::Array(stages)) = root.get_mut("stage").map(Spanned::get_mut) else {
        return Err("there is no stage to set anything in".into());
    };
    let index = select(stages, selector.get_ref())?;
    let stage = stages.get_mut(index).map(Spanned::get_mut);
    match (stage, over.into_inner()) {
        (Some(DeValue::Table(stage)), DeValue::Table(over)) => {
            merge(stage, over);
            Ok(())
        }
        _ => Err("a stage is a table: name one of its keys".into()),
    }
}

/// The kind of a table, or of a setting that is a name: `"k3"` stands for `{ kind = "k3" }`.
pub(super) fn kind_of<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    value.as_str().or_else(|| value.as_table()?.get("kind")?.get_ref().as_str())
}

/// Puts what the stage sets over the settings of the algorithm that it names.
fn preset<'a>(stage: &mut DeValue<'a>, presets: &DeTable<'a>) {
    let DeValue::Table(stage) = stage else { return };
    let name = stage.get("algorithm").and_then(|name| name.get_ref().as_str());
    let found = name.and_then(|name| presets.get(name)).map(Spanned::get_ref);
    if let Some(DeValue::Table(settings)) = found {
        let own = std::mem::replace(stage, settings.clone());
        merge(stage, own);
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
        let shared = ["samples", "greedy", "sampling", "rewards"];
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

/// Puts `value` under what `table` says about `key`: of a table those keys that are missing, all
/// else where there is nothing.
fn put_under<'a>(table: &mut DeTable<'a>, key: &str, value: Option<&Spanned<DeValue<'a>>>) {
    let Some(value) = value else { return };
    match table.remove_entry(key) {
        None => {
            table.insert(Spanned::new(value.span(), key.to_owned().into()), value.clone());
        }
        Some((name, over)) if value.get_ref().is_table() => {
            table.insert(name.clone(), value.clone());
            merge(table, DeTable::from_iter([(name, over)]));
        }
        Some((name, over)) => {
            table.insert(name, over);
        }
    }
}

/// The index that a selector names: a number, or the kind of the only stage of that kind.
fn select(stages: &[Spanned<DeValue<'_>>], selector: &str) -> Result<usize, String> {
    let kinds: Vec<&str> =
        stages.iter().map(|s| kind_of(s.get_ref()).unwrap_or_default()).collect();
    let listed = || {
        let list: Vec<String> =
            kinds.iter().enumerate().map(|(i, kind)| format!("{i} ({kind})")).collect();
        list.join(", ")
    };
    if let Ok(index) = selector.parse::<usize>() {
        return if index < kinds.len() {
            Ok(index)
        } else {
            Err(format!("there is no stage {index}; the stages are {}", listed()))
        };
    }
    let mut found = kinds.iter().enumerate().filter(|(_, kind)| **kind == selector);
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        (None, _) => Err(format!("there is no stage `{selector}`; the stages are {}", listed())),
        _ => Err(format!(
            "more than one stage is `{selector}`: say which by number; the stages are {}",
            listed()
        )),
    }
}

/// Tables merge key by key; everything else, and a table whose `kind` changes, is replaced. A name
/// counts as the table with that `kind`.
fn merge<'a>(base: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, value) in over {
        let Some(there) = base.get_mut(key.get_ref().as_ref()) else {
            base.insert(key, value);
            continue;
        };
        let (old, new) = (kind_of(there.get_ref()), kind_of(value.get_ref()));
        let same_kind = old.is_none() || new.is_none() || old == new;
        let span = value.span();
        match (there.get_ref(), value.get_ref()) {
            (DeValue::String(name), DeValue::Table(_)) if same_kind && name != OFF => {
                in_full(there);
            }
            // It says nothing but the kind that is there.
            (DeValue::Table(_), DeValue::String(_)) if old == new => continue,
            _ => {}
        }
        match (there.get_mut(), value.into_inner()) {
            (DeValue::Table(there), DeValue::Table(value)) if same_kind => merge(there, value),
            (_, value) => *there = Spanned::new(span, value),
        }
    }
}

/// Makes the table with `kind` of a name.
fn in_full(name: &mut Spanned<DeValue<'_>>) {
    let (span, kind) = (name.span(), name.clone());
    let kind = (Spanned::new(span, "kind".into()), kind);
    *name.get_mut() = DeValue::Table(DeTable::from_iter([kind]));
}

/// Puts `kind` before the other keys of every table, where its reader wants it. The arguments of a
/// chat template keep their order, which shows in a prompt.
pub(super) fn kinds_first(table: &mut DeTable<'_>) {
    if let Some((kind, name)) = table.remove_entry("kind") {
        let rest = std::mem::take(table);
        table.insert(kind, name);
        table.extend(rest);
    }
    let inner = table.iter_mut().filter(|(key, _)| key.get_ref() != "template_args");
    inner.for_each(|(_, value)| in_value(value));
}

fn in_value(value: &mut Spanned<DeValue<'_>>) {
    match value.get_mut() {
        DeValue::Table(table) => kinds_first(table),
        DeValue::Array(array) => array.iter_mut().for_each(in_value),
        _ => {}
    }
}

/// The span of the key or the text `name` inside the value that spans `span`, if there is one.
///
/// Tagged tables are buffered while they are read, so that a mistake inside is only known to lie
/// somewhere in the table.
pub(super) fn find(table: &DeTable<'_>, span: &Range<usize>, name: &str) -> Option<Range<usize>> {
    table.iter().find_map(|(_, value)| find_below(value, span, name))
}

fn find_below(
    value: &Spanned<DeValue<'_>>,
    span: &Range<usize>,
    name: &str,
) -> Option<Range<usize>> {
    if value.span() == *span {
        return find_name(value, name);
    }
    match value.get_ref() {
        DeValue::Table(table) => find(table, span, name),
        DeValue::Array(array) => array.iter().find_map(|v| find_below(v, span, name)),
        _ => None,
    }
}

fn find_name(value: &Spanned<DeValue<'_>>, name: &str) -> Option<Range<usize>> {
    match value.get_ref() {
        DeValue::String(text) => (text == name).then(|| value.span()),
        DeValue::Array(array) => array.iter().find_map(|v| find_name(v, name)),
        DeValue::Table(table) => table.iter().find_map(|(key, value)| {
            if key.get_ref() == name { Some(key.span()) } else { find_name(value, name) }
        }),
        _ => None,
    }
}

/// The names and numbers of items that lead to the smallest value or key around `span`.
pub(super) fn path_at(table: &DeTable<'_>, span: &Range<usize>) -> Vec<String> {
    let mut best = (usize::MAX, Vec::new());
    for (key, value) in table {
        nearest_path(key, value, span, &mut Vec::new(), &mut best);
    }
    best.1
}

/// Looks at a value and all below it; what is put together of several places has the span of one
/// of them, so that a part may stand outside.
fn nearest_path(
    key: &Spanned<DeString<'_>>,
    value: &Spanned<DeValue<'_>>,
    span: &Range<usize>,
    path: &mut Vec<String>,
    best: &mut (usize, Vec<String>),
) {
    path.push(key.get_ref().to_string());
    consider(&value.span(), span, path, best);
    walk(value, span, path, best);
    path.pop();
}

fn walk(
    value: &Spanned<DeValue<'_>>,
    span: &Range<usize>,
    path: &mut Vec<String>,
    best: &mut (usize, Vec<String>),
) {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                // A complaint about a key is about the table that it is in.
                consider(&key.span(), span, path, best);
                nearest_path(key, value, span, path, best);
            }
        }
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                path.push(index.to_string());
                consider(&value.span(), span, path, best);
                walk(value, span, path, best);
                path.pop();
            }
        }
        _ => {}
    }
}

fn consider(
    around: &Range<usize>,
    span: &Range<usize>,
    path: &[String],
    best: &mut (usize, Vec<String>),
) {
    let is_around = around.start <= span.start && span.end <= around.end;
    if is_around && around.len() < best.0 {
        *best = (around.len(), path.to_vec());
    }
}

/// The span of the value at `path`, names and numbers of items with dots between.
pub(super) fn span_at(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    let (name, mut rest) = path.split_once('.').unwrap_or((path, ""));
    let mut value = table.get(name)?;
    while !rest.is_empty() {
        let (name, below) = rest.split_once('.').unwrap_or((rest, ""));
        value = match value.get_ref() {
            DeValue::Table(table) => table.get(name)?,
            DeValue::Array(array) => array.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
        rest = below;
    }
    Some(value.span())
}

//! How files and overrides name a stage.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::place::stage_kinds;
use super::reference::KEYS;
use super::sources::Mistake;
use super::trees::{kind_of, merge};

/// Sets keys of stages: `over` has a table for each, by its number or its kind; `span` is that of
/// the name `stage`. Returns what is wrong with these names.
pub(super) fn set_all<'a>(
    stages: &mut [Spanned<DeValue<'a>>],
    over: DeTable<'a>,
    span: Range<usize>,
) -> Vec<Mistake> {
    let is_key = |key: &str| {
        let has = |kind: &&str| KEYS.contains_key(&format!("stage.{kind}.{key}"));
        stage_kinds().iter().any(has)
    };
    let misses = over.iter().any(|(name, _)| is_key(name.get_ref()));
    let last = stages.len().saturating_sub(1);
    if misses && let Some(DeValue::Table(stage)) = stages.last_mut().map(Spanned::get_mut) {
        merge_stage(stage, over);
        let text = format!(
            "`stage` alone names no stage: write `stage.{last}` in its place; the stages are {}",
            listing(stages)
        );
        return vec![Mistake { span, text }];
    }
    let mut found = Vec::new();
    for (selector, settings) in over {
        let problem = set(stages, selector.get_ref(), settings).err();
        found.extend(problem.map(|text| Mistake { span: selector.span(), text }));
    }
    found
}

/// Sets keys of a stage.
fn merge_stage<'a>(stage: &mut DeTable<'a>, over: DeTable<'a>) {
    let kind = [&over, &*stage].into_iter().find_map(|table| table.get("kind")?.get_ref().as_str());
    let at = kind.map(|kind| format!("stage.{kind}"));
    merge(stage, over, at.as_deref());
}

/// Sets keys of the stage that a selector names.
///
/// # Errors
///
/// Says why there is no such stage.
fn set<'a>(
    stages: &mut [Spanned<DeValue<'a>>],
    selector: &str,
    over: Spanned<DeValue<'a>>,
) -> Result<(), String> {
    let index = select(stages, selector)?;
    match (stages[index].get_mut(), over.into_inner()) {
        (DeValue::Table(stage), DeValue::Table(over)) => {
            merge_stage(stage, over);
            Ok(())
        }
        _ => {
            Err(format!("a stage is a table: name one of its keys, as in `stage.{selector}.steps`"))
        }
    }
}

/// The stages that a table stands for which should be a list, with what is wrong about it; `span`
/// is that of its name.
pub(super) fn listed(stages: DeTable<'_>, span: Range<usize>) -> (Spanned<DeValue<'_>>, Mistake) {
    let first = stages.iter().next().map(|(name, _)| name.get_ref().to_string());
    let selects = stages
        .iter()
        .all(|(name, value)| is_selector(name.get_ref()) && value.get_ref().is_table());
    let (text, list) = if let Some(first) = first.filter(|_| selects) {
        let kind = if stage_kinds().contains(&&*first) { &first } else { "rl" };
        let text = format!(
            "`stage.{first}` sets keys of a stage that is there already, and there is none yet\n\
                 begin a stage by a line `[[stage]]`, with `kind = \"{kind}\"` and its other keys below \
                 it"
        );
        let stages = stages.into_iter().map(|(name, stage)| with_kind(&name, stage));
        (text, stages.collect::<DeArray<'_>>())
    } else {
        let text = "expected a list of stages, got one table\n\
                 write `[[stage]]` in place of `[stage]`, with two brackets on each side";
        let stage = Spanned::new(span.clone(), DeValue::Table(stages));
        (text.to_owned(), std::iter::once(stage).collect())
    };
    (Spanned::new(span.clone(), DeValue::Array(list)), Mistake { span, text })
}

/// The stage of a kind that its name tells.
fn with_kind<'a>(
    name: &Spanned<DeString<'a>>,
    mut stage: Spanned<DeValue<'a>>,
) -> Spanned<DeValue<'a>> {
    let is_kind = stage_kinds().contains(&name.get_ref().as_ref());
    if let (true, DeValue::Table(keys)) = (is_kind, stage.get_mut())
        && !keys.contains_key("kind")
    {
        let kind = Spanned::new(name.span(), DeValue::String(name.get_ref().clone()));
        keys.insert(Spanned::new(name.span(), "kind".into()), kind);
    }
    stage
}

/// Takes the keys of the stage out of tables in it that are named as a stage is elsewhere: what
/// `[stage.rl]` makes of the `[[stage]]` above it.
pub(super) fn without_selectors(stage: &mut Spanned<DeValue<'_>>) -> Vec<Mistake> {
    let DeValue::Table(keys) = stage.get_mut() else { return Vec::new() };
    let selects = |(name, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let is_selector = is_selector(name.get_ref()) && value.get_ref().is_table();
        is_selector.then(|| name.get_ref().to_string())
    };
    let selectors: Vec<_> = keys.iter().filter_map(selects).collect();
    let mut found = Vec::new();
    for name in selectors {
        let Some((key, own)) = keys.remove_entry(name.as_str()) else { continue };
        let text = format!(
            "`[stage.{name}]` sets keys of a stage of an earlier file, not of the `[[stage]]` above\n\
             write its keys below `[[stage]]` itself"
        );
        found.push(Mistake { span: key.span(), text });
        if let DeValue::Table(own) = own.into_inner() {
            merge(keys, own, None);
        }
    }
    found
}

/// Whether a name selects a stage: its number or its kind.
fn is_selector(name: &str) -> bool {
    name.parse::<usize>().is_ok() || stage_kinds().contains(&name)
}

/// The stages, by number and kind.
fn listing(stages: &[Spanned<DeValue<'_>>]) -> String {
    let kinds = stages.iter().map(|stage| kind_of(stage.get_ref()).unwrap_or_default());
    let list = kinds.enumerate().map(|(index, kind)| format!("{index} ({kind})"));
    list.collect::<Vec<_>>().join(", ")
}

/// The index that a selector names: a number, or the kind of the only stage of that kind.
fn select(stages: &[Spanned<DeValue<'_>>], selector: &str) -> Result<usize, String> {
    if let Ok(index) = selector.parse::<usize>() {
        let missing = || format!("there is no stage {index}; the stages are {}", listing(stages));
        return (index < stages.len()).then_some(index).ok_or_else(missing);
    }
    let is_meant = |stage: &Spanned<DeValue<'_>>| kind_of(stage.get_ref()) == Some(selector);
    let mut found = (0..stages.len()).filter(|index| is_meant(&stages[*index]));
    match (found.next(), found.next()) {
        (Some(index), None) => Ok(index),
        (None, _) => {
            Err(format!("there is no stage `{selector}`; the stages are {}", listing(stages)))
        }
        _ => Err(format!(
            "more than one stage is `{selector}`: say which by number; the stages are {}",
            listing(stages)
        )),
    }
}

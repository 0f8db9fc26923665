//! Every mistake in the shape of a recipe, where serde stops at the first.

use std::ops::Range;

use rewards::json::list_for_object;
use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::{Recipe, layers, message};

/// Mistakes that are listed, at most.
const MOST: usize = 20;

/// What is wrong with a key or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Where it stands.
    pub(super) span: Range<usize>,
    /// What serde says about it.
    pub(super) text: String,
}

/// The span of what stands in the place of a mistake.
const STAND_IN: Range<usize> = usize::MAX - 1..usize::MAX;

/// Values that may stand in the place of a mistake, so that reading goes on: one of every shape.
const STAND_INS: [&str; 8] = [
    "a = 1",
    "a = 0.5",
    "a = \"x\"",
    "a = true",
    "a = []",
    "a = {}",
    "a = { path = \"x\" }",
    "a = { kind = \"jsonl\", path = \"x\" }",
];

/// The recipe of `tree`, which begins at `start`.
///
/// # Errors
///
/// Fails with every mistake that can be found, in the order of their places. Mistakes after one
/// that nothing can stand in for are not among them.
pub(super) fn read(tree: DeTable<'_>, start: usize) -> Result<Recipe, Vec<Mistake>> {
    let mut tree = tree;
    let mut mistake = match parse(&tree, start) {
        Ok(recipe) => return Ok(recipe),
        Err(mistake) => mistake,
    };
    let mut found = Vec::new();
    for _ in 0..MOST {
        // What an evaluation takes from a stage has its mistakes and their places, too.
        if !found.contains(&mistake) {
            found.push(mistake.clone());
        }
        let Some((mended, Err(next))) = mend(&tree, start, &mistake) else { break };
        (tree, mistake) = (mended, next);
    }
    found.sort_by_key(|mistake| mistake.span.start);
    Err(found)
}

fn parse(tree: &DeTable<'_>, start: usize) -> Result<Recipe, Mistake> {
    if let Some(mistake) = tree.iter().find_map(|(_, value)| too_large(value)) {
        return Err(mistake);
    }
    let root = || Deserializer::from(Spanned::new(start..start, tree.clone()));
    let mistake = |error: toml::de::Error| {
        let (text, span) = (error.message().to_owned(), error.span().unwrap_or(start..start));
        let inside = message::culprit(&text).and_then(|name| layers::find(tree, &span, name));
        Mistake { span: inside.unwrap_or(span), text }
    };
    let recipe = Recipe::deserialize(root()).map_err(mistake)?;
    // Serde takes an array for a table, value by value in the order of the keys.
    let given = toml::Value::deserialize(root()).map_err(mistake)?;
    let [given, read] = [serde_json::to_value(given), serde_json::to_value(&recipe)];
    if let (Ok(given), Ok(read)) = (given, read)
        && let Some(path) = list_for_object(&given, &read)
    {
        let span = layers::span_at(tree, &path).unwrap_or(start..start);
        return Err(Mistake { span, text: format!("{path}: expected a table, got an array") });
    }
    Ok(recipe)
}

/// A whole number that TOML does not have. Serde would take some of them, which then could not be
/// written, and names the others by the types of Rust.
fn too_large(value: &Spanned<DeValue<'_>>) -> Option<Mistake> {
    match value.get_ref() {
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).is_err().then(|| Mistake {
                span: value.span(),
                text: format!(
                    "expected a whole number from {} to {}, got {number}",
                    i64::MIN,
                    i64::MAX
                ),
            })
        }
        DeValue::Table(table) => table.iter().find_map(|(_, value)| too_large(value)),
        DeValue::Array(items) => items.iter().find_map(too_large),
        _ => None,
    }
}

/// The tree without a mistake, and what is read from it.
fn mend<'a>(
    tree: &DeTable<'a>,
    start: usize,
    mistake: &Mistake,
) -> Option<(DeTable<'a>, Result<Recipe, Mistake>)> {
    let (mut path, missing) = place(tree, mistake)?;
    let name = path.last()?.clone();
    let meant = message::meant(&mistake.text);
    let renamed = if mistake.text.starts_with("unknown field ") {
        meant.map(Cure::Rename)
    } else {
        meant.map(Cure::Word)
    };
    let without = (!missing || name == "kind").then_some(Cure::Remove);
    let stand_ins = STAND_INS.iter().map(|text| Cure::StandIn(text));
    let is_of_kind = name == "kind";
    for cure in renamed.into_iter().chain(without).chain(stand_ins) {
        // The other keys of a table depend on its kind.
        if is_of_kind && !matches!(cure, Cure::Word(_)) && path.last() == Some(&name) {
            path.pop();
        }
        let gone = format!("missing field `{}`", path.last()?);
        let mut mended = tree.clone();
        if !put(&mut mended, &path, cure) {
            continue;
        }
        let read = parse(&mended, start);
        // The next mistake is not to be caused by what stands in for this one.
        let is_new = |next: &Mistake| match cure {
            Cure::StandIn(_) => next.span != STAND_IN && next.span.start >= start,
            Cure::Remove => !next.text.starts_with(&gone),
            Cure::Rename(_) => true,
            Cure::Word(_) => next.span != STAND_IN,
        };
        if read.as_ref().err().is_none_or(|next| next != mistake && is_new(next)) {
            return Some((mended, read));
        }
    }
    None
}

/// The path of the value that a mistake is about, and whether it is missing.
fn place(tree: &DeTable<'_>, mistake: &Mistake) -> Option<(Vec<String>, bool)> {
    let Mistake { span, text } = mistake;
    let mut path = layers::path_at(tree, span);
    let name = text.split('`').nth(1).map(str::to_owned);
    let is_missing = text.starts_with("missing field ");
    if is_missing || text.starts_with("unknown field ") {
        path.push(name?);
    }
    Some((path, is_missing))
}

/// What is done to a mistake, so that reading goes on.
#[derive(Debug, Clone, Copy)]
enum Cure<'a> {
    /// The key gets another name.
    Rename(&'a str),
    /// The value becomes this text.
    Word(&'a str),
    Remove,
    StandIn(&'static str),
}

/// Applies a cure to what is at `path`; whether that could be done.
fn put(tree: &mut DeTable<'_>, path: &[String], cure: Cure<'_>) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    if !rest.is_empty() {
        return tree
            .get_mut(first.as_str())
            .is_some_and(|value| put_below(value.get_mut(), rest, cure));
    }
    let old = tree.remove_entry(first.as_str());
    match (cure, old) {
        (Cure::Rename(name), Some((key, value))) if !tree.contains_key(name) => {
            tree.insert(Spanned::new(key.span(), name.to_owned().into()), value);
        }
        (Cure::Rename(_), _) => return false,
        (Cure::Remove, _) => {}
        (Cure::Word(_), None) => return false,
        (Cure::Word(word), Some((key, _))) => {
            tree.insert(key, text_of(word));
        }
        (Cure::StandIn(text), _) => {
            tree.insert(Spanned::new(STAND_IN, first.clone().into()), stand_in(text));
        }
    }
    true
}

fn put_below(value: &mut DeValue<'_>, path: &[String], cure: Cure<'_>) -> bool {
    match value {
        DeValue::Table(table) => put(table, path, cure),
        DeValue::Array(items) => {
            let Some((index, rest)) =
                path.split_first().and_then(|(at, rest)| Some((at.parse::<usize>().ok()?, rest)))
            else {
                return false;
            };
            match (items.get_mut(index), cure) {
                (None, _) => false,
                (Some(item), _) if !rest.is_empty() => put_below(item.get_mut(), rest, cure),
                (Some(_), Cure::Rename(_)) => false,
                (Some(item), Cure::StandIn(text)) => {
                    *item = stand_in(text);
                    true
                }
                (Some(item), Cure::Word(word)) => {
                    *item = text_of(word);
                    true
                }
                (Some(_), _) => {
                    let kept = items.iter().enumerate().filter(|(at, _)| *at != index);
                    *items = kept.map(|(_, item)| item.clone()).collect();
                    true
                }
            }
        }
        _ => false,
    }
}

fn text_of(word: &str) -> Spanned<DeValue<'static>> {
    Spanned::new(STAND_IN, DeValue::String(word.to_owned().into()))
}

fn stand_in(text: &'static str) -> Spanned<DeValue<'static>> {
    let table = DeTable::parse(text).expect("a stand-in is TOML");
    let value = table.into_inner().remove("a").expect("its key is `a`");
    Spanned::new(STAND_IN, value.into_inner())
}

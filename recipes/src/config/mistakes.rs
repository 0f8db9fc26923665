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
    let (mut found, mut removed) = (Vec::new(), Vec::new());
    for _ in 0..MOST {
        let Some(place) = Place::of(&tree, &mistake) else {
            found.push(mistake);
            break;
        };
        // What an evaluation takes from a stage has its mistakes and their places, too.
        let is_known =
            found.contains(&mistake) || (place.is_missing && removed.contains(&place.path));
        if !is_known {
            found.push(mistake.clone());
        }
        let Some(Mended { tree: mended, read: Err(next), path, cure }) =
            mend(&tree, start, &mistake, place)
        else {
            break;
        };
        if matches!(cure, Cure::Remove) {
            removed.push(path);
        }
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

/// A tree without a mistake.
struct Mended<'a> {
    tree: DeTable<'a>,
    /// What is read from it.
    read: Result<Recipe, Mistake>,
    /// Where it was changed, and how.
    path: Vec<String>,
    cure: Cure,
}

fn mend<'a>(
    tree: &DeTable<'a>,
    start: usize,
    mistake: &Mistake,
    place: Place,
) -> Option<Mended<'a>> {
    let Place { mut path, is_missing } = place;
    let is_of_kind = path.last()? == "kind";
    let meant = message::meant(&mistake.text).map(str::to_owned);
    let is_key = mistake.text.starts_with("unknown field ");
    let meant = meant.map(|name| if is_key { Cure::Rename(name) } else { Cure::Word(name) });
    let without = (!is_missing || is_of_kind).then_some(Cure::Remove);
    let stand_ins = STAND_INS.iter().map(|text| Cure::StandIn(text));
    for cure in meant.into_iter().chain(without).chain(stand_ins) {
        // The other keys of a table depend on its kind.
        let is_word = matches!(cure, Cure::Word(_));
        path.pop_if(|last| is_of_kind && !is_word && last == "kind");
        let mut mended = tree.clone();
        if !put(&mut mended, &path, &cure) {
            continue;
        }
        let read = parse(&mended, start);
        // The next mistake is not to be caused by what stands in for this one.
        let is_new = |next: &Mistake| match cure {
            Cure::StandIn(_) => next.span != STAND_IN && next.span.start >= start,
            Cure::Word(_) => next.span != STAND_IN,
            Cure::Rename(_) | Cure::Remove => true,
        };
        if read.as_ref().err().is_none_or(|next| next != mistake && is_new(next)) {
            return Some(Mended { tree: mended, read, path, cure });
        }
    }
    None
}

/// What a mistake is about.
struct Place {
    /// Names and numbers of items.
    path: Vec<String>,
    is_missing: bool,
}

impl Place {
    fn of(tree: &DeTable<'_>, mistake: &Mistake) -> Option<Self> {
        let Mistake { span, text } = mistake;
        let mut path = layers::path_at(tree, span);
        let is_missing = text.starts_with("missing field ");
        // The first table of an array has the array's span.
        if is_missing && value_at(tree, &path).is_some_and(DeValue::is_array) {
            path.push("0".to_owned());
        }
        if is_missing || text.starts_with("unknown field ") {
            path.push(text.split('`').nth(1)?.to_owned());
        }
        Some(Self { path, is_missing })
    }
}

fn value_at<'t, 'a>(tree: &'t DeTable<'a>, path: &[String]) -> Option<&'t DeValue<'a>> {
    let (first, rest) = path.split_first()?;
    let first = tree.get(first.as_str())?.get_ref();
    rest.iter().try_fold(first, |value, name| match value {
        DeValue::Table(table) => table.get(name.as_str()).map(Spanned::get_ref),
        DeValue::Array(items) => items.get(name.parse::<usize>().ok()?).map(Spanned::get_ref),
        _ => None,
    })
}

/// What is done to a mistake, so that reading goes on.
#[derive(Debug, Clone)]
enum Cure {
    /// The key gets another name.
    Rename(String),
    /// The value becomes this text.
    Word(String),
    Remove,
    StandIn(&'static str),
}

/// Applies a cure to what is at `path`; whether that could be done.
fn put(tree: &mut DeTable<'_>, path: &[String], cure: &Cure) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    if !rest.is_empty() {
        return tree
            .get_mut(first.as_str())
            .is_some_and(|value| put_below(value.get_mut(), rest, cure));
    }
    if let Cure::Word(word) = cure {
        // In its place: a kind comes first.
        return tree.get_mut(first.as_str()).map(|value| *value = text_of(word)).is_some();
    }
    match (cure, tree.remove_entry(first.as_str())) {
        (Cure::Rename(name), Some((key, value))) if !tree.contains_key(name.as_str()) => {
            tree.insert(Spanned::new(key.span(), name.clone().into()), value);
        }
        (Cure::StandIn(text), _) => {
            tree.insert(Spanned::new(STAND_IN, first.clone().into()), stand_in(text));
        }
        (Cure::Remove, _) => {}
        (Cure::Rename(_) | Cure::Word(_), _) => return false,
    }
    true
}

fn put_below(value: &mut DeValue<'_>, path: &[String], cure: &Cure) -> bool {
    match value {
        DeValue::Table(table) => put(table, path, cure),
        DeValue::Array(items) => {
            let Some((index, rest)) =
                path.split_first().and_then(|(at, rest)| Some((at.parse::<usize>().ok()?, rest)))
            else {
                return false;
            };
            match (items.get_mut(index), cure) {
                (Some(item), _) if !rest.is_empty() => put_below(item.get_mut(), rest, cure),
                (None, _) | (Some(_), Cure::Rename(_)) => false,
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

//! Every mistake in the shape of a recipe, where serde stops at the first.

use std::ops::Range;

use rewards::json::list_for_object;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::hints::{self, Renamed};
use super::place::{self, stage_kind};
use super::sources::Mistake;
use super::spans::{self, value_at};
use super::trees::{in_full, kinds_first};
use super::{Recipe, message};

/// Mistakes that are looked for, at most.
const MOST: usize = 100;

/// The span of what stands in the place of a mistake.
const STAND_IN: Range<usize> = usize::MAX - 1..usize::MAX;
/// The span of a word that was probably meant.
const MEANT: Range<usize> = usize::MAX - 3..usize::MAX - 2;

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

/// A recipe, or what can be read of one.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Every mistake that can be found, in the order of their places. Those after one that nothing
    /// can stand in for are not among them.
    pub(super) found: Vec<Mistake>,
    /// The recipe; where there are mistakes, with something else in their places: twice, each with
    /// other values there. None where nothing can stand in for one.
    pub(super) recipes: Vec<Recipe>,
    /// Whether there may be more mistakes than were looked for.
    pub(super) is_cut: bool,
    /// The last names of keys whose values are not those of the recipe.
    pub(super) doubtful: Vec<String>,
    /// Paths of values in which a word was guessed.
    pub(super) guessed: Vec<String>,
}

/// The recipe of `tree`, which begins at `start`; `found` is what is wrong already.
pub(super) fn read(tree: DeTable<'_>, found: Vec<Mistake>, start: usize) -> Reading {
    let (mut tree, mut found) = (tree, found);
    let mut read = match parse::<Recipe>(&tree, start) {
        Ok(recipe) if found.is_empty() => {
            return Reading { recipes: vec![recipe], ..Reading::default() };
        }
        read => read,
    };
    let mut removed = Vec::new();
    let (mut doubtful, mut guessed) = (Vec::new(), Vec::new());
    for _ in 0..MOST {
        let Err(mistake) = &read else { break };
        let place = Place::of(&tree, mistake);
        let is_missing_again = |place: &Place| place.is_missing && removed.contains(&place.path);
        if !found.contains(mistake) && !place.as_ref().is_some_and(is_missing_again) {
            found.push(mistake.clone());
        }
        let is_unknown = mistake.text.starts_with("unknown field ");
        let Some(mended) = place.and_then(|place| mend(&tree, start, mistake, place)) else {
            break;
        };
        match &mended.cure {
            Cure::Rename(_) | Cure::Translate(_) => {}
            Cure::Word(_) => guessed.extend(guess(&mended.path)),
            _ if is_unknown => {}
            _ => doubtful.extend(key(&mended.path)),
        }
        if matches!(mended.cure, Cure::Remove) {
            removed.push(mended.path);
        }
        (tree, read) = (mended.tree, mended.read);
    }
    let is_cut = found.len() >= MOST;
    found.sort_by_key(|mistake| mistake.span.start);
    let mut recipes: Vec<_> = read.into_iter().collect();
    if !recipes.is_empty() {
        tree.iter_mut().for_each(|(_, value)| vary(value));
        recipes.extend(parse(&tree, start));
    }
    // One alone does not tell what depends on what stands in.
    if recipes.len() < 2 {
        recipes.clear();
    }
    Reading { found, recipes, is_cut, doubtful, guessed }
}

/// Makes a table of each list of tables at the top that is to be one: `[[data]]` in place of
/// `[data]`. Returns what is wrong with it.
pub(super) fn single_tables(tree: &mut DeTable<'_>) -> Vec<Mistake> {
    let mut found = Vec::new();
    for (key, value) in tree.iter_mut() {
        let name = key.get_ref().as_ref();
        let DeValue::Array(items) = value.get_ref() else { continue };
        let is_table = name != "stage" && place::has_keys(name);
        let first = items.iter().next().filter(|first| is_table && first.get_ref().is_table());
        let Some(first) = first.cloned() else { continue };
        let text = format!(
            "expected a table, got a list of tables\nwrite `[{name}]` in place of `[[{name}]]`, with \
             one bracket on each side"
        );
        found.push(Mistake { span: first.span(), text });
        *value = first;
    }
    found
}

/// The last name of a path. Of an item it is that of its list, unless it is a stage.
fn key(path: &[String]) -> Option<String> {
    let at = path.iter().rposition(|name| name.parse::<usize>().is_err())?;
    let is_stage = path[at] == "stage" && at + 1 < path.len();
    (!is_stage).then(|| path[at].clone())
}

/// What depends on the word at `path`: the setting, or the list of settings, that it is in. The
/// kind of a stage is no mere guess.
fn guess(path: &[String]) -> Option<String> {
    let is_part = |name: &String| name == "kind" || name.parse::<usize>().is_ok();
    let length = path.len() - path.iter().rev().take_while(|name| is_part(name)).count();
    (path[..length] != ["stage"]).then(|| path[..length].join("."))
}

/// Puts other numbers in the place of those that stand in for mistakes.
fn vary(value: &mut Spanned<DeValue<'_>>) {
    if value.span() == STAND_IN {
        let other = match value.get_ref() {
            DeValue::Integer(_) => "a = 7",
            DeValue::Float(_) => "a = 0.25",
            _ => return,
        };
        *value.get_mut() = stand_in(other);
        return;
    }
    match value.get_mut() {
        DeValue::Table(table) => table.iter_mut().for_each(|(_, value)| vary(value)),
        DeValue::Array(items) => items.iter_mut().for_each(vary),
        _ => {}
    }
}

/// The settings of a tree, which begins at `start`.
pub(super) fn parse<T>(tree: &DeTable<'_>, start: usize) -> Result<T, Mistake>
where
    T: Serialize + DeserializeOwned,
{
    if let Some(mistake) = tree.iter().find_map(|(_, value)| too_large(value)) {
        return Err(mistake);
    }
    let root = || Deserializer::from(Spanned::new(start..start, tree.clone()));
    let mistake = |error: toml::de::Error| {
        let (text, span) = (error.message().to_owned(), error.span().unwrap_or(start..start));
        let inside = message::culprit(&text).and_then(|name| spans::find(tree, &span, name));
        Mistake { span: inside.unwrap_or(span), text }
    };
    let settings = T::deserialize(root()).map_err(mistake)?;
    // Serde takes an array for a table, value by value in the order of the keys.
    let given = toml::Value::deserialize(root()).map_err(mistake)?;
    let [given, read] = [serde_json::to_value(given), serde_json::to_value(&settings)];
    if let (Ok(given), Ok(read)) = (given, read)
        && let Some(path) = list_for_object(&given, &read)
    {
        let span = spans::span_at(tree, &path).unwrap_or(start..start);
        return Err(Mistake { span, text: "expected a table, got a list".to_owned() });
    }
    Ok(settings)
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
    let meant = meant(tree, mistake, &path);
    let value_end = value_at(tree, &path).map_or(0, |value| value.span().end);
    let without = (!is_missing || is_of_kind).then_some(Cure::Remove);
    let words = if is_missing { place::Place::at(tree, path.clone()).words() } else { &[] };
    let words = words.iter().map(|word| DeValue::String(word.as_str().into()));
    let stand_ins = STAND_INS.iter().map(|text| stand_in(text)).chain(words);
    // In the end without the table that lacks the key.
    let table = is_missing.then_some(Cure::RemoveTable);
    // What several tables have from one place is mended in all of them.
    let others = spans::paths_at(tree, &mistake.span);
    let key = path.last().filter(|_| mistake.text.starts_with("unknown field ")).cloned();
    let others = others.into_iter().map(|other| other.into_iter().chain(key.clone()).collect());
    let others: Vec<Vec<_>> = others.filter(|other| !is_missing && *other != path).collect();
    for cure in meant.into_iter().chain(without).chain(stand_ins.map(Cure::StandIn)).chain(table) {
        // The other keys of a table depend on its kind.
        let is_word = matches!(cure, Cure::Word(_));
        path.pop_if(|last| is_of_kind && !is_word && last == "kind");
        path.pop_if(|_| matches!(cure, Cure::RemoveTable));
        let mut mended = tree.clone();
        if !put(&mut mended, &path, &cure) {
            continue;
        }
        for other in others.iter().filter(|other| other.last() == path.last()) {
            put(&mut mended, other, &cure);
        }
        let read = parse(&mended, start);
        // The next mistake is not to be caused by what stands in for this one.
        let is_new = |next: &Mistake| match cure {
            Cure::StandIn(_) => next.span != STAND_IN && next.span.start >= start,
            Cure::Word(_) => next.span != MEANT,
            // The values of other libraries are others, too.
            Cure::Translate(_) => {
                !(mistake.span.start <= next.span.start && next.span.end <= value_end)
            }
            Cure::Rename(_) | Cure::Remove | Cure::RemoveTable => true,
        };
        if read.as_ref().err().is_none_or(|next| next != mistake && is_new(next)) {
            return Some(Mended { tree: mended, read, path, cure });
        }
    }
    None
}

/// What was probably meant by a wrong name; `path` is that of the key.
fn meant(tree: &DeTable<'_>, mistake: &Mistake, path: &[String]) -> Option<Cure> {
    if mistake.text.starts_with("unknown field ") {
        return Some(match hints::renamed(tree, &mistake.span, &mistake.text)? {
            Renamed::Misspelt(name) => Cure::Rename(name),
            Renamed::Foreign(name) => Cure::Translate(name),
        });
    }
    if let [stage, _, kind] = path
        && (stage.as_str(), kind.as_str()) == ("stage", "kind")
    {
        let stage = value_at(tree, &path[..2])?.get_ref();
        return stage_kind(stage).map(|kind| Cure::Word(kind.to_owned()));
    }
    message::meant(&mistake.text).map(|name| Cure::Word(name.to_owned()))
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
        let mut path = match message::culprit(text) {
            Some(wrong) if text.starts_with("unknown field ") => {
                place::Place::of_key(tree, span, wrong).path
            }
            _ => spans::path_at(tree, span),
        };
        let is_missing = text.starts_with("missing field ");
        // The first table of an array has the array's span.
        if is_missing && value_at(tree, &path).is_some_and(|value| value.get_ref().is_array()) {
            path.push("0".to_owned());
        }
        if is_missing || text.starts_with("unknown field ") {
            path.push(text.split('`').nth(1)?.to_owned());
        }
        Some(Self { path, is_missing })
    }
}

/// What is done to a mistake, so that reading goes on.
#[derive(Debug, Clone)]
enum Cure {
    /// The key gets another name.
    Rename(String),
    /// The key of another library gets its name here.
    Translate(String),
    /// The value becomes this text.
    Word(String),
    Remove,
    /// The table that it is in is removed.
    RemoveTable,
    StandIn(DeValue<'static>),
}

/// Applies a cure to what is at `path`; whether that could be done.
fn put(tree: &mut DeTable<'_>, path: &[String], cure: &Cure) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    if !rest.is_empty() {
        return tree.get_mut(first.as_str()).is_some_and(|value| put_below(value, rest, cure));
    }
    if let Cure::Word(word) = cure {
        // In its place: a kind comes first.
        if let Some(value) = tree.get_mut(first.as_str()) {
            *value = text_of(word);
        } else {
            tree.insert(Spanned::new(MEANT, first.clone().into()), text_of(word));
            kinds_first(tree);
        }
        return true;
    }
    match (cure, tree.remove_entry(first.as_str())) {
        (Cure::Rename(name) | Cure::Translate(name), Some((key, value)))
            if !tree.contains_key(name.as_str()) =>
        {
            tree.insert(Spanned::new(key.span(), name.clone().into()), value);
        }
        (Cure::StandIn(value), _) => {
            let value = Spanned::new(STAND_IN, value.clone());
            tree.insert(Spanned::new(STAND_IN, first.clone().into()), value);
        }
        (Cure::Remove | Cure::RemoveTable, _) => {}
        (Cure::Rename(_) | Cure::Translate(_) | Cure::Word(_), _) => return false,
    }
    true
}

fn put_below(value: &mut Spanned<DeValue<'_>>, path: &[String], cure: &Cure) -> bool {
    // A name, which stands for a table, lacks a key.
    if let (DeValue::String(_), Cure::StandIn(_)) = (value.get_ref(), cure) {
        in_full(value);
    }
    match value.get_mut() {
        DeValue::Table(table) => put(table, path, cure),
        DeValue::Array(items) => {
            let Some((index, rest)) =
                path.split_first().and_then(|(at, rest)| Some((at.parse::<usize>().ok()?, rest)))
            else {
                return false;
            };
            match (items.get_mut(index), cure) {
                (Some(item), _) if !rest.is_empty() => put_below(item, rest, cure),
                (None, _) | (Some(_), Cure::Rename(_) | Cure::Translate(_)) => false,
                (Some(item), Cure::StandIn(value)) => {
                    *item = Spanned::new(STAND_IN, value.clone());
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
    Spanned::new(MEANT, DeValue::String(word.to_owned().into()))
}

fn stand_in(text: &'static str) -> DeValue<'static> {
    let table = DeTable::parse(text).expect("a stand-in is TOML");
    let value = table.into_inner().remove("a").expect("its key is `a`");
    value.into_inner()
}

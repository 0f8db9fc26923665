//! What a complaint about a setting can add: the key that is meant, and what to write.

use std::fmt::Write as _;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::foreign::{self, Meant};
use super::message;
use super::offers::offer;
use super::place::{Place, algorithm, stage_kinds};
use super::reference::{Foreign, KEYS, noted};
use super::trees::item_number;
use crate::names::nearest;
use crate::printable::literal;

/// Keys and words of a list that are shown.
const MOST: usize = 8;
/// Keys of one table of another library that are answered.
const MOST_LEAVES: usize = 6;

/// A complaint: the key that it is about, and what is wrong there.
pub(super) struct Explained {
    /// The key in full; none where the text names it.
    pub(super) key: Option<String>,
    /// What is wrong, and what to write.
    pub(super) text: String,
}

/// Serde's words for what is wrong at `span` in ours, with what to write there.
pub(super) fn explained(tree: &DeTable<'_>, span: &Range<usize>, text: &str) -> Explained {
    let place = Place::of(tree, span);
    let named = |text| Explained { key: None, text };
    let plain = message::plain(text);
    match message::culprit(text) {
        Some(wrong) if text.starts_with("unknown field ") => {
            return named(unknown_key(&Place::of_key(tree, span, wrong), wrong, text));
        }
        Some(wrong) if text.starts_with("unknown variant ") => {
            let text = unknown_value(&place, wrong, text);
            return Explained { key: place.key(), text };
        }
        _ => {}
    }
    if let Some(missing) = plain.strip_prefix("missing key ") {
        return named(missing_key(place, missing));
    }
    let text = message::reword(text);
    if let Some(text) = place.item().and_then(|item| no_item(&place, item, &text)) {
        return Explained { key: place.key(), text };
    }
    if let Some(offer) = offer(&place, &text) {
        return Explained { key: place.key(), text: format!("{text}\n{offer}") };
    }
    let text = match text.strip_prefix("expected text in quotation marks") {
        Some(rest) => {
            let got = rest.find(", got ").map_or("", |at| &rest[at..]);
            place.values().map_or(text.clone(), |values| format!("expected {values}{got}"))
        }
        None => text,
    };
    Explained { key: place.key(), text }
}

/// The key of the same table that is meant by a wrong one.
pub(super) enum Renamed {
    /// The nearest in spelling.
    Misspelt(String),
    /// That of which the wrong one is a name in another library.
    Foreign(String),
}

/// The key of the same table that is meant by a wrong one, where it is.
pub(super) fn renamed(tree: &DeTable<'_>, span: &Range<usize>, text: &str) -> Option<Renamed> {
    let wrong = message::culprit(text)?;
    let place = Place::of_key(tree, span, wrong);
    let Meant { paths, .. } = foreign::named(wrong);
    let noted = noted(wrong);
    if paths.is_empty() && noted.is_none() {
        return message::meant(text).map(|name| Renamed::Misspelt(name.to_owned()));
    }
    let here = place.general();
    let known = message::expected(text);
    let is_own = |path: &&str| {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        table == here && known.contains(&key)
    };
    let keys = noted.filter(|noted| noted.note.is_none()).map(|noted| &noted.keys);
    let keys = keys.into_iter().flatten().flat_map(|key| foreign::with_kinds(key));
    let own = keys.chain(paths).find(is_own)?;
    own.rsplit('.').next().map(|name| Renamed::Foreign(name.to_owned()))
}

/// What is said of a value that an item of a list was set of, and that is none or has no such item.
fn no_item(place: &Place<'_>, item: &str, text: &str) -> Option<String> {
    let (expected, _) = text.rsplit_once(", got a table")?;
    let got = format!("{expected}, got item {item} of a list");
    let is_list = KEYS.get(&place.general())?.types.contains("list of");
    let act = "only items that the recipe writes can be set one by one";
    Some(if is_list { format!("{got}: {act}\nset the whole list") } else { got })
}

fn unknown_key(place: &Place<'_>, wrong: &str, text: &str) -> String {
    let known = message::expected(text);
    let mut said = format!("unknown key `{wrong}`");
    if !place.path.is_empty() {
        let _ = write!(said, " in `{}`", place.written());
        if item_number(wrong).is_some() {
            return format!("{said}: it is a table, and its keys are names");
        }
    }
    let mut lines = foreign_lines(place, wrong, &known);
    if !lines.is_empty() {
        lines.extend(foreign_values(place, wrong));
    }
    if !lines.is_empty() {
        return format!("{said}\n{}", lines.join("\n"));
    }
    if let Some(name) = message::meant(text) {
        return format!("{said}\ndid you mean `{name}`?");
    }
    let is_short = known.len() <= MOST;
    if let [path] = place.nearest(&foreign::same(wrong))[..]
        && !(is_short && place.is_elsewhere(path))
    {
        return format!("{said}\n{}", elsewhere(place, path));
    }
    if known.is_empty() {
        return format!("{said}: it has no keys besides `kind`");
    }
    if is_short {
        return format!("{said}, expected {}", message::one_of(&known));
    }
    format!(
        "{said}\n`stearin schema --format markdown` prints the keys that there are (docs/recipes.md)"
    )
}

/// What a key of another library, or the keys of a table of one, are here.
fn foreign_lines(place: &Place<'_>, wrong: &str, known: &[&str]) -> Vec<String> {
    let mut leaves = Vec::new();
    if let Some(value) = place.entry(wrong) {
        walk(value, wrong, &mut leaves);
    }
    let line = |name: &String| foreign_line(place, name, known);
    let lines: Vec<_> = leaves.iter().filter_map(line).take(MOST_LEAVES).collect();
    if lines.is_empty() { line(&wrong.to_owned()).into_iter().collect() } else { lines }
}

/// What the values of a key of another library are here: the names of its reward functions.
fn foreign_values(place: &Place<'_>, wrong: &str) -> Vec<String> {
    let said = |value: &DeValue<'_>| {
        let name = value.as_str()?.to_lowercase();
        let noted = noted(&name).filter(|noted| noted.note.is_some())?;
        Some(noted_line(place, &name, noted, &[]))
    };
    match place.entry(wrong) {
        Some(DeValue::Array(items)) => {
            items.iter().filter_map(|item| said(item.get_ref())).take(MOST_LEAVES).collect()
        }
        Some(value) => said(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The paths of all values below one that is not a table.
fn walk(value: &DeValue<'_>, path: &str, into: &mut Vec<String>) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                walk(value.get_ref(), &format!("{path}.{}", key.get_ref()), into);
            }
        }
        _ => into.push(path.to_owned()),
    }
}

fn foreign_line(place: &Place<'_>, name: &str, known: &[&str]) -> Option<String> {
    if let Some(noted) = noted(name) {
        return Some(noted_line(place, name, noted, known));
    }
    let Meant { paths, libraries } = foreign::named(name);
    let paths = place.nearest(&paths);
    // A key that only has the same name in a table far away.
    let is_other = |path: &&str| {
        path.rsplit('.').next() == Some(name) && path.contains('.') && place.is_elsewhere(path)
    };
    let is_far = known.len() <= MOST && paths.iter().all(is_other);
    (!paths.is_empty() && !is_far).then(|| is_here(place, name, &libraries.join(", "), &paths))
}

/// A key of this name that belongs to another table.
fn elsewhere(place: &Place<'_>, path: &str) -> String {
    match path.rsplit_once('.') {
        None => format!("`{path}` belongs at the top of a recipe, before its tables"),
        Some((_, key)) => format!("`{key}` belongs to another table: `{}`", place.addressed(path)),
    }
}

fn is_here(place: &Place<'_>, name: &str, library: &str, paths: &[&str]) -> String {
    if let [path] = paths
        && path.rsplit('.').next() == Some(name)
    {
        return elsewhere(place, path);
    }
    let paths: Vec<_> = paths.iter().map(|path| format!("`{}`", place.addressed(path))).collect();
    format!("`{name}` ({library}) is {} here", paths.join(" or "))
}

fn noted_line(place: &Place<'_>, name: &str, noted: &Foreign, known: &[&str]) -> String {
    let said = noted.said(|key| {
        let path = place.nearest(&foreign::with_kinds(key));
        let path = path.first().map_or_else(|| key.to_owned(), |path| place.addressed(path));
        format!("`{path}`")
    });
    if let Some(said) = said {
        return format!("`{name}` ({}) {said}", noted.library);
    }
    let paths: Vec<_> = noted.keys.iter().flat_map(|key| foreign::with_kinds(key)).collect();
    let is_known = |path: &&str| path.rsplit('.').next().is_some_and(|key| known.contains(&key));
    let own: Vec<_> = paths.iter().copied().filter(is_known).collect();
    let paths = place.nearest(if own.is_empty() { &paths } else { &own });
    is_here(place, name, &noted.library, &paths)
}

fn unknown_value(place: &Place<'_>, wrong: &str, text: &str) -> String {
    let known = message::expected(text);
    let said = format!("unknown value `{wrong}`");
    let is_stage =
        matches!(&place.path[..], [stage, _, kind] if stage == "stage" && kind == "kind");
    let kinds = if is_stage { stage_kinds() } else { Vec::new() };
    let algorithm = kinds.iter().find_map(|kind| Some((kind, algorithm(kind, wrong)?)));
    if let Some((kind, name)) = algorithm {
        return format!(
            "{said}, expected {}\nwrite `kind = \"{kind}\"` and `algorithm = \"{name}\"`",
            message::one_of(&known)
        );
    }
    if let Some(offer) = meant_elsewhere(place, wrong) {
        return format!("{said}, expected {}\n{offer}", message::one_of(&known));
    }
    let noted = noted(&wrong.to_lowercase()).filter(|noted| noted.note.is_some());
    let near = nearest(wrong, known.iter().copied()).filter(|_| noted.is_none());
    let said = if near.is_some() && known.len() > MOST {
        said
    } else {
        format!("{said}, expected {}", message::one_of(&known))
    };
    match (noted, near) {
        (Some(noted), _) => format!("{said}\n{}", noted_line(place, wrong, noted, &[])),
        (None, Some(name)) => format!("{said}\ndid you mean `{name}`?"),
        (None, None) => said,
    }
}

/// What to write for a word that is right in another form: the name of an adapter as a reference,
/// all linear maps as one of them.
fn meant_elsewhere(place: &Place<'_>, wrong: &str) -> Option<String> {
    let path: Vec<_> = place.path.iter().map(String::as_str).collect();
    match path[..] {
        ["stage", _, "reference"] | ["stage", _, "reference", "kind"] => {
            place.adapters()?.get(wrong)?;
            let reference = format!("{{ kind = \"adapter\", name = {} }}", literal(wrong));
            Some(format!("write `reference = {reference}`"))
        }
        ["model", "adapter", "targets", _] if wrong.replace('_', "-").starts_with("all") => {
            Some("write `targets = \"all-linear\"`, without brackets, for all seven".to_owned())
        }
        _ => None,
    }
}

/// `missing` is the key in backticks, and what may follow.
fn missing_key(place: Place<'_>, missing: &str) -> String {
    let (key, rest) = missing.split_once(',').unwrap_or((missing, ""));
    let rest = if rest.is_empty() { String::new() } else { format!(",{rest}") };
    let mut place = place;
    // The first table of an array has the array's span.
    if place.value().is_some_and(DeValue::is_array) {
        place.path.push("0".to_owned());
    }
    if place.path.is_empty() {
        return format!("missing key {key}{rest}");
    }
    let said = format!("missing key {key} in `{}`{rest}", place.written());
    match (place.value().and_then(DeValue::as_str), place.path.last()) {
        (Some(kind), Some(name)) => {
            let key = key.trim_matches('`');
            format!("{said}\nwrite `{name} = {{ kind = \"{kind}\", {key} = ... }}`")
        }
        _ => said,
    }
}

impl Place<'_> {
    /// The key in full.
    fn key(&self) -> Option<String> {
        (!self.path.is_empty()).then(|| self.written())
    }

    /// The item of a list that was set of the value there, where it is none or has no such item.
    fn item(&self) -> Option<&'_ str> {
        let names = self.value()?.as_table()?.iter().map(|(name, _)| name.get_ref().as_ref());
        names.into_iter().find(|name| item_number(name).is_some())
    }

    /// What the value there may be, where that is one of several words.
    fn values(&self) -> Option<&'static str> {
        let known = KEYS.get(&self.general())?;
        known.types.contains('"').then_some(&*known.types)
    }
}

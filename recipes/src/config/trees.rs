//! Trees of settings: how they merge, and how a table with a `kind` may be written.

use settings::off::OFF;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reference::KEYS;

/// The kind of a table, or of a setting that is a name: `"k3"` stands for `{ kind = "k3" }`.
pub(super) fn kind_of<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    value.as_str().or_else(|| value.as_table()?.get("kind")?.get_ref().as_str())
}

/// Tables merge key by key, and a table whose keys are numbers of items sets these items of a list;
/// everything else is replaced. A name counts as the table with that `kind`.
///
/// Where `kind` changes, the keys that the new kind also has are kept if `at` is the path of
/// `base`, as [`KEYS`] has it; what a preset sets belongs to its kind.
pub(super) fn merge<'a>(base: &mut DeTable<'a>, over: DeTable<'a>, at: Option<&str>) {
    for (key, value) in over {
        let below = at.map(|at| join(at, key.get_ref()));
        let below = below.as_deref();
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
            (DeValue::Table(there), DeValue::Table(value)) if same_kind => {
                // They are those of the adapter to start from.
                if below == Some("model.adapter") && value.contains_key("from") {
                    for key in OF_THE_ADAPTER {
                        there.remove(key);
                    }
                }
                merge(there, value, below);
            }
            (DeValue::Array(items), DeValue::Table(value)) if are_items(&value, items.len()) => {
                let number = |(at, item): (usize, Spanned<DeValue<'a>>)| {
                    (Spanned::new(item.span(), at.to_string().into()), item)
                };
                let old = items.iter().cloned().enumerate().map(number);
                let mut by_number = old.collect();
                merge(&mut by_number, value, below);
                *items = by_number.into_iter().map(|(_, item)| item).collect();
            }
            (old, value) => {
                let mut new = Spanned::new(span, value);
                if let (DeValue::Table(old), Some(below)) = (old, below) {
                    keep_common(&mut new, std::mem::take(old), below);
                }
                *there = new;
            }
        }
    }
}

/// Keys of `model` that are refused without an adapter.
const BESIDE_AN_ADAPTER: [&str; 2] = ["base", "adapters"];

/// Where `over` turns the adapter of a recipe off, removes what is refused without one: keys beside
/// it, the learning rate of its `B`, and references to adapters that are named there. They go with
/// the adapter that a later layer turns off; in the layer that does so they are a mistake.
pub(super) fn turn_off(recipe: &mut DeTable<'_>, over: &DeTable<'_>) {
    let model = over.get("model").and_then(|model| model.get_ref().as_table());
    if !is_off(model.and_then(|model| model.get("adapter"))) {
        return;
    }
    if let Some(DeValue::Table(model)) = recipe.get_mut("model").map(Spanned::get_mut) {
        for key in BESIDE_AN_ADAPTER {
            model.remove(key);
        }
    }
    let Some(DeValue::Array(stages)) = recipe.get_mut("stage").map(Spanned::get_mut) else {
        return;
    };
    for stage in stages.iter_mut() {
        let DeValue::Table(stage) = stage.get_mut() else { continue };
        if let Some(DeValue::Table(optim)) = stage.get_mut("optim").map(Spanned::get_mut) {
            optim.remove("lr_ratio_b");
        }
        let kind = stage.get("reference").and_then(|reference| kind_of(reference.get_ref()));
        if kind == Some("adapter") {
            stage.remove("reference");
        }
    }
}

/// Keys of `model.adapter` that an adapter to start from decides.
pub(super) const OF_THE_ADAPTER: [&str; 4] = ["rank", "alpha", "targets", "scaling"];

/// Whether a setting is there and turned off.
fn is_off(setting: Option<&Spanned<DeValue<'_>>>) -> bool {
    setting.and_then(|setting| kind_of(setting.get_ref())) == Some(OFF)
}

/// Whether the keys of a table are numbers of items of a list that has `count`.
pub(super) fn are_items(table: &DeTable<'_>, count: usize) -> bool {
    let is_item = |name: &str| {
        item_number(name).is_some_and(|number| number < count && number.to_string() == name)
    };
    !table.is_empty() && table.iter().all(|(name, _)| is_item(name.get_ref()))
}

/// The number of an item that a name is.
pub(super) fn item_number(name: &str) -> Option<usize> {
    name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().ok())?
}

/// A path with numbers of items as [`KEYS`] has it; none of the numbers is that of a stage.
pub(super) fn general(path: &str) -> String {
    path.split('.').fold(String::new(), |above, name| join(&above, name))
}

/// The path of a key, as [`KEYS`] has it.
fn join(path: &str, key: &str) -> String {
    match (path, item_number(key)) {
        ("", _) => key.to_owned(),
        (_, Some(_)) => format!("{path}[]"),
        _ => format!("{path}.{key}"),
    }
}

/// Gives a setting of another kind those keys of the old one that it also has; `path` is that of
/// the setting.
fn keep_common<'a>(new: &mut Spanned<DeValue<'a>>, old: DeTable<'a>, path: &str) {
    let Some(kind) = kind_of(new.get_ref()).map(str::to_owned) else { return };
    let is_common = |key: &str| {
        let known = KEYS.get(&join(path, key));
        known.is_some_and(|known| known.kinds.contains(&kind))
    };
    let common: Vec<_> = old.into_iter().filter(|(key, _)| is_common(key.get_ref())).collect();
    if common.is_empty() {
        return;
    }
    if new.get_ref().is_str() {
        in_full(new);
    }
    let DeValue::Table(new) = new.get_mut() else { return };
    for (key, value) in common {
        if !new.contains_key(key.get_ref().as_ref()) {
            new.insert(key, value);
        }
    }
}

/// Makes the table with `kind` of a name.
pub(super) fn in_full(name: &mut Spanned<DeValue<'_>>) {
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

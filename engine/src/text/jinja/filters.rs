//! Filters, by their names in Jinja2 3.1.
//!
//! `text` holds those that make text, `sequences` those that go through items, `numbers` those that
//! make numbers.

mod numbers;
mod sequences;
mod sorting;
mod text;

use super::calls::Given;
use super::machine::Machine;
use super::value::Value;
use super::{Outcome, json, trouble};

type Filter = fn(&mut Machine, &Value, Given) -> Outcome<Value>;

const FILTERS: [(&str, Filter); 48] = [
    ("abs", numbers::abs),
    ("attr", sequences::attr),
    ("batch", sequences::batch),
    ("capitalize", text::capitalize),
    ("center", text::center),
    ("count", sequences::length),
    ("d", sequences::default),
    ("default", sequences::default),
    ("dictsort", sorting::dictsort),
    ("e", text::escape),
    ("escape", text::escape),
    ("filesizeformat", numbers::filesizeformat),
    ("first", sequences::first),
    ("float", numbers::float),
    ("forceescape", text::forceescape),
    ("format", text::format),
    ("groupby", sorting::groupby),
    ("indent", text::indent),
    ("int", numbers::int),
    ("items", sequences::items),
    ("join", text::join),
    ("last", sequences::last),
    ("length", sequences::length),
    ("list", sequences::list),
    ("lower", text::lower),
    ("map", sequences::map),
    ("max", sorting::max),
    ("min", sorting::min),
    ("reject", sequences::reject),
    ("rejectattr", sequences::rejectattr),
    ("replace", text::replace),
    ("reverse", sequences::reverse),
    ("round", numbers::round),
    ("safe", text::safe),
    ("select", sequences::select),
    ("selectattr", sequences::selectattr),
    ("slice", sequences::slice),
    ("sort", sorting::sort),
    ("string", text::string),
    ("sum", numbers::sum),
    ("title", text::title),
    ("tojson", tojson),
    ("trim", text::trim),
    ("truncate", text::truncate),
    ("unique", sorting::unique),
    ("upper", text::upper),
    ("urlencode", text::urlencode),
    ("wordcount", text::wordcount),
];

/// Jinja2 has these as well; no chat template needs them.
const UNSUPPORTED: [&str; 6] = ["pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"];

/// Whether Jinja2 has such a filter.
pub(super) fn is_known(name: &str) -> bool {
    FILTERS.iter().any(|(known, _)| *known == name) || UNSUPPORTED.contains(&name)
}

pub(super) fn apply(
    machine: &mut Machine,
    name: &str,
    value: &Value,
    given: Given,
) -> Outcome<Value> {
    let Some((_, filter)) = FILTERS.iter().find(|(known, _)| *known == name) else {
        return Err(trouble(if UNSUPPORTED.contains(&name) {
            format!("the filter `{name}` is not supported in a chat template")
        } else {
            format!("there is no filter `{name}`")
        }));
    };
    machine.budget.enter()?;
    let result = charge(machine, value, &given).and_then(|()| filter(machine, value, given));
    machine.budget.leave();
    result
}

/// Most filters look through the text that they are given.
fn charge(machine: &Machine, value: &Value, given: &Given) -> Outcome<()> {
    if let Some(text) = value.as_str() {
        machine.budget.text(text.len())?;
    }
    given.charge(&machine.budget)
}

fn tojson(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [ascii, indent, separators, sort] =
        given.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"], 0)?;
    let set = |value: Option<Value>| value.is_some_and(|value| value.truthy());
    let layout = json::Layout::new(
        set(ascii),
        &indent.unwrap_or(Value::None),
        &separators.unwrap_or(Value::None),
        set(sort),
        &machine.budget,
    )?;
    layout.dump(value, &machine.budget).map(Value::str)
}

/// An argument that is a truth value.
fn flag(value: Option<Value>) -> bool {
    value.is_some_and(|value| value.truthy())
}

/// An argument that is a count, `otherwise` where it is not given.
fn count(what: &str, value: Option<&Value>, otherwise: i128) -> Outcome<i128> {
    let Some(value) = value else { return Ok(otherwise) };
    value
        .defined()?
        .as_int()
        .ok_or_else(|| trouble(format!("`{what}` wants an integer, got '{}'", value.kind())))
}

//! Filters that compare items: sorting, grouping, the least and the largest.

use super::super::attributes::item;
use super::super::bounds::Budget;
use super::super::calls::Given;
use super::super::machine::Machine;
use super::super::order::{equal, iterate, order, sorted};
use super::super::value::{Seq, Stream, Value};
use super::super::{Outcome, trouble};
use super::flag;

/// Looks an attribute of items up, as `attribute=` names it: `a.b` is an item of an item.
pub(super) struct Getter {
    parts: Vec<Value>,
    default: Option<Value>,
    /// Text is compared in lower case.
    lower: bool,
}

impl Getter {
    pub(super) fn new(attribute: Option<&Value>, default: Option<Value>) -> Self {
        let parts = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(path) | Value::Safe(path)) => path
                .split('.')
                .map(|part| match part.parse() {
                    Ok(index) if part.bytes().all(|c| c.is_ascii_digit()) => Value::Int(index),
                    _ => Value::str(part),
                })
                .collect(),
            Some(other) => vec![other.clone()],
        };
        Self { parts, default: default.filter(|value| !matches!(value, Value::None)), lower: false }
    }

    fn lowered(mut self, lower: bool) -> Self {
        self.lower = lower;
        self
    }

    pub(super) fn get(&self, value: &Value, budget: &Budget) -> Outcome<Value> {
        let mut found = value.clone();
        for part in &self.parts {
            found = item(&found, part, budget)?;
            if let (Value::Undefined(_), Some(default)) = (&found, &self.default) {
                found = default.clone();
            }
        }
        match found.as_str().filter(|_| self.lower) {
            Some(text) => {
                budget.text(text.len())?;
                Ok(Value::str(text.to_lowercase()))
            }
            None => Ok(found),
        }
    }

    fn all(&self, items: &[Value], budget: &Budget) -> Outcome<Vec<Value>> {
        items.iter().map(|value| self.get(value, budget)).collect()
    }
}

pub(super) fn sort(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [reverse, cased, attribute] =
        given.bind("sort", ["reverse", "case_sensitive", "attribute"], 0)?;
    let cased = flag(cased);
    let attributes = match &attribute {
        Some(Value::Str(names)) => names.split(',').map(|name| Some(Value::str(name))).collect(),
        other => vec![other.clone()],
    };
    let getters: Vec<_> = attributes
        .iter()
        .map(|attribute| Getter::new(attribute.as_ref(), None).lowered(!cased))
        .collect();
    let items = iterate(value, &machine.budget)?;
    let budget = &machine.budget;
    let key = |value: &Value| {
        Value::list(getters.iter().map(|getter| getter.get(value, budget)).collect::<Outcome<_>>()?)
    };
    let keys = items.iter().map(key).collect::<Outcome<_>>()?;
    let sorted = sorted(items, keys, flag(reverse), budget)?;
    Value::list(sorted.into_iter().map(|(_, value)| value).collect())
}

pub(super) fn dictsort(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [cased, by, reverse] = given.bind("dictsort", ["case_sensitive", "by", "reverse"], 0)?;
    let by = by.unwrap_or_else(|| Value::str("key"));
    let at = match by.as_str().map(|by| &**by) {
        Some("key") => 0,
        Some("value") => 1,
        _ => return Err(trouble("`dictsort` sorts by 'key' or 'value'")),
    };
    let Value::Dict(dict) = value.defined()? else {
        return Err(trouble(format!("`dictsort` wants a dict, got '{}'", value.kind())));
    };
    let items = dict.view(super::super::value::View::Items)?;
    let getter = Getter::new(Some(&Value::Int(at)), None).lowered(!flag(cased));
    let keys = getter.all(&items, &machine.budget)?;
    let sorted = sorted(items, keys, flag(reverse), &machine.budget)?;
    Value::list(sorted.into_iter().map(|(_, value)| value).collect())
}

pub(super) fn groupby(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [attribute, default, cased] =
        given.bind("groupby", ["attribute", "default", "case_sensitive"], 1)?;
    let budget = &machine.budget;
    let plain = Getter::new(attribute.as_ref(), default.clone());
    let getter = Getter::new(attribute.as_ref(), default).lowered(!flag(cased));
    let items = iterate(value, budget)?;
    let keys = getter.all(&items, budget)?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, value) in sorted(items, keys, false, budget)? {
        match groups.last_mut() {
            Some((last, group)) if equal(last, &key, budget)? => group.push(value),
            _ => groups.push((key, vec![value])),
        }
    }
    let group = |(_, group): (Value, Vec<Value>)| {
        let grouper = plain.get(&group[0], budget)?;
        Seq::new(vec![grouper, Value::list(group)?]).map(Value::Group)
    };
    Value::list(groups.into_iter().map(group).collect::<Outcome<_>>()?)
}

pub(super) fn unique(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [cased, attribute] = given.bind("unique", ["case_sensitive", "attribute"], 0)?;
    let getter = Getter::new(attribute.as_ref(), None).lowered(!flag(cased));
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::new();
    for value in iterate(value, &machine.budget)? {
        let key = getter.get(&value, &machine.budget)?.key(seen.len(), &machine.budget)?;
        if seen.insert(key) {
            kept.push(value);
        }
    }
    Stream::value(kept)
}

pub(super) fn min(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    extreme(machine, "min", value, given)
}

pub(super) fn max(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    extreme(machine, "max", value, given)
}

/// The first of the least or of the largest items.
fn extreme(machine: &mut Machine, what: &str, value: &Value, given: Given) -> Outcome<Value> {
    let [cased, attribute] = given.bind(what, ["case_sensitive", "attribute"], 0)?;
    let getter = Getter::new(attribute.as_ref(), None).lowered(!flag(cased));
    let budget = &machine.budget;
    let mut best: Option<(Value, Value)> = None;
    for value in iterate(value, budget)? {
        let key = getter.get(&value, budget)?;
        let better = match &best {
            None => true,
            Some((top, _)) if what == "min" => {
                order(&key, top, "<", budget)?.is_some_and(std::cmp::Ordering::is_lt)
            }
            Some((top, _)) => order(&key, top, ">", budget)?.is_some_and(std::cmp::Ordering::is_gt),
        };
        if better {
            best = Some((key, value));
        }
    }
    let empty = || Value::undefined(format!("there is no {what} of nothing"));
    Ok(best.map_or_else(empty, |(_, value)| value))
}

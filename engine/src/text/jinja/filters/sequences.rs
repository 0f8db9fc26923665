//! Filters that go through items.

use super::super::attributes::attribute;
use super::super::calls::Given;
use super::super::machine::Machine;
use super::super::order::iterate;
use super::super::value::{Stream, Value, View};
use super::super::{Outcome, methods, predicates, trouble};
use super::sorting::Getter;
use super::{count, flag};

pub(super) fn length(_: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("length")?;
    let length = value.len().ok_or_else(|| trouble(format!("'{}' has no length", value.kind())))?;
    Ok(Value::Int(length as i128))
}

pub(super) fn default(_: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [default, boolean] = given.bind("default", ["default_value", "boolean"], 0)?;
    let absent = matches!(value, Value::Undefined(_)) || (flag(boolean) && !value.truthy());
    Ok(if absent { default.unwrap_or_else(|| Value::str("")) } else { value.clone() })
}

pub(super) fn attr(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [name] = given.bind("attr", ["name"], 1)?;
    let name = name.as_ref().and_then(Value::as_str);
    let name = name.ok_or_else(|| trouble("`attr` wants a name"))?;
    if matches!(value, Value::Dict(_)) && !methods::exists(value, name) {
        return Ok(Value::undefined(format!("'dict' has no attribute '{name}'")));
    }
    attribute(value, name, &machine.budget)
}

pub(super) fn list(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("list")?;
    Value::list(iterate(value, &machine.budget)?)
}

pub(super) fn items(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("items")?;
    match value {
        Value::Undefined(_) => Stream::value(Vec::new()),
        Value::Dict(dict) => {
            machine.budget.slots(2 * dict.items().len())?;
            Stream::value(dict.view(View::Items)?)
        }
        other => Err(trouble(format!("`items` wants a dict, got '{}'", other.kind()))),
    }
}

pub(super) fn first(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("first")?;
    if let Value::Stream(stream) = value {
        let mut items = stream.items.borrow_mut();
        machine.budget.slots(items.len())?;
        let first = if items.is_empty() { None } else { Some(items.remove(0)) };
        return Ok(first.unwrap_or_else(|| Value::undefined("there is no first item")));
    }
    let first = iterate(value, &machine.budget)?.into_iter().next();
    Ok(first.unwrap_or_else(|| Value::undefined("there is no first item")))
}

/// The items backwards, of what Python's `reversed` takes.
fn backwards(machine: &Machine, value: &Value) -> Outcome<Vec<Value>> {
    if let Value::Stream(_) = value {
        return Err(trouble("a generator cannot be reversed: use `list` first"));
    }
    let mut items = iterate(value, &machine.budget)?;
    items.reverse();
    Ok(items)
}

pub(super) fn last(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("last")?;
    let last = backwards(machine, value)?.into_iter().next();
    Ok(last.unwrap_or_else(|| Value::undefined("there is no last item")))
}

pub(super) fn reverse(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("reverse")?;
    if let Some(text) = value.as_str() {
        machine.budget.text(text.len())?;
        return Ok(Value::str(text.chars().rev().collect::<String>()));
    }
    if matches!(value, Value::Stream(_)) {
        let mut items = iterate(value, &machine.budget)?;
        items.reverse();
        return Value::list(items);
    }
    Stream::value(backwards(machine, value)?)
}

pub(super) fn batch(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [size, fill] = given.bind("batch", ["linecount", "fill_with"], 1)?;
    let size = count("batch", size.as_ref(), 0)?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    for item in iterate(value, &machine.budget)? {
        if batch.len() == size {
            batches.push(Value::list(std::mem::take(&mut batch))?);
        }
        batch.push(item);
    }
    if !batch.is_empty() {
        if let Some(fill) = fill.filter(|fill| !matches!(fill, Value::None)) {
            machine.budget.slots(size.saturating_sub(batch.len()))?;
            batch.resize(size.max(batch.len()), fill);
        }
        batches.push(Value::list(batch)?);
    }
    Stream::value(batches)
}

pub(super) fn slice(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [slices, fill] = given.bind("slice", ["slices", "fill_with"], 1)?;
    let items = iterate(value, &machine.budget)?;
    let slices = count("slice", slices.as_ref(), 0)?;
    let slices = usize::try_from(slices.max(0)).unwrap_or(usize::MAX);
    let Some(size) = items.len().checked_div(slices) else {
        return Err(trouble("`slice` into 0 slices"));
    };
    machine.budget.slots(slices)?;
    let longer = items.len() % slices;
    let mut rest = items.into_iter();
    let mut made = Vec::new();
    for at in 0..slices {
        let mut part: Vec<_> = rest.by_ref().take(size + usize::from(at < longer)).collect();
        if let Some(fill) = fill.as_ref().filter(|fill| !matches!(fill, Value::None)) {
            part.extend((at >= longer).then(|| fill.clone()));
        }
        made.push(Value::list(part)?);
    }
    Stream::value(made)
}

pub(super) fn map(machine: &mut Machine, value: &Value, mut given: Given) -> Outcome<Value> {
    if !value.truthy() {
        return Stream::value(Vec::new());
    }
    let items = iterate(value, &machine.budget)?;
    let attribute = given.positional.is_empty().then(|| given.take_named("attribute")).flatten();
    if let Some(attribute) = attribute {
        let [default] = given.bind("map", ["default"], 0)?;
        let getter = Getter::new(Some(&attribute), default);
        let items = items.iter().map(|item| getter.get(item, &machine.budget));
        return Stream::value(items.collect::<Outcome<_>>()?);
    }
    let name =
        name_of("map", &mut given)?.ok_or_else(|| trouble("`map` needs the name of a filter"))?;
    let items = items.iter().map(|item| super::apply(machine, &name, item, given.clone()));
    Stream::value(items.collect::<Outcome<_>>()?)
}

/// The first argument: the name of a filter or of a test.
fn name_of(what: &str, given: &mut Given) -> Outcome<Option<std::sync::Arc<str>>> {
    if given.positional.is_empty() {
        return Ok(None);
    }
    let name = given.positional.remove(0);
    match name.as_str() {
        Some(name) => Ok(Some(name.clone())),
        None => Err(trouble(format!("`{what}` wants a name, got '{}'", name.kind()))),
    }
}

pub(super) fn select(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    sift(machine, "select", value, given)
}

pub(super) fn reject(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    sift(machine, "reject", value, given)
}

pub(super) fn selectattr(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    sift(machine, "selectattr", value, given)
}

pub(super) fn rejectattr(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    sift(machine, "rejectattr", value, given)
}

/// The items that a test, or their own truth, keeps.
fn sift(machine: &mut Machine, what: &str, value: &Value, mut given: Given) -> Outcome<Value> {
    if !value.truthy() {
        return Stream::value(Vec::new());
    }
    let items = iterate(value, &machine.budget)?;
    let attribute = if what.ends_with("attr") {
        if given.positional.is_empty() {
            return Err(trouble(format!("`{what}` needs the name of an attribute")));
        }
        Some(given.positional.remove(0))
    } else {
        None
    };
    let getter = Getter::new(attribute.as_ref(), None);
    let test = name_of(what, &mut given)?;
    let mut kept = Vec::new();
    for item in items {
        machine.budget.spend(1)?;
        let tested = getter.get(&item, &machine.budget)?;
        let pass = match &test {
            Some(test) => predicates::apply(test, &tested, given.clone(), &machine.budget)?,
            None => tested.truthy(),
        };
        if pass == what.starts_with("select") {
            kept.push(item);
        }
    }
    Stream::value(kept)
}

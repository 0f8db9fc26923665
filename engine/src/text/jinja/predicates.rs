//! Tests (`x is y`), by their names in Jinja2 3.1.

use super::arithmetic::binary;
use super::ast::{Comparison, Operator};
use super::bounds::Budget;
use super::calls::Given;
use super::order::{compare, equal};
use super::value::{Callable, Value};
use super::{Outcome, filters, printing, trouble, unicode};

/// Tests without an argument.
const PLAIN: [&str; 20] = [
    "boolean",
    "callable",
    "defined",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "integer",
    "iterable",
    "lower",
    "mapping",
    "none",
    "number",
    "odd",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
];

const COMPARISONS: [(&str, Comparison); 15] = [
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    ("<=", Comparison::LessOrEqual),
    ("==", Comparison::Equal),
    (">", Comparison::Greater),
    (">=", Comparison::GreaterOrEqual),
    ("eq", Comparison::Equal),
    ("equalto", Comparison::Equal),
    ("ge", Comparison::GreaterOrEqual),
    ("greaterthan", Comparison::Greater),
    ("gt", Comparison::Greater),
    ("in", Comparison::In),
    ("le", Comparison::LessOrEqual),
    ("lessthan", Comparison::Less),
    ("lt", Comparison::Less),
];

/// Whether Jinja2 has such a test.
pub(super) fn is_known(name: &str) -> bool {
    PLAIN.contains(&name)
        || COMPARISONS.iter().any(|(known, _)| *known == name)
        || matches!(name, "divisibleby" | "ne" | "sameas" | "upper")
}

pub(super) fn apply(name: &str, value: &Value, given: Given, budget: &Budget) -> Outcome<bool> {
    let comparison = match name {
        "ne" => Some(Comparison::NotEqual),
        _ => {
            COMPARISONS.iter().find(|(known, _)| *known == name).map(|(_, comparison)| *comparison)
        }
    };
    if let Some(comparison) = comparison {
        let [other] = given.bind(name, ["other"], 1)?;
        return compare(comparison, value, &other.unwrap_or(Value::None), budget);
    }
    match name {
        "divisibleby" => {
            let [divisor] = given.bind(name, ["num"], 1)?;
            return rest_is(value, &divisor.unwrap_or(Value::None), 0, budget);
        }
        "sameas" => {
            given.charge(budget)?;
            let [other] = given.bind(name, ["other"], 1)?;
            return same(value, &other.unwrap_or(Value::None));
        }
        _ => given.nothing(name)?,
    }
    Ok(match name {
        "boolean" => matches!(value, Value::Bool(_)),
        "callable" => matches!(value, Value::Callable(_) | Value::Undefined(_) | Value::Loop(_)),
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "escaped" => matches!(value, Value::Safe(_)),
        "even" => rest_is(value, &Value::Int(2), 0, budget)?,
        "odd" => rest_is(value, &Value::Int(2), 1, budget)?,
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "none" => matches!(value, Value::None),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.as_float().is_some(),
        "string" => value.as_str().is_some(),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" => !matches!(value, Value::View(..) | Value::Loop(_)) && value.len().is_some(),
        "iterable" => iterable(value),
        "lower" => unicode::is_lower(&printing::text(value, budget)?),
        "upper" => unicode::is_upper(&printing::text(value, budget)?),
        "filter" => value.as_str().is_some_and(|name| filters::is_known(name)),
        "test" => value.as_str().is_some_and(|name| is_known(name)),
        _ => return Err(trouble(format!("there is no test `{name}`"))),
    })
}

fn iterable(value: &Value) -> bool {
    match value {
        Value::Undefined(_)
        | Value::Str(_)
        | Value::Safe(_)
        | Value::List(_)
        | Value::Tuple(_)
        | Value::Group(_)
        | Value::Dict(_)
        | Value::View(..)
        | Value::Range(..)
        | Value::Stream(_)
        | Value::Loop(_) => true,
        Value::Callable(callable) => matches!(&**callable, Callable::Recurse(_)),
        _ => false,
    }
}

fn rest_is(value: &Value, divisor: &Value, wanted: i128, budget: &Budget) -> Outcome<bool> {
    let rest = binary(Operator::Modulo, value, divisor, budget)?;
    equal(&rest, &Value::Int(wanted), budget)
}

/// Python's `is`, where it can be told without knowing which values Python shares.
fn same(left: &Value, right: &Value) -> Outcome<bool> {
    use std::rc::Rc;
    Ok(match (left, right) {
        (Value::None, Value::None) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) if left != right => false,
        (Value::Int(number), Value::Int(_)) if (-5..=256).contains(number) => true,
        (Value::List(left), Value::List(right)) => Rc::ptr_eq(left, right),
        (Value::Dict(left), Value::Dict(right)) => Rc::ptr_eq(left, right),
        (Value::Namespace(left), Value::Namespace(right)) => Rc::ptr_eq(left, right),
        (Value::Str(left), Value::Str(right)) if left != right => false,
        (left, right) if left.kind() != right.kind() => false,
        _ => return Err(trouble(format!("`sameas` is not supported for '{}'", left.kind()))),
    })
}

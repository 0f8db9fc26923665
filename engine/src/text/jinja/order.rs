//! Equality, order and membership, as Python has them.

use std::cmp::Ordering;
use std::rc::Rc;

use super::ast::Comparison;
use super::bounds::Budget;
use super::value::{Value, View};
use super::{Outcome, trouble};

pub(super) fn equal(left: &Value, right: &Value, budget: &Budget) -> Outcome<bool> {
    budget.spend(1)?;
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        budget.text(left.len().min(right.len()))?;
        return Ok(left == right);
    }
    if left.as_float().is_some() && right.as_float().is_some() {
        return Ok(numbers(left, right) == Some(Ordering::Equal));
    }
    Ok(match (left, right) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::List(left), Value::List(right)) => all(&left.items, &right.items, budget)?,
        (Value::Tuple(left) | Value::Group(left), Value::Tuple(right) | Value::Group(right)) => {
            all(&left.items, &right.items, budget)?
        }
        (Value::Dict(left), Value::Dict(right)) => {
            if left.items().len() != right.items().len() {
                return Ok(false);
            }
            for (key, value) in left.items() {
                match right.get(key, budget)? {
                    Some(other) if equal(value, other, budget)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::View(View::Keys, left), Value::View(View::Keys, right)) => {
            if left.items().len() != right.items().len() {
                return Ok(false);
            }
            for (key, _) in left.items() {
                if right.get(key, budget)?.is_none() {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Range(..), Value::Range(..)) => {
            let (left, right) = (iterate(left, budget)?, iterate(right, budget)?);
            all(&left, &right, budget)?
        }
        (Value::Stream(left), Value::Stream(right)) => Rc::ptr_eq(left, right),
        (Value::Namespace(left), Value::Namespace(right)) => Rc::ptr_eq(left, right),
        (Value::Loop(left), Value::Loop(right)) => Rc::ptr_eq(left, right),
        (Value::Cycler(left), Value::Cycler(right)) => Rc::ptr_eq(left, right),
        (Value::Callable(_), Value::Callable(_)) | (Value::View(..), Value::View(..)) => {
            return Err(trouble(format!("comparing a {} is not supported", left.kind())));
        }
        _ => false,
    })
}

fn all(left: &[Value], right: &[Value], budget: &Budget) -> Outcome<bool> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for (left, right) in left.iter().zip(right) {
        if !equal(left, right, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two numbers, exactly; `None` where one is not a number.
fn numbers(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Float(left), right) => mixed(right.as_int()?, *left).map(Ordering::reverse),
        (left, Value::Float(right)) => mixed(left.as_int()?, *right),
        (left, right) => Some(left.as_int()?.cmp(&right.as_int()?)),
    }
}

fn mixed(left: i128, right: f64) -> Option<Ordering> {
    if right.is_nan() {
        return None;
    }
    if right.abs() > 1.7e38 {
        return Some(if right > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let whole = right.floor();
    let order = left.cmp(&(whole as i128));
    Some(if order == Ordering::Equal && right > whole { Ordering::Less } else { order })
}

/// The order of two values; `None` for numbers of which one is not a number.
pub(super) fn order(
    left: &Value,
    right: &Value,
    symbol: &str,
    budget: &Budget,
) -> Outcome<Option<Ordering>> {
    budget.spend(1)?;
    let (left, right) = (left.defined()?, right.defined()?);
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        budget.text(left.len().min(right.len()))?;
        return Ok(Some(left.cmp(right)));
    }
    if left.as_float().is_some() && right.as_float().is_some() {
        return Ok(numbers(left, right));
    }
    let same = matches!(
        (left, right),
        (Value::List(_), Value::List(_))
            | (Value::Tuple(_) | Value::Group(_), Value::Tuple(_) | Value::Group(_))
    );
    let (Some(one), Some(other)) = (left.as_seq(), right.as_seq()) else {
        return Err(unordered(left, right, symbol));
    };
    if !same {
        return Err(unordered(left, right, symbol));
    }
    for (one, other) in one.iter().zip(other) {
        if !equal(one, other, budget)? {
            return order(one, other, symbol, budget);
        }
    }
    Ok(Some(one.len().cmp(&other.len())))
}

fn unordered(left: &Value, right: &Value, symbol: &str) -> super::Trouble {
    trouble(format!("'{symbol}' is not supported between '{}' and '{}'", left.kind(), right.kind()))
}

pub(super) fn compare(
    comparison: Comparison,
    left: &Value,
    right: &Value,
    budget: &Budget,
) -> Outcome<bool> {
    let ordered = |symbol| order(left, right, symbol, budget);
    Ok(match comparison {
        Comparison::Equal => equal(left, right, budget)?,
        Comparison::NotEqual => !equal(left, right, budget)?,
        Comparison::Less => ordered("<")?.is_some_and(Ordering::is_lt),
        Comparison::LessOrEqual => ordered("<=")?.is_some_and(Ordering::is_le),
        Comparison::Greater => ordered(">")?.is_some_and(Ordering::is_gt),
        Comparison::GreaterOrEqual => ordered(">=")?.is_some_and(Ordering::is_ge),
        Comparison::In => contains(right, left, budget)?,
        Comparison::NotIn => !contains(right, left, budget)?,
    })
}

/// Whether `value` is in `container`.
pub(super) fn contains(container: &Value, value: &Value, budget: &Budget) -> Outcome<bool> {
    if let Some(text) = container.as_str() {
        let Some(part) = value.as_str() else {
            value.defined()?;
            return Err(trouble(format!("'in' a text requires a text, got '{}'", value.kind())));
        };
        budget.text(text.len() + part.len())?;
        return Ok(text.contains(&**part));
    }
    match container {
        Value::Dict(dict) | Value::View(View::Keys, dict) => Ok(dict.get(value, budget)?.is_some()),
        Value::Range(..)
        | Value::List(_)
        | Value::Tuple(_)
        | Value::Group(_)
        | Value::Undefined(_)
        | Value::View(..)
        | Value::Stream(_) => {
            for item in iterate(container, budget)? {
                if equal(&item, value, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        other => Err(trouble(format!("'{}' is not iterable", other.kind()))),
    }
}

/// The items that a loop over `value` sees.
pub(super) fn iterate(value: &Value, budget: &Budget) -> Outcome<Vec<Value>> {
    let items = match value {
        Value::Undefined(_) => Vec::new(),
        Value::List(seq) | Value::Tuple(seq) | Value::Group(seq) => {
            budget.slots(seq.items.len())?;
            return Ok(seq.items.clone());
        }
        Value::Str(text) | Value::Safe(text) => {
            budget.slots(text.len())?;
            let mut buffer = [0; 4];
            return Ok(text.chars().map(|c| Value::str(&*c.encode_utf8(&mut buffer))).collect());
        }
        Value::Dict(dict) => {
            budget.slots(dict.items().len())?;
            return dict.view(View::Keys);
        }
        Value::View(view, dict) => {
            budget.slots(2 * dict.items().len())?;
            return dict.view(*view);
        }
        Value::Range(start, _, step) => {
            let length = value.len().unwrap_or_default();
            budget.slots(length)?;
            (0..length).map(|at| Value::Int(start + step * at as i128)).collect()
        }
        Value::Stream(stream) => stream.items.take(),
        Value::Loop(_) => return Err(trouble("going through `loop` is not supported")),
        other => return Err(trouble(format!("'{}' is not iterable", other.kind()))),
    };
    Ok(items)
}

/// Sorts by `keys`, equal ones staying in their order.
pub(super) fn sorted(
    items: Vec<Value>,
    keys: Vec<Value>,
    reverse: bool,
    budget: &Budget,
) -> Outcome<Vec<(Value, Value)>> {
    let mut failure = None;
    let mut pairs: Vec<_> = keys.into_iter().zip(items).collect();
    pairs.sort_by(|(left, _), (right, _)| {
        let (left, right) = if reverse { (right, left) } else { (left, right) };
        match order(left, right, "<", budget) {
            Ok(order) => order.unwrap_or(Ordering::Equal),
            Err(trouble) => {
                failure.get_or_insert(trouble);
                Ordering::Equal
            }
        }
    });
    failure.map_or(Ok(pairs), Err)
}

//! What `.name`, `[item]` and `[start:stop:step]` give, in the sandbox that `transformers` renders
//! in.

use std::rc::Rc;

use super::bounds::Budget;
use super::value::{Callable, Value, range_length};
use super::{Outcome, methods, trouble};

/// `value.name`: an attribute first, then an item, else undefined.
pub(super) fn attribute(value: &Value, name: &str, budget: &Budget) -> Outcome<Value> {
    if let Some(found) = own(value.defined()?, name)? {
        return Ok(found);
    }
    if let Value::Dict(dict) = value
        && let Some(found) = dict.get(&Value::str(name), budget)?
    {
        return Ok(found.clone());
    }
    Ok(absent(value, &format!("attribute '{name}'")))
}

/// `value[item]`: an item first, then an attribute, else undefined.
pub(super) fn item(value: &Value, item: &Value, budget: &Budget) -> Outcome<Value> {
    let value = value.defined()?;
    let found = match value {
        Value::Dict(dict) => match item {
            Value::List(_) | Value::Dict(_) => None,
            key => dict.get(key, budget)?.cloned(),
        },
        Value::Str(text) | Value::Safe(text) => {
            budget.text(text.len())?;
            let at = item.as_int().and_then(|at| index(at, value.len()));
            at.and_then(|at| text.chars().nth(at)).map(|c| {
                let text = c.to_string().into();
                if matches!(value, Value::Safe(_)) { Value::Safe(text) } else { Value::Str(text) }
            })
        }
        Value::Range(start, _, step) => {
            let at = item.as_int().and_then(|at| index(at, value.len()));
            at.map(|at| Value::Int(start + step * at as i128))
        }
        other => match (other.as_seq(), item.as_int()) {
            (Some(items), Some(at)) => {
                index(at, Some(items.len())).and_then(|at| items.get(at)).cloned()
            }
            _ => None,
        },
    };
    if let Some(found) = found {
        return Ok(found);
    }
    if let Some(name) = item.as_str()
        && let Some(found) = own(value, name)?
    {
        return Ok(found);
    }
    let shown = match item {
        Value::Int(_) | Value::Str(_) | Value::None | Value::Bool(_) => {
            super::printing::repr(item, budget)?
        }
        other => format!("of type '{}'", other.kind()),
    };
    Ok(absent(value, &format!("item {shown}")))
}

fn absent(value: &Value, what: &str) -> Value {
    Value::undefined(format!("'{}' has no {what}", value.kind()))
}

fn index(at: i128, length: Option<usize>) -> Option<usize> {
    let length = length? as i128;
    let at = if at < 0 { at + length } else { at };
    usize::try_from(at).ok().filter(|_| at < length)
}

/// An attribute in Python's sense: a method or a field. What changes a value, and what starts with
/// an underscore, is out of reach in the sandbox.
fn own(value: &Value, name: &str) -> Outcome<Option<Value>> {
    if name.starts_with('_') && !matches!(value, Value::Namespace(_) | Value::Dict(_)) {
        return Ok(Some(Value::undefined(format!("access to attribute '{name}' is unsafe"))));
    }
    let field = match value {
        Value::Namespace(fields) => fields.borrow().get(name).cloned(),
        Value::Loop(state) => super::loops::field(state, name),
        Value::Group(seq) => match name {
            "grouper" => seq.items.first().cloned(),
            "list" => seq.items.get(1).cloned(),
            _ => None,
        },
        Value::Callable(callable) => match &**callable {
            Callable::Macro(made, _) => super::calls::macro_field(made, name)?,
            _ => None,
        },
        Value::Cycler(cycler) if name == "current" => {
            cycler.seq.items.get(cycler.at.get()).cloned()
        }
        Value::Range(start, stop, step) => match name {
            "start" => Some(Value::Int(*start)),
            "stop" => Some(Value::Int(*stop)),
            "step" => Some(Value::Int(*step)),
            _ => None,
        },
        number => match (name, number.as_int()) {
            ("real" | "numerator", Some(number)) => Some(Value::Int(number)),
            ("imag", Some(_)) => Some(Value::Int(0)),
            ("denominator", Some(_)) => Some(Value::Int(1)),
            _ => None,
        },
    };
    if field.is_some() {
        return Ok(field);
    }
    if methods::changes(value, name) {
        return Ok(Some(Value::undefined(format!("access to attribute '{name}' is unsafe"))));
    }
    if methods::exists(value, name) {
        let method = Callable::Method(value.clone(), name.into());
        return Ok(Some(Value::Callable(Rc::new(method))));
    }
    Ok(None)
}

/// `value[start:stop:step]`.
pub(super) fn slice(value: &Value, bounds: &[Value; 3], budget: &Budget) -> Outcome<Value> {
    let value = value.defined()?;
    let mut numbers = [None; 3];
    for (number, bound) in numbers.iter_mut().zip(bounds) {
        *number = match bound {
            Value::None => None,
            other => Some(other.as_int().ok_or_else(|| {
                trouble(format!("slice indices must be integers or none, got '{}'", other.kind()))
            })?),
        };
    }
    let [start, stop, step] = numbers;
    if let Some(text) = value.as_str() {
        budget.text(text.len())?;
    }
    let length = match value {
        Value::Str(_) | Value::Safe(_) | Value::List(_) | Value::Tuple(_) | Value::Group(_) => {
            value.len()
        }
        Value::Range(..) => value.len(),
        _ => None,
    };
    let length =
        length.ok_or_else(|| trouble(format!("'{}' cannot be sliced", value.kind())))? as i128;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(trouble("slice step cannot be zero"));
    }
    // Where a slice starts and stops going forwards, and going backwards from the last item.
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |at: i128| if at < 0 { (at.saturating_add(length)).max(low) } else { at.min(high) };
    let start = start.map_or(if step > 0 { low } else { high }, clamp);
    let stop = stop.map_or(if step > 0 { high } else { low }, clamp);
    let count = range_length(start, stop, step.clamp(-length - 1, length + 1));
    let at = (0..count).map(|n| (start + n as i128 * step) as usize);
    budget.slots(count)?;
    match value {
        Value::Range(first, _, by) => {
            Ok(Value::Range(first + start * by, first + stop * by, by.saturating_mul(step)))
        }
        Value::Str(text) | Value::Safe(text) => {
            let part: String = if step == 1 {
                text.chars().skip(start as usize).take(count).collect()
            } else {
                let chars: Vec<_> = text.chars().collect();
                at.filter_map(|at| chars.get(at)).collect()
            };
            let part = part.into();
            Ok(if matches!(value, Value::Safe(_)) { Value::Safe(part) } else { Value::Str(part) })
        }
        other => {
            let items = other.as_seq().unwrap_or_default();
            let items = at.filter_map(|at| items.get(at)).cloned().collect();
            if matches!(other, Value::List(_)) { Value::list(items) } else { Value::tuple(items) }
        }
    }
}

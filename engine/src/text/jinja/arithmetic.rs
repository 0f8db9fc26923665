//! Arithmetic, as Python has it: integers that stay integers, floats, and what `+` and `*` do to
//! text and lists.

use super::ast::Operator;
use super::bounds::Budget;
use super::value::Value;
use super::{Outcome, Trouble, html, percent, trouble};

pub(super) fn binary(
    operator: Operator,
    left: &Value,
    right: &Value,
    budget: &Budget,
) -> Outcome<Value> {
    if let (Operator::Modulo, Some(format)) = (operator, left.as_str()) {
        if matches!(left, Value::Safe(_)) {
            return Err(trouble("`%` on text marked as safe is not supported"));
        }
        return percent::format(format, right, budget).map(Value::str);
    }
    let (left, right) = (left.defined()?, right.defined()?);
    if let (Some(one), Some(other)) = (left.as_int(), right.as_int()) {
        return integers(operator, one, other);
    }
    if let (Some(one), Some(other)) = (left.as_float(), right.as_float()) {
        return floats(operator, one, other).map(Value::Float);
    }
    match operator {
        Operator::Add => add(left, right, budget),
        Operator::Multiply => match (left.as_int(), right.as_int()) {
            (_, Some(times)) => repeat(left, times, right, budget),
            (Some(times), _) => repeat(right, times, left, budget),
            _ => Err(unsupported(operator, left, right)),
        },
        _ => Err(unsupported(operator, left, right)),
    }
}

fn unsupported(operator: Operator, left: &Value, right: &Value) -> Trouble {
    let symbol = operator.symbol();
    trouble(format!("cannot compute '{}' {symbol} '{}'", left.kind(), right.kind()))
}

fn add(left: &Value, right: &Value, budget: &Budget) -> Outcome<Value> {
    if let (Some(one), Some(other)) = (left.as_str(), right.as_str()) {
        budget.text(one.len() + other.len())?;
        let (safe, other_safe) = (matches!(left, Value::Safe(_)), matches!(right, Value::Safe(_)));
        if !safe && !other_safe {
            return Ok(Value::str(format!("{one}{other}")));
        }
        let escape = |text: &str, safe| if safe { text.to_owned() } else { html::escape(text) };
        return Ok(Value::Safe((escape(one, safe) + &escape(other, other_safe)).into()));
    }
    let (Some(one), Some(other)) = (left.as_seq(), right.as_seq()) else {
        return Err(unsupported(Operator::Add, left, right));
    };
    budget.slots(one.len() + other.len())?;
    let joined = [one, other].concat();
    match (left, right) {
        (Value::List(_), Value::List(_)) => Value::list(joined),
        (Value::List(_), _) | (_, Value::List(_)) => Err(unsupported(Operator::Add, left, right)),
        _ => Value::tuple(joined),
    }
}

fn repeat(value: &Value, times: i128, other: &Value, budget: &Budget) -> Outcome<Value> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    if let Some(text) = value.as_str() {
        budget.text(text.len().saturating_mul(times))?;
        let text: std::sync::Arc<str> = text.repeat(times).into();
        let safe = matches!(value, Value::Safe(_));
        return Ok(if safe { Value::Safe(text) } else { Value::Str(text) });
    }
    let Some(items) = value.as_seq() else {
        return Err(unsupported(Operator::Multiply, value, other));
    };
    budget.slots(items.len().saturating_mul(times))?;
    let times = if items.is_empty() { 0 } else { times };
    let items: Vec<_> = std::iter::repeat_n(items, times).flatten().cloned().collect();
    if matches!(value, Value::List(_)) { Value::list(items) } else { Value::tuple(items) }
}

fn integers(operator: Operator, left: i128, right: i128) -> Outcome<Value> {
    let zero = || trouble("division by zero");
    let number = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => return quotient(left, right).map(Value::Float),
        Operator::FloorDivide | Operator::Modulo if right == 0 => return Err(zero()),
        Operator::FloorDivide => left.checked_div_euclid(right).map(|_| floor_divide(left, right)),
        Operator::Modulo => left
            .checked_rem(right)
            .map(|rest| if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }),
        Operator::Power if right < 0 => {
            return floats(operator, left as f64, right as f64).map(Value::Float);
        }
        Operator::Power => u32::try_from(right).ok().and_then(|power| left.checked_pow(power)),
    };
    number.map(Value::Int).ok_or_else(|| {
        trouble(format!("{left} {} {right} is beyond integers of 128 bits", operator.symbol()))
    })
}

fn floor_divide(left: i128, right: i128) -> i128 {
    let (quotient, rest) = (left / right, left % right);
    if rest != 0 && (rest < 0) != (right < 0) { quotient - 1 } else { quotient }
}

fn quotient(left: i128, right: i128) -> Outcome<f64> {
    const EXACT: u128 = 1 << 53;
    if right == 0 {
        return Err(trouble("division by zero"));
    }
    if left.unsigned_abs() > EXACT || right.unsigned_abs() > EXACT {
        return Err(trouble(format!(
            "{left} / {right}: integers above 2^53 are not divided to floats"
        )));
    }
    Ok(left as f64 / right as f64)
}

fn floats(operator: Operator, left: f64, right: f64) -> Outcome<f64> {
    if right == 0.0
        && matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Modulo)
    {
        return Err(trouble("division by zero"));
    }
    Ok(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Modulo => divide_modulo(left, right).1,
        Operator::FloorDivide => divide_modulo(left, right).0,
        Operator::Power => {
            let power = left.powf(right);
            if left == 0.0 && right < 0.0 {
                return Err(trouble("zero cannot be raised to a negative power"));
            }
            if power.is_nan() && !left.is_nan() && !right.is_nan() {
                return Err(trouble("a power that is a complex number is not supported"));
            }
            if power.is_infinite() && left.is_finite() && right.is_finite() {
                return Err(trouble("the power is too large for a float"));
            }
            power
        }
    })
}

/// Quotient rounded down, and the rest, which has the sign of `right`.
fn divide_modulo(left: f64, right: f64) -> (f64, f64) {
    let mut rest = left % right;
    let mut quotient = (left - rest) / right;
    if rest == 0.0 {
        rest = 0.0_f64.copysign(right);
    } else if (right < 0.0) != (rest < 0.0) {
        rest += right;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0_f64.copysign(left / right), rest);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, rest)
}

pub(super) fn negative(value: &Value) -> Outcome<Value> {
    match (value.defined()?, value.as_int()) {
        (Value::Float(number), _) => Ok(Value::Float(-number)),
        (_, Some(number)) => number
            .checked_neg()
            .map(Value::Int)
            .ok_or_else(|| trouble("the integer is beyond 128 bits")),
        (other, None) => Err(trouble(format!("cannot negate '{}'", other.kind()))),
    }
}

pub(super) fn positive(value: &Value) -> Outcome<Value> {
    match (value.defined()?, value.as_int()) {
        (Value::Float(number), _) => Ok(Value::Float(*number)),
        (_, Some(number)) => Ok(Value::Int(number)),
        (other, None) => Err(trouble(format!("cannot compute + of '{}'", other.kind()))),
    }
}

//! Filters that make numbers, or text of numbers.

use super::super::arithmetic::binary;
use super::super::ast::Operator;
use super::super::calls::Given;
use super::super::machine::Machine;
use super::super::numbers::{parse_float, parse_int};
use super::super::order::iterate;
use super::super::value::Value;
use super::super::{Outcome, trouble};
use super::sorting::Getter;
use super::{count, flag};

pub(super) fn abs(_: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("abs")?;
    match (value.defined()?, value.as_int()) {
        (Value::Float(number), _) => Ok(Value::Float(number.abs())),
        (_, Some(number)) if number != i128::MIN => Ok(Value::Int(number.abs())),
        (other, _) => Err(trouble(format!("`abs` wants a number, got '{}'", other.kind()))),
    }
}

pub(super) fn int(_: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [default, base] = given.bind("int", ["default", "base"], 0)?;
    let base = count("int", base.as_ref(), 10)?;
    let base = u32::try_from(base).ok().filter(|base| *base == 0 || (2..=36).contains(base));
    let default = default.unwrap_or(Value::Int(0));
    let number = match value.defined()? {
        Value::Float(number) => Some(*number),
        Value::Str(text) | Value::Safe(text) => {
            let base = base.ok_or_else(|| trouble("`int` wants a base of 0 or 2 to 36"))?;
            if let Some(number) = parse_int(text, base) {
                return Ok(Value::Int(number));
            }
            let number = parse_float(text);
            if number.is_some_and(|number| !number.is_finite()) {
                return Ok(default);
            }
            number
        }
        other => return Ok(other.as_int().map_or(default, Value::Int)),
    };
    match number {
        None => Ok(default),
        Some(number) if number.is_nan() => Ok(default),
        Some(number) if number.abs() < 1e38 => Ok(Value::Int(number as i128)),
        Some(number) => Err(trouble(format!("cannot convert the float {number} to an integer"))),
    }
}

pub(super) fn float(_: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [default] = given.bind("float", ["default"], 0)?;
    let number = match value.defined()? {
        Value::Str(text) | Value::Safe(text) => parse_float(text),
        other => other.as_float(),
    };
    Ok(number.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
}

pub(super) fn round(_: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [precision, method] = given.bind("round", ["precision", "method"], 0)?;
    let precision = count("round", precision.as_ref(), 0)?;
    let precision = i32::try_from(precision)
        .ok()
        .filter(|precision| (-300..=300).contains(precision))
        .ok_or_else(|| trouble("`round` wants a precision of -300 to 300"))?;
    let method = method.unwrap_or_else(|| Value::str("common"));
    let wrong = || trouble(format!("`round` wants a number, got '{}'", value.kind()));
    let number = value.defined()?.as_float().ok_or_else(wrong)?;
    let scale = 10_f64.powi(precision);
    match method.as_str().map(|method| &**method) {
        Some("common") => match value.as_int() {
            Some(number) => integer(number, precision).map(Value::Int),
            None => Ok(Value::Float(common(number, precision))),
        },
        Some("ceil") => Ok(Value::Float((number * scale).ceil() / scale)),
        Some("floor") => Ok(Value::Float((number * scale).floor() / scale)),
        _ => Err(trouble("`round` wants the method 'common', 'ceil' or 'floor'")),
    }
}

/// To the nearest, by the number's exact decimal form; a tie goes to the even one.
fn common(number: f64, precision: i32) -> f64 {
    if !number.is_finite() {
        return number;
    }
    if let Ok(places) = usize::try_from(precision) {
        return format!("{number:.places$}").parse().unwrap_or(number);
    }
    let scale = 10_f64.powi(-precision);
    (number / scale).round_ties_even() * scale
}

fn integer(number: i128, precision: i32) -> Outcome<i128> {
    if precision >= 0 {
        return Ok(number);
    }
    let Some(unit) = 10_i128.checked_pow(precision.unsigned_abs()) else { return Ok(0) };
    let (down, rest) = (number.div_euclid(unit), number.rem_euclid(unit));
    let up = rest > unit - rest || (rest == unit - rest && down % 2 != 0);
    (down + i128::from(up))
        .checked_mul(unit)
        .ok_or_else(|| trouble("the integer is beyond 128 bits"))
}

pub(super) fn sum(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [attribute, start] = given.bind("sum", ["attribute", "start"], 0)?;
    let getter =
        Getter::new(attribute.filter(|value| !matches!(value, Value::None)).as_ref(), None);
    let start = start.unwrap_or(Value::Int(0));
    if start.as_str().is_some() {
        return Err(trouble("`sum` adds no text: use `join`"));
    }
    let items = iterate(value, &machine.budget)?;
    items.iter().try_fold(start, |total, item| {
        let item = getter.get(item, &machine.budget)?;
        binary(Operator::Add, &total, &item, &machine.budget)
    })
}

pub(super) fn filesizeformat(_: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    const PREFIXES: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
    let [binary] = given.bind("filesizeformat", ["binary"], 0)?;
    let binary = flag(binary);
    let bytes = match value.defined()? {
        Value::Str(text) | Value::Safe(text) => parse_float(text),
        other => other.as_float(),
    };
    let bytes = bytes.ok_or_else(|| trouble("`filesizeformat` wants a number"))?;
    let (base, suffix) = if binary { (1024.0_f64, "iB") } else { (1000.0, "B") };
    if (bytes - 1.0).abs() < f64::EPSILON {
        return Ok(Value::str("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::str(format!("{} Bytes", bytes.trunc())));
    }
    let at = (2..=9).find(|power| bytes < base.powi(*power)).unwrap_or(9);
    let prefix = PREFIXES[at as usize - 2];
    let prefix = if binary { prefix.to_uppercase() } else { prefix.to_owned() };
    Ok(Value::str(format!("{:.1} {prefix}{suffix}", base * bytes / base.powi(at))))
}

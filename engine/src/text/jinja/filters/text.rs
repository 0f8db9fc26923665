//! Filters that make text.

use super::super::arithmetic::binary;
use super::super::ast::Operator;
use super::super::calls::Given;
use super::super::html;
use super::super::machine::Machine;
use super::super::order::iterate;
use super::super::unicode::{self, lines};
use super::super::value::{Dict, Value};
use super::super::{Outcome, methods, printing, trouble};
use super::sorting::Getter;
use super::{count, flag};

/// The value as text that stays marked as safe.
fn soft(machine: &Machine, value: &Value) -> Outcome<Value> {
    match value {
        Value::Str(_) | Value::Safe(_) => Ok(value.clone()),
        other => printing::text(other, &machine.budget).map(Value::str),
    }
}

/// Calls a method of text with the arguments of the filter of the same use.
fn by_method(machine: &Machine, value: &Value, name: &str, args: Vec<Value>) -> Outcome<Value> {
    let given = Given { positional: args, named: Vec::new() };
    methods::call(&soft(machine, value)?, name, given, &machine.budget)
}

pub(super) fn string(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("string")?;
    soft(machine, value)
}

pub(super) fn upper(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("upper")?;
    by_method(machine, value, "upper", Vec::new())
}

pub(super) fn lower(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("lower")?;
    by_method(machine, value, "lower", Vec::new())
}

pub(super) fn capitalize(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("capitalize")?;
    by_method(machine, value, "capitalize", Vec::new())
}

pub(super) fn center(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [width] = given.bind("center", ["width"], 0)?;
    by_method(machine, value, "center", vec![width.unwrap_or(Value::Int(80))])
}

pub(super) fn trim(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [chars] = given.bind("trim", ["chars"], 0)?;
    by_method(machine, value, "strip", chars.into_iter().collect())
}

/// Words start after blanks, hyphens and opening brackets; the rest of a word is lowered.
pub(super) fn title(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("title")?;
    let text = printing::text(value, &machine.budget)?;
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for c in text.chars() {
        if unicode::is_space(c) || "-({[<".contains(c) {
            out.push(c);
            start = true;
        } else if std::mem::take(&mut start) {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
    }
    Ok(Value::str(out))
}

pub(super) fn replace(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [old, new, count] = given.bind("replace", ["old", "new", "count"], 2)?;
    let text = |value: Option<Value>| {
        printing::text(&value.unwrap_or(Value::None), &machine.budget).map(Value::str)
    };
    let plain = Value::str(printing::text(value, &machine.budget)?);
    let mut args = vec![text(old)?, text(new)?];
    args.extend(count.filter(|count| !matches!(count, Value::None)));
    by_method(machine, &plain, "replace", args)
}

pub(super) fn format(machine: &mut Machine, value: &Value, mut given: Given) -> Outcome<Value> {
    let named = std::mem::take(&mut given.named);
    let values = if named.is_empty() {
        Value::tuple(given.positional)?
    } else if given.positional.is_empty() {
        let pairs = named.into_iter().map(|(name, value)| (Value::Str(name), value));
        Value::Dict(Dict::new(pairs, &machine.budget)?)
    } else {
        return Err(trouble("`format` takes positional or named arguments, not both"));
    };
    let format = soft(machine, value)?;
    binary(Operator::Modulo, &format, &values, &machine.budget)
}

pub(super) fn join(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [separator, attribute] = given.bind("join", ["d", "attribute"], 0)?;
    let separator = match separator {
        Some(separator) => printing::text(&separator, &machine.budget)?,
        None => String::new(),
    };
    let getter = Getter::new(attribute.as_ref(), None);
    let mut out = String::new();
    for (at, item) in iterate(value, &machine.budget)?.iter().enumerate() {
        if at > 0 {
            machine.budget.text(separator.len())?;
            out.push_str(&separator);
        }
        let item = getter.get(item, &machine.budget)?;
        printing::write(&item, &machine.budget, &mut out)?;
    }
    Ok(Value::str(out))
}

pub(super) fn indent(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [width, first, blank] = given.bind("indent", ["width", "first", "blank"], 0)?;
    let wrong = || trouble(format!("`indent` wants a text, got '{}'", value.kind()));
    let text = value.defined()?.as_str().ok_or_else(wrong)?;
    let (first, blank) = (flag(first), flag(blank));
    let margin = match &width {
        Some(Value::Str(margin) | Value::Safe(margin)) => margin.to_string(),
        width => {
            let width = count("indent", width.as_ref(), 4)?;
            let width = usize::try_from(width.max(0)).unwrap_or(usize::MAX);
            machine.budget.text(width)?;
            " ".repeat(width)
        }
    };
    let text = format!("{text}\n");
    let lines = lines(&text, false);
    machine.budget.text(text.len() + lines.len().saturating_mul(margin.len()))?;
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        out.push_str(if at > 0 { "\n" } else { "" });
        let wanted = if at == 0 { first } else { blank || !line.is_empty() };
        out.push_str(if wanted { &margin } else { "" });
        out.push_str(line);
    }
    Ok(if matches!(value, Value::Safe(_)) { Value::Safe(out.into()) } else { Value::str(out) })
}

pub(super) fn truncate(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let [length, kill, end, leeway] =
        given.bind("truncate", ["length", "killwords", "end", "leeway"], 0)?;
    let text = value.defined()?.as_str().ok_or_else(|| trouble("`truncate` wants a text"))?;
    let end = end.unwrap_or_else(|| Value::str("..."));
    let end = end.as_str().ok_or_else(|| trouble("`truncate` wants a text as its end"))?;
    let length = count("truncate", length.as_ref(), 255)?;
    let leeway = leeway.filter(|leeway| !matches!(leeway, Value::None));
    let leeway = count("truncate", leeway.as_ref(), 5)?;
    let keep = length - end.chars().count() as i128;
    if keep < 0 || leeway < 0 {
        return Err(trouble(
            "`truncate` wants a length of at least its end, and a leeway of at least 0",
        ));
    }
    machine.budget.text(text.len())?;
    if text.chars().count() as i128 <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let start: String = text.chars().take(usize::try_from(keep).unwrap_or(usize::MAX)).collect();
    let start = if flag(kill) {
        &*start
    } else {
        start.rsplit_once(' ').map_or(&*start, |(start, _)| start)
    };
    Ok(Value::str(format!("{start}{end}")))
}

pub(super) fn wordcount(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("wordcount")?;
    let text = printing::text(value, &machine.budget)?;
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    Ok(Value::Int(words.filter(|word| !word.is_empty()).count() as i128))
}

pub(super) fn safe(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("safe")?;
    Ok(Value::Safe(printing::text(value, &machine.budget)?.into()))
}

pub(super) fn escape(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("escape")?;
    if matches!(value, Value::Safe(_)) {
        return Ok(value.clone());
    }
    let text = printing::text(value, &machine.budget)?;
    machine.budget.text(5 * text.len())?;
    Ok(Value::Safe(html::escape(&text).into()))
}

pub(super) fn forceescape(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    let text = Value::str(printing::text(value, &machine.budget)?);
    escape(machine, &text, given)
}

pub(super) fn urlencode(machine: &mut Machine, value: &Value, given: Given) -> Outcome<Value> {
    given.nothing("urlencode")?;
    let budget = &machine.budget;
    let quoted = |value: &Value, query: bool| {
        let text = printing::text(value, budget)?;
        budget.text(3 * text.len())?;
        Ok(html::quote(&text, query))
    };
    let pairs = match value {
        Value::Dict(dict) => dict.view(super::super::value::View::Items)?,
        Value::List(_)
        | Value::Tuple(_)
        | Value::Group(_)
        | Value::View(..)
        | Value::Range(..)
        | Value::Undefined(_)
        | Value::Stream(_) => iterate(value, budget)?,
        other => return quoted(other, false).map(Value::str),
    };
    let pair = |pair: &Value| match iterate(pair, budget)?.as_slice() {
        [key, value] => Ok(format!("{}={}", quoted(key, true)?, quoted(value, true)?)),
        _ => Err(trouble("`urlencode` wants pairs")),
    };
    let pairs: Vec<_> = pairs.iter().map(pair).collect::<Outcome<_>>()?;
    Ok(Value::str(pairs.join("&")))
}

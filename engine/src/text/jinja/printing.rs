//! Values as text: Python's `str` and `repr`.

use super::bounds::Budget;
use super::unicode::is_printable;
use super::value::{Value, View};
use super::{Outcome, trouble};

/// `str(value)`.
pub(super) fn text(value: &Value, budget: &Budget) -> Outcome<String> {
    let mut out = String::new();
    write(value, budget, &mut out)?;
    Ok(out)
}

/// `str(value)`, behind what is in `out`.
pub(super) fn write(value: &Value, budget: &Budget, out: &mut String) -> Outcome<()> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Str(text) | Value::Safe(text) => {
            budget.text(text.len())?;
            out.push_str(text);
            Ok(())
        }
        Value::Loop(state) => {
            let (at, length) = (state.at.get() + 1, state.seq.items.len());
            write_to(out, format_args!("<LoopContext {at}/{length}>"));
            Ok(())
        }
        other => write_repr(other, budget, out),
    }
}

/// `repr(value)`.
pub(super) fn repr(value: &Value, budget: &Budget) -> Outcome<String> {
    let mut out = String::new();
    write_repr(value, budget, &mut out)?;
    Ok(out)
}

fn write_repr(value: &Value, budget: &Budget, out: &mut String) -> Outcome<()> {
    budget.spend(1)?;
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&float(*number)),
        Value::Str(text) => {
            budget.text(text.len())?;
            out.push_str(&quoted(text));
        }
        Value::Safe(text) => {
            budget.text(text.len())?;
            write_to(out, format_args!("Markup({})", quoted(text)));
        }
        Value::List(seq) => write_items(&seq.items, ("[", "]"), budget, out)?,
        Value::Tuple(seq) | Value::Group(seq) => {
            let end = if seq.items.len() == 1 { ",)" } else { ")" };
            write_items(&seq.items, ("(", end), budget, out)?;
        }
        Value::Dict(dict) => {
            out.push('{');
            for (at, (key, value)) in dict.items().iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_repr(key, budget, out)?;
                out.push_str(": ");
                write_repr(value, budget, out)?;
            }
            out.push('}');
        }
        Value::View(view, dict) => {
            let name = match view {
                View::Items => "dict_items([",
                View::Keys => "dict_keys([",
                View::Values => "dict_values([",
            };
            budget.slots(2 * dict.items().len())?;
            write_items(&dict.view(*view)?, (name, "])"), budget, out)?;
        }
        Value::Range(start, stop, 1) => write_to(out, format_args!("range({start}, {stop})")),
        Value::Range(start, stop, step) => {
            write_to(out, format_args!("range({start}, {stop}, {step})"));
        }
        Value::Callable(callable) => match &**callable {
            super::value::Callable::Macro(made, _) => {
                write_to(out, format_args!("<Macro {}>", quoted(&made.name)));
            }
            _ => return Err(no_text("function")),
        },
        Value::Stream(_) => return Err(no_text("generator: use `list` or `join` first")),
        Value::Namespace(_) => return Err(no_text("namespace")),
        Value::Loop(_) | Value::Cycler(_) => return Err(no_text(value.kind())),
    }
    Ok(())
}

fn write_to(out: &mut String, text: std::fmt::Arguments<'_>) {
    std::fmt::Write::write_fmt(out, text).expect("text is written to memory");
}

fn no_text(what: &str) -> super::Trouble {
    trouble(format!("there is no text for a {what}"))
}

fn write_items(
    items: &[Value],
    (start, end): (&str, &str),
    budget: &Budget,
    out: &mut String,
) -> Outcome<()> {
    out.push_str(start);
    for (at, item) in items.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        write_repr(item, budget, out)?;
    }
    out.push_str(end);
    Ok(())
}

/// A float with the fewest digits that read back as it.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A text in quotes, with escapes.
pub(super) fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&escaped(c)),
        }
    }
    out.push(quote);
    out
}

/// The shortest of Python's numeric escapes.
pub(super) fn escaped(c: char) -> String {
    match u32::from(c) {
        code @ 0..=0xff => format!("\\x{code:02x}"),
        code @ 0..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

//! Methods of values, as Python has them.

mod format;
mod parts;
mod text;

use super::bounds::Budget;
use super::calls::Given;
use super::order::equal;
use super::value::{Callable, Value, View};
use super::{Outcome, trouble};

/// Every method of `str`; [`text::call`] says which are not supported.
const STR: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];
const LIST: [&str; 3] = ["copy", "count", "index"];
const TUPLE: [&str; 2] = ["count", "index"];
const DICT: [&str; 6] = ["copy", "fromkeys", "get", "items", "keys", "values"];
const INT: [&str; 7] = [
    "as_integer_ratio",
    "bit_count",
    "bit_length",
    "conjugate",
    "from_bytes",
    "is_integer",
    "to_bytes",
];
const FLOAT: [&str; 7] =
    ["as_integer_ratio", "conjugate", "fromhex", "hex", "imag", "is_integer", "real"];

/// Whether the value has a method of the name.
pub(super) fn exists(value: &Value, name: &str) -> bool {
    let names: &[&str] = match value {
        Value::Str(_) | Value::Safe(_) => &STR,
        Value::List(_) => &LIST,
        Value::Tuple(_) | Value::Group(_) | Value::Range(..) => &TUPLE,
        Value::Dict(_) => &DICT,
        Value::Int(_) | Value::Bool(_) => &INT,
        Value::Float(_) => &FLOAT,
        Value::Cycler(_) => &["next", "reset"],
        Value::View(..) => &["isdisjoint", "mapping"],
        Value::Callable(callable) if matches!(&**callable, Callable::Global("dict")) => {
            &["fromkeys"]
        }
        _ => &[],
    };
    names.contains(&name)
}

/// Whether the method would change the value, which the sandbox does not allow.
pub(super) fn changes(value: &Value, name: &str) -> bool {
    let names: &[&str] = match value {
        Value::List(_) => {
            &["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"]
        }
        Value::Dict(_) => &["clear", "pop", "popitem", "setdefault", "update"],
        _ => &[],
    };
    names.contains(&name)
}

pub(super) fn call(value: &Value, name: &str, given: Given, budget: &Budget) -> Outcome<Value> {
    budget.spend(1)?;
    match value {
        Value::Str(text) => text::call(text, name, given, budget),
        Value::Safe(text) => safe(text, name, given, budget),
        Value::List(_) | Value::Tuple(_) | Value::Group(_) | Value::Range(..) => {
            sequence(value, name, given, budget)
        }
        Value::Dict(dict) => match name {
            "items" | "keys" | "values" => {
                given.nothing(name)?;
                let view = match name {
                    "items" => View::Items,
                    "keys" => View::Keys,
                    _ => View::Values,
                };
                Ok(Value::View(view, dict.clone()))
            }
            "get" => {
                if given.named.is_empty() {
                    let [key, default] = given.bind(name, ["key", "default"], 1)?;
                    let found = dict.get(&key.unwrap_or(Value::None), budget)?.cloned();
                    return Ok(found.or(default).unwrap_or(Value::None));
                }
                Err(trouble("`get` takes no keyword arguments"))
            }
            "copy" => given.nothing(name).map(|()| value.clone()),
            _ => Err(unsupported(value, name)),
        },
        Value::Int(_) | Value::Bool(_) | Value::Float(_) => number(value, name, given),
        Value::Cycler(cycler) => {
            given.nothing(name)?;
            if name == "reset" {
                cycler.at.set(0);
                return Ok(Value::None);
            }
            let at = cycler.at.get();
            cycler.at.set((at + 1) % cycler.seq.items.len().max(1));
            Ok(cycler.seq.items.get(at).cloned().unwrap_or(Value::None))
        }
        other => Err(unsupported(other, name)),
    }
}

fn unsupported(value: &Value, name: &str) -> super::Trouble {
    trouble(format!("the method `{}.{name}` is not supported in a chat template", value.kind()))
}

/// Methods of text marked as safe escape their arguments: only those without any are supported.
fn safe(text: &std::sync::Arc<str>, name: &str, given: Given, budget: &Budget) -> Outcome<Value> {
    if name.starts_with("is") || matches!(name, "startswith" | "endswith" | "find" | "count") {
        return text::call(text, name, given, budget);
    }
    let same = ["capitalize", "lower", "lstrip", "rstrip", "strip", "swapcase", "title", "upper"];
    if same.contains(&name) {
        let value = text::call(text, name, given, budget)?;
        return Ok(value.as_str().map_or(Value::None, |text| Value::Safe(text.clone())));
    }
    Err(trouble(format!("the method `{name}` of text marked as safe is not supported")))
}

fn sequence(value: &Value, name: &str, given: Given, budget: &Budget) -> Outcome<Value> {
    if name == "copy" {
        return given.nothing(name).map(|()| value.clone());
    }
    let args = given.only_positional(name)?;
    let [wanted, bounds @ ..] = args.as_slice() else {
        return Err(trouble(format!("`{name}` needs a value")));
    };
    let items = super::order::iterate(value, budget)?;
    let (start, end) = parts::bounds(name, bounds, items.len())?;
    if name == "count" && !bounds.is_empty() {
        return Err(trouble("`count` takes one argument"));
    }
    let mut found = 0;
    for (at, item) in items.iter().enumerate().take(end).skip(start) {
        if equal(item, wanted, budget)? {
            if name == "index" {
                return Ok(Value::Int(at as i128));
            }
            found += 1;
        }
    }
    if name == "index" {
        Err(trouble("the value is not in the list"))
    } else {
        Ok(Value::Int(found))
    }
}

fn number(value: &Value, name: &str, given: Given) -> Outcome<Value> {
    given.nothing(name)?;
    match (name, value, value.as_int()) {
        ("bit_length", _, Some(number)) => {
            Ok(Value::Int(i128::from(i128::BITS - number.unsigned_abs().leading_zeros())))
        }
        ("bit_count", _, Some(number)) => {
            Ok(Value::Int(i128::from(number.unsigned_abs().count_ones())))
        }
        ("conjugate", _, Some(number)) => Ok(Value::Int(number)),
        ("is_integer", Value::Float(number), _) => Ok(Value::Bool(number.fract() == 0.0)),
        _ => Err(unsupported(value, name)),
    }
}

//! Methods of `str`.

use std::collections::BTreeSet;

use super::super::bounds::Budget;
use super::super::calls::Given;
use super::super::order::iterate;
use super::super::unicode::{self, is_space};
use super::super::value::Value;
use super::super::{Outcome, Trouble, trouble};
use super::format;
use super::parts::{bounds, expand_tabs, words, words_from_right};

pub(super) fn call(text: &str, name: &str, given: Given, budget: &Budget) -> Outcome<Value> {
    budget.text(text.len())?;
    given.charge(budget)?;
    match name {
        "encode" | "maketrans" | "translate" => Err(unsupported(name)),
        "format" => format::format(text, &given, budget).map(Value::str),
        "format_map" => format::format_map(text, given, budget).map(Value::str),
        "join" => join(text, given, budget),
        "replace" => replace(text, given, budget),
        "split" | "rsplit" => split(text, name, given, budget),
        "splitlines" => {
            let [keep] = given.bind(name, ["keepends"], 0)?;
            let keep = keep.is_some_and(|keep| keep.truthy());
            strings(unicode::lines(text, keep), budget)
        }
        "partition" | "rpartition" => partition(text, name, given),
        "startswith" | "endswith" => affix(text, name, given, budget).map(Value::Bool),
        "find" | "index" | "rfind" | "rindex" | "count" => search(text, name, given),
        "strip" | "lstrip" | "rstrip" => strip(text, name, given).map(Value::str),
        "removeprefix" | "removesuffix" => {
            let [affix] = positional(name, given)?;
            let affix = string(name, &affix)?;
            let cut = if name == "removeprefix" {
                text.strip_prefix(&*affix)
            } else {
                text.strip_suffix(&*affix)
            };
            Ok(Value::str(cut.unwrap_or(text)))
        }
        "center" | "ljust" | "rjust" | "zfill" => pad(text, name, given, budget).map(Value::str),
        "expandtabs" => {
            let [size] = given.bind(name, ["tabsize"], 0)?;
            let size = int(name, size.as_ref(), 8)?;
            let size = usize::try_from(size.max(0)).unwrap_or(usize::MAX);
            budget.text(size.saturating_mul(text.matches('\t').count()))?;
            Ok(Value::str(expand_tabs(text, size)))
        }
        _ => {
            given.nothing(name)?;
            plain(text, name)
        }
    }
}

/// Methods without arguments.
fn plain(text: &str, name: &str) -> Outcome<Value> {
    let all = |class: fn(char) -> bool| Value::Bool(!text.is_empty() && text.chars().all(class));
    Ok(match name {
        "upper" => Value::str(text.to_uppercase()),
        "lower" => Value::str(text.to_lowercase()),
        "casefold" if text.is_ascii() => Value::str(text.to_ascii_lowercase()),
        "casefold" => return Err(trouble("`casefold` of text beyond ASCII is not supported")),
        "capitalize" => Value::str(unicode::capitalize(text)?),
        "title" => Value::str(unicode::title(text)?),
        "swapcase" => Value::str(unicode::swapcase(text)),
        "isalpha" => all(unicode::is_letter),
        "isdecimal" => all(unicode::is_decimal),
        "isdigit" => all(unicode::is_digit),
        "isnumeric" => {
            // Some ideographs are numbers to Python.
            let ideograph = |c: char| matches!(u32::from(c), 0x3400..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x323af);
            if text.chars().any(ideograph) {
                return Err(trouble("`isnumeric` of ideographs is not supported"));
            }
            all(unicode::is_number)
        }
        "isalnum" => all(|c| unicode::is_letter(c) || unicode::is_number(c)),
        "isspace" => all(is_space),
        "isascii" => Value::Bool(text.is_ascii()),
        "isprintable" => Value::Bool(text.chars().all(unicode::is_printable)),
        "islower" => Value::Bool(unicode::is_lower(text)),
        "isupper" => Value::Bool(unicode::is_upper(text)),
        "istitle" => Value::Bool(unicode::is_titled(text)),
        "isidentifier" if text.is_ascii() => {
            let word = text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
            Value::Bool(word && !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()))
        }
        _ => return Err(unsupported(name)),
    })
}

fn unsupported(name: &str) -> Trouble {
    trouble(format!("the method `str.{name}` is not supported in a chat template"))
}

/// Arguments that cannot be given by name.
pub(super) fn positional<const N: usize>(what: &str, given: Given) -> Outcome<[Value; N]> {
    let args = given.only_positional(what)?;
    let got = args.len();
    args.try_into().map_err(|_| trouble(format!("`{what}` takes {N} arguments, got {got}")))
}

fn string(what: &str, value: &Value) -> Outcome<std::sync::Arc<str>> {
    let wrong = || trouble(format!("`{what}` wants a text, got '{}'", value.kind()));
    value.defined()?.as_str().cloned().ok_or_else(wrong)
}

fn int(what: &str, value: Option<&Value>, otherwise: i128) -> Outcome<i128> {
    let Some(value) = value else { return Ok(otherwise) };
    let wrong = || trouble(format!("`{what}` wants an integer, got '{}'", value.kind()));
    value.defined()?.as_int().ok_or_else(wrong)
}

fn strings(parts: Vec<&str>, budget: &Budget) -> Outcome<Value> {
    budget.slots(parts.len())?;
    Value::list(parts.into_iter().map(Value::str).collect())
}

fn join(text: &str, given: Given, budget: &Budget) -> Outcome<Value> {
    let [items] = positional("join", given)?;
    let mut out = String::new();
    for (at, item) in iterate(&items, budget)?.iter().enumerate() {
        let item = item.as_str().ok_or_else(|| {
            trouble(format!("`join` wants texts, item {at} is '{}'", item.kind()))
        })?;
        budget.text(text.len() + item.len())?;
        out.push_str(if at > 0 { text } else { "" });
        out.push_str(item);
    }
    Ok(Value::str(out))
}

fn replace(text: &str, given: Given, budget: &Budget) -> Outcome<Value> {
    let args = given.only_positional("replace")?;
    let (old, new, limit) = match args.as_slice() {
        [old, new] => (old, new, -1),
        [old, new, limit] => (old, new, int("replace", Some(limit), -1)?),
        _ => return Err(trouble("`replace` takes 2 or 3 arguments")),
    };
    let (old, new) = (string("replace", old)?, string("replace", new)?);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found = text.matches(&*old).count().min(limit);
    budget.text(found.saturating_mul(new.len()))?;
    Ok(Value::str(text.replacen(&*old, &new, limit)))
}

fn split(text: &str, name: &str, given: Given, budget: &Budget) -> Outcome<Value> {
    let [separator, limit] = given.bind(name, ["sep", "maxsplit"], 0)?;
    let limit = int(name, limit.as_ref(), -1)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let left = name == "split";
    let parts = match separator {
        None | Some(Value::None) if left => words(text, limit),
        None | Some(Value::None) => words_from_right(text, limit),
        Some(separator) => {
            let separator = string(name, &separator)?;
            if separator.is_empty() {
                return Err(trouble("empty separator"));
            }
            if left {
                text.splitn(limit.saturating_add(1), &*separator).collect()
            } else {
                let mut parts: Vec<_> =
                    text.rsplitn(limit.saturating_add(1), &*separator).collect();
                parts.reverse();
                parts
            }
        }
    };
    strings(parts, budget)
}

fn partition(text: &str, name: &str, given: Given) -> Outcome<Value> {
    let [separator] = positional(name, given)?;
    let separator = string(name, &separator)?;
    if separator.is_empty() {
        return Err(trouble("empty separator"));
    }
    let parts = if name == "partition" {
        let cut = text.split_once(&*separator);
        cut.map_or([text, "", ""], |(before, after)| [before, &separator, after])
    } else {
        let cut = text.rsplit_once(&*separator);
        cut.map_or(["", "", text], |(before, after)| [before, &separator, after])
    };
    Value::tuple(parts.into_iter().map(Value::str).collect())
}

/// The part of the text that a search may see, and the characters before it; `None` where the start
/// is behind the end of the text.
fn window<'t>(text: &'t str, name: &str, args: &[Value]) -> Outcome<Option<(&'t str, usize)>> {
    let length = text.chars().count();
    let (start, end) = bounds(name, args, length)?;
    if start > end {
        return Ok(None);
    }
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    Ok(Some((&text[byte(start)..byte(end)], start)))
}

fn affix(text: &str, name: &str, given: Given, budget: &Budget) -> Outcome<bool> {
    let args = given.only_positional(name)?;
    let [affix, rest @ ..] = args.as_slice() else {
        return Err(trouble(format!("`{name}` needs a text")));
    };
    let affixes = match affix {
        Value::Tuple(seq) => {
            budget.slots(seq.items.len())?;
            for affix in seq.items.iter().filter_map(Value::as_str) {
                budget.text(affix.len())?;
            }
            seq.items.iter().map(|item| string(name, item)).collect::<Outcome<_>>()?
        }
        other => vec![string(name, other)?],
    };
    let Some((part, _)) = window(text, name, rest)? else { return Ok(false) };
    Ok(affixes.iter().any(|affix| {
        if name == "startswith" { part.starts_with(&**affix) } else { part.ends_with(&**affix) }
    }))
}

fn search(text: &str, name: &str, given: Given) -> Outcome<Value> {
    let args = given.only_positional(name)?;
    let [wanted, rest @ ..] = args.as_slice() else {
        return Err(trouble(format!("`{name}` needs a text")));
    };
    let wanted = string(name, wanted)?;
    let part = window(text, name, rest)?;
    if name == "count" {
        let found = part.map_or(0, |(part, _)| part.matches(&*wanted).count());
        return Ok(Value::Int(found as i128));
    }
    let found = part.and_then(|(part, before)| {
        let at = if name.starts_with('r') { part.rfind(&*wanted) } else { part.find(&*wanted) };
        at.map(|at| before + part[..at].chars().count())
    });
    match found {
        Some(at) => Ok(Value::Int(at as i128)),
        None if name.ends_with("index") => Err(trouble("substring not found")),
        None => Ok(Value::Int(-1)),
    }
}

fn strip(text: &str, name: &str, given: Given) -> Outcome<String> {
    let args = given.only_positional(name)?;
    let chars = match args.as_slice() {
        [] | [Value::None] => None,
        [chars] => Some(string(name, chars)?),
        _ => return Err(trouble(format!("`{name}` takes at most one argument"))),
    };
    let chars: Option<BTreeSet<_>> = chars.map(|chars| chars.chars().collect());
    let cut = |c: char| chars.as_ref().map_or_else(|| is_space(c), |chars| chars.contains(&c));
    Ok(match name {
        "lstrip" => text.trim_start_matches(cut),
        "rstrip" => text.trim_end_matches(cut),
        _ => text.trim_matches(cut),
    }
    .to_owned())
}

fn pad(text: &str, name: &str, given: Given, budget: &Budget) -> Outcome<String> {
    let args = given.only_positional(name)?;
    let (width, fill) = match args.as_slice() {
        [width] => (width, ' '),
        [width, fill] if name != "zfill" => {
            let fill = string(name, fill)?;
            let mut chars = fill.chars();
            match (chars.next(), chars.next()) {
                (Some(fill), None) => (width, fill),
                _ => return Err(trouble(format!("`{name}` fills with one character"))),
            }
        }
        _ => return Err(trouble(format!("`{name}` needs a width"))),
    };
    let width = usize::try_from(int(name, Some(width), 0)?.max(0)).unwrap_or(usize::MAX);
    let missing = width.saturating_sub(text.chars().count());
    budget.text(missing.saturating_mul(fill.len_utf8()))?;
    let blanks = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    Ok(match name {
        "ljust" => text.to_owned() + &blanks(missing),
        "rjust" => blanks(missing) + text,
        "zfill" => {
            let sign = text.len() - text.strip_prefix(['-', '+']).unwrap_or(text).len();
            format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
        }
        _ => {
            // Of an odd number of blanks the one more goes left, if the width is odd too.
            let left = missing / 2 + (missing & width & 1);
            blanks(left) + text + &blanks(missing - left)
        }
    })
}

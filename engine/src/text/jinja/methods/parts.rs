//! Taking text apart: what `split`, `partition` and the bounds of a search share.

use super::super::unicode::is_space;
use super::super::value::Value;
use super::super::{Outcome, trouble};

/// Start and end of a search within `length` items, from arguments that may count from the end.
pub(super) fn bounds(what: &str, args: &[Value], length: usize) -> Outcome<(usize, usize)> {
    if args.len() > 2 {
        return Err(trouble(format!("`{what}` takes at most a start and an end")));
    }
    let bound = |arg: Option<&Value>, otherwise: usize| -> Outcome<usize> {
        let at = match arg {
            None | Some(Value::None) => return Ok(otherwise),
            Some(value) => value.as_int().ok_or_else(|| {
                trouble(format!("`{what}` wants integers as bounds, got '{}'", value.kind()))
            })?,
        };
        let at = if at < 0 { at.saturating_add(length as i128).max(0) } else { at };
        Ok(usize::try_from(at).unwrap_or(usize::MAX))
    };
    Ok((bound(args.first(), 0)?, bound(args.get(1), length)?.min(length)))
}

/// Pieces at white space, at most `limit` cuts from the left.
pub(super) fn words(text: &str, limit: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        if words.len() == limit {
            words.push(rest);
            break;
        }
        let end = rest.find(is_space).unwrap_or(rest.len());
        words.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    words
}

/// Pieces at white space, at most `limit` cuts from the right.
pub(super) fn words_from_right(text: &str, limit: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        if words.len() == limit {
            words.push(rest);
            break;
        }
        let start = rest.char_indices().rev().find(|(_, c)| is_space(*c));
        let start = start.map_or(0, |(at, c)| at + c.len_utf8());
        words.push(&rest[start..]);
        rest = rest[..start].trim_end_matches(is_space);
    }
    words.reverse();
    words
}

/// Tabs as blanks up to the next multiple of `size` characters of a line.
pub(super) fn expand_tabs(text: &str, size: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' => {
                let blanks = if size == 0 { 0 } else { size - column % size };
                out.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

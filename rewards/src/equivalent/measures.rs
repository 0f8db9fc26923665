//! Units that convert into each other, and measures in two of them or more: `3 hours 20 minutes`.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::tree::{Id, Node, Tree};
use super::words;

/// Most units of one measure.
const MAX_PARTS: usize = 4;

/// Units in the smallest of their kind, as the reader spells them.
const UNITS: [(&str, u8, u64); 25] = [
    ("mm", 0, 1),
    ("cm", 0, 10),
    ("m", 0, 1_000),
    ("km", 0, 1_000_000),
    ("inch", 1, 1),
    ("foot", 1, 12),
    ("yard", 1, 36),
    ("mile", 1, 63_360),
    ("mg", 2, 1),
    ("g", 2, 1_000),
    ("kg", 2, 1_000_000),
    ("second", 3, 1),
    ("minute", 3, 60),
    ("hour", 3, 3_600),
    ("day", 3, 86_400),
    ("week", 3, 604_800),
    ("cent", 4, 1),
    ("dollar", 4, 100),
    ("oz", 5, 1),
    ("ounce", 5, 1),
    ("pound", 5, 16),
    ("month", 6, 1),
    ("year", 6, 12),
    ("milliliter", 7, 1),
    ("liter", 7, 1_000),
];

/// The kind of a unit, and how many of the smallest of its kind it is.
pub(super) fn size(unit: &str) -> Option<(u8, u64)> {
    UNITS.iter().find(|known| known.0 == unit).map(|&(_, kind, size)| (kind, size))
}

/// The factor from one unit to another; `None` where none is known.
pub(super) fn conversion(from: &str, to: &str) -> Option<RBig> {
    if from == to {
        return Some(RBig::ONE);
    }
    // areas and volumes: powers of lengths
    let split = |unit: &'_ str| match unit.split_once('^') {
        Some((unit, power)) => (unit.to_owned(), power.parse::<isize>().unwrap_or(0)),
        None => (unit.to_owned(), 1),
    };
    let ((from, power), (to, other_power)) = (split(from), split(to));
    let ((kind, from), (other, to)) = (size(&from)?, size(&to)?);
    let fits = kind == other && power == other_power && (1..=3).contains(&power);
    fits.then(|| RBig::from_parts(IBig::from(from), UBig::from(to)).pow(power))
}

/// Reads a measure in several units of one kind, the largest first: numbers and units in turn, of which
/// only the last number may have places. `None` where a text is anything else.
pub(super) fn compound(text: &str) -> Option<Tree> {
    let (mut nodes, mut parts) = (Vec::new(), Vec::new());
    let mut last: Option<(u8, u64)> = None;
    // letters alone may be factors: `3h5s`
    let mut named = false;
    let mut rest = text;
    loop {
        let length = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(length);
        let after = after.trim_start();
        let length = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(length);
        named |= length > 1;
        let unit = words::unit(unit)?;
        let after = after.strip_prefix('.').unwrap_or(after).trim_start();
        let (kind, size) = size(&unit)?;
        let smaller = last.is_none_or(|last| last.0 == kind && size < last.1);
        let is_last = after.is_empty();
        if !smaller || parts.len() == MAX_PARTS || !is_last && number.contains('.') {
            return None;
        }
        last = Some((kind, size));
        let (value, places) = decimal(number)?;
        nodes.push(Node::Number { value, places });
        nodes.push(Node::Unit(nodes.len() as Id - 1, unit));
        parts.push(nodes.len() as Id - 1);
        if is_last {
            break;
        }
        rest = after.strip_prefix("and ").unwrap_or(after).trim_start();
    }
    if parts.len() < 2 || !named {
        return None;
    }
    nodes.push(Node::Compound(parts));
    Some(Tree { nodes })
}

/// A number of plain digits, with how many stand behind its point.
fn decimal(text: &str) -> Option<(RBig, Option<u32>)> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(places) || text.ends_with('.') {
        return None;
    }
    let digits: UBig = format!("{whole}{places}").parse().ok()?;
    let count = places.len() as u32;
    let value = RBig::from_parts(digits.into(), UBig::from(10u8).pow(places.len()));
    Some((value, (count > 0).then_some(count)))
}

//! Measures in two units or more of one dimension: `3 hours 20 minutes`.

use dashu_int::UBig;
use dashu_ratio::RBig;

use super::tree::{Id, Node, Tree};
use super::units::Unit;

/// Most units of one measure.
const MAX_PARTS: usize = 4;

/// Reads a measure in several units of one kind, the largest first: numbers and units in turn, of
/// which only the last number may have places. `None` where a text is anything else.
pub(super) fn compound(text: &str) -> Option<Tree> {
    let (mut nodes, mut parts) = (Vec::new(), Vec::new());
    let mut last: Option<Unit> = None;
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
        let unit = Unit::read_known(unit)?;
        let after = after.strip_prefix('.').unwrap_or(after).trim_start();
        let smaller = match &last {
            Some(last) => unit.conversion(last)? < RBig::ONE,
            None => true,
        };
        let is_last = after.is_empty();
        if !smaller || parts.len() == MAX_PARTS || !is_last && number.contains('.') {
            return None;
        }
        last = Some(unit.clone());
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

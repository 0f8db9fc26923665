//! The `loop` of a loop that is going on.

use std::rc::Rc;

use super::bounds::Budget;
use super::calls::Given;
use super::order::equal;
use super::value::{Callable, Loop, Value};
use super::{Outcome, trouble};

/// An attribute of `loop`; `None` where it has no such one.
pub(super) fn field(state: &Rc<Loop>, name: &str) -> Option<Value> {
    let (at, length) = (state.at.get(), state.seq.items.len());
    let int = |number: usize| Some(Value::Int(number as i128));
    let item = |at: Option<usize>, what: &str| {
        let found = at.and_then(|at| state.seq.items.get(at)).cloned();
        Some(found.unwrap_or_else(|| Value::undefined(format!("there is no {what} item"))))
    };
    match name {
        "index" => int(at + 1),
        "index0" => int(at),
        "revindex" => int(length - at),
        "revindex0" => int(length - at - 1),
        "first" => Some(Value::Bool(at == 0)),
        "last" => Some(Value::Bool(at + 1 == length)),
        "length" => int(length),
        "depth" => int(state.depth + 1),
        "depth0" => int(state.depth),
        "previtem" => item(at.checked_sub(1), "previous"),
        "nextitem" => item(Some(at + 1), "next"),
        "cycle" | "changed" => {
            let method = Callable::Method(Value::Loop(state.clone()), name.into());
            Some(Value::Callable(Rc::new(method)))
        }
        _ => None,
    }
}

/// `loop.cycle(...)` and `loop.changed(...)`.
pub(super) fn method(
    state: &Rc<Loop>,
    name: &str,
    given: Given,
    budget: &Budget,
) -> Outcome<Value> {
    let args = given.only_positional(name)?;
    if name == "cycle" {
        let at = state.at.get().checked_rem(args.len());
        let item = at.and_then(|at| args.get(at)).cloned();
        return item.ok_or_else(|| trouble("no items for cycling given"));
    }
    let mut last = state.changed.borrow_mut();
    let mut same = last.as_ref().is_some_and(|last| last.len() == args.len());
    for (old, new) in last.iter().flatten().zip(&args) {
        same = same && equal(old, new, budget)?;
    }
    *last = Some(args);
    Ok(Value::Bool(!same))
}

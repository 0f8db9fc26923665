//! Whether a unit that an answer adds is that of every value in it.

use super::super::tree::{Constant, Id, Node, Relation, Tree};
use super::structure::{Kind, infinite, kind};
use crate::Strictness;

/// Whether all values of an answer with a unit carry one: the elements of collections, the ends of
/// intervals, the entries of matrices, the bounds of inequalities. What `(1 \text{ cm}, 2)` says of
/// its second value is unknown. A score also reads a unit after the last value as that of all of
/// them.
pub(super) fn is_complete(tree: &Tree, root: Id, strictness: Strictness) -> bool {
    let mut carried = Vec::new();
    // the last value first
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        match tree.node(id) {
            // a chain of equations has one value
            Node::All(of) if of.iter().all(|&id| is_equation(tree, id)) => {
                carried.push(of.iter().any(|&id| holds_unit(tree, id)));
            }
            Node::Tuple(of)
            | Node::Set(of)
            | Node::List(of)
            | Node::Any(of)
            | Node::Union(of)
            | Node::Intersection(of)
            | Node::All(of)
            | Node::Matrix { entries: of, .. } => open.extend(of),
            Node::Interval { low, high, .. } => open.extend([*low, *high]),
            Node::Difference(from, without) => open.extend([*from, *without]),
            // the values, without the conditions
            Node::Piecewise(of) => open.extend(of.iter().step_by(2)),
            Node::Relation { right, .. } if kind(tree, *right) != Kind::Scalar => open.push(*right),
            Node::Constant(constant) if constant.is_set() || *constant == Constant::Undefined => {}
            _ if infinite(tree, id).is_some() => {}
            _ => carried.push(holds_unit(tree, id)),
        }
    }
    let Some((last, others)) = carried.split_first() else { return true };
    let all = *last && others.iter().all(|&carries| carries);
    all || strictness == Strictness::Eval && *last && !others.contains(&true)
}

fn is_equation(tree: &Tree, id: Id) -> bool {
    matches!(tree.node(id), Node::Relation { operator: Relation::Equal, .. })
}

/// Whether a unit stands anywhere in a part of an answer.
fn holds_unit(tree: &Tree, id: Id) -> bool {
    !super::marks::units(tree, id).is_empty()
}

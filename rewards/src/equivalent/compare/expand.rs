//! What is written as an operation on other parts, worked out where an exact rule says how: sums
//! and products over an index, integrals, arithmetic of matrices, inequalities that can be solved.
//!
//! A new tree is built node by node, and each node is looked at when its children are there. What
//! no rule covers stays as it is, and is compared by its parts.

mod index;
mod integral;
mod matrix;
mod polynomial;
mod solve;
mod substitute;

use std::borrow::Cow;

use dashu_ratio::RBig;

use super::{
    super::tree::{Bound, Id, MAX_NODES, Node, Relation, Tree},
    exact::Exact,
    fuel::Fuel,
    term::Term,
};

/// How many nodes a tree may have that is worked out.
const MAX_EXPANDED: usize = 4 * MAX_NODES;

/// How deep sums may lie in sums.
const MAX_NESTING: u32 = 6;

/// The tree with everything worked out that can be.
pub(super) fn expanded<'tree>(tree: &'tree Tree, fuel: &mut Fuel) -> Cow<'tree, Tree> {
    if !tree.nodes.iter().any(|node| is_operation(tree, node)) {
        return Cow::Borrowed(tree);
    }
    let mut work = Work { tree: Tree { nodes: Vec::new() }, nesting: 0, fuel };
    let mut places = Vec::with_capacity(tree.nodes.len());
    for node in &tree.nodes {
        let mut node = node.clone();
        node.for_each_child_mut(|child| *child = places[*child as usize]);
        match work.add(node) {
            Some(id) => places.push(id),
            None => return Cow::Borrowed(tree),
        }
    }
    let mut tree = work.tree;
    tree.nodes.truncate(places.last().map_or(0, |&root| root as usize + 1));
    Cow::Owned(tree)
}

/// Whether a rule may have something to say of a node.
fn is_operation(tree: &Tree, node: &Node) -> bool {
    match node {
        Node::Bound { .. } | Node::Matrix { .. } | Node::PlusMinus(_) => true,
        // a vector that is turned
        Node::Power(base, _) => matches!(tree.node(*base), Node::Tuple(_) | Node::Interval { .. }),
        Node::Relation { operator, .. } => matches!(
            operator,
            Relation::NotEqual
                | Relation::Less
                | Relation::LessEqual
                | Relation::Greater
                | Relation::GreaterEqual
        ),
        _ => false,
    }
}

/// Whether a node says more than the number that it has for a value.
fn has_mark(node: &Node) -> bool {
    matches!(
        node,
        Node::Unit(..)
            | Node::Percent(_)
            | Node::Degrees(_)
            | Node::PlusMinus(_)
            | Node::MinusPlus(_)
    )
}

/// The tree that is being built.
struct Work<'fuel> {
    tree: Tree,
    nesting: u32,
    fuel: &'fuel mut Fuel,
}

impl Work<'_> {
    /// Adds a node as it is; `None` where the tree grows too large, or the work is spent.
    fn push(&mut self, node: Node) -> Option<Id> {
        self.fuel.burn(20).ok()?;
        if self.tree.nodes.len() == MAX_EXPANDED {
            return None;
        }
        self.tree.nodes.push(node);
        Some(self.tree.root())
    }

    /// Adds a node, worked out where a rule says how.
    fn add(&mut self, node: Node) -> Option<Id> {
        let mark = self.tree.nodes.len();
        let found = match &node {
            Node::Bound { operator, level, of } if self.nesting < MAX_NESTING => {
                self.nesting += 1;
                let found = self.bound(*operator, *level, &of.clone());
                self.nesting -= 1;
                found
            }
            &Node::Relation { operator, left, right } => {
                self.solved(operator, left, right).or_else(|| self.without_signs(&node))
            }
            _ => self.matrix(&node).or_else(|| self.without_signs(&node)),
        };
        if let Some(id) = found {
            return Some(id);
        }
        self.tree.nodes.truncate(mark);
        self.push(node)
    }

    fn bound(&mut self, operator: Bound, level: u32, of: &[Id]) -> Option<Id> {
        match (operator, of) {
            (Bound::Sum | Bound::Product, &[body, low, high]) => {
                let mark = self.tree.nodes.len();
                self.indexed(operator, level, body, low, high).or_else(|| {
                    self.tree.nodes.truncate(mark);
                    self.taken_apart(operator, level, of)
                })
            }
            (Bound::Integral, &[body, low, high]) => self
                .integral(level, body, low, high)
                .or_else(|| self.taken_apart(operator, level, of)),
            _ => None,
        }
    }

    /// Points that are left out one by one: `x \ne \pm 1`, `A \setminus \{\pm 1\}`.
    fn without_signs(&mut self, node: &Node) -> Option<Id> {
        match *node {
            Node::Relation { operator: operator @ Relation::NotEqual, left, right } => {
                let &Node::PlusMinus(point) = self.tree.node(right) else { return None };
                let opposite = self.push(Node::Negated(point))?;
                let links = [point, opposite].map(|right| Node::Relation { operator, left, right });
                let links = links.into_iter().map(|link| self.push(link)).collect::<Option<_>>()?;
                self.push(Node::All(links))
            }
            Node::Difference(all, points) => {
                let Node::Set(of) = self.tree.node(points).clone() else { return None };
                let mut spread = Vec::with_capacity(of.len());
                for id in of {
                    let &Node::PlusMinus(point) = self.tree.node(id) else {
                        spread.push(id);
                        continue;
                    };
                    spread.push(point);
                    spread.push(self.push(Node::Negated(point))?);
                }
                let points = self.push(Node::Set(spread))?;
                self.push(Node::Difference(all, points))
            }
            _ => None,
        }
    }

    fn number(&mut self, value: impl Into<RBig>) -> Option<Id> {
        self.push(Node::Number { value: value.into(), places: None })
    }

    /// The rational value of a node.
    fn rational(&mut self, id: Id) -> Option<RBig> {
        match self.tree.node(id) {
            Node::Number { value, .. } => return Some(value.clone()),
            Node::Symbol(_) => return None,
            _ => {}
        }
        let term = Term::new(&self.tree, id, 0, false);
        if term.nodes().any(|(_, node)| has_mark(node)) {
            return None;
        }
        self.fuel.burn(20 + 10 * term.order.len() as u64).ok()?;
        Exact::of(&term, self.fuel).rational[id as usize].take()
    }

    fn sum(&mut self, terms: Vec<Id>) -> Option<Id> {
        match terms[..] {
            [] => self.number(0),
            [only] => Some(only),
            _ => self.push(Node::Sum(terms)),
        }
    }

    fn product(&mut self, factors: Vec<Id>) -> Option<Id> {
        match factors[..] {
            [] => self.number(1),
            [only] => Some(only),
            _ => self.push(Node::Product(factors)),
        }
    }

    fn difference(&mut self, of: Id, less: Id) -> Option<Id> {
        let less = self.push(Node::Negated(less))?;
        self.push(Node::Sum(vec![of, less]))
    }
}

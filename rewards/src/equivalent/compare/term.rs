//! A value inside a tree: which nodes it needs, and what is known of them before any evaluation.

use super::super::tree::{Constant, Function, Id, Node, Tree};

/// The nodes under one of a tree, children before parents.
#[derive(Debug)]
pub(super) struct Term<'tree> {
    pub(super) tree: &'tree Tree,
    pub(super) root: Id,
    /// Which of the two signs each plus-minus takes: a bit for each, in the order of their nodes.
    pub(super) signs: u32,
    pub(super) order: Vec<Id>,
    /// By node: whether it stands in the argument of a trigonometric function, where degrees are
    /// angles.
    pub(super) is_angle: Vec<bool>,
}

/// Whether degrees inside the argument are angles.
fn is_circular(function: Function) -> bool {
    use Function as F;
    matches!(function, F::Sin | F::Cos | F::Tan | F::Cot | F::Sec | F::Csc)
}

impl<'tree> Term<'tree> {
    /// `as_angle` says that degrees at the root are an angle in radians, and not a number of them.
    pub(super) fn new(tree: &'tree Tree, root: Id, signs: u32, as_angle: bool) -> Self {
        let size = root as usize + 1;
        let (mut needed, mut is_angle) = (vec![false; size], vec![false; size]);
        is_angle[root as usize] = as_angle;
        needed[root as usize] = true;
        for id in (0..size).rev() {
            if !needed[id] {
                continue;
            }
            let node = &tree.nodes[id];
            let angle =
                is_angle[id] || matches!(node, Node::Apply(function, _) if is_circular(*function));
            node.for_each_child(|child| {
                needed[child as usize] = true;
                is_angle[child as usize] = angle;
            });
        }
        let order = (0..=root).filter(|&id| needed[id as usize]).collect();
        Self { tree, root, signs, order, is_angle }
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (Id, &'tree Node)> + '_ {
        self.order.iter().map(|&id| (id, &self.tree.nodes[id as usize]))
    }

    pub(super) fn has_imaginary_unit(&self) -> bool {
        self.nodes().any(|(_, node)| matches!(node, Node::Constant(Constant::I)))
    }

    /// How many signs are open. Where a minus-plus stands, all of them are one.
    pub(super) fn num_signs(&self) -> u32 {
        if self.has_opposite() {
            return 1;
        }
        self.nodes().filter(|(_, node)| matches!(node, Node::PlusMinus(_))).count() as u32
    }

    pub(super) fn has_opposite(&self) -> bool {
        self.nodes().any(|(_, node)| matches!(node, Node::MinusPlus(_)))
    }

    /// Whether the plus-minus at `id` takes the minus.
    pub(super) fn takes_minus(&self, id: Id) -> bool {
        if self.has_opposite() {
            let opposite = matches!(self.tree.node(id), Node::MinusPlus(_));
            return (self.signs & 1 == 1) != opposite;
        }
        let before = self
            .nodes()
            .filter(|&(other, node)| other < id && matches!(node, Node::PlusMinus(_)))
            .count();
        self.signs >> before & 1 == 1
    }
}

//! Equations solved for an unknown, `y = 1/x`, against the same without a fraction, `xy = 1`.
//!
//! Clearing a denominator may let in points at which it is zero. It does not where the numerator is
//! a number other than zero: `P = c / D` and `P D = c` hold at the same points, since at none of
//! the latter is `D` zero. So only equations of that form are cleared, `P` and `D` being
//! polynomials.

use dashu_ratio::RBig;

use super::{
    super::tree::{Id, Node, Tree},
    Judge,
    form::Form,
    fuel::Fuel,
    scalar::{Scale, same},
    term::Term,
};
use crate::Equivalence;

/// Whether a node is a polynomial by the way it is written, and so has a value everywhere.
fn is_polynomial(tree: &Tree, id: Id, fuel: &mut Fuel) -> bool {
    let form = Form::new(tree, id, None, 0, fuel);
    let (term, exact) = &form.parts[0];
    let known = |id: Id| exact.rational[id as usize].as_ref();
    term.nodes().all(|(id, node)| match node {
        Node::Number { .. }
        | Node::Symbol(_)
        | Node::Sum(_)
        | Node::Product(_)
        | Node::Negated(_) => true,
        Node::Quotient(_, below) => known(*below).is_some_and(|below| !below.is_zero()),
        Node::Power(_, times) => {
            known(*times).is_some_and(|times| times.is_int() && *times > RBig::ZERO)
        }
        _ => known(id).is_some(),
    })
}

/// The denominator of a number other than zero over a polynomial.
fn denominator(tree: &Tree, id: Id, fuel: &mut Fuel) -> Option<Id> {
    let id = if let Node::Negated(of) = tree.node(id) { *of } else { id };
    let &Node::Quotient(above, below) = tree.node(id) else { return None };
    let number = Form::new(tree, above, None, 0, fuel).rational()?;
    (!number.is_zero() && is_polynomial(tree, below, fuel)).then_some(below)
}

/// `left - right` without its fraction, and whether there was one; `None` where neither side is a
/// polynomial, or the other neither a polynomial nor a fraction as above.
fn cleared<'tree>(
    tree: &'tree Tree,
    (left, right): (Id, Id),
    fuel: &mut Fuel,
) -> Option<(Form<'tree>, bool)> {
    let mut form = Form::new(tree, left, Some(right), 0, fuel);
    let fraction = match [left, right].map(|side| is_polynomial(tree, side, fuel)) {
        [true, true] => return Some((form, false)),
        [true, false] => right,
        [false, true] => left,
        [false, false] => return None,
    };
    form.multiply(tree, denominator(tree, fraction, fuel)?, fuel);
    Some((form, true))
}

/// The only symbol of two sides; `None` where there are more, or functions without values of their
/// own.
fn unknown(tree: &Tree, sides: [Id; 2]) -> Option<&str> {
    let mut unknown = None;
    for side in sides {
        for (_, node) in Term::new(tree, side, 0, false).nodes() {
            match node {
                Node::Symbol(name) if unknown.is_none_or(|known| known == &**name) => {
                    unknown = Some(&**name);
                }
                Node::Symbol(_) | Node::Call(..) => return None,
                _ => {}
            }
        }
    }
    unknown
}

/// The nodes of a value, then those of an equation with the value in the place of an unknown; and
/// where the sides of the equation are.
fn substituted(
    (value, id): (&Tree, Id),
    (equation, sides): (&Tree, [Id; 2]),
    unknown: &str,
) -> (Tree, [Id; 2]) {
    let mut nodes = value.nodes[..=id as usize].to_vec();
    let mut places = Vec::with_capacity(equation.nodes.len());
    for node in &equation.nodes {
        if matches!(node, Node::Symbol(name) if &**name == unknown) {
            places.push(id);
            continue;
        }
        let mut node = node.clone();
        node.for_each_child_mut(|child| *child = places[*child as usize]);
        places.push(nodes.len() as Id);
        nodes.push(node);
    }
    (Tree { nodes }, sides.map(|side| places[side as usize]))
}

impl Judge<'_> {
    /// Whether the gold answer, a number, solves the answer's equation in one unknown; `None` where
    /// that is not decided, or the equation has more unknowns than one.
    pub(super) fn solves(&mut self, gold: Id, sides: [Id; 2]) -> Option<bool> {
        let unknown = unknown(self.answer, sides)?;
        let (tree, [left, right]) = substituted((self.gold, gold), (self.answer, sides), unknown);
        let [left, right] =
            [left, right].map(|side| Form::new(&tree, side, None, 0, &mut self.fuel));
        match same(&left, &right, Scale::One, self.strictness, &mut self.fuel) {
            Equivalence::Equal => Some(true),
            Equivalence::Different => Some(false),
            _ => None,
        }
    }

    /// Whether two equations are the same once a fraction is cleared on one side or on both.
    pub(super) fn solved_alike(&mut self, gold: (Id, Id), answer: (Id, Id)) -> bool {
        let Some((gold, gold_cleared)) = cleared(self.gold, gold, &mut self.fuel) else {
            return false;
        };
        let Some((answer, answer_cleared)) = cleared(self.answer, answer, &mut self.fuel) else {
            return false;
        };
        (gold_cleared || answer_cleared)
            && same(&gold, &answer, Scale::Any, self.strictness, &mut self.fuel)
                == Equivalence::Equal
    }
}

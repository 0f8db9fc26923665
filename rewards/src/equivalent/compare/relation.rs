//! Equations, inequalities and what they assign.
//!
//! A relation is taken to `p relation 0`, `p` counting up to a positive factor, or up to any factor
//! but zero in an equation. `x = 5` against a bare `5` is compared by its value.

use super::{
    super::tree::{Function, Id, Node, Relation, Tree},
    Judge,
    form::Form,
    likeness::items,
    quantity::{
        has_roots, is_combination, is_elsewhere, is_other_word, is_quantity, name, num_names,
        occurs, symbol,
    },
    real_set,
    scalar::{Scale, same},
    structure::{Item, Kind, all, kind},
    term::Term,
};
use crate::{Equivalence, Strictness};

/// Whether a node is an inequality, or made of some.
pub(super) fn is_inequality(tree: &Tree, id: Id) -> bool {
    use Relation as R;
    let mut parts = vec![id];
    while let Some(id) = parts.pop() {
        match tree.node(id) {
            Node::Relation {
                operator:
                    R::NotEqual
                    | R::Less
                    | R::LessEqual
                    | R::Greater
                    | R::GreaterEqual
                    | R::In
                    | R::NotIn
                    | R::Subset
                    | R::SubsetEqual,
                ..
            } => return true,
            Node::All(of) | Node::Any(of) => parts.extend(of),
            _ => {}
        }
    }
    false
}

/// An equation read as naming a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assigned<'tree> {
    /// The quantity that is named; `None` where something else stands there.
    pub(super) name: Option<&'tree str>,
    pub(super) left: Id,
    pub(super) value: Id,
}

/// Reads an equation, or a chain of equations of which the last value counts. What only
/// approximates the last value is left out.
pub(super) fn assigned(tree: &Tree, id: Id) -> Option<Assigned<'_>> {
    let equation = |id: Id| match tree.node(id) {
        Node::Relation { operator: Relation::Equal, left, right } => Some((*left, *right)),
        _ => None,
    };
    let (left, right) = match tree.node(id) {
        Node::All(of) => {
            let (first, last) = (equation(*of.first()?)?, of.iter().rev());
            let mut last_name = None;
            let mut right = None;
            for &link in last {
                match tree.node(link) {
                    Node::Relation { operator: Relation::Approximately, .. } if right.is_none() => {
                    }
                    // `AB = 5 = BC`
                    Node::Relation { operator: Relation::Equal, right: value, .. }
                        if name(tree, *value).is_some() =>
                    {
                        last_name = last_name.or(Some(*value));
                    }
                    Node::Relation { operator: Relation::Equal, right: value, .. } => {
                        right = right.or(Some(*value));
                    }
                    _ => return None,
                }
            }
            (first.0, right.or(last_name)?)
        }
        _ => equation(id)?,
    };
    // `x = 6x + 5` is an equation
    let defined = |id: Id, by: Id| {
        name(tree, id).filter(|_| symbol(tree, id).is_none_or(|name| !occurs(tree, by, name)))
    };
    Some(match (defined(left, right), defined(right, left)) {
        (None, Some(name)) => Assigned { name: Some(name), left: right, value: left },
        (Some(name), _) => Assigned { name: Some(name), left, value: right },
        // `x^2 = \sin x` is an equation
        _ if gives(tree, left, right) => Assigned { name: Some("a quantity"), left, value: right },
        _ if gives(tree, right, left) => {
            Assigned { name: Some("a quantity"), left: right, value: left }
        }
        _ => Assigned { name: None, left, value: right },
    })
}

/// Whether one side of an equation is a quantity, and the other its value.
fn gives(tree: &Tree, quantity: Id, value: Id) -> bool {
    // a conjugate determines its number, which differs from it unless it is real
    let is_conjugate = matches!(tree.node(quantity), Node::Apply(Function::Conjugate, _));
    if is_conjugate && Term::new(tree, value, 0, false).has_imaginary_unit() {
        return false;
    }
    is_quantity(tree, quantity, kind(tree, value) == Kind::Scalar) && num_names(tree, value) == 0
}

/// The name that an equation gives to a value.
pub(super) fn assigned_name(tree: &Tree, id: Id) -> Option<&str> {
    if kind(tree, id) == Kind::Relation { assigned(tree, id)?.name } else { None }
}

/// The value of a set of one, beside an equation that gives a value to an unknown: a set of
/// solutions.
fn solution(tree: &Tree, item: Item, other: &Tree, assigned: Assigned<'_>) -> Item {
    match (tree.node(item.id), other.node(assigned.left)) {
        (Node::Set(of), Node::Symbol(_)) if of.len() == 1 => Item { id: of[0], ..item },
        _ => item,
    }
}

impl Judge<'_> {
    /// Compares where one side at least is a relation.
    pub(super) fn relations(&mut self, gold: Item, answer: Item, nesting: u32) -> Equivalence {
        let kinds = (kind(self.gold, gold.id), kind(self.answer, answer.id));
        if let Some(verdict) = self.points(gold.id, answer.id, nesting) {
            return verdict;
        }
        match kinds {
            (Kind::Relation, Kind::Relation) => self.both(gold.id, answer.id, nesting),
            (Kind::Relation, _) => {
                if let Some(assigned) = assigned(self.gold, gold.id) {
                    return match assigned.name {
                        Some(_) => {
                            let answer = solution(self.answer, answer, self.gold, assigned);
                            self.compare(assigned.value.into(), answer, nesting + 1)
                        }
                        // a computation without unknowns: its result is what was asked for
                        None if num_names(self.gold, gold.id) == 0 => {
                            self.compare(assigned.value.into(), answer, nesting + 1)
                        }
                        None => Equivalence::Different,
                    };
                }
                self.relation_and_set(gold.id, answer.id, kinds.1, nesting)
            }
            _ => {
                if let Some(assigned) = assigned(self.answer, answer.id) {
                    let gold = solution(self.gold, gold, self.answer, assigned);
                    let verdict = self.named(gold, answer.id, assigned, nesting);
                    let is_open =
                        verdict == Equivalence::Equal && self.has_roots(gold.id, assigned);
                    return if is_open { Equivalence::Undecided } else { verdict };
                }
                if let Node::Relation { operator: Relation::Approximately, left, right } =
                    self.answer.node(answer.id)
                {
                    // an exact value goes before its approximation
                    return match (name(self.answer, *left), self.strictness) {
                        (None, _) => self.compare(gold, (*left).into(), nesting + 1),
                        (Some(_), Strictness::Eval) => {
                            self.compare(gold, (*right).into(), nesting + 1)
                        }
                        (Some(_), Strictness::Rl) => Equivalence::Different,
                    };
                }
                self.relation_and_set(gold.id, answer.id, kinds.0, nesting)
            }
        }
    }

    /// A bare gold, and an answer that names a value.
    fn named(
        &mut self,
        gold: Item,
        answer: Id,
        assigned: Assigned<'_>,
        nesting: u32,
    ) -> Equivalence {
        // an equation between expressions is no value: only a number may be what a sum comes to
        let is_number = kind(self.gold, gold.id) == Kind::Scalar;
        if assigned.name.is_none() && is_number {
            let form = Form::new(self.gold, gold.id, None, 0, &mut self.fuel);
            if form.has_symbol() {
                // but both sides of an identity are
                let values = [assigned.left, assigned.value]
                    .map(|side| self.compare(gold, side.into(), nesting + 1));
                return all(values);
            }
        }
        let value = self.compare(gold, assigned.value.into(), nesting + 1);
        if value != Equivalence::Equal {
            let sides = [assigned.left, assigned.value];
            let unsolved = is_number
                && assigned.name.is_none()
                && !is_combination(self.answer, assigned.left, is_number);
            return if unsolved && self.solves(gold.id, sides) == Some(true) {
                Equivalence::Undecided
            } else {
                value
            };
        }
        if let Node::All(links) = self.answer.node(answer) {
            return match self.strictness {
                Strictness::Rl => self.every_value(gold, links, is_number, nesting),
                Strictness::Eval => value,
            };
        }
        let left = assigned.left;
        let doubtful = self.strictness == Strictness::Rl && is_other_word(self.answer, left);
        if doubtful || is_elsewhere(self.answer, left, assigned.value) {
            return Equivalence::Undecided;
        }
        if assigned.name.is_some()
            || is_combination(self.answer, left, is_number)
            || kind(self.answer, left) == Kind::Text
        {
            return Equivalence::Equal;
        }
        if num_names(self.answer, left) == 0 {
            return self.compare(gold, left.into(), nesting + 1);
        }
        // an equation still to be solved: its right side is no value of its unknown
        if is_number && self.solves(gold.id, [left, assigned.value]) == Some(false) {
            return Equivalence::Different;
        }
        Equivalence::Undecided
    }

    /// Whether an answer says that a quantity is zero for some values of an unknown, and not which.
    fn has_roots(&mut self, gold: Id, answer: Assigned<'_>) -> bool {
        kind(self.gold, gold) == Kind::Scalar
            && (answer.name.is_some() || is_combination(self.answer, answer.left, true))
            && has_roots(self.answer, answer.left)
            && Form::new(self.gold, gold, None, 0, &mut self.fuel)
                .rational()
                .is_some_and(|value| value.is_zero())
    }

    fn both(&mut self, gold: Id, answer: Id, nesting: u32) -> Equivalence {
        let sides = ((self.gold, gold), (self.answer, answer));
        if is_inequality(self.gold, gold)
            && is_inequality(self.answer, answer)
            && self.units_agree(gold, answer)
            && let Some(verdict) = real_set::compare(sides.0, sides.1, &mut self.fuel)
        {
            return verdict;
        }
        if let (Some(one), Some(other)) = (assigned(self.gold, gold), assigned(self.answer, answer))
            && let (Some(name), Some(other_name)) = (one.name, other.name)
        {
            let values = self.compare(one.value.into(), other.value.into(), nesting + 1);
            let calls = self.compare(one.left.into(), other.left.into(), nesting + 1);
            let chains = matches!(
                (self.gold.node(gold), self.answer.node(answer)),
                (Node::All(_), Node::All(_))
            );
            if name == other_name
                && calls == Equivalence::Equal
                && (values == Equivalence::Equal || !chains)
            {
                return values;
            }
            if self.stand_for_one(one, other) && values == Equivalence::Equal {
                return values;
            }
        }
        match (self.gold.node(gold), self.answer.node(answer)) {
            (
                Node::Relation { operator, left, right },
                Node::Relation { operator: other, left: other_left, right: other_right },
            ) if self.units_agree(gold, answer) => self.single_relations(
                (*operator, *left, *right),
                (*other, *other_left, *other_right),
                nesting,
            ),
            (Node::All(of), Node::All(others)) => {
                let excluded = |tree: &Tree, id: &Id| {
                    matches!(tree.node(*id), Node::Relation { operator: Relation::NotEqual, .. })
                };
                let any_order = of.iter().all(|id| excluded(self.gold, id))
                    && others.iter().all(|id| excluded(self.answer, id));
                if any_order && of.len() == others.len() {
                    return self.matched(&items(of), &items(others), false, nesting);
                }
                self.chains(of, others, nesting)
            }
            (Node::Any(of), Node::Any(others)) if of.len() == others.len() => {
                self.matched(&items(of), &items(others), false, nesting)
            }
            _ => Equivalence::Different,
        }
    }

    /// `y` for `f(x)` before the expression that both stand for.
    fn stand_for_one(&self, gold: Assigned<'_>, answer: Assigned<'_>) -> bool {
        let is_graph = |call: (&Tree, Assigned<'_>), lone: (&Tree, Assigned<'_>)| {
            let Node::Call(_, of) = call.0.node(call.1.left) else { return false };
            let symbols = |tree: &Tree, id| {
                Term::new(tree, id, 0, false)
                    .nodes()
                    .any(|(_, node)| matches!(node, Node::Symbol(name) if &**name == "y"))
            };
            let plain = of.iter().all(|&id| symbol(call.0, id).is_some_and(|name| name != "y"));
            plain
                && symbol(lone.0, lone.1.left) == Some("y")
                && !symbols(call.0, call.1.value)
                && !symbols(lone.0, lone.1.value)
        };
        let (gold, answer) = ((self.gold, gold), (self.answer, answer));
        is_graph(gold, answer) || is_graph(answer, gold)
    }

    pub(super) fn single_relations(
        &mut self,
        gold: (Relation, Id, Id),
        answer: (Relation, Id, Id),
        nesting: u32,
    ) -> Equivalence {
        use Relation as R;
        let (gold, answer) = (upward(gold), upward(answer));
        if gold.0 != answer.0 {
            return Equivalence::Different;
        }
        let scale = match gold.0 {
            R::Equal | R::NotEqual => Scale::Any,
            R::Less | R::LessEqual => Scale::Positive,
            _ => return self.in_order(&[gold.1, gold.2], &[answer.1, answer.2], nesting),
        };
        let values = |tree: &Tree, side: (R, Id, Id)| {
            kind(tree, side.1) == Kind::Scalar && kind(tree, side.2) == Kind::Scalar
        };
        if !values(self.gold, gold) || !values(self.answer, answer) {
            return self.in_order(&[gold.1, gold.2], &[answer.1, answer.2], nesting);
        }
        let left = Form::new(self.gold, gold.1, Some(gold.2), 0, &mut self.fuel);
        let right = Form::new(self.answer, answer.1, Some(answer.2), 0, &mut self.fuel);
        if left.has_symbol() && right.has_symbol() && !left.is_open() && !right.is_open() {
            let verdict = same(&left, &right, scale, self.strictness, &mut self.fuel);
            if verdict != Equivalence::Equal
                && gold.0 == R::Equal
                && self.solved_alike((gold.1, gold.2), (answer.1, answer.2))
            {
                return Equivalence::Equal;
            }
            if verdict != Equivalence::Undecided {
                return verdict;
            }
        }
        self.in_order(&[gold.1, gold.2], &[answer.1, answer.2], nesting)
    }

    /// An inequality against an interval or another set of its solutions.
    fn relation_and_set(&mut self, gold: Id, answer: Id, other: Kind, nesting: u32) -> Equivalence {
        if !matches!(other, Kind::Interval | Kind::Region | Kind::Set | Kind::Tuple | Kind::List) {
            return Equivalence::Different;
        }
        if !self.units_agree(gold, answer) {
            return Equivalence::Different;
        }
        let sides = ((self.gold, gold), (self.answer, answer));
        if let Some(verdict) = real_set::compare(sides.0, sides.1, &mut self.fuel) {
            return verdict;
        }
        match (self.gold.node(gold), self.answer.node(answer)) {
            (Node::Relation { operator: Relation::In, left, right }, _)
                if name(self.gold, *left).is_some() =>
            {
                self.compare((*right).into(), answer.into(), nesting + 1)
            }
            (_, Node::Relation { operator: Relation::In, left, right })
                if name(self.answer, *left).is_some() =>
            {
                self.compare(gold.into(), (*right).into(), nesting + 1)
            }
            // an inequality that no rule solves
            _ if is_inequality(self.gold, gold) || is_inequality(self.answer, answer) => {
                Equivalence::Undecided
            }
            _ => Equivalence::Different,
        }
    }
}

/// Turns `a > b` into `b < a`.
fn upward((operator, left, right): (Relation, Id, Id)) -> (Relation, Id, Id) {
    match operator {
        Relation::Greater => (Relation::Less, right, left),
        Relation::GreaterEqual => (Relation::LessEqual, right, left),
        _ => (operator, left, right),
    }
}

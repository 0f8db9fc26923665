//! Answers that are more than one value: lists, sets, tuples, intervals, matrices, text.

use std::cmp::Ordering;

use super::{
    super::tree::{Constant, Id, Node, Tree},
    Judge, marks, real_set, relation,
    scalar::{Form, Scale, same},
};
use crate::{Equivalence, Policy};

/// How deep lists may lie in lists.
pub(super) const MAX_NESTING: u32 = 6;

/// Largest number of open signs in one value.
const MAX_SIGNS: u32 = 4;

/// A part of an answer, with the signs that its plus-minus take where they have been chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) id: Id,
    pub(super) signs: Option<u32>,
}

impl From<Id> for Item {
    fn from(id: Id) -> Self {
        Self { id, signs: None }
    }
}

/// How the parts of a node hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// In no order, each once.
    Set,
    /// In no order.
    List,
    /// In order.
    Tuple,
    Interval,
    /// A set that is made of others, or has a name.
    Region,
    Matrix,
    Text,
    Relation,
    Scalar,
}

pub(super) fn kind(tree: &Tree, id: Id) -> Kind {
    match tree.node(id) {
        Node::Set(_) => Kind::Set,
        Node::List(_) => Kind::List,
        Node::Any(of) => {
            let inequality = |id: &Id| relation::is_inequality(tree, *id);
            if of.iter().any(inequality) { Kind::Relation } else { Kind::List }
        }
        Node::Tuple(_) => Kind::Tuple,
        Node::Interval { .. } => Kind::Interval,
        Node::Union(_)
        | Node::Intersection(_)
        | Node::Difference(..)
        | Node::Constant(
            Constant::EmptySet
            | Constant::Reals
            | Constant::Integers
            | Constant::Naturals
            | Constant::Rationals
            | Constant::Complexes,
        ) => Kind::Region,
        Node::Matrix { .. } => Kind::Matrix,
        Node::Text(_) | Node::Choice(_) => Kind::Text,
        Node::Relation { .. } | Node::All(_) => Kind::Relation,
        _ => Kind::Scalar,
    }
}

/// The sign of an infinity, where a node is one.
pub(super) fn infinite(tree: &Tree, id: Id) -> Option<Ordering> {
    match tree.node(id) {
        Node::Constant(Constant::Infinity) => Some(Ordering::Greater),
        Node::Negated(of) => match tree.node(*of) {
            Node::Constant(Constant::Infinity) => Some(Ordering::Less),
            _ => None,
        },
        _ => None,
    }
}

/// All of several verdicts: different if one is, undecided if one is, else equal.
pub(super) fn all(verdicts: impl IntoIterator<Item = Equivalence>) -> Equivalence {
    let mut result = Equivalence::Equal;
    for verdict in verdicts {
        match verdict {
            Equivalence::Equal => {}
            Equivalence::Different => return Equivalence::Different,
            _ => result = Equivalence::Undecided,
        }
    }
    result
}

impl Judge<'_> {
    /// Compares one part of the gold answer with one part of the answer.
    pub(super) fn compare(&mut self, gold: Item, answer: Item, nesting: u32) -> Equivalence {
        if nesting > MAX_NESTING || self.fuel.burn(20).is_err() {
            return Equivalence::Undecided;
        }
        let kinds = (kind(self.gold, gold.id), kind(self.answer, answer.id));
        if kinds.0 == Kind::Relation || kinds.1 == Kind::Relation {
            return self.relations(gold, answer, nesting);
        }
        if kinds.0 == Kind::Text || kinds.1 == Kind::Text {
            return self.words(gold.id, answer.id);
        }
        if kinds == (Kind::Matrix, Kind::Matrix) {
            return self.matrices(gold.id, answer.id, nesting);
        }
        let is_region = |kind| matches!(kind, Kind::Interval | Kind::Region);
        if is_region(kinds.0) || is_region(kinds.1) {
            return self.regions(gold.id, answer.id, nesting);
        }
        let items = (self.parts(true, gold), self.parts(false, answer));
        match items {
            (None, None) => self.scalars(gold, answer),
            (Some(gold), Some(answer)) => self.collections(&gold, &answer, kinds, nesting),
            // one element alone may stand in brackets, where the policy is lenient
            (Some(gold), None) => self.single(&gold, &[answer], nesting),
            (None, Some(answer)) => self.single(&[gold], &answer, nesting),
        }
    }

    fn single(&mut self, gold: &[Item], answer: &[Item], nesting: u32) -> Equivalence {
        match (self.policy, gold, answer) {
            (Policy::Eval, &[gold], &[answer]) => self.compare(gold, answer, nesting + 1),
            _ => Equivalence::Different,
        }
    }

    /// The parts of a list, set, tuple or value with open signs; `None` where it is one value.
    pub(super) fn parts(&self, is_gold: bool, item: Item) -> Option<Vec<Item>> {
        let tree = if is_gold { self.gold } else { self.answer };
        match tree.node(item.id) {
            Node::Set(of) | Node::List(of) | Node::Any(of) => {
                let mut parts = Vec::with_capacity(of.len());
                for &id in of {
                    match self.signed(tree, id.into()) {
                        Some(signed) => parts.extend(signed),
                        None => parts.push(id.into()),
                    }
                }
                Some(parts)
            }
            Node::Tuple(of) => Some(of.iter().map(|&id| id.into()).collect()),
            Node::Ratio(of) if of.len() > 2 => None,
            _ => self.signed(tree, item),
        }
    }

    /// The values of a value with open signs.
    fn signed(&self, tree: &Tree, item: Item) -> Option<Vec<Item>> {
        if item.signs.is_some() || kind(tree, item.id) != Kind::Scalar {
            return None;
        }
        let node = tree.node(item.id);
        if matches!(node, Node::Number { .. } | Node::Symbol(_)) {
            return None;
        }
        let term = super::term::Term::new(tree, item.id, 0, false);
        let open = term.num_signs();
        if open == 0 || open > MAX_SIGNS {
            return None;
        }
        Some((0..1 << open).map(|signs| Item { id: item.id, signs: Some(signs) }).collect())
    }

    fn collections(
        &mut self,
        gold: &[Item],
        answer: &[Item],
        kinds: (Kind, Kind),
        nesting: u32,
    ) -> Equivalence {
        use Kind::{List, Set, Tuple};
        let ordered = match kinds {
            (Tuple, Tuple) => true,
            // brackets forgotten, or put around a list
            (Tuple, List) | (List, Tuple) if self.policy == Policy::Eval => true,
            (Tuple, _) | (_, Tuple) => return Equivalence::Different,
            _ => self.names_one_side(gold, answer),
        };
        if ordered {
            if gold.len() != answer.len() {
                return Equivalence::Different;
            }
            let pairs: Vec<_> = gold.iter().copied().zip(answer.iter().copied()).collect();
            let mut result = Equivalence::Equal;
            for (gold, answer) in pairs {
                match self.compare(gold, answer, nesting + 1) {
                    Equivalence::Equal => {}
                    Equivalence::Different => return Equivalence::Different,
                    _ => result = Equivalence::Undecided,
                }
            }
            return result;
        }
        let once = kinds.0 == Set || kinds.1 == Set || self.policy == Policy::Eval;
        self.matched(gold, answer, once, nesting)
    }

    /// Whether one side names its values (`x = 1, y = 2`) and the other gives them bare: then the
    /// order is all that tells them apart.
    fn names_one_side(&self, gold: &[Item], answer: &[Item]) -> bool {
        let names = |tree: &Tree, items: &[Item]| {
            let mut names: Vec<_> =
                items.iter().filter_map(|item| relation::assigned_name(tree, item.id)).collect();
            names.sort_unstable();
            names.dedup();
            names.len()
        };
        let (gold, answer) = (names(self.gold, gold), names(self.answer, answer));
        (gold > 1 && answer == 0) || (answer > 1 && gold == 0)
    }

    /// Matches parts in no order; with `once`, repeated ones count once.
    fn matched(&mut self, gold: &[Item], answer: &[Item], once: bool, nesting: u32) -> Equivalence {
        if !once && gold.len() != answer.len() {
            return Equivalence::Different;
        }
        if let Some(verdict) = self.matched_numbers(gold, answer, once) {
            return verdict;
        }
        let mut taken = vec![false; answer.len()];
        let mut undecided = false;
        for &one in gold {
            let mut found = false;
            for at in 0..answer.len() {
                if taken[at] && !once {
                    continue;
                }
                match self.compare(one, answer[at], nesting + 1) {
                    Equivalence::Equal => {
                        taken[at] = true;
                        found = true;
                        // with repetitions every equal one is taken
                        if !once {
                            break;
                        }
                    }
                    Equivalence::Different => {}
                    _ => undecided = true,
                }
            }
            if !found {
                return if undecided { Equivalence::Undecided } else { Equivalence::Different };
            }
        }
        match taken.iter().all(|&taken| taken) {
            true => Equivalence::Equal,
            false if undecided => Equivalence::Undecided,
            false => Equivalence::Different,
        }
    }

    /// The same for plain numbers, by sorting.
    fn matched_numbers(&self, gold: &[Item], answer: &[Item], once: bool) -> Option<Equivalence> {
        let numbers = |tree: &Tree, items: &[Item]| {
            let mut numbers = items
                .iter()
                .map(|item| match tree.node(item.id) {
                    Node::Number { value, .. } => Some(value.clone()),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>()?;
            numbers.sort_unstable();
            if once {
                numbers.dedup();
            }
            Some(numbers)
        };
        let (gold, answer) = (numbers(self.gold, gold)?, numbers(self.answer, answer)?);
        Some(if gold == answer { Equivalence::Equal } else { Equivalence::Different })
    }

    /// Words and letters of a choice.
    fn words(&mut self, gold: Id, answer: Id) -> Equivalence {
        let (gold, answer) = (spelled(self.gold, gold), spelled(self.answer, answer));
        match (gold, answer) {
            (Some(gold), Some(answer)) if gold.eq_ignore_ascii_case(&answer) => Equivalence::Equal,
            _ => Equivalence::Different,
        }
    }

    fn matrices(&mut self, gold: Id, answer: Id, nesting: u32) -> Equivalence {
        let (Node::Matrix { rows, entries }, Node::Matrix { rows: other_rows, entries: others }) =
            (self.gold.node(gold), self.answer.node(answer))
        else {
            return Equivalence::Different;
        };
        let vector = |rows: u32, entries: &[Id]| rows == 1 || rows as usize == entries.len();
        let turned =
            self.policy == Policy::Eval && vector(*rows, entries) && vector(*other_rows, others);
        if entries.len() != others.len() || (rows != other_rows && !turned) {
            return Equivalence::Different;
        }
        self.in_order(entries, others, nesting)
    }

    pub(super) fn in_order(&mut self, gold: &[Id], answer: &[Id], nesting: u32) -> Equivalence {
        if gold.len() != answer.len() {
            return Equivalence::Different;
        }
        let mut result = Equivalence::Equal;
        for (&gold, &answer) in gold.iter().zip(answer) {
            match self.compare(gold.into(), answer.into(), nesting + 1) {
                Equivalence::Equal => {}
                Equivalence::Different => return Equivalence::Different,
                _ => result = Equivalence::Undecided,
            }
        }
        result
    }

    /// Intervals, unions and named sets.
    pub(super) fn regions(&mut self, gold: Id, answer: Id, nesting: u32) -> Equivalence {
        let sides = ((self.gold, gold), (self.answer, answer));
        if let Some(verdict) = real_set::compare(sides.0, sides.1, &mut self.fuel) {
            return verdict;
        }
        match (self.gold.node(gold), self.answer.node(answer)) {
            (Node::Constant(gold), Node::Constant(answer)) if gold == answer => Equivalence::Equal,
            (
                Node::Interval { low, high, low_closed, high_closed },
                Node::Interval {
                    low: other_low,
                    high: other_high,
                    low_closed: other_low_closed,
                    high_closed: other_high_closed,
                },
            ) => {
                if (low_closed, high_closed) != (other_low_closed, other_high_closed) {
                    return Equivalence::Different;
                }
                self.in_order(&[*low, *high], &[*other_low, *other_high], nesting)
            }
            (Node::Union(of), Node::Union(others))
            | (Node::Intersection(of), Node::Intersection(others)) => {
                let items = |of: &[Id]| of.iter().map(|&id| id.into()).collect::<Vec<Item>>();
                self.matched(&items(of), &items(others), true, nesting)
            }
            (Node::Difference(a, b), Node::Difference(c, d)) => {
                self.in_order(&[*a, *b], &[*c, *d], nesting)
            }
            _ => Equivalence::Different,
        }
    }

    /// Two values, with what stands around them.
    pub(super) fn scalars(&mut self, gold: Item, answer: Item) -> Equivalence {
        if let (Node::Ratio(of), Node::Ratio(others)) =
            (self.gold.node(gold.id), self.answer.node(answer.id))
            && (of.len() > 2 || others.len() > 2)
        {
            return self.proportions(of, others);
        }
        let infinities = (infinite(self.gold, gold.id), infinite(self.answer, answer.id));
        let undefined =
            |tree: &Tree, id| matches!(tree.node(id), Node::Constant(Constant::Undefined));
        match infinities {
            (None, None) => {}
            (gold, answer) if gold == answer => return Equivalence::Equal,
            _ => return Equivalence::Different,
        }
        match (undefined(self.gold, gold.id), undefined(self.answer, answer.id)) {
            (false, false) => marks::compare(self, gold, answer),
            (true, true) => Equivalence::Equal,
            _ => Equivalence::Different,
        }
    }

    /// `a : b : c`, up to a factor.
    fn proportions(&mut self, gold: &[Id], answer: &[Id]) -> Equivalence {
        if gold.len() != answer.len() {
            return Equivalence::Different;
        }
        let mut verdicts = Vec::with_capacity(gold.len());
        for (&g, &a) in gold.iter().zip(answer) {
            let form = |judge: &mut Self, is_gold: bool, id: Id| {
                let tree = if is_gold { judge.gold } else { judge.answer };
                Form::new(tree, id, None, 0, &mut judge.fuel)
            };
            let forms = [
                form(self, true, g),
                form(self, false, a),
                form(self, true, gold[0]),
                form(self, false, answer[0]),
            ];
            let values = forms.each_ref().map(Form::rational);
            verdicts.push(match values {
                [Some(g), Some(a), Some(g0), Some(a0)] if !g0.is_zero() && !a0.is_zero() => {
                    if g * a0 == a * g0 { Equivalence::Equal } else { Equivalence::Different }
                }
                _ => same(&forms[0], &forms[1], Scale::One, self.policy, &mut self.fuel),
            });
        }
        all(verdicts)
    }
}

/// A node as a word: text, a choice, or letters side by side.
fn spelled(tree: &Tree, id: Id) -> Option<String> {
    let letter = |id: Id| match tree.node(id) {
        Node::Symbol(name) => Some(name.to_string()),
        Node::Constant(Constant::E) => Some("e".to_owned()),
        Node::Constant(Constant::I) => Some("i".to_owned()),
        _ => None,
    };
    match tree.node(id) {
        Node::Text(text) => Some(text.to_string()),
        Node::Choice(choice) => Some(choice.to_string()),
        Node::Product(of) => of.iter().map(|&id| letter(id)).collect(),
        Node::Unit(of, unit) => Some(letter(*of)? + unit),
        _ => letter(id),
    }
}

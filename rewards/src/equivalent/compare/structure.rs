//! Answers that are more than one value: lists, sets, tuples, intervals, matrices, text.

use std::cmp::Ordering;

use super::points::names_alternatives;
use super::{
    super::tree::{Constant, Id, Node, Tree},
    Judge,
    likeness::items,
    marks, real_set, relation,
};
use crate::{Equivalence, Strictness};

/// How deep lists may lie in lists.
pub(super) const MAX_NESTING: u32 = 6;

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
    Piecewise,
    /// A measure in several units.
    Measure,
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
        Node::Union(_) | Node::Intersection(_) | Node::Difference(..) => Kind::Region,
        Node::Constant(constant) if constant.is_set() => Kind::Region,
        Node::Matrix { .. } => Kind::Matrix,
        Node::Piecewise(_) => Kind::Piecewise,
        Node::Compound(_) => Kind::Measure,
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
        if kinds.0 == Kind::Piecewise || kinds.1 == Kind::Piecewise {
            return self.cases(gold.id, answer.id, nesting);
        }
        if kinds.0 == Kind::Measure || kinds.1 == Kind::Measure {
            return self.measures(gold.id, answer.id, nesting);
        }
        if kinds == (Kind::Matrix, Kind::Matrix) {
            return self.matrices(gold.id, answer.id, nesting);
        }
        if matches!(kinds, (Kind::Matrix, Kind::Tuple) | (Kind::Tuple, Kind::Matrix)) {
            return self.vectors(gold.id, answer.id, nesting);
        }
        let is_region = |kind| matches!(kind, Kind::Interval | Kind::Region);
        if is_region(kinds.0) || is_region(kinds.1) {
            return self.regions(gold.id, answer.id, nesting);
        }
        // values of different unknowns that hold one or the other are no point and no list of
        // values
        let alternatives =
            (names_alternatives(self.gold, gold.id), names_alternatives(self.answer, answer.id));
        if alternatives.0 != alternatives.1 {
            return Equivalence::Different;
        }
        let items = (self.parts(true, gold), self.parts(false, answer));
        // a tuple with open signs is a list of tuples
        let spread = |kind, item: Item, parts: &Option<Vec<Item>>| match parts {
            Some(parts) if kind == Kind::Tuple && parts[0].id == item.id => Kind::List,
            _ => kind,
        };
        let kinds = (spread(kinds.0, gold, &items.0), spread(kinds.1, answer, &items.1));
        match items {
            (None, None) => self.scalars(gold, answer),
            (Some(gold), Some(answer)) => self.collections(&gold, &answer, kinds, nesting),
            // one element alone may stand in brackets, where it is lenient
            (Some(gold), None) => self.single(&gold, &[answer], nesting),
            (None, Some(answer)) => self.single(&[gold], &answer, nesting),
        }
    }

    /// Words and letters of a choice.
    fn words(&mut self, gold: Id, answer: Id) -> Equivalence {
        let (gold, answer) = (spelled(self.gold, gold), spelled(self.answer, answer));
        match (gold, answer) {
            (Some(gold), Some(answer)) if gold.eq_ignore_ascii_case(&answer) => Equivalence::Equal,
            _ => Equivalence::Different,
        }
    }

    /// A vector against a tuple, where it is lenient.
    fn vectors(&mut self, gold: Id, answer: Id, nesting: u32) -> Equivalence {
        let coordinates = |tree: &Tree, id: Id| match tree.node(id) {
            Node::Matrix { rows, entries } if *rows == 1 || *rows as usize == entries.len() => {
                Some(entries.clone())
            }
            Node::Tuple(of) => Some(of.clone()),
            _ => None,
        };
        match (self.strictness, coordinates(self.gold, gold), coordinates(self.answer, answer)) {
            (Strictness::Eval, Some(gold), Some(answer)) => self.in_order(&gold, &answer, nesting),
            _ => Equivalence::Different,
        }
    }

    fn matrices(&mut self, gold: Id, answer: Id, nesting: u32) -> Equivalence {
        match (self.gold.node(gold), self.answer.node(answer)) {
            (
                Node::Matrix { rows, entries },
                Node::Matrix { rows: other_rows, entries: other_entries },
            ) if rows == other_rows => self.in_order(entries, other_entries, nesting),
            _ => Equivalence::Different,
        }
    }

    /// Functions by cases: the same values under the same conditions, in any order.
    fn cases(&mut self, gold: Id, answer: Id, nesting: u32) -> Equivalence {
        let (Node::Piecewise(gold), Node::Piecewise(answer)) =
            (self.gold.node(gold), self.answer.node(answer))
        else {
            return Equivalence::Different;
        };
        if gold.len() != answer.len() {
            return Equivalence::Different;
        }
        let mut free: Vec<&[Id]> = answer.chunks(2).collect();
        let mut undecided = false;
        for row in gold.chunks(2) {
            let mut found = None;
            for (at, other) in free.iter().enumerate() {
                // the condition first, which costs less
                match self.in_order(&[row[1], row[0]], &[other[1], other[0]], nesting) {
                    Equivalence::Equal => {
                        found = Some(at);
                        break;
                    }
                    Equivalence::Different => {}
                    _ => undecided = true,
                }
            }
            match found {
                Some(at) => drop(free.swap_remove(at)),
                None if undecided => return Equivalence::Undecided,
                None => return Equivalence::Different,
            }
        }
        Equivalence::Equal
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
        if !self.units_agree(gold, answer) {
            return Equivalence::Different;
        }
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
        if let Some(clock) = self.clock(gold.id) {
            return match self.answer.node(answer.id) {
                Node::Ratio(parts) => self.in_order(&clock, &parts.clone(), 0),
                _ => Equivalence::Different,
            };
        }
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
        Node::Unit(of, unit) => Some(letter(*of)? + &unit.to_string()),
        _ => letter(id),
    }
}

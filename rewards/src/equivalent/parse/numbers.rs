//! Sets of numbers with a sign: `\mathbb{R}^+`, `\mathbb{Z}_{\ge 2}`, `\mathbb{R}^*`.
//!
//! `\mathbb{R}_+` is not read: to some it holds zero, and to others it does not.

use dashu_int::IBig;
use dashu_ratio::RBig;

use super::{Done, Parser, WRONG};
use crate::equivalent::literal::split_digits;
use crate::equivalent::tree::{Constant, Id, Node, Relation};

/// Which numbers of a set are meant: those that relate so to a whole number.
type Part = (Relation, IBig);

/// What says which part of a set of numbers is meant, and what stands behind it.
fn part_of_set(text: &str) -> Option<(Part, &str)> {
    let (text, mut with_zero) = match zero(text) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (script, argument) = text.trim_start().split_at_checked(1)?;
    let of = match script {
        "^" => of_sign,
        "_" if !with_zero => of_bound,
        _ => return None,
    };
    let (mut part, mut rest) = match argument.trim_start().strip_prefix('{') {
        Some(inner) => {
            let (inner, rest) = inner.split_once('}')?;
            let (part, left) = of(inner.trim())?;
            (left.trim().is_empty().then_some(part)?, rest)
        }
        None if script == "^" => of(argument.trim_start())?,
        None => return None,
    };
    if let Some(after) = zero(rest).filter(|_| script == "^") {
        (with_zero, rest) = (true, after);
    }
    if with_zero {
        part.0 = match part.0 {
            Relation::Greater => Relation::GreaterEqual,
            Relation::Less => Relation::LessEqual,
            _ => return None,
        };
    }
    Some((part, rest))
}

/// What stands behind a zero that is written below.
fn zero(text: &str) -> Option<&str> {
    let text = text.trim_start();
    text.strip_prefix("_{0}").or_else(|| text.strip_prefix("_0"))
}

/// A sign, and what stands behind it.
fn of_sign(text: &str) -> Option<(Part, &str)> {
    let signs = [
        ("+", Relation::Greater),
        ("-", Relation::Less),
        ("*", Relation::NotEqual),
        (r"\ast", Relation::NotEqual),
        (r"\times", Relation::NotEqual),
    ];
    let (relation, rest) = signs
        .into_iter()
        .find_map(|(sign, relation)| Some((relation, text.strip_prefix(sign)?)))?;
    Some(((relation, IBig::ZERO), rest))
}

/// A relation with a whole number, and what stands behind it.
fn of_bound(text: &str) -> Option<(Part, &str)> {
    let signs = [
        (r"\geqslant", Relation::GreaterEqual),
        (r"\geq", Relation::GreaterEqual),
        (r"\ge", Relation::GreaterEqual),
        (">=", Relation::GreaterEqual),
        (">", Relation::Greater),
        (r"\gt", Relation::Greater),
        (r"\leqslant", Relation::LessEqual),
        (r"\leq", Relation::LessEqual),
        (r"\le", Relation::LessEqual),
        ("<=", Relation::LessEqual),
        ("<", Relation::Less),
        (r"\lt", Relation::Less),
        (r"\neq", Relation::NotEqual),
        (r"\ne", Relation::NotEqual),
    ];
    let text = text.trim();
    let (relation, rest) = signs
        .into_iter()
        .find_map(|(sign, relation)| Some((relation, text.strip_prefix(sign)?)))?;
    let (negative, rest) = match rest.trim_start().strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest.trim_start()),
    };
    let (digits, rest) = split_digits(rest);
    let number: IBig = digits.parse().ok()?;
    Some(((relation, if negative { -number } else { number }), rest))
}

impl Parser<'_> {
    /// A set of numbers, or the part of it that its scripts name.
    pub(super) fn set_of_numbers(&mut self, set: Constant) -> Done<Id> {
        let Some(((relation, bound), rest)) = part_of_set(self.lexer.rest()) else {
            return self.builder.push(Node::Constant(set));
        };
        self.lexer.skip(self.lexer.rest().len() - rest.len());
        let is_whole = matches!(set, Constant::Integers | Constant::Naturals);
        // whether zero is a natural number does not matter to those that are larger
        let relation = match (set, relation) {
            (Constant::Naturals, Relation::NotEqual) if bound == IBig::ZERO => Relation::Greater,
            _ => relation,
        };
        let above = bound >= IBig::ONE || bound == IBig::ZERO && relation == Relation::Greater;
        let set = match set {
            Constant::Naturals if above && !is_below(relation) => Constant::Integers,
            Constant::EmptySet | Constant::Complexes if relation != Relation::NotEqual => {
                return Err(WRONG);
            }
            set => set,
        };
        // the next whole number is as good a bound
        let (relation, bound) = match relation {
            Relation::Greater if is_whole => (Relation::GreaterEqual, bound + IBig::ONE),
            Relation::Less if is_whole => (Relation::LessEqual, bound - IBig::ONE),
            _ => (relation, bound),
        };
        let all = self.builder.push(Node::Constant(set))?;
        let bound = self.builder.push(Node::Number { value: RBig::from(bound), places: None })?;
        if relation == Relation::NotEqual {
            let point = self.builder.push(Node::Set(vec![bound]))?;
            return self.builder.push(Node::Difference(all, point));
        }
        let infinity = self.builder.push(Node::Constant(Constant::Infinity))?;
        let closed = matches!(relation, Relation::GreaterEqual | Relation::LessEqual);
        let half = if is_below(relation) {
            let low = self.builder.push(Node::Negated(infinity))?;
            Node::Interval { low, high: bound, low_closed: false, high_closed: closed }
        } else {
            Node::Interval { low: bound, high: infinity, low_closed: closed, high_closed: false }
        };
        let half = self.builder.push(half)?;
        match set {
            Constant::Reals => Ok(half),
            _ => self.builder.push(Node::Intersection(vec![all, half])),
        }
    }
}

fn is_below(relation: Relation) -> bool {
    matches!(relation, Relation::Less | Relation::LessEqual)
}

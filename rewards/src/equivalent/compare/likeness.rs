//! What parts of long lists look like, so that each is compared with the nearest first, and with
//! those that its values rule out not at all.

use std::cmp::Ordering;

use super::{
    super::tree::{Constant, Id, Node, Relation, Tree},
    ball::Ball,
    field::Field,
    form::Form,
    fuel::Fuel,
    modular::{Point, digest, random},
    scalar::approximate,
    structure::{Item, Kind, MAX_NESTING, infinite, kind},
};
use crate::Strictness;

/// Seed of the point at which expressions in symbols have their residues.
const SEED: u64 = 7;

/// Part of their size by which values differ at least that are apart, and at most that are alike.
const APART: f64 = 1e-6;

/// What one part looks like.
#[derive(Debug)]
pub(super) struct Likeness {
    /// How it is made up.
    shape: u64,
    /// The values in it, in order.
    values: Vec<Value>,
    /// Whether other values make it another part: there is no mark, name or decimal that may stand
    /// for another value.
    plain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Real(f64),
    /// Of an expression; faithful, if another residue means another value.
    Residue(u64, bool),
    Unknown,
}

impl Likeness {
    pub(super) fn of(tree: &Tree, item: Item, strictness: Strictness, fuel: &mut Fuel) -> Self {
        let mut likeness = Self { shape: 0, values: Vec::new(), plain: true };
        likeness.add(tree, item, strictness, 0, fuel);
        likeness
    }

    /// How far apart two parts are: `None` where they are different for certain, and infinite where
    /// nothing tells.
    pub(super) fn distance(&self, other: &Self) -> Option<f64> {
        if self.shape != other.shape || self.values.len() != other.values.len() {
            return Some(f64::INFINITY);
        }
        let certain = self.plain && other.plain;
        let mut distance = 0.0f64;
        for (one, other) in self.values.iter().zip(&other.values) {
            let (apart, known) = match (one, other) {
                (Value::Real(a), Value::Real(b)) => {
                    let apart = (a - b).abs() / a.abs().max(b.abs()).max(f64::MIN_POSITIVE);
                    (apart, apart > APART)
                }
                (Value::Residue(a, true), Value::Residue(b, true)) if a != b => (1.0, true),
                (Value::Residue(a, _), Value::Residue(b, _)) if a == b => (0.0, false),
                _ => (f64::INFINITY, false),
            };
            if known && certain {
                return None;
            }
            distance = distance.max(apart);
        }
        Some(distance)
    }

    fn add(
        &mut self,
        tree: &Tree,
        item: Item,
        strictness: Strictness,
        nesting: u32,
        fuel: &mut Fuel,
    ) {
        let node = tree.node(item.id);
        let (name, children) = match node {
            Node::Tuple(of) => ("tuple", of.clone()),
            Node::Interval { low, high, low_closed, high_closed } => {
                self.mix(u64::from(*low_closed) + 2 * u64::from(*high_closed));
                ("interval", vec![*low, *high])
            }
            Node::Matrix { rows, entries } => {
                self.mix(u64::from(*rows));
                ("matrix", entries.clone())
            }
            Node::Relation { operator, left, right } => {
                let children = self.sides(tree, (*left, *right), *operator, fuel);
                self.mix(digest(&format!("{operator:?}")));
                ("relation", children)
            }
            Node::All(of) => {
                self.plain = false;
                ("all", of.clone())
            }
            Node::List(of) | Node::Set(of) | Node::Any(of) | Node::Union(of) => {
                self.plain = false;
                ("several", of.clone())
            }
            Node::Text(text) => {
                self.plain = false;
                self.mix(digest(&text.to_lowercase()));
                return;
            }
            _ => {
                self.add_value(tree, item, strictness, fuel);
                return;
            }
        };
        self.mix(digest(name));
        self.mix(children.len() as u64);
        if nesting == MAX_NESTING {
            self.plain = false;
            return;
        }
        for id in children {
            self.add(tree, Item { id, signs: item.signs }, strictness, nesting + 1, fuel);
        }
    }

    /// The parts of a relation. What a symbol or a value of a function equals is all that such an
    /// equation says.
    fn sides(
        &mut self,
        tree: &Tree,
        (left, right): (Id, Id),
        operator: Relation,
        fuel: &mut Fuel,
    ) -> Vec<Id> {
        let rational =
            |id: Id, fuel: &mut Fuel| Form::new(tree, id, None, 0, fuel).rational().is_some();
        self.plain &= operator == Relation::Equal && rational(right, fuel);
        match tree.node(left) {
            Node::Symbol(_) => {}
            Node::Call(name, of)
                if !matches!(&**name, "max" | "min" | "gcd" | "lcm")
                    && of.iter().all(|&id| rational(id, fuel)) =>
            {
                self.mix(digest(name));
                return of.iter().copied().chain([right]).collect();
            }
            _ => self.plain = false,
        }
        vec![left, right]
    }

    fn add_value(&mut self, tree: &Tree, item: Item, strictness: Strictness, fuel: &mut Fuel) {
        self.mix(digest("value"));
        if let Some(side) = infinite(tree, item.id) {
            let value = if side == Ordering::Less { f64::MIN } else { f64::MAX };
            self.values.push(Value::Real(value));
            return;
        }
        if kind(tree, item.id) != Kind::Scalar {
            self.plain = false;
            self.values.push(Value::Unknown);
            return;
        }
        let form = Form::new(tree, item.id, None, item.signs.unwrap_or(0), fuel);
        self.plain &= !form.any(|node| match node {
            Node::Number { places, .. } => places.is_some() && strictness == Strictness::Eval,
            Node::Sum(_)
            | Node::Product(_)
            | Node::Quotient(..)
            | Node::Negated(_)
            | Node::PlusMinus(_)
            | Node::MinusPlus(_)
            | Node::Power(..)
            | Node::Root { .. }
            | Node::Symbol(_)
            | Node::Constant(_) => false,
            _ => true,
        });
        self.values.push(value(&form, fuel));
    }

    fn mix(&mut self, word: u64) {
        self.shape = random(self.shape, word);
    }
}

fn value(form: &Form<'_>, fuel: &mut Fuel) -> Value {
    if let Some(value) = form.rational() {
        return finite(value.to_f64().value());
    }
    if !form.has_symbol()
        && let Some(value) = approximate(form, fuel)
    {
        return finite(as_double(&value));
    }
    let field = Field::random(SEED);
    let constants = form.any(|node| matches!(node, Node::Constant(Constant::Pi | Constant::E)));
    match form.residue(&Point { field: &field, seed: SEED }, fuel) {
        Ok((residue, faithful)) => Value::Residue(residue, faithful && !constants),
        Err(_) => Value::Unknown,
    }
}

fn finite(value: f64) -> Value {
    if value.is_finite() { Value::Real(value) } else { Value::Unknown }
}

fn as_double(ball: &Ball) -> f64 {
    let power = i32::try_from(ball.exponent).unwrap_or(i32::MAX);
    ball.mantissa.to_f64().value() * 2f64.powi(power)
}

/// The ids of nodes as parts.
pub(super) fn items(of: &[Id]) -> Vec<Item> {
    of.iter().map(|&id| id.into()).collect()
}

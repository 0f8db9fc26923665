//! Arithmetic with units: every node that is built of values with units is a value with one unit,
//! or a plain number, or nothing.

use dashu_ratio::RBig;

use super::{Builder, Built};
use crate::equivalent::tree::{Function, Id, Node, Unreadable};
use crate::equivalent::units::Unit;

type Lifted = Result<Node, Unreadable>;

const WRONG: Unreadable = Unreadable::NotMathematics;

impl Builder {
    /// A value with its unit, where there is one.
    fn quantity(&self, id: Id) -> Option<(Id, &Unit)> {
        match self.node(id) {
            Node::Unit(value, unit) => Some((*value, unit)),
            _ => None,
        }
    }

    pub(in crate::equivalent) fn has_unit(&self, id: Id) -> bool {
        self.quantity(id).is_some()
    }

    /// Whether a value is written with digits alone: a number, a fraction, a power of ten.
    pub(in crate::equivalent) fn is_plain_number(&self, id: Id) -> bool {
        let is_number = |id: &Id| matches!(self.node(*id), Node::Number { .. });
        match self.node(id) {
            Node::Quotient(a, b) | Node::Power(a, b) => is_number(a) && is_number(b),
            _ => is_number(&id),
        }
    }

    fn is_degrees(&self, id: Id) -> bool {
        matches!(self.node(id), Node::Degrees(_))
    }

    /// The node without units under it, as far as it is a single value.
    pub(super) fn with_units_outside(&mut self, node: Node) -> Lifted {
        let (mut units, mut degrees) = (false, false);
        node.for_each_child(|child| {
            units |= self.has_unit(child);
            degrees |= self.is_degrees(child);
        });
        if !units {
            return Ok(node);
        }
        match node {
            // parts of an answer keep theirs
            Node::Tuple(_)
            | Node::Set(_)
            | Node::List(_)
            | Node::Interval { .. }
            | Node::Union(_)
            | Node::Intersection(_)
            | Node::Difference(..)
            | Node::Matrix { .. }
            | Node::Piecewise(_)
            | Node::Relation { .. }
            | Node::All(_)
            | Node::Any(_)
            | Node::Compound(_) => Ok(node),
            _ if degrees => Err(WRONG),
            Node::Sum(terms) => {
                let (terms, unit) = self.in_one_unit(&terms)?;
                let sum = self.push(Node::Sum(terms))?;
                Ok(Node::Unit(sum, unit))
            }
            Node::Ratio(parts) => Ok(Node::Ratio(self.in_one_unit(&parts)?.0)),
            Node::Product(factors) => self.product(&factors),
            Node::Quotient(above, below) => self.quotient(above, below),
            Node::Power(base, exponent) => self.power(base, exponent),
            Node::Root { radicand, index } => self.root(radicand, index),
            Node::Negated(of) => self.inside(of, Node::Negated),
            Node::PlusMinus(of) => self.inside(of, Node::PlusMinus),
            Node::MinusPlus(of) => self.inside(of, Node::MinusPlus),
            Node::Apply(Function::Abs, of) => self.inside(of, |id| Node::Apply(Function::Abs, id)),
            Node::Apply(function, of) => match self.quantity(of) {
                Some((value, unit)) if unit.is_radian() => Ok(Node::Apply(function, value)),
                _ => Err(WRONG),
            },
            // of a number with a unit there is no factorial, percentage or logarithm
            _ => Err(WRONG),
        }
    }

    fn inside(&mut self, of: Id, node: impl FnOnce(Id) -> Node) -> Lifted {
        let (value, unit) = self.quantity(of).ok_or(WRONG)?;
        let unit = unit.clone();
        let value = self.push(node(value))?;
        Ok(Node::Unit(value, unit))
    }

    /// The values in the unit of the first of them; all of one dimension.
    fn in_one_unit(&mut self, of: &[Id]) -> Result<(Vec<Id>, Unit), Unreadable> {
        let unit = self.quantity(of[0]).ok_or(WRONG)?.1.clone();
        let mut values = Vec::with_capacity(of.len());
        for &id in of {
            let (value, other) = self.quantity(id).ok_or(WRONG)?;
            let factor = other.conversion(&unit).ok_or(WRONG)?;
            values.push(self.times_number(value, factor)?);
        }
        Ok((values, unit))
    }

    fn times_number(&mut self, id: Id, factor: RBig) -> Built {
        if factor == RBig::ONE {
            return Ok(id);
        }
        let factor = self.push(Node::Number { value: factor, places: None })?;
        self.push(Node::Product(vec![id, factor]))
    }

    /// A value with a unit, or without one where there is nothing left of it.
    fn measured(&mut self, value: Id, unit: Unit, scale: RBig) -> Lifted {
        let value = self.times_number(value, scale)?;
        Ok(if unit.is_one() { self.node(value).clone() } else { Node::Unit(value, unit) })
    }

    fn is_one(&self, id: Id) -> bool {
        matches!(self.node(id), Node::Number { value, .. } if *value == RBig::ONE)
    }

    /// The unit of a product, and what its value is multiplied by. Where units of several sizes
    /// measure a dimension in part, such as kilowatts and hours, the coherent ones are taken,
    /// unless one side is a unit alone.
    fn multiplied(
        &self,
        (one, unit): (Id, &Unit),
        other: (Id, &Unit),
        sign: i32,
    ) -> Option<(Unit, RBig)> {
        let (product, scale) = unit.times(other.1, sign)?;
        if !product.overlaps() || self.is_one(one) || self.is_one(other.0) {
            return Some((product, scale));
        }
        let (coherent, size) = product.coherent();
        Some((coherent, scale * size))
    }

    fn product(&mut self, factors: &[Id]) -> Lifted {
        let (mut values, mut scale) = (Vec::new(), RBig::ONE);
        let mut total: Option<(Id, Unit)> = None;
        for &id in factors {
            let Some((value, unit)) = self.quantity(id).map(|(id, unit)| (id, unit.clone())) else {
                values.push(id);
                continue;
            };
            total = Some(match total {
                None => (value, unit),
                Some((first, before)) => {
                    let (unit, times) =
                        self.multiplied((first, &before), (value, &unit), 1).ok_or(WRONG)?;
                    scale *= times;
                    (first, unit)
                }
            });
            // a unit alone is one of it
            if !self.is_one(value) {
                values.push(value);
            }
        }
        let value = match values[..] {
            [] => self.whole(1)?,
            [only] => only,
            _ => self.push(Node::Product(values))?,
        };
        let unit = total.map_or_else(Unit::one, |total| total.1);
        self.measured(value, unit, scale)
    }

    fn quotient(&mut self, above: Id, below: Id) -> Lifted {
        let parts = |id| match self.quantity(id) {
            Some((value, unit)) => (value, unit.clone()),
            None => (id, Unit::one()),
        };
        let ((over, unit), (under, other)) = (parts(above), parts(below));
        let (unit, scale) = self.multiplied((over, &unit), (under, &other), -1).ok_or(WRONG)?;
        let value = if self.is_one(under) { over } else { self.push(Node::Quotient(over, under))? };
        self.measured(value, unit, scale)
    }

    /// A whole number of moderate size.
    fn small(&self, id: Id) -> Option<i32> {
        i32::try_from(self.integer(id)?).ok()
    }

    fn power(&mut self, base: Id, exponent: Id) -> Lifted {
        let times = match *self.node(exponent) {
            Node::Quotient(above, below) => self.small(above).zip(self.small(below)),
            _ => self.small(exponent).map(|times| (times, 1)),
        };
        self.raised(base, times.ok_or(WRONG)?, |value| Node::Power(value, exponent))
    }

    fn root(&mut self, radicand: Id, index: Id) -> Lifted {
        let degree = self.small(index).ok_or(WRONG)?;
        self.raised(radicand, (1, degree), |radicand| Node::Root { radicand, index })
    }

    /// A value to the power of `times` over `index`, as `node` builds it, with its unit.
    fn raised(
        &mut self,
        base: Id,
        (times, index): (i32, i32),
        node: impl FnOnce(Id) -> Node,
    ) -> Lifted {
        let (value, unit) = self.quantity(base).ok_or(WRONG)?;
        let as_it_is = unit.root(index).map(|root| (root, RBig::ONE));
        let coherent = || {
            let (coherent, size) = unit.coherent();
            Some((coherent.root(index)?, size))
        };
        let (root, scale) = as_it_is.or_else(coherent).ok_or(WRONG)?;
        let unit = root.to_power(times).ok_or(WRONG)?;
        let value = self.times_number(value, scale)?;
        let value = if self.is_one(value) { value } else { self.push(node(value))? };
        Ok(Node::Unit(value, unit))
    }

    /// A value with what the words after it measure; of a point, a set, an interval or a matrix,
    /// that is each value in it.
    pub(in crate::equivalent) fn measure(&mut self, id: Id, unit: Unit) -> Built {
        // what stands behind an empty set is no unit of anything
        let is_collection = |node: &Node| match node {
            Node::Set(of) => !of.is_empty(),
            Node::Tuple(_) | Node::Interval { .. } | Node::Matrix { .. } => true,
            _ => false,
        };
        if !is_collection(self.node(id)) {
            return self.measure_value(id, unit);
        }
        let (mut node, mut failed) = (self.node(id).clone(), None);
        node.for_each_child_mut(|child| {
            if is_collection(self.node(*child)) || self.has_unit(*child) {
                failed = Some(WRONG);
                return;
            }
            match self.measure_value(*child, unit.clone()) {
                Ok(measured) => *child = measured,
                Err(error) => failed = Some(error),
            }
        });
        match failed {
            Some(error) => Err(error),
            None => self.push(node),
        }
    }

    fn measure_value(&mut self, id: Id, unit: Unit) -> Built {
        match *self.node(id) {
            Node::Unit(value, ref before) => {
                let (unit, scale) = before.times(&unit, 1).ok_or(WRONG)?;
                let node = self.measured(value, unit, scale)?;
                self.push(node)
            }
            _ if unit.is_degree() => self.push(Node::Degrees(id)),
            Node::Degrees(value) if unit.is_temperature() => self.push(Node::Unit(value, unit)),
            // thirty degrees east, or a second
            Node::Degrees(value) => {
                let degree = Unit::read_known("degree").ok_or(WRONG)?;
                self.measure_value(value, unit.times(&degree, 1).ok_or(WRONG)?.0)
            }
            _ => self.push(Node::Unit(id, unit)),
        }
    }
}

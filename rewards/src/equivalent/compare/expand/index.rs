//! Sums and products over an index.
//!
//! Few terms are written out. Many, or as many as a symbol says, have a closed form where the term
//! is a polynomial times a geometric sequence, by Newton's forward differences: with `D^j p` the
//! `j`-th difference of `p` at the first index, `sum of p over N indices = sum over j of D^j p C(N,
//! j + 1)`, and from `x` on, for `|r| < 1`, `sum of p(k) r^(k - x) = sum over j of D^j p r^j / (1 -
//! r)^(j + 1)` (Graham, Knuth and Patashnik, "Concrete Mathematics", 2.6 and 5.3).

use dashu_int::IBig;
use dashu_ratio::RBig;

use super::{
    super::{
        super::tree::{Bound, Id, Node, Tree, bound_name},
        arithmetic::{size, whole},
        exact::Exact,
        form::Form,
        scalar::{Known, order},
        structure::infinite,
        term::Term,
    },
    Work, has_mark,
};

/// Most terms that are written out or added up one by one.
const MAX_TERMS: i64 = 4096;

/// From how many terms on a closed form is looked for first.
const MANY: i64 = 24;

/// Largest degree that has a closed form.
const MAX_DEGREE: u32 = 8;

impl Work<'_> {
    pub(super) fn indexed(
        &mut self,
        operator: Bound,
        level: u32,
        body: Id,
        low: Id,
        high: Id,
    ) -> Option<Id> {
        let ends = (self.rational(low), self.rational(high));
        let (Some(first), Some(last)) = &ends else {
            // an index is a whole number
            if [&ends.0, &ends.1].into_iter().flatten().any(|end| !end.is_int()) {
                return None;
            }
            return match operator {
                Bound::Sum => self.closed(level, body, low, high),
                _ => self.closed_product(level, body, low, high),
            };
        };
        let (first, last) = (whole(first)?, whole(last)?);
        let count = last.checked_sub(first)?.checked_add(1)?;
        match count {
            ..0 => return None,
            0 => return self.number(i32::from(operator == Bound::Product)),
            _ => {}
        }
        let mark = self.tree.nodes.len();
        let closed = |work: &mut Self| {
            let found =
                (operator == Bound::Sum).then(|| work.closed(level, body, low, high)).flatten();
            if found.is_none() {
                work.tree.nodes.truncate(mark);
            }
            found
        };
        if count > MANY
            && let Some(id) = closed(self)
        {
            return Some(id);
        }
        if count > MAX_TERMS {
            return None;
        }
        if let Some(value) = self.added_up(operator, level, body, (first, last)) {
            return self.number(value);
        }
        let mut terms = Vec::new();
        for index in first..=last {
            let index = self.number(IBig::from(index))?;
            terms.push(self.substituted(body, level, index)?);
        }
        if operator == Bound::Sum { self.sum(terms) } else { self.product(terms) }
    }

    /// The value of few rational terms; `None` where one of them is not rational.
    fn added_up(
        &mut self,
        operator: Bound,
        level: u32,
        body: Id,
        (first, last): (i64, i64),
    ) -> Option<RBig> {
        let variable = bound_name(level);
        let within = self.under(body);
        // a tree of its own, of which one node or several change
        let mut places = vec![0; body as usize + 1];
        let (mut tree, mut changing) = (Tree { nodes: Vec::new() }, Vec::new());
        for &id in &within {
            let mut node = self.tree.node(id).clone();
            node.for_each_child_mut(|child| *child = places[*child as usize]);
            places[id as usize] = tree.nodes.len() as Id;
            match &node {
                Node::Symbol(name) if **name == *variable => changing.push(tree.nodes.len()),
                Node::Symbol(_) | Node::Bound { .. } => return None,
                node if has_mark(node) => return None,
                _ => {}
            }
            tree.nodes.push(node);
        }
        let mut result = RBig::from(u8::from(operator == Bound::Product));
        for index in first..=last {
            for &at in &changing {
                tree.nodes[at] = Node::Number { value: RBig::from(index), places: None };
            }
            self.fuel.burn(40 + 20 * within.len() as u64).ok()?;
            let term = Term::new(&tree, tree.root(), 0, false);
            let value = Exact::of(&term, self.fuel).rational[tree.root() as usize].take()?;
            let bits = size(&result) + size(&value);
            self.fuel.burn_product(bits).ok()?;
            if bits > 2 * super::super::arithmetic::MAX_BITS {
                return None;
            }
            result = if operator == Bound::Sum { result + value } else { result * value };
        }
        Some(result)
    }

    /// A sum by its closed form.
    fn closed(&mut self, level: u32, body: Id, low: Id, high: Id) -> Option<Id> {
        if let Node::Sum(of) = self.tree.node(body).clone()
            && self.shape(body, level).is_none()
        {
            let parts = of.into_iter().map(|part| self.closed(level, part, low, high));
            let parts = parts.collect::<Option<Vec<_>>>()?;
            return self.sum(parts);
        }
        let shape = self.shape(body, level).filter(|shape| shape.degree <= MAX_DEGREE)?;
        if shape.is_polynomial() {
            if infinite(&self.tree, high).is_some() {
                return None;
            }
            return self.power_sum(level, (body, shape.degree), low, high);
        }
        let (polynomial, geometric) = self.split(body, level)?;
        let one = self.number(1)?;
        let second = self.sum_of(low, one)?;
        let [at_first, at_second] =
            [low, second].map(|index| self.substituted(geometric, level, index));
        let (at_first, at_second) = (at_first?, at_second?);
        if self.rational(at_first).is_some_and(|first| first.is_zero()) {
            return None;
        }
        let ratio = self.push(Node::Quotient(at_second, at_first))?;
        let known = self.rational(ratio);
        if known.as_ref().is_some_and(|ratio| ratio.is_one() || ratio.is_zero()) {
            return None;
        }
        let tail = |work: &mut Self, from: Id| {
            work.tail(level, (polynomial, shape.degree), geometric, ratio, from)
        };
        if let Some(sign) = infinite(&self.tree, high) {
            let converges = match known {
                Some(ratio) => RBig::NEG_ONE < ratio && ratio < RBig::ONE,
                None => self.is_within_one(ratio)?,
            };
            return if sign.is_gt() && converges { tail(self, low) } else { None };
        }
        let behind = self.sum_of(high, one)?;
        let (from_first, from_behind) = (tail(self, low)?, tail(self, behind)?);
        self.difference(from_first, from_behind)
    }

    fn sum_of(&mut self, a: Id, b: Id) -> Option<Id> {
        match (self.rational(a), self.rational(b)) {
            (Some(a), Some(b)) => self.number(a + b),
            _ => self.push(Node::Sum(vec![a, b])),
        }
    }

    /// Whether a constant lies between minus one and one.
    fn is_within_one(&mut self, id: Id) -> Option<bool> {
        let ends = [self.number(-1)?, self.number(1)?];
        let tree = &self.tree;
        let fuel = &mut *self.fuel;
        let value = Form::new(tree, id, None, 0, fuel);
        if value.has_symbol() || value.is_open() {
            return None;
        }
        let value = Known::of(value, fuel);
        let [low, high] = ends.map(|end| Known::of(Form::new(tree, end, None, 0, fuel), fuel));
        Some(order(&low, &value, fuel)?.is_lt() && order(&value, &high, fuel)?.is_lt())
    }

    /// The forward differences of a polynomial at an index, up to its degree.
    fn differences(
        &mut self,
        level: u32,
        (polynomial, degree): (Id, u32),
        at: Id,
    ) -> Option<Vec<Id>> {
        let mut values = Vec::new();
        for step in 0..=degree {
            let step = self.number(step)?;
            let index = self.sum_of(at, step)?;
            let value = self.substituted(polynomial, level, index)?;
            values.push(match self.rational(value) {
                Some(value) => self.number(value)?,
                None => value,
            });
        }
        let mut differences = Vec::new();
        let mut row: Vec<RBig> = Vec::new();
        for step in 0..=degree as usize {
            // the row of Pascal's triangle, with alternating signs
            let mut next = vec![RBig::ONE; step + 1];
            for at in 1..step {
                next[at] = row[at - 1].clone() + row[at].clone();
            }
            row = next;
            let mut terms = Vec::new();
            for (at, binomial) in row.iter().enumerate() {
                let sign = if (step - at) % 2 == 0 { RBig::ONE } else { RBig::NEG_ONE };
                let factor = self.number(binomial * sign)?;
                terms.push(self.product(vec![factor, values[at]])?);
            }
            let difference = self.sum(terms)?;
            differences.push(match self.rational(difference) {
                Some(value) => self.number(value)?,
                None => difference,
            });
        }
        Some(differences)
    }

    /// The sum of a polynomial.
    fn power_sum(&mut self, level: u32, polynomial: (Id, u32), low: Id, high: Id) -> Option<Id> {
        let differences = self.differences(level, polynomial, low)?;
        let span = self.difference(high, low)?;
        let mut falling = Vec::new();
        let (mut terms, mut factorial) = (Vec::new(), RBig::ONE);
        for (step, difference) in differences.into_iter().enumerate() {
            // one more than the difference of the ends is the number of terms
            let shift = self.number(RBig::ONE - RBig::from(step))?;
            falling.push(self.push(Node::Sum(vec![span, shift]))?);
            factorial *= RBig::from(step + 1);
            let factor = self.number(RBig::ONE / factorial.clone())?;
            let mut factors = vec![factor, difference];
            factors.extend(&falling);
            terms.push(self.product(factors)?);
        }
        self.sum(terms)
    }

    /// The sum of a polynomial times a geometric sequence from an index on, as far as it converges.
    fn tail(
        &mut self,
        level: u32,
        polynomial: (Id, u32),
        geometric: Id,
        ratio: Id,
        from: Id,
    ) -> Option<Id> {
        let differences = self.differences(level, polynomial, from)?;
        let first = self.substituted(geometric, level, from)?;
        let one = self.number(1)?;
        let rest = self.difference(one, ratio)?;
        let step = self.push(Node::Quotient(ratio, rest))?;
        let mut power = self.push(Node::Quotient(first, rest))?;
        let mut terms = Vec::new();
        for difference in differences {
            terms.push(self.product(vec![difference, power])?);
            power = self.product(vec![power, step])?;
        }
        self.sum(terms)
    }

    /// The polynomial and the geometric factor of a term.
    fn split(&mut self, body: Id, level: u32) -> Option<(Id, Id)> {
        let one = self.number(1)?;
        let within = self.under(body);
        let mut parts: Vec<Option<(Id, Id)>> = vec![None; body as usize + 1];
        for id in within {
            let get = |id: Id| parts[id as usize];
            let shape = self.shape(id, level);
            let found = match (shape, self.tree.node(id).clone()) {
                (Some(shape), _) if shape.is_polynomial() => Some((id, one)),
                (Some(_), Node::Product(of)) => {
                    let of = of.into_iter().map(get).collect::<Option<Vec<_>>>()?;
                    let (polynomials, powers) = of.into_iter().unzip();
                    Some((self.product(polynomials)?, self.product(powers)?))
                }
                (Some(_), Node::Negated(of)) => {
                    let (polynomial, power) = get(of)?;
                    Some((self.push(Node::Negated(polynomial))?, power))
                }
                (Some(_), Node::Quotient(above, below)) => {
                    let (polynomial, power) = get(above)?;
                    Some((polynomial, self.push(Node::Quotient(power, below))?))
                }
                (Some(_), Node::Power(..)) => Some((one, id)),
                _ => None,
            };
            parts[id as usize] = found;
        }
        parts[body as usize]
    }

    /// A sum or an integral that has no closed form: factors without its variable are taken out of
    /// it, a finite sum of sums is split, and its index begins at zero.
    pub(super) fn taken_apart(&mut self, operator: Bound, level: u32, of: &[Id]) -> Option<Id> {
        let &[body, low, high] = of else { return None };
        let again = |work: &mut Self, body: Id| {
            work.add(Node::Bound { operator, level, of: vec![body, low, high] })
        };
        let node = self.tree.node(body).clone();
        let is_linear = operator != Bound::Product;
        match node {
            Node::Negated(inner) if is_linear => {
                let inner = again(self, inner)?;
                return self.push(Node::Negated(inner));
            }
            Node::Quotient(above, below) if is_linear && self.is_free(below, level) => {
                let above = again(self, above)?;
                return self.push(Node::Quotient(above, below));
            }
            Node::Product(factors) if is_linear => {
                let (mut free, bound): (Vec<Id>, Vec<Id>) =
                    factors.into_iter().partition(|&factor| self.is_free(factor, level));
                if !free.is_empty() {
                    let bound = self.product(bound)?;
                    free.push(again(self, bound)?);
                    return self.product(free);
                }
            }
            Node::Sum(terms) if operator == Bound::Sum && infinite(&self.tree, high).is_none() => {
                let terms = terms.into_iter().map(|term| again(self, term));
                let terms = terms.collect::<Option<_>>()?;
                return self.sum(terms);
            }
            _ => {}
        }
        let first = self.rational(low).filter(|low| low.is_int() && !low.is_zero())?;
        if operator == Bound::Integral {
            return None;
        }
        let index = self.push(Node::Symbol(bound_name(level).into()))?;
        let shift = self.number(first.clone())?;
        let shifted = self.push(Node::Sum(vec![index, shift]))?;
        let body = self.substituted(body, level, shifted)?;
        let high = if infinite(&self.tree, high).is_some() {
            high
        } else {
            let back = self.number(-first)?;
            self.sum_of(high, back)?
        };
        let low = self.number(0)?;
        self.push(Node::Bound { operator, level, of: vec![body, low, high] })
    }

    fn is_free(&mut self, id: Id, level: u32) -> bool {
        self.shape(id, level).is_some_and(super::substitute::Shape::is_free)
    }

    /// A product of as many equal factors as a symbol says, or of all whole numbers from one on.
    fn closed_product(&mut self, level: u32, body: Id, low: Id, high: Id) -> Option<Id> {
        if infinite(&self.tree, high).is_some() {
            return None;
        }
        let is_index =
            matches!(self.tree.node(body), Node::Symbol(name) if **name == *bound_name(level));
        if is_index && self.rational(low)?.is_one() {
            return self.push(Node::Factorial(high));
        }
        if !self.shape(body, level)?.is_free() {
            return None;
        }
        let (span, one) = (self.difference(high, low)?, self.number(1)?);
        let count = self.push(Node::Sum(vec![span, one]))?;
        self.push(Node::Power(body, count))
    }
}

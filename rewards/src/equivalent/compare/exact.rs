//! Rational values of nodes, and multiples of pi, both exact.

use dashu_int::IBig;
use dashu_ratio::RBig;

use super::{
    super::tree::{Constant, Function, Id, Node, Tree},
    arithmetic::{
        MAX_BITS, binomial, burn_size, circular, divisor, power, product, root, size, whole,
    },
    ball::is_negative,
    fuel::{Fuel, Trouble},
    radical::Radical,
    term::Term,
};

/// What is known of each node: by node, `None` where nothing is.
#[derive(Debug)]
pub(super) struct Exact {
    pub(super) rational: Vec<Option<RBig>>,
    /// `c` where the node is `c` times pi.
    pi_multiple: Vec<Option<RBig>>,
    /// `c` where the node is `c` times the imaginary unit.
    imaginary_multiple: Vec<Option<RBig>>,
    /// `c` where the node is `c` times pi times the imaginary unit.
    turn: Vec<Option<RBig>>,
    /// What a positive node is the root of; only where a logarithm asks for it.
    radical: Vec<Option<Radical>>,
}

/// The arguments of a function of many, which may stand in a set of their own.
pub(super) fn arguments<'tree>(tree: &'tree Tree, of: &'tree [Id]) -> &'tree [Id] {
    match of {
        &[only] => match tree.node(only) {
            Node::Set(inner) | Node::List(inner) | Node::Tuple(inner) => inner,
            _ => of,
        },
        _ => of,
    }
}

fn is_e(tree: &Tree, id: Id) -> bool {
    matches!(tree.node(id), Node::Constant(Constant::E))
}

impl Exact {
    /// Values of all nodes of a term. Out of work, the rest stays unknown, but for numbers as
    /// written.
    pub(super) fn of(term: &Term<'_>, fuel: &mut Fuel) -> Self {
        let size = term.root as usize + 1;
        let has = |wanted: fn(&Node) -> bool| term.nodes().any(|(_, node)| wanted(node));
        let has_pi = has(|node| matches!(node, Node::Constant(Constant::Pi) | Node::Degrees(_)));
        let has_unit = has(|node| matches!(node, Node::Constant(Constant::I)));
        let has_log = has(|node| matches!(node, Node::Log { .. }));
        let table = |needed: bool| vec![None; if needed { size } else { 0 }];
        let mut known = Self {
            rational: table(true),
            pi_multiple: table(has_pi),
            imaginary_multiple: table(has_pi && has_unit),
            turn: table(has_pi && has_unit),
            radical: vec![None; if has_log { size } else { 0 }],
        };
        for (id, node) in term.nodes() {
            let at = id as usize;
            known.rational[at] = known.value(term, id, node, fuel).unwrap_or_else(|_| match node {
                Node::Number { value, .. } => Some(value.clone()),
                _ => None,
            });
            if has_log {
                known.radical[at] = match &known.rational[at] {
                    Some(value) => Radical::of_rational(value),
                    None => Radical::of(node, &known.radical, &known.rational, fuel).ok().flatten(),
                };
            }
            if has_pi {
                let multiple = known.linear(term, id, node, &known.pi_multiple, Constant::Pi);
                known.pi_multiple[at] = multiple;
            }
            if has_pi && has_unit {
                let multiple = known.linear(term, id, node, &known.imaginary_multiple, Constant::I);
                known.imaginary_multiple[at] = multiple;
                known.turn[at] = known.turned(term, id, node);
            }
        }
        known
    }

    /// `c` where the node is `c` times pi.
    pub(super) fn pi_multiple(&self, id: Id) -> Option<&RBig> {
        self.pi_multiple.get(id as usize)?.as_ref()
    }

    /// `c` where the node is `c` times pi times the imaginary unit.
    pub(super) fn turn(&self, id: Id) -> Option<&RBig> {
        self.turn.get(id as usize)?.as_ref()
    }

    fn get(&self, id: Id) -> Option<&RBig> {
        self.rational[id as usize].as_ref()
    }

    fn value(
        &self,
        term: &Term<'_>,
        id: Id,
        node: &Node,
        fuel: &mut Fuel,
    ) -> Result<Option<RBig>, Trouble> {
        fuel.burn(10)?;
        Ok(match node {
            Node::Number { value, .. } => Some(value.clone()),
            Node::Sum(of) => self.fold(of, RBig::ZERO, fuel, |a, b| a + b)?,
            Node::Product(of) => self.fold(of, RBig::ONE, fuel, |a, b| a * b)?,
            Node::Negated(of) => self.get(*of).map(|value| -value),
            Node::PlusMinus(of) | Node::MinusPlus(of) => {
                self.get(*of).map(|value| if term.takes_minus(id) { -value } else { value.clone() })
            }
            Node::Quotient(above, below) => match (self.get(*above), self.get(*below)) {
                (Some(above), Some(below)) if !below.is_zero() => {
                    burn_size(size(above) + size(below), fuel)?;
                    Some(above / below)
                }
                _ => None,
            },
            Node::Power(base, exponent) if is_e(term.tree, *base) => {
                self.natural_power(term, *exponent)
            }
            Node::Power(base, exponent) => match (self.get(*base), self.get(*exponent)) {
                (Some(base), Some(exponent)) => power(base, exponent, fuel)?,
                _ => None,
            },
            Node::Root { radicand, index } => match (self.get(*radicand), self.get(*index)) {
                (Some(radicand), Some(index)) => root(radicand, whole(index), fuel)?,
                _ => None,
            },
            Node::Apply(Function::Ln, of) => self.natural_logarithm(term, *of),
            Node::Apply(function, of) => self.applied(*function, *of),
            Node::Call(name, of) => self.of_many(name, arguments(term.tree, of), fuel)?,
            Node::Ratio(of) if of.len() == 2 => match (self.get(of[0]), self.get(of[1])) {
                (Some(above), Some(below)) if !below.is_zero() => Some(above / below),
                _ => None,
            },
            Node::Log { base, of } => {
                match (&self.radical[*base as usize], &self.radical[*of as usize]) {
                    (Some(base), Some(of)) => base.logarithm(of, fuel)?,
                    _ => None,
                }
            }
            Node::Factorial(of) => self.factorial(*of, 0, 1, fuel)?,
            Node::DoubleFactorial(of) => self.factorial(*of, -1, 2, fuel)?,
            Node::Binomial(n, k) => {
                match (self.get(*n).and_then(whole), self.get(*k).and_then(whole)) {
                    (Some(n @ 0..=4000), Some(k)) => Some(binomial(n, k, fuel)?),
                    _ => None,
                }
            }
            Node::Determinant { rows, entries } => {
                self.determinant(*rows as usize, entries, fuel)?
            }
            Node::Percent(of) => self.get(*of).map(|value| value / IBig::from(100)),
            Node::Degrees(of) if !term.is_angle[id as usize] => self.get(*of).cloned(),
            Node::Unit(of, _) => self.get(*of).cloned(),
            _ => None,
        })
    }

    fn fold(
        &self,
        of: &[Id],
        first: RBig,
        fuel: &mut Fuel,
        step: impl Fn(RBig, &RBig) -> RBig,
    ) -> Result<Option<RBig>, Trouble> {
        if of.iter().any(|&id| self.get(id).is_none()) {
            return Ok(None);
        }
        let mut result = first;
        for value in of.iter().filter_map(|&id| self.get(id)) {
            let bits = size(&result) + size(value);
            if bits > 2 * MAX_BITS {
                return Ok(None);
            }
            burn_size(bits, fuel)?;
            result = step(result, value);
        }
        Ok(Some(result))
    }

    /// The multiple of `unit` that a node is, its children's multiples being `known`.
    fn linear(
        &self,
        term: &Term<'_>,
        id: Id,
        node: &Node,
        known: &[Option<RBig>],
        unit: Constant,
    ) -> Option<RBig> {
        let at = |id: Id| {
            let exact = || self.get(id).filter(|value| value.is_zero()).cloned();
            known[id as usize].clone().or_else(exact)
        };
        let value = match node {
            Node::Constant(constant) if *constant == unit => RBig::ONE,
            Node::Sum(of) => {
                let mut sum = RBig::ZERO;
                for &id in of {
                    sum += at(id)?;
                }
                sum
            }
            Node::Product(of) => {
                let place = of.iter().position(|&id| self.get(id).is_none())?;
                let mut product = at(of[place])?;
                for (other, &id) in of.iter().enumerate() {
                    if other != place {
                        product *= self.get(id)?;
                    }
                }
                product
            }
            Node::Negated(of) => -at(*of)?,
            Node::PlusMinus(of) | Node::MinusPlus(of) => {
                let value = at(*of)?;
                if term.takes_minus(id) { -value } else { value }
            }
            Node::Quotient(above, below) => {
                let below = self.get(*below).filter(|below| !below.is_zero())?;
                at(*above)? / below
            }
            Node::Degrees(of) if term.is_angle[id as usize] => self.get(*of)? / IBig::from(180),
            _ => return None,
        };
        (size(&value) < 4096).then_some(value)
    }

    /// `c` where a node is `c i pi`.
    fn turned(&self, term: &Term<'_>, id: Id, node: &Node) -> Option<RBig> {
        let Node::Product(of) = node else {
            return self.linear(term, id, node, &self.turn, Constant::Undefined);
        };
        let (mut product, mut units, mut turns) = (RBig::ONE, 0, 0);
        for &id in of {
            let imaginary = self.imaginary_multiple[id as usize].as_ref();
            let (factor, unit, turn) = match (self.get(id), imaginary) {
                (Some(value), _) => (value, 0, 0),
                (None, Some(value)) => (value, 1, 0),
                (None, None) => match (self.pi_multiple(id), self.turn(id)) {
                    (Some(value), _) => (value, 0, 1),
                    (None, Some(value)) => (value, 1, 1),
                    (None, None) => return None,
                },
            };
            product *= factor;
            (units, turns) = (units + unit, turns + turn);
        }
        (units == 1 && turns == 1 && size(&product) < 4096).then_some(product)
    }

    /// `e^(ln r) = r`.
    fn natural_power(&self, term: &Term<'_>, exponent: Id) -> Option<RBig> {
        match term.tree.node(exponent) {
            Node::Apply(Function::Ln, of) => {
                self.get(*of).filter(|value| !value.is_zero() && !is_negative(value)).cloned()
            }
            _ => self.get(exponent).filter(|value| value.is_zero()).map(|_| RBig::ONE),
        }
    }

    /// `ln e^r = r`.
    fn natural_logarithm(&self, term: &Term<'_>, of: Id) -> Option<RBig> {
        match term.tree.node(of) {
            Node::Constant(Constant::E) => Some(RBig::ONE),
            Node::Power(base, power) if is_e(term.tree, *base) => self.get(*power).cloned(),
            _ => self.applied(Function::Ln, of),
        }
    }

    /// The product of the whole numbers from a node down in steps, if it is `least` or more.
    fn factorial(
        &self,
        of: Id,
        least: i64,
        step: usize,
        fuel: &mut Fuel,
    ) -> Result<Option<RBig>, Trouble> {
        match self.get(of).and_then(whole) {
            Some(n) if (least..=2500).contains(&n) => Ok(Some(product(n, step, fuel)?.into())),
            _ => Ok(None),
        }
    }

    /// By elimination.
    fn determinant(
        &self,
        rows: usize,
        entries: &[Id],
        fuel: &mut Fuel,
    ) -> Result<Option<RBig>, Trouble> {
        let values = entries.iter().map(|&id| self.get(id).cloned()).collect::<Option<Vec<_>>>();
        let Some(mut values) = values.filter(|values| rows <= 8 && values.len() == rows * rows)
        else {
            return Ok(None);
        };
        let mut determinant = RBig::ONE;
        for column in 0..rows {
            let Some(pivot) = (column..rows).find(|row| !values[row * rows + column].is_zero())
            else {
                return Ok(Some(RBig::ZERO));
            };
            if pivot != column {
                for at in 0..rows {
                    values.swap(pivot * rows + at, column * rows + at);
                }
                determinant = -determinant;
            }
            let head = values[column * rows + column].clone();
            for row in column + 1..rows {
                let factor = &values[row * rows + column] / &head;
                for at in column..rows {
                    let less = &factor * &values[column * rows + at];
                    burn_size(4 * size(&less), fuel)?;
                    values[row * rows + at] -= less;
                }
            }
            determinant *= head;
        }
        Ok(Some(determinant))
    }

    /// Greatest and least, common divisors and multiples.
    fn of_many(&self, name: &str, of: &[Id], fuel: &mut Fuel) -> Result<Option<RBig>, Trouble> {
        let Some(values) = of.iter().map(|&id| self.get(id)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        for value in &values {
            burn_size(2 * size(value), fuel)?;
        }
        let mut values = values.into_iter().cloned();
        let Some(first) = values.next() else { return Ok(None) };
        Ok(match name {
            "max" => Some(values.fold(first, RBig::max)),
            "min" => Some(values.fold(first, RBig::min)),
            "gcd" => divisor(true, first, values),
            "lcm" => divisor(false, first, values),
            _ => None,
        })
    }

    fn applied(&self, function: Function, of: Id) -> Option<RBig> {
        if let Some(turns) = self.pi_multiple(of) {
            return circular(function, turns);
        }
        let value = self.get(of)?;
        match function {
            Function::Abs => Some(if is_negative(value) { -value } else { value.clone() }),
            Function::Floor => Some(value.floor().into()),
            Function::Ceil => Some(value.ceil().into()),
            Function::Conjugate | Function::Re => Some(value.clone()),
            Function::Im => Some(RBig::ZERO),
            Function::Sign => Some(value.signum()),
            Function::Ln if value.is_one() => Some(RBig::ZERO),
            Function::Exp if value.is_zero() => Some(RBig::ONE),
            _ if value.is_zero() => circular(function, value),
            _ => None,
        }
    }
}

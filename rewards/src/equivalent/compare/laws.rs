//! Powers with symbols in the exponent, factorials and binomials by their laws, modulo a prime.
//!
//! `b^(e + 1) = b b^e`, `6^n = 2^n 3^n`, `(n + 1)! = (n + 1) n!`, `(2n)!! = 2^n n!`, binomials by
//! factorials: what remains is an unknown function of as little as possible. Two such values that
//! agree at random points prove that the expressions are equal wherever both have values and the
//! symbols are whole numbers, where that is asked for.

use dashu_base::UnsignedAbs;
use dashu_int::IBig;
use dashu_ratio::RBig;

use super::{
    super::tree::{Function, Id, Node},
    arithmetic::{small_lower, whole},
    ball::is_negative,
    combination::Combination,
    exact::Exact,
    field::Field,
    fuel::{Fuel, Trouble},
    modular::{Known, Point, digest, random},
    term::Term,
};

/// The largest whole number by which the argument of a factorial is shifted.
const MAX_SHIFT: i64 = 64;

/// The largest prime that is looked for in a base.
const MAX_PRIME: u64 = 100;

/// What the laws need of a term, by node.
#[derive(Debug)]
pub(super) struct Laws {
    combinations: Vec<Option<Combination>>,
}

impl Laws {
    /// `None` where the term has nothing that a law is for.
    pub(super) fn of(term: &Term<'_>, exact: &Exact) -> Option<Self> {
        let is_needed = |(id, node): (Id, &Node)| {
            let unknown = |id: Id| exact.rational[id as usize].is_none();
            match node {
                Node::Power(_, exponent) => unknown(*exponent),
                Node::Factorial(_)
                | Node::DoubleFactorial(_)
                | Node::Binomial(..)
                | Node::Apply(Function::Exp, _) => unknown(id),
                _ => false,
            }
        };
        let combinations = vec![None; term.root as usize + 1];
        term.nodes().any(is_needed).then_some(Self { combinations })
    }

    fn get(&self, id: Id) -> Option<&Combination> {
        self.combinations[id as usize].as_ref()
    }

    /// A sum or a product.
    fn fold(
        &self,
        of: &[Id],
        first: &RBig,
        field: &Field,
        fuel: &mut Fuel,
        step: impl Fn(Combination, &Combination) -> Option<Combination>,
    ) -> Result<Option<Combination>, Trouble> {
        let mut result = Combination::constant(first, field);
        for &id in of {
            let (Some(left), Some(right)) = (result, self.get(id)) else { return Ok(None) };
            fuel.burn(40 * (left.len() + 1) * (right.len() + 1))?;
            result = step(left, right);
        }
        Ok(result)
    }
}

/// A product of values to whole powers.
#[derive(Debug)]
struct Factors<'a> {
    field: &'a Field,
    value: u64,
    degree: u64,
}

impl<'a> Factors<'a> {
    fn new(point: &'a Point<'_>) -> Self {
        Self { field: point.field, value: point.field.one, degree: 1 }
    }

    fn multiply(&mut self, base: u64, times: &IBig, fuel: &mut Fuel) -> Result<(), Trouble> {
        let field = self.field;
        let times = i64::try_from(times).map_err(|_| Trouble::Spent)?;
        fuel.burn(80)?;
        let base = if times < 0 { field.inverse(base)? } else { base };
        let times = times.unsigned_abs();
        self.value = field.product(self.value, field.power(base, times % (field.p - 1)));
        self.degree = self.degree.saturating_add(times);
        Ok(())
    }

    fn known(&self, degree: u64) -> Known {
        Known { value: self.value, degree: self.degree.saturating_add(degree), faithful: false }
    }
}

impl Point<'_> {
    /// Finds what a node is a combination of, once its value is known.
    pub(super) fn combine(
        &self,
        (id, node): (Id, &Node),
        exact: &Exact,
        values: &[Option<Known>],
        laws: &mut Laws,
        fuel: &mut Fuel,
    ) -> Result<(), Trouble> {
        let Some(known) = values[id as usize] else { return Ok(()) };
        fuel.burn(20)?;
        let field = self.field;
        let rational = |id: Id| exact.rational[id as usize].as_ref();
        let found = match (rational(id), node) {
            (Some(value), _) => Combination::constant(value, field),
            (None, Node::Sum(of)) => laws.fold(of, &RBig::ZERO, field, fuel, Combination::plus)?,
            (None, Node::Product(of)) => {
                laws.fold(of, &RBig::ONE, field, fuel, |product, by| product.times(by, field))?
            }
            (None, Node::Negated(of)) => laws.get(*of).cloned().map(Combination::negated),
            (None, Node::Quotient(above, below)) => match (laws.get(*above), rational(*below)) {
                (Some(above), Some(below)) if !below.is_zero() => {
                    above.clone().scaled(&(RBig::ONE / below))
                }
                _ => None,
            },
            (None, Node::Power(base, exponent)) => {
                match (laws.get(*base), rational(*exponent).and_then(whole)) {
                    (Some(base), Some(times @ 1..=6)) => {
                        fuel.burn(100 * base.len() * base.len() * times.unsigned_abs())?;
                        (1..times).try_fold(base.clone(), |power, _| power.times(base, field))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        laws.combinations[id as usize] =
            Some(found.unwrap_or_else(|| Combination::atom(known.value)));
        Ok(())
    }

    /// The value of a node by a law; `None` where there is none for it.
    pub(super) fn by_law(
        &self,
        node: &Node,
        exact: &Exact,
        values: &[Option<Known>],
        laws: &Laws,
        fuel: &mut Fuel,
    ) -> Result<Option<Known>, Trouble> {
        let rational = |id: Id| exact.rational[id as usize].as_ref();
        let get = |id: Id| values[id as usize];
        match node {
            Node::Power(base, exponent) if rational(*exponent).is_none() => {
                let Some(known) = get(*base) else { return Ok(None) };
                let base = (known, rational(*base), laws.get(*base));
                self.raised(base, laws.get(*exponent), fuel)
            }
            Node::Apply(Function::Exp, of) => {
                let value = random(self.seed ^ digest("\\e"), self.field.p) % self.field.p;
                let e = Known { value, degree: 1, faithful: true };
                self.raised((e, None, None), laws.get(*of), fuel)
            }
            Node::Factorial(of) => match laws.get(*of) {
                Some(of) => self.factorial(of, fuel).map(Some),
                None => Ok(None),
            },
            Node::DoubleFactorial(of) => match laws.get(*of) {
                Some(of) => self.double_factorial(of, fuel),
                None => Ok(None),
            },
            Node::Binomial(n, k) => match (get(*n), get(*k)) {
                (Some(upper), Some(lower)) => {
                    self.binomial((upper, lower), [laws.get(*n), laws.get(*k)], fuel)
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// A base to a power that is no rational number; `None` where no law says more of it.
    /// `rational` is the value of the base where it is known.
    fn raised(
        &self,
        base: (Known, Option<&RBig>, Option<&Combination>),
        exponent: Option<&Combination>,
        fuel: &mut Fuel,
    ) -> Result<Option<Known>, Trouble> {
        let (known, rational, combination) = base;
        let Some(exponent) = exponent.filter(|_| known.value != 0) else { return Ok(None) };
        let mut factors = Factors::new(self);
        match (rational, combination.map(Combination::parts)) {
            (Some(rational), _) => self.raise_rational(&mut factors, rational, exponent, fuel)?,
            // (2x)^n = 2^n x^n
            (None, Some([(name, factor)])) if !factor.is_one() => {
                self.raise_rational(&mut factors, factor, exponent, fuel)?;
                self.raise(&mut factors, *name, exponent, fuel)?;
            }
            _ => self.raise(&mut factors, known.value, exponent, fuel)?,
        }
        Ok(Some(factors.known(known.degree)))
    }

    /// A rational base: minus one and primes, as far as they are looked for.
    fn raise_rational(
        &self,
        factors: &mut Factors<'_>,
        base: &RBig,
        exponent: &Combination,
        fuel: &mut Fuel,
    ) -> Result<(), Trouble> {
        let field = self.field;
        if is_negative(base) {
            self.raise(factors, field.negated(field.one), exponent, fuel)?;
        }
        let below = (base.denominator().clone(), exponent.clone().negated());
        for (mut side, exponent) in [(base.numerator().unsigned_abs(), exponent.clone()), below] {
            fuel.burn(MAX_PRIME * (4 + side.as_words().len() as u64))?;
            for prime in 2..=MAX_PRIME {
                let mut times = 0u8;
                while !side.is_one() && &side % prime == 0 {
                    fuel.burn(8 + side.as_words().len() as u64)?;
                    side /= prime;
                    times = times.saturating_add(1);
                }
                let times = RBig::from(times);
                if !times.is_zero() {
                    let exponent = exponent.clone().scaled(&times).ok_or(Trouble::Spent)?;
                    self.raise(factors, field.enter(prime), &exponent, fuel)?;
                }
            }
            if !side.is_one() {
                self.raise(factors, field.rational(&side.into())?, &exponent, fuel)?;
            }
        }
        Ok(())
    }

    /// `b^(u + v) = b^u b^v`, and `b^(3u) = (b^u)^3`.
    fn raise(
        &self,
        factors: &mut Factors<'_>,
        base: u64,
        exponent: &Combination,
        fuel: &mut Fuel,
    ) -> Result<(), Trouble> {
        let field = self.field;
        let power = |of: u64| field.unknown(digest("power"), &[base, of]);
        let is_sign = base == field.negated(field.one);
        for (name, factor) in exponent.parts() {
            if *name == field.one {
                let floor = factor.floor();
                let rest = factor - &floor;
                factors.multiply(base, &floor, fuel)?;
                if !rest.is_zero() {
                    factors.multiply(power(field.rational(&rest)?), &IBig::ONE, fuel)?;
                }
                continue;
            }
            let part = RBig::from_parts(IBig::ONE, factor.denominator().clone());
            let of = field.product(*name, field.rational(&part)?);
            // a sign to an even power is one, its symbols being whole
            let is_even = (factor.numerator() % IBig::from(2)).is_zero();
            match (is_sign && factor.is_int(), is_even) {
                (true, true) => {}
                (true, false) => factors.multiply(power(of), &IBig::ONE, fuel)?,
                (false, _) => factors.multiply(power(of), factor.numerator(), fuel)?,
            }
        }
        Ok(())
    }

    fn factorial(&self, of: &Combination, fuel: &mut Fuel) -> Result<Known, Trouble> {
        let mut factors = Factors::new(self);
        self.shifted(&mut factors, of, 1, false, fuel)?;
        Ok(factors.known(0))
    }

    /// `(2m)!! = 2^m m!` and `(2m - 1)!! = (2m)! / (2m)!!`.
    fn double_factorial(
        &self,
        of: &Combination,
        fuel: &mut Fuel,
    ) -> Result<Option<Known>, Trouble> {
        let field = self.field;
        let mut factors = Factors::new(self);
        let (constant, rest) = of.clone().split(field);
        let Some(constant) = whole(&constant).filter(|_| rest.is_even()) else {
            self.shifted(&mut factors, of, 1, true, fuel)?;
            return Ok(Some(factors.known(0)));
        };
        let is_odd = constant % 2 != 0;
        let one = Combination::atom(field.one);
        let even = if is_odd { of.clone().plus(&one) } else { Some(of.clone()) };
        let half = RBig::from_parts(IBig::ONE, 2u8.into());
        let Some(even) = even else { return Ok(None) };
        let Some(half) = even.clone().scaled(&half) else { return Ok(None) };
        if is_odd {
            self.shifted(&mut factors, &even, 1, false, fuel)?;
        }
        let times = if is_odd { -1 } else { 1 };
        self.shifted(&mut factors, &half, times, false, fuel)?;
        let power = if is_odd { half.negated() } else { half };
        self.raise(&mut factors, field.enter(2), &power, fuel)?;
        Ok(Some(factors.known(0)))
    }

    /// Multiplies by a factorial, or with `double` by one in steps of two, to the power `times`:
    /// that of the argument with the least constant, and what is left.
    fn shifted(
        &self,
        factors: &mut Factors<'_>,
        of: &Combination,
        times: i64,
        double: bool,
        fuel: &mut Fuel,
    ) -> Result<(), Trouble> {
        let field = self.field;
        let value = of.value(field)?;
        let floor = of.clone().split(field).0.floor();
        let step = if double { 2 } else { 1 };
        let shift = i64::try_from(&floor).map_or(0, |floor| floor.div_euclid(step));
        let shift = if shift.abs() > MAX_SHIFT { 0 } else { shift };
        let minus = |less: i64| {
            let less = field.enter(less.unsigned_abs() * step.unsigned_abs());
            move |value| field.sum(value, field.negated(less))
        };
        let least = if shift < 0 {
            field.sum(value, field.enter((-shift * step).unsigned_abs()))
        } else {
            minus(shift)(value)
        };
        let name = if double { "double factorial" } else { "factorial" };
        let unknown = field.unknown(digest(name), &[least]);
        factors.multiply(unknown, &times.into(), fuel)?;
        let (highest, times) = if shift < 0 { (least, -times) } else { (value, times) };
        for less in 0..shift.abs() {
            factors.multiply(minus(less)(highest), &times.into(), fuel)?;
        }
        Ok(())
    }

    /// A polynomial, where one of the lower numbers is a small number; else by factorials.
    fn binomial(
        &self,
        (n, k): (Known, Known),
        [upper, lower]: [Option<&Combination>; 2],
        fuel: &mut Fuel,
    ) -> Result<Option<Known>, Trouble> {
        let field = self.field;
        let (Some(upper), Some(lower)) = (upper, lower) else { return Ok(None) };
        let Some(rest) = upper.clone().plus(&lower.clone().negated()) else { return Ok(None) };
        let small = [lower, &rest].into_iter().find_map(|lower| {
            let (constant, symbols) = lower.clone().split(field);
            small_lower(&constant).filter(|_| symbols.len() == 0)
        });
        if let Some(lower) = small {
            let mut value = field.one;
            for below in 0..lower {
                fuel.burn(60)?;
                let factor = field.sum(n.value, field.negated(field.enter(below)));
                let factor = field.product(factor, field.inverse(field.enter(below + 1))?);
                value = field.product(value, factor);
            }
            return Ok(Some(Known { value, degree: lower * n.degree, ..n }));
        }
        let mut factors = Factors::new(self);
        self.shifted(&mut factors, upper, 1, false, fuel)?;
        self.shifted(&mut factors, lower, -1, false, fuel)?;
        self.shifted(&mut factors, &rest, -1, false, fuel)?;
        Ok(Some(factors.known(n.degree.max(k.degree))))
    }
}

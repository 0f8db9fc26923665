//! Rational functions of one variable with rational coefficients, and the real roots of
//! polynomials, where these are rational or a rational number and a square root apart.

use dashu_base::{Signed, UnsignedAbs};
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::super::{
    arithmetic::{root, size},
    fuel::Fuel,
};

/// Largest degree of a polynomial that is looked at.
const MAX_DEGREE: usize = 12;

/// Largest first and last coefficient of a polynomial whose rational roots are searched for.
const MAX_COEFFICIENT: u64 = 1_000_000;

/// Coefficients from the constant on; the last is not zero. The zero polynomial has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Polynomial(pub(super) Vec<RBig>);

impl Polynomial {
    pub(super) fn constant(value: RBig) -> Self {
        Self(vec![value]).trimmed()
    }

    pub(super) fn variable() -> Self {
        Self(vec![RBig::ZERO, RBig::ONE])
    }

    fn trimmed(mut self) -> Self {
        while self.0.last().is_some_and(RBig::is_zero) {
            self.0.pop();
        }
        self
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn degree(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        let zero = RBig::ZERO;
        let length = self.0.len().max(other.0.len());
        let at = |of: &Self, place: usize| of.0.get(place).unwrap_or(&zero).clone();
        Self((0..length).map(|place| at(self, place) + at(other, place)).collect()).trimmed()
    }

    /// The product; `None` where it is too large.
    pub(super) fn times(&self, other: &Self, fuel: &mut Fuel) -> Option<Self> {
        if self.is_zero() || other.is_zero() {
            return Some(Self(Vec::new()));
        }
        if self.degree() + other.degree() > MAX_DEGREE {
            return None;
        }
        let mut product = vec![RBig::ZERO; self.0.len() + other.0.len() - 1];
        for (at, a) in self.0.iter().enumerate() {
            for (beside, b) in other.0.iter().enumerate() {
                fuel.burn_product(2 * (size(a) + size(b))).ok()?;
                product[at + beside] += a * b;
            }
        }
        Some(Self(product))
    }

    /// The sign of its values far out to the right.
    pub(super) fn leads_negative(&self) -> bool {
        self.0.last().is_some_and(Signed::is_negative)
    }

    fn at(&self, place: &RBig, fuel: &mut Fuel) -> Option<RBig> {
        let mut value = RBig::ZERO;
        for coefficient in self.0.iter().rev() {
            fuel.burn_product(2 * (size(&value) + size(place))).ok()?;
            value = value * place + coefficient;
        }
        Some(value)
    }

    /// The quotient by `x - root`, which divides it.
    fn without(&self, root: &RBig) -> Self {
        let mut quotient = Vec::with_capacity(self.0.len());
        let mut carry = RBig::ZERO;
        for coefficient in self.0.iter().skip(1).rev() {
            carry = carry * root + coefficient;
            quotient.push(carry.clone());
        }
        quotient.reverse();
        Self(quotient)
    }

    /// Its real roots, each as often as it occurs; `None` where one of them may be of another kind.
    pub(super) fn roots(&self, fuel: &mut Fuel) -> Option<Vec<Root>> {
        let (mut rest, mut roots) = (self.clone(), Vec::new());
        while rest.degree() > 2 {
            let Some(found) = rest.rational_root(fuel) else { break };
            rest = rest.without(&found);
            roots.push(Root::rational(found));
        }
        match &rest.0[..] {
            [_] => {}
            [constant, slope] => roots.push(Root::rational(-constant / slope)),
            [c, b, a] => roots.extend(quadratic(a, b, c, fuel)?),
            // a square in the place of the variable
            [c, odd, b, other, a] if odd.is_zero() && other.is_zero() => {
                for square in quadratic(a, b, c, fuel)? {
                    let square = square.as_rational()?;
                    if square.is_positive() {
                        let one = Root::of_square(&square, fuel)?;
                        roots.extend([one.negated(), one]);
                    }
                }
            }
            _ => return None,
        }
        Some(roots)
    }

    /// A rational root, whose parts divide the first and the last coefficient, where it is found.
    fn rational_root(&self, fuel: &mut Fuel) -> Option<RBig> {
        if self.0[0].is_zero() {
            return Some(RBig::ZERO);
        }
        let common = self.0.iter().fold(UBig::ONE, |common, coefficient| {
            let below = coefficient.denominator();
            let shared = dashu_base::Gcd::gcd(&common, below);
            common / shared * below
        });
        let whole = |coefficient: &RBig| {
            let value = coefficient * RBig::from(common.clone());
            u64::try_from(value.numerator().clone().unsigned_abs()).ok()
        };
        let (first, last) = (whole(self.0.first()?)?, whole(self.0.last()?)?);
        if first.max(last) > MAX_COEFFICIENT {
            return None;
        }
        for below in divisors(last, fuel)? {
            for above in divisors(first, fuel)? {
                for above in [IBig::from(above), -IBig::from(above)] {
                    let place = RBig::from_parts(above, below.into());
                    if self.at(&place, fuel)?.is_zero() {
                        return Some(place);
                    }
                }
            }
        }
        None
    }
}

fn divisors(of: u64, fuel: &mut Fuel) -> Option<Vec<u64>> {
    let mut divisors = Vec::new();
    let mut small = 1;
    while small * small <= of {
        fuel.burn(2).ok()?;
        if of.is_multiple_of(small) {
            divisors.push(small);
            if small * small != of {
                divisors.push(of / small);
            }
        }
        small += 1;
    }
    Some(divisors)
}

/// The real roots of `a x^2 + b x + c`.
fn quadratic(a: &RBig, b: &RBig, c: &RBig, fuel: &mut Fuel) -> Option<Vec<Root>> {
    let discriminant = b * b - RBig::from(4) * a * c;
    if discriminant.is_negative() {
        return Some(Vec::new());
    }
    let twice = RBig::from(2) * a;
    let middle = -b / &twice;
    let square = discriminant / (&twice * &twice);
    let away = Root::of_square(&square, fuel)?;
    Some([away.negated(), away].map(|root| root.plus(&middle)).to_vec())
}

/// `rational + factor * sqrt(radicand)`, the factor being `1`, `-1` or, with a radicand of zero,
/// `0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) rational: RBig,
    pub(super) factor: i8,
    pub(super) radicand: RBig,
}

impl Root {
    fn rational(value: RBig) -> Self {
        Self { rational: value, factor: 0, radicand: RBig::ZERO }
    }

    /// The root of a number that is not negative.
    fn of_square(square: &RBig, fuel: &mut Fuel) -> Option<Self> {
        let exact = root(square, Some(2), fuel).ok()?;
        Some(match exact {
            Some(value) => Self::rational(value),
            None => Self { rational: RBig::ZERO, factor: 1, radicand: square.clone() },
        })
    }

    fn as_rational(&self) -> Option<RBig> {
        (self.factor == 0).then(|| self.rational.clone())
    }

    fn negated(&self) -> Self {
        let Self { rational, factor, radicand } = self;
        Self { rational: -rational, factor: -factor, radicand: radicand.clone() }
    }

    fn plus(&self, value: &RBig) -> Self {
        Self { rational: &self.rational + value, ..self.clone() }
    }
}

/// A quotient of polynomials, both as products; no factor below is zero.
#[derive(Debug, Clone)]
pub(super) struct Quotient {
    pub(super) above: Vec<Polynomial>,
    pub(super) below: Vec<Polynomial>,
}

fn expanded(of: &[Polynomial], fuel: &mut Fuel) -> Option<Polynomial> {
    let one = Polynomial::constant(RBig::ONE);
    of.iter().try_fold(one, |product, factor| product.times(factor, fuel))
}

impl Quotient {
    pub(super) fn of(polynomial: Polynomial) -> Self {
        Self { above: vec![polynomial], below: Vec::new() }
    }

    pub(super) fn plus(&self, other: &Self, fuel: &mut Fuel) -> Option<Self> {
        if self.below == other.below {
            let (a, b) = (expanded(&self.above, fuel)?, expanded(&other.above, fuel)?);
            return Some(Self { above: vec![a.plus(&b)], below: self.below.clone() });
        }
        let crossed = |one: &Self, other: &Self, fuel: &mut Fuel| {
            expanded(&[one.above.clone(), other.below.clone()].concat(), fuel)
        };
        let (a, b) = (crossed(self, other, fuel)?, crossed(other, self, fuel)?);
        let below = [self.below.clone(), other.below.clone()].concat();
        Some(Self { above: vec![a.plus(&b)], below })
    }

    pub(super) fn times(&self, other: &Self) -> Self {
        Self {
            above: [self.above.clone(), other.above.clone()].concat(),
            below: [self.below.clone(), other.below.clone()].concat(),
        }
    }

    pub(super) fn negated(&self) -> Self {
        self.times(&Self::of(Polynomial::constant(RBig::NEG_ONE)))
    }

    /// `None` where it is zero. What was below stays a place without a value.
    pub(super) fn inverse(&self) -> Option<Self> {
        if self.above.iter().any(Polynomial::is_zero) {
            return None;
        }
        // p/q turned over is q/p where q has a value other than zero: q stands below, too
        let below = [self.above.clone(), self.below.clone()].concat();
        let above = [self.below.clone(), self.below.clone()].concat();
        Some(Self { above, below })
    }

    /// How many factors there are.
    pub(super) fn size(&self) -> usize {
        self.above.len() + self.below.len()
    }
}

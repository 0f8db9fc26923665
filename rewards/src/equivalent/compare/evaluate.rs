//! Values of terms as complex balls, at a point where they have symbols.

use std::cmp::Ordering;

use dashu_base::{BitTest, Sign};
use dashu_int::IBig;

use super::{
    super::tree::{Constant, Function, Id, Node},
    arithmetic::{product, small_lower, whole},
    ball::{Ball, Context, MAX_ROOT, Real},
    complex::Complex,
    exact::{Exact, arguments},
    fuel::Trouble,
    place::Place,
    term::Term,
};

impl Context<'_> {
    /// The value of a term.
    pub(super) fn value(
        &mut self,
        term: &Term<'_>,
        exact: &Exact,
        place: Place<'_>,
    ) -> Real<Complex> {
        let mut values: Vec<Option<Complex>> = vec![None; term.root as usize + 1];
        for (id, node) in term.nodes() {
            self.fuel.burn(10)?;
            let value = match &exact.rational[id as usize] {
                Some(value) => self.rational(value)?.into(),
                None if is_container(node) && id != term.root => continue,
                None => self.node(term, id, node, exact, &values, place)?,
            };
            self.least = self.least.min(value.least());
            values[id as usize] = Some(value);
        }
        values[term.root as usize].take().ok_or(Trouble::Foreign)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of node")]
    fn node(
        &mut self,
        term: &Term<'_>,
        id: Id,
        node: &Node,
        exact: &Exact,
        values: &[Option<Complex>],
        place: Place<'_>,
    ) -> Real<Complex> {
        let get = |id: Id| values[id as usize].as_ref().ok_or(Trouble::Foreign);
        match node {
            Node::Symbol(name) => Ok(place.symbol(name)),
            Node::Constant(Constant::Pi) => Ok(self.pi()?.into()),
            Node::Constant(Constant::E) => Ok(self.exp(&Ball::integer(1))?.into()),
            Node::Constant(Constant::I) => Ok(Complex::imaginary_unit()),
            Node::Sum(of) => {
                let mut sum = Complex::from(Ball::zero());
                for &id in of {
                    sum = self.add(&sum, get(id)?)?;
                }
                Ok(sum)
            }
            Node::Product(of) => {
                let mut product = Complex::from(Ball::integer(1));
                for &id in of {
                    product = self.multiply(&product, get(id)?)?;
                }
                Ok(product)
            }
            Node::Negated(of) => Ok(get(*of)?.negated()),
            Node::PlusMinus(of) | Node::MinusPlus(of) => {
                let value = get(*of)?;
                Ok(if term.takes_minus(id) { value.negated() } else { value.clone() })
            }
            Node::Quotient(above, below) => self.divide(get(*above)?, get(*below)?),
            Node::Ratio(of) if of.len() == 2 => self.divide(get(of[0])?, get(of[1])?),
            Node::Power(base, exponent) => {
                let known = exact.rational[*exponent as usize].as_ref();
                if let (Node::Constant(Constant::E), None) = (term.tree.node(*base), known) {
                    return self.exponential(get(*exponent)?);
                }
                match known {
                    Some(known) if known.is_int() => {
                        self.integral_power(get(*base)?, known.numerator())
                    }
                    Some(known) => match u32::try_from(known.denominator()) {
                        Ok(index) if index <= MAX_ROOT => {
                            let root = self.domain_root(get(*base)?, index, place)?;
                            self.integral_power(&root, known.numerator())
                        }
                        _ => self.general_power(get(*base)?, get(*exponent)?, place),
                    },
                    None => self.general_power(get(*base)?, get(*exponent)?, place),
                }
            }
            Node::Root { radicand, index } => {
                let index = exact.rational[*index as usize].as_ref().and_then(whole);
                match index.and_then(|index| u32::try_from(index).ok()) {
                    Some(index @ 1..) => self.domain_root(get(*radicand)?, index, place),
                    _ => Err(Trouble::Foreign),
                }
            }
            Node::Log { base, of } => {
                let above = self.domain_log(get(*of)?, place)?;
                let below = self.domain_log(get(*base)?, place)?;
                self.divide(&above, &below)
            }
            Node::Apply(function, of) => self.applied(*function, get(*of)?, place),
            Node::Call(name, of) => self.extreme(name, arguments(term.tree, of), values),
            Node::Percent(of) => self.divide(get(*of)?, &Ball::integer(100).into()),
            Node::Degrees(of) if term.is_angle[id as usize] => {
                let pi = self.pi()?;
                let degree = self.quotient(&pi, &Ball::integer(180))?;
                self.multiply(get(*of)?, &degree.into())
            }
            Node::Degrees(of) | Node::Unit(of, _) => Ok(get(*of)?.clone()),
            Node::Factorial(of) => self.whole_factorial(get(*of)?, 1),
            Node::DoubleFactorial(of) => self.whole_factorial(get(*of)?, 2),
            Node::Binomial(n, k) => {
                match exact.rational[*k as usize].as_ref().and_then(small_lower) {
                    Some(lower) => self.polynomial_binomial(get(*n)?, lower),
                    None => self.whole_binomial(get(*n)?, get(*k)?),
                }
            }
            _ => Err(Trouble::Foreign),
        }
    }

    fn integral_power(&mut self, base: &Complex, exponent: &IBig) -> Real<Complex> {
        let (sign, magnitude) = exponent.clone().into_parts();
        if magnitude.bit_len() > 60 {
            return Err(Trouble::Spent);
        }
        if magnitude.is_zero() && !base.excludes_zero() {
            return Err(Trouble::Undefined);
        }
        // its own error grows with the exponent
        let power = self.whole_power(base, &magnitude)?;
        if sign == Sign::Negative {
            return self.divide(&Ball::integer(1).into(), &power);
        }
        Ok(power)
    }

    fn domain_root(&mut self, z: &Complex, index: u32, place: Place<'_>) -> Real<Complex> {
        if place.real && index.is_multiple_of(2) && z.real()?.sign() == Some(Ordering::Less) {
            return Err(Trouble::Undefined);
        }
        self.principal_root(z, index)
    }

    fn domain_log(&mut self, z: &Complex, place: Place<'_>) -> Real<Complex> {
        if place.real && z.real()?.sign() == Some(Ordering::Less) {
            return Err(Trouble::Undefined);
        }
        self.logarithm(z)
    }

    fn general_power(
        &mut self,
        base: &Complex,
        exponent: &Complex,
        place: Place<'_>,
    ) -> Real<Complex> {
        if base.is_real() && base.re.is_exact_zero() {
            return match exponent.real()?.sign() {
                Some(Ordering::Greater) => Ok(Ball::zero().into()),
                Some(_) => Err(Trouble::Undefined),
                None => Err(Trouble::Unclear),
            };
        }
        if exponent.is_real()
            && exponent.re.error.is_none()
            && exponent.re.exponent >= 0
            && let Ok(times) = Self::floor(&exponent.re)
        {
            return self.integral_power(base, &times);
        }
        let log = self.domain_log(base, place)?;
        let product = self.multiply(&log, exponent)?;
        self.exponential(&product)
    }

    fn applied(&mut self, function: Function, z: &Complex, place: Place<'_>) -> Real<Complex> {
        use Function as F;
        let one = Complex::from(Ball::integer(1));
        Ok(match function {
            F::Sin => self.circular(z)?.0,
            F::Cos => self.circular(z)?.1,
            F::Tan | F::Cot => {
                let (sine, cosine) = self.circular(z)?;
                if function == F::Tan {
                    self.divide(&sine, &cosine)?
                } else {
                    self.divide(&cosine, &sine)?
                }
            }
            F::Sec => {
                let (_, cosine) = self.circular(z)?;
                self.divide(&one, &cosine)?
            }
            F::Csc => {
                let (sine, _) = self.circular(z)?;
                self.divide(&one, &sine)?
            }
            F::Arcsin => self.asin(z.real()?)?.into(),
            F::Arccos => self.acos(z.real()?)?.into(),
            F::Arctan => self.atan(z.real()?)?.into(),
            F::Arccot => {
                let angle = self.atan(z.real()?)?;
                let half = self.pi()?.shifted(-1);
                self.difference(&half, &angle)?.into()
            }
            F::Arcsec | F::Arccsc => {
                let inverse = self.quotient(&Ball::integer(1), z.real()?)?;
                if function == F::Arcsec { self.acos(&inverse)? } else { self.asin(&inverse)? }
                    .into()
            }
            F::Sinh => self.hyperbolic_real(z.real()?)?.0.into(),
            F::Cosh => self.hyperbolic_real(z.real()?)?.1.into(),
            F::Tanh => {
                let (sine, cosine) = self.hyperbolic_real(z.real()?)?;
                self.quotient(&sine, &cosine)?.into()
            }
            F::Ln => self.domain_log(z, place)?,
            F::Exp => self.exponential(z)?,
            F::Abs => self.modulus(z)?.into(),
            F::Floor => Ball::integer(Self::floor(z.real()?)?).into(),
            F::Ceil => Ball::integer(-Self::floor(&z.real()?.negated())?).into(),
            F::Conjugate => z.conjugate(),
            F::Re => z.re.clone().into(),
            F::Im => z.im.clone().into(),
            F::Arg => self.angle(&z.im, &z.re)?.into(),
            F::Sign => match z.real()?.sign() {
                Some(Ordering::Less) => Ball::integer(-1).into(),
                Some(Ordering::Equal) => Ball::zero().into(),
                Some(Ordering::Greater) => Ball::integer(1).into(),
                None => return Err(Trouble::Unclear),
            },
        })
    }

    fn acos(&mut self, x: &Ball) -> Real {
        let angle = self.asin(x)?;
        let half = self.pi()?.shifted(-1);
        self.difference(&half, &angle)
    }

    /// The greatest or the least of real numbers.
    fn extreme(&mut self, name: &str, of: &[Id], values: &[Option<Complex>]) -> Real<Complex> {
        let wanted = match name {
            "max" => Ordering::Greater,
            "min" => Ordering::Less,
            _ => return Err(Trouble::Foreign),
        };
        let mut best: Option<&Ball> = None;
        for &id in of {
            let value = values[id as usize].as_ref().ok_or(Trouble::Foreign)?.real()?;
            best = match best {
                Some(best) => match self.order(value, best)? {
                    Some(order) if order == wanted => Some(value),
                    Some(_) => Some(best),
                    None => return Err(Trouble::Unclear),
                },
                None => Some(value),
            };
        }
        best.cloned().map(Complex::from).ok_or(Trouble::Foreign)
    }

    /// A small whole number that a ball is.
    fn small(z: &Complex) -> Real<i32> {
        let x = z.real()?;
        if x.error.is_some() || x.exponent < 0 {
            return Err(Trouble::Foreign);
        }
        i32::try_from(Self::floor(x)?).map_err(|_| Trouble::Spent)
    }

    /// `n!` with steps of one, `n!!` with steps of two.
    fn whole_factorial(&mut self, z: &Complex, step: u8) -> Real<Complex> {
        let n = Self::small(z)?;
        // `(-1)!!` is one, by the rule that `(n + 2)!! = (n + 2) n!!`
        if n <= -i32::from(step) {
            return Err(Trouble::Undefined);
        }
        if n > 3000 {
            return Err(Trouble::Spent);
        }
        // exactly, and cut only then: a radius would double with every factor
        let exact = product(n.into(), step.into(), self.fuel)?;
        Ok(self.trimmed(Ball::integer(exact))?.into())
    }

    /// `n(n-1)...(n-k+1) / k!`, for any `n`.
    fn polynomial_binomial(&mut self, n: &Complex, lower: u64) -> Real<Complex> {
        let mut result = Complex::from(Ball::integer(1));
        for below in 0..lower {
            let factor = self.subtract(n, &Ball::integer(below).into())?;
            result = self.multiply(&result, &factor)?;
            result = self.divide(&result, &Ball::integer(below + 1).into())?;
        }
        Ok(result)
    }

    fn whole_binomial(&mut self, n: &Complex, k: &Complex) -> Real<Complex> {
        let (n, k) = (Self::small(n)?, Self::small(k)?);
        if n < 0 {
            return Err(Trouble::Undefined);
        }
        if k > n || k < 0 {
            self.outside = true;
            return Ok(Ball::zero().into());
        }
        let k = k.min(n - k);
        if k > 3000 {
            return Err(Trouble::Spent);
        }
        let mut result = Ball::integer(1);
        for step in 1..=k {
            result = self.product(&result, &Ball::integer(n - k + step))?;
            result = self.quotient(&result, &Ball::integer(step))?;
        }
        Ok(result.into())
    }
}

/// Whether a node is a list of arguments and no number.
fn is_container(node: &Node) -> bool {
    matches!(node, Node::List(_) | Node::Tuple(_) | Node::Set(_))
}

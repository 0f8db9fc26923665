//! Real numbers with a bound on their error: dyadic midpoints on `dashu-int`, radii as powers of
//! two.
//!
//! A radius is only ever rounded up, to a whole power of two, so a result encloses the true value
//! whatever the rounding of its midpoint; an operation loses at most two bits by that.

use std::cmp::Ordering;

use dashu_base::{Abs, BitTest, Sign, Signed, UnsignedAbs};
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::fuel::{Fuel, Trouble};

/// Largest exponent of two in a number. It stands for a number beyond every use.
const MAX_EXPONENT: i64 = 1 << 40;

/// Largest index of a root taken by integers; others go through logarithms.
pub(super) const MAX_ROOT: u32 = 16;

/// A count of bits as an exponent of two.
#[expect(clippy::cast_possible_wrap, reason = "counts of bits are far below 2^63")]
pub(super) fn exponent(bits: usize) -> i64 {
    bits as i64
}

/// All numbers `x` with `|x - mantissa 2^exponent| <= 2^error`.
#[derive(Debug, Clone)]
pub(super) struct Ball {
    pub(super) mantissa: IBig,
    pub(super) exponent: i64,
    /// `None` where the midpoint is the number.
    pub(super) error: Option<i64>,
}

pub(super) type Real<T = Ball> = Result<T, Trouble>;

/// An upper bound of `2^a + 2^b`, as a power of two.
fn both(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b) + 1),
        (one, other) => one.or(other),
    }
}

impl Ball {
    pub(super) fn zero() -> Self {
        Self { mantissa: IBig::ZERO, exponent: 0, error: None }
    }

    pub(super) fn integer(value: impl Into<IBig>) -> Self {
        Self { mantissa: value.into(), exponent: 0, error: None }
    }

    /// Zero, give or take `2^error`.
    pub(super) fn around_zero(error: i64) -> Self {
        Self { mantissa: IBig::ZERO, exponent: error, error: Some(error) }
    }

    pub(super) fn is_exact_zero(&self) -> bool {
        self.error.is_none() && self.mantissa.is_zero()
    }

    /// The least `t` that shows, with the midpoint below `2^t` in size.
    pub(super) fn top(&self) -> i64 {
        if self.mantissa.is_zero() {
            return self.error.unwrap_or(-MAX_EXPONENT);
        }
        self.exponent + exponent(self.mantissa.bit_len())
    }

    /// A power of two, as its exponent, that no number of the ball exceeds in size.
    pub(super) fn bound(&self) -> i64 {
        match self.error {
            Some(error) => self.top().max(error) + 1,
            None => self.top(),
        }
    }

    /// The sign, or `None` where the ball holds zero and other numbers.
    pub(super) fn sign(&self) -> Option<Ordering> {
        if self.mantissa.is_zero() {
            return self.error.is_none().then_some(Ordering::Equal);
        }
        // |midpoint| >= 2^(top - 1)
        if self.error.is_some_and(|error| error >= self.top() - 1) {
            return None;
        }
        Some(if self.mantissa.is_positive() { Ordering::Greater } else { Ordering::Less })
    }

    pub(super) fn negated(&self) -> Self {
        Self { mantissa: -&self.mantissa, ..*self }
    }

    pub(super) fn magnitude(&self) -> Self {
        Self { mantissa: (&self.mantissa).abs(), ..*self }
    }

    /// Times `2^power`.
    pub(super) fn shifted(&self, power: i64) -> Self {
        Self {
            mantissa: self.mantissa.clone(),
            exponent: self.exponent + power,
            error: self.error.map(|error| error + power),
        }
    }

    pub(super) fn widened(mut self, error: Option<i64>) -> Self {
        self.error = both(self.error, error);
        self
    }
}

/// Where numbers are worked out: the precision, the work left, and constants met before.
#[derive(Debug)]
pub(super) struct Context<'fuel> {
    pub(super) bits: usize,
    pub(super) fuel: &'fuel mut Fuel,
    /// Size of the smallest value met, as an exponent of two; at most zero.
    pub(super) least: i64,
    /// A binomial was met whose lower number is none of its range: zero, where a quotient of
    /// factorials has no value.
    pub(super) outside: bool,
    pub(super) pi: Option<(usize, IBig)>,
    pub(super) ln_two: Option<(usize, IBig)>,
}

impl<'fuel> Context<'fuel> {
    pub(super) fn new(bits: usize, fuel: &'fuel mut Fuel) -> Self {
        Self { bits, fuel, least: 0, outside: false, pi: None, ln_two: None }
    }

    /// Cuts the midpoint to the precision, and refuses numbers beyond all size.
    pub(super) fn trimmed(&self, mut ball: Ball) -> Real {
        let excess = ball.mantissa.bit_len().saturating_sub(self.bits);
        if excess > 0 {
            let exact = ball.mantissa.trailing_zeros().is_none_or(|zeros| zeros >= excess);
            ball.mantissa >>= excess;
            ball.exponent += exponent(excess);
            if !exact {
                ball.error = both(ball.error, Some(ball.exponent));
            }
        }
        if ball.mantissa.is_zero() {
            ball.exponent = ball.error.unwrap_or(0);
        }
        let beyond = |exponent: i64| exponent.abs() > MAX_EXPONENT;
        if beyond(ball.exponent) || ball.error.is_some_and(beyond) {
            return Err(Trouble::Spent);
        }
        Ok(ball)
    }

    pub(super) fn rational(&mut self, value: &RBig) -> Real {
        let mantissa = Ball::integer(value.numerator().clone());
        if value.is_int() {
            return self.trimmed(mantissa);
        }
        let denominator = Ball::integer(IBig::from(value.denominator().clone()));
        let (above, below) = (self.trimmed(mantissa)?, self.trimmed(denominator)?);
        self.quotient(&above, &below)
    }

    pub(super) fn sum(&mut self, a: &Ball, b: &Ball) -> Real {
        self.fuel.burn(10 + self.bits as u64 / 256)?;
        if a.is_exact_zero() {
            return Ok(b.clone());
        }
        if b.is_exact_zero() {
            return Ok(a.clone());
        }
        let reach = exponent(self.bits) + 2;
        for (large, small) in [(a, b), (b, a)] {
            if large.top() - reach > small.bound() {
                return self.trimmed(large.clone().widened(Some(small.bound())));
            }
        }
        let exponent = a.exponent.min(b.exponent);
        let aligned = |ball: &Ball| ball.mantissa.clone() << (ball.exponent - exponent) as usize;
        if a.exponent.max(b.exponent) - exponent > 4 * reach {
            return Err(Trouble::Unclear);
        }
        let mantissa = aligned(a) + aligned(b);
        self.trimmed(Ball { mantissa, exponent, error: both(a.error, b.error) })
    }

    pub(super) fn difference(&mut self, a: &Ball, b: &Ball) -> Real {
        self.sum(a, &b.negated())
    }

    pub(super) fn product(&mut self, a: &Ball, b: &Ball) -> Real {
        self.fuel.burn_product(self.bits)?;
        if a.is_exact_zero() || b.is_exact_zero() {
            return Ok(Ball::zero());
        }
        let cross = |x: &Ball, y: &Ball| y.error.map(|error| x.top() + error);
        let square = a.error.zip(b.error).map(|(a, b)| a + b);
        let error = both(both(cross(a, b), cross(b, a)), square);
        let mantissa = &a.mantissa * &b.mantissa;
        self.trimmed(Ball { mantissa, exponent: a.exponent + b.exponent, error })
    }

    pub(super) fn quotient(&mut self, a: &Ball, b: &Ball) -> Real {
        self.fuel.burn_product(self.bits)?;
        self.fuel.burn_product(self.bits)?;
        match b.sign() {
            Some(Ordering::Equal) => return Err(Trouble::Undefined),
            None => return Err(Trouble::Unclear),
            Some(_) => {}
        }
        if a.is_exact_zero() {
            return Ok(Ball::zero());
        }
        let below = b.top();
        // |b| > 2^(below - 2) everywhere in the ball, and its midpoint is at least 2^(below - 1)
        if b.error.is_some_and(|error| error > below - 2) {
            return Err(Trouble::Unclear);
        }
        let error = both(
            a.error.map(|error| error - below + 2),
            b.error.map(|error| a.top() + error - 2 * below + 3),
        );
        let shift = (self.bits + 1 + b.mantissa.bit_len()).saturating_sub(a.mantissa.bit_len());
        let mantissa = (a.mantissa.clone() << shift) / &b.mantissa;
        let exponent = a.exponent - b.exponent - exponent(shift);
        self.trimmed(Ball { mantissa, exponent, error: both(error, Some(exponent)) })
    }

    /// The root of a number that is not negative, `index` being at most [`MAX_ROOT`].
    ///
    /// What cannot be told from zero has a root that cannot be told from zero.
    pub(super) fn root(&mut self, a: &Ball, index: u32) -> Real {
        // a root of more than two is found by Newton's iteration over whole powers
        let steps = if index == 2 { 3 } else { 40 };
        for _ in 0..steps {
            self.fuel.burn_product(self.bits * index as usize)?;
        }
        match a.sign() {
            Some(Ordering::Equal) => return Ok(Ball::zero()),
            Some(Ordering::Less) => return Err(Trouble::Undefined),
            None => {
                let index = i64::from(index);
                return self.trimmed(Ball::around_zero((a.bound() + index).div_euclid(index)));
            }
            Some(Ordering::Greater) => {}
        }
        let k = i64::from(index);
        if a.error.is_some_and(|error| error > a.top() - 2) {
            return self.trimmed(Ball::around_zero((a.bound() + k).div_euclid(k)));
        }
        // the derivative is at most the root's own size over the radicand's: x^(1/k - 1)
        let flattest = ((a.top() - 2) * (k - 1)).div_euclid(k);
        let error = a.error.map(|error| error - flattest + 1);
        let wanted = exponent(self.bits + 2) * k;
        let mut shift = (wanted - exponent(a.mantissa.bit_len())).max(0);
        shift += (a.exponent - shift).rem_euclid(k);
        let radicand: UBig = (a.mantissa.clone() << shift as usize).unsigned_abs();
        let root = if index == 2 {
            dashu_base::SquareRoot::sqrt(&radicand)
        } else {
            radicand.nth_root(index as usize)
        };
        let exponent = (a.exponent - shift).div_euclid(k);
        let exact = error.is_none() && {
            let again = root.pow(index as usize);
            again == radicand
        };
        let error = if exact { None } else { both(error, Some(exponent)) };
        self.trimmed(Ball { mantissa: root.into(), exponent, error })
    }

    /// A whole power, by squaring.
    pub(super) fn power(&mut self, base: &Ball, exponent: &UBig) -> Real {
        let mut result = Ball::integer(1);
        for bit in (0..exponent.bit_len()).rev() {
            result = self.product(&result, &result)?;
            if exponent.bit(bit) {
                result = self.product(&result, base)?;
            }
        }
        Ok(result)
    }

    /// The number times `2^places`, rounded, and a bound of its error as a power of two: for
    /// functions that work in fixed point. `None` where nothing but the midpoint is meant.
    pub(super) fn fixed(ball: &Ball, places: usize) -> (IBig, Option<i64>) {
        let shift = ball.exponent + exponent(places);
        if shift >= 0 {
            return (ball.mantissa.clone() << shift as usize, ball.error);
        }
        let lost = (-shift) as usize;
        let cut = ball.mantissa.clone() >> lost.min(ball.mantissa.bit_len() + 1);
        let exact = ball.mantissa.trailing_zeros().is_none_or(|zeros| zeros >= lost);
        let error = if exact { ball.error } else { both(ball.error, Some(-exponent(places))) };
        (cut, error)
    }

    /// The whole number below, where all of the ball agrees on it.
    pub(super) fn floor(ball: &Ball) -> Real<IBig> {
        if ball.top() > 4096 {
            return Err(Trouble::Spent);
        }
        let Some(error) = ball.error else {
            return Ok(Self::fixed(ball, 0).0);
        };
        if error > 0 {
            return Err(Trouble::Unclear);
        }
        // one bit finer than the radius, so that both ends are whole
        let places = (1 - error).clamp(0, 1 << 16) as usize;
        let (middle, _) = Self::fixed(ball, places);
        let radius = IBig::ONE << ((error + exponent(places)).max(0) as usize + 1);
        let (low, high) = ((&middle - &radius) >> places, (&middle + &radius) >> places);
        if low == high { Ok(low) } else { Err(Trouble::Unclear) }
    }

    /// The order of two numbers, or `None` where the balls touch.
    pub(super) fn order(&mut self, a: &Ball, b: &Ball) -> Real<Option<Ordering>> {
        Ok(self.difference(a, b)?.sign())
    }
}

/// Whether a number is negative.
pub(super) fn is_negative(value: &RBig) -> bool {
    value.sign() == Sign::Negative && !value.is_zero()
}

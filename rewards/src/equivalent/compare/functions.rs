//! Elementary functions of balls: reduce the argument, sum a series in fixed point, undo the
//! reduction.
//!
//! Every bound is a power of two, and generous: a series of fewer than 2^12 terms, each cut to a
//! unit of the last place, is taken to be wrong by 2^12 units, and its guard digits pay for it.

use std::cmp::Ordering;

use dashu_base::{Abs, Signed, SquareRoot, UnsignedAbs};
use dashu_int::{IBig, UBig};

use super::{
    ball::{Ball, Context, Real, exponent},
    fuel::Trouble,
};

/// Guard places of a series.
const GUARD: usize = 24;

/// Size of the largest argument that is reduced, as a power of two.
const MAX_ARGUMENT: i64 = 48;

/// `arctan(1/n)` or, with `alternate` off, `artanh(1/n)`, in fixed point.
fn inverse_series(n: u32, alternate: bool, places: usize) -> IBig {
    let square = IBig::from(u64::from(n) * u64::from(n));
    let mut power = (IBig::ONE << places) / n;
    let (mut sum, mut k, mut negative) = (power.clone(), 3u32, alternate);
    loop {
        power /= &square;
        let term = &power / k;
        if term.is_zero() {
            return sum;
        }
        sum = if negative { sum - term } else { sum + term };
        negative ^= alternate;
        k += 2;
    }
}

/// `x - x^3/3 + x^5/5 ...` in fixed point, or without the signs; `x` is small.
fn odd_series(x: &IBig, alternate: bool, places: usize) -> IBig {
    let square: IBig = (x * x) >> places;
    let mut power = x.clone();
    let (mut sum, mut k, mut negative) = (x.clone(), 3u32, alternate);
    loop {
        power = (&power * &square) >> places;
        let term = &power / k;
        // a negative power ends at -1, being rounded down
        if term.is_zero() {
            return sum;
        }
        sum = if negative { sum - term } else { sum + term };
        negative ^= alternate;
        k += 2;
    }
}

impl Context<'_> {
    /// Pi times `2^places`, wrong by less than `2^GUARD` units.
    fn pi_places(&mut self, places: usize) -> Real<IBig> {
        // Machin, 1706
        let series = |n, places| inverse_series(n, true, places);
        self.kept_places(
            |context| &mut context.pi,
            places,
            |places| series(5, places) * 16 - series(239, places) * 4,
        )
    }

    fn ln_two_places(&mut self, places: usize) -> Real<IBig> {
        let series = |n, places| inverse_series(n, false, places);
        self.kept_places(
            |context| &mut context.ln_two,
            places,
            |places| series(26, places) * 18 - series(4801, places) * 2 + series(8749, places) * 8,
        )
    }

    /// A constant times `2^places`: what is `kept` of it, or computed by `series` and kept.
    fn kept_places(
        &mut self,
        kept: impl Fn(&mut Self) -> &mut Option<(usize, IBig)>,
        places: usize,
        series: impl Fn(usize) -> IBig,
    ) -> Real<IBig> {
        if let Some((known, value)) = kept(self)
            && *known >= places
        {
            return Ok(&*value >> (*known - places));
        }
        self.fuel.burn(places as u64 * (places as u64 / 64 + 6) / 8)?;
        let value = series(places + GUARD) >> GUARD;
        *kept(self) = Some((places, value.clone()));
        Ok(value)
    }

    /// A fixed-point result, wrong by less than `2^error`.
    fn floating(&self, value: IBig, places: usize, error: i64) -> Real {
        self.trimmed(Ball { mantissa: value, exponent: -exponent(places), error: Some(error) })
    }

    pub(super) fn pi(&mut self) -> Real {
        let places = self.bits + GUARD;
        let pi = self.pi_places(places)?;
        self.floating(pi, places, exponent(GUARD) / 2 - exponent(places))
    }

    fn burn_series(&mut self, terms: usize) -> Result<(), Trouble> {
        for _ in 0..=terms / 8 {
            self.fuel.burn(80)?;
            for _ in 0..8 {
                self.fuel.burn_product(self.bits + 2 * GUARD)?;
            }
        }
        Ok(())
    }

    pub(super) fn exp(&mut self, x: &Ball) -> Real {
        if x.is_exact_zero() {
            return Ok(Ball::integer(1));
        }
        if x.top() > MAX_ARGUMENT {
            return Err(Trouble::Spent);
        }
        if x.error.is_some_and(|error| error > -2) {
            return Err(Trouble::Unclear);
        }
        let halvings = 8 + self.bits / 64;
        self.burn_series(self.bits / 10 + halvings)?;
        let places = self.bits + halvings + GUARD;
        let (value, error) = Self::fixed(x, places);
        // the size of the argument costs as many places of ln 2
        let extra = x.top().max(0) as usize + 2;
        let ln_two = self.ln_two_places(places + extra)?;
        let twos = div_round(&(value.clone() << extra), &ln_two);
        let rest: IBig = value - ((&twos * &ln_two) >> extra);
        let small = rest >> halvings;
        let (mut sum, mut term, mut k) = ((IBig::ONE << places) + &small, small.clone(), 2u32);
        loop {
            term = ((&term * &small) >> places) / k;
            if term.is_zero() {
                break;
            }
            sum += &term;
            k += 1;
        }
        for _ in 0..halvings {
            sum = (&sum * &sum) >> places;
        }
        let twos = i64::try_from(&twos).map_err(|_| Trouble::Spent)?;
        // the sum is below 2; its own error and that of the argument, which is below 1/4
        let own = exponent(GUARD / 2 + halvings) - exponent(places);
        let error = error.map_or(own, |error| error.max(own) + 1) + 2;
        Ok(self.floating(sum, places, error)?.shifted(twos))
    }

    /// Of a number that is positive in all of the ball.
    pub(super) fn ln(&mut self, x: &Ball) -> Real {
        match x.sign() {
            Some(Ordering::Greater) => {}
            Some(_) => return Err(Trouble::Undefined),
            None => return Err(Trouble::Unclear),
        }
        let roots = 6 + self.bits / 128;
        self.burn_series(self.bits / 10 + 2 * roots)?;
        let places = self.bits + roots + GUARD;
        // x = m 2^twos with m in [1/2, 1)
        let twos = x.top();
        let unit = x.shifted(-twos);
        let (value, error) = Self::fixed(&unit, places);
        let mut root: UBig = value.unsigned_abs();
        for _ in 0..roots {
            root = SquareRoot::sqrt(&(root << places));
        }
        let root = IBig::from(root);
        let one = IBig::ONE << places;
        let ratio = ((&root - &one) << places) / (&root + &one);
        let log: IBig = odd_series(&ratio, false, places) << (roots + 1);
        let ln_two = self.ln_two_places(places + 48)?;
        let whole: IBig = (ln_two * IBig::from(twos)) >> 48usize;
        // the unit's midpoint is at least 1/2 and its numbers at least 1/4: the slope is at most 4
        let own = exponent(GUARD / 2 + roots) - exponent(places);
        let error = error.map_or(own, |error| (error + 2).max(own) + 1);
        self.floating(whole + log, places, error)
    }

    /// Sine and cosine.
    pub(super) fn sin_cos(&mut self, x: &Ball) -> Real<(Ball, Ball)> {
        if x.is_exact_zero() {
            return Ok((Ball::zero(), Ball::integer(1)));
        }
        if x.top() > MAX_ARGUMENT {
            return Err(Trouble::Spent);
        }
        // each term gains twice the places that the argument is small by
        self.burn_series(self.bits / (2 * small_by(x)).max(4))?;
        let places = self.bits + GUARD;
        let (value, error) = Self::fixed(x, places);
        let extra = x.top().max(0) as usize + 2;
        let pi = self.pi_places(places + extra)?;
        let half_pi: IBig = &pi >> 1usize;
        let turns = div_round(&(value.clone() << extra), &half_pi);
        let rest: IBig = value - ((&turns * &half_pi) >> extra);
        let square: IBig = (&rest * &rest) >> places;
        let series = |first: IBig, mut k: u32| {
            let (mut sum, mut term) = (first.clone(), first);
            loop {
                term = -((&term * &square) >> places) / (k * (k + 1));
                if term.is_zero() {
                    return sum;
                }
                sum += &term;
                k += 2;
            }
        };
        let (sine, cosine) = (series(rest.clone(), 2), series(IBig::ONE << places, 1));
        // both have a slope of at most 1
        let own = exponent(GUARD) / 2 - exponent(places);
        let error = error.map_or(own, |error| error.max(own) + 1);
        let sine = self.floating(sine, places, error)?;
        let cosine = self.floating(cosine, places, error)?;
        let quarter = i64::try_from(&turns).map_err(|_| Trouble::Spent)?.rem_euclid(4);
        Ok(match quarter {
            0 => (sine, cosine),
            1 => (cosine, sine.negated()),
            2 => (sine.negated(), cosine.negated()),
            _ => (cosine.negated(), sine),
        })
    }

    pub(super) fn atan(&mut self, x: &Ball) -> Real {
        if x.is_exact_zero() {
            return Ok(Ball::zero());
        }
        if x.top() > 1 {
            // arctan x = +-pi/2 - arctan 1/x
            let inverse = self.quotient(&Ball::integer(1), x)?;
            let small = self.atan(&inverse)?;
            let half = self.pi()?.shifted(-1);
            let half = if x.sign() == Some(Ordering::Less) { half.negated() } else { half };
            return self.difference(&half, &small);
        }
        let halvings = 5 + self.bits / 128;
        self.burn_series(self.bits / 10 + 2 * halvings)?;
        let places = self.bits + halvings + GUARD;
        let (mut value, error) = Self::fixed(x, places);
        let one = IBig::ONE << places;
        for _ in 0..halvings {
            // tan(a/2) = tan a / (1 + sqrt(1 + tan^2 a))
            let under: UBig = (((&value * &value) >> places) + &one).unsigned_abs();
            let secant = IBig::from(SquareRoot::sqrt(&(under << places)));
            value = (value << places) / (&one + secant);
        }
        let angle: IBig = odd_series(&value, true, places) << halvings;
        let own = exponent(GUARD / 2 + halvings) - exponent(places);
        let error = error.map_or(own, |error| error.max(own) + 1);
        self.floating(angle, places, error)
    }

    /// The angle of `x + iy`, in `(-pi, pi]`.
    pub(super) fn angle(&mut self, y: &Ball, x: &Ball) -> Real {
        match (x.sign(), y.sign()) {
            (Some(Ordering::Equal), Some(Ordering::Equal)) => Err(Trouble::Undefined),
            (Some(Ordering::Greater), Some(Ordering::Equal)) => Ok(Ball::zero()),
            (Some(Ordering::Less), Some(Ordering::Equal)) => self.pi(),
            (Some(Ordering::Greater), _) => {
                let slope = self.quotient(y, x)?;
                self.atan(&slope)
            }
            (_, Some(side @ (Ordering::Greater | Ordering::Less))) => {
                // the angle from the imaginary axis
                let slope = self.quotient(x, y)?;
                let lean = self.atan(&slope)?;
                let half = self.pi()?.shifted(-1);
                let half = if side == Ordering::Less { half.negated() } else { half };
                self.difference(&half, &lean)
            }
            _ => Err(Trouble::Unclear),
        }
    }

    /// Arcsine, between -pi/2 and pi/2.
    pub(super) fn asin(&mut self, x: &Ball) -> Real {
        let square = self.product(x, x)?;
        let under = self.difference(&Ball::integer(1), &square)?;
        match under.sign() {
            Some(Ordering::Less) => Err(Trouble::Undefined),
            Some(Ordering::Equal) => {
                let half = self.pi()?.shifted(-1);
                Ok(if x.sign() == Some(Ordering::Less) { half.negated() } else { half })
            }
            Some(Ordering::Greater) => {
                let cosine = self.root(&under, 2)?;
                self.angle(x, &cosine)
            }
            None => Err(Trouble::Unclear),
        }
    }
}

/// By how many places a number is smaller than one.
fn small_by(x: &Ball) -> usize {
    (-x.top()).clamp(0, 1 << 20) as usize
}

/// The nearest whole number to `a / b`, for positive `b`.
fn div_round(a: &IBig, b: &IBig) -> IBig {
    let half: IBig = b >> 1usize;
    let quotient = (a.abs() + half) / b;
    if a.is_negative() { -quotient } else { quotient }
}

#[cfg(test)]
mod tests;

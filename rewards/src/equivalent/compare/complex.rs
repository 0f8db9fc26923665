//! Complex numbers of two balls. The principal branch everywhere, its cut along the negative reals.

use std::cmp::Ordering;

use dashu_int::UBig;

use super::{
    ball::{Ball, Context, MAX_ROOT, Real},
    fuel::Trouble,
};

/// `re + i im`.
#[derive(Debug, Clone)]
pub(super) struct Complex {
    pub(super) re: Ball,
    pub(super) im: Ball,
}

impl From<Ball> for Complex {
    fn from(re: Ball) -> Self {
        Self { re, im: Ball::zero() }
    }
}

impl Complex {
    pub(super) fn imaginary_unit() -> Self {
        Self { re: Ball::zero(), im: Ball::integer(1) }
    }

    pub(super) fn is_real(&self) -> bool {
        self.im.is_exact_zero()
    }

    pub(super) fn is_exact_zero(&self) -> bool {
        self.re.is_exact_zero() && self.im.is_exact_zero()
    }

    /// The real number that this is.
    pub(super) fn real(&self) -> Real<&Ball> {
        if self.is_real() { Ok(&self.re) } else { Err(Trouble::Foreign) }
    }

    pub(super) fn negated(&self) -> Self {
        Self { re: self.re.negated(), im: self.im.negated() }
    }

    pub(super) fn conjugate(&self) -> Self {
        Self { re: self.re.clone(), im: self.im.negated() }
    }

    /// Whether no number of the two balls is zero.
    pub(super) fn excludes_zero(&self) -> bool {
        let off = |part: &Ball| part.sign().is_some_and(Ordering::is_ne);
        off(&self.re) || off(&self.im)
    }

    /// A power of two, as its exponent, that no number of the balls exceeds in size.
    pub(super) fn bound(&self) -> i64 {
        if self.is_real() { self.re.bound() } else { self.re.bound().max(self.im.bound()) + 1 }
    }

    /// How small it is, as an exponent of two: zero where it is not small, or may be zero.
    pub(super) fn least(&self) -> i64 {
        if self.excludes_zero() { self.bound().min(0) } else { 0 }
    }

    /// The wider of the two radii.
    pub(super) fn error(&self) -> Option<i64> {
        self.re.error.max(self.im.error)
    }
}

impl Context<'_> {
    pub(super) fn add(&mut self, a: &Complex, b: &Complex) -> Real<Complex> {
        Ok(Complex { re: self.sum(&a.re, &b.re)?, im: self.sum(&a.im, &b.im)? })
    }

    pub(super) fn subtract(&mut self, a: &Complex, b: &Complex) -> Real<Complex> {
        self.add(a, &b.negated())
    }

    pub(super) fn multiply(&mut self, a: &Complex, b: &Complex) -> Real<Complex> {
        if a.is_real() && b.is_real() {
            return Ok(self.product(&a.re, &b.re)?.into());
        }
        let (straight, across) = (self.product(&a.re, &b.re)?, self.product(&a.im, &b.im)?);
        let (left, right) = (self.product(&a.re, &b.im)?, self.product(&a.im, &b.re)?);
        Ok(Complex { re: self.difference(&straight, &across)?, im: self.sum(&left, &right)? })
    }

    pub(super) fn divide(&mut self, a: &Complex, b: &Complex) -> Real<Complex> {
        if b.is_real() {
            return Ok(Complex {
                re: self.quotient(&a.re, &b.re)?,
                im: if a.is_real() { Ball::zero() } else { self.quotient(&a.im, &b.re)? },
            });
        }
        let (re, im) = (self.product(&b.re, &b.re)?, self.product(&b.im, &b.im)?);
        let norm = self.sum(&re, &im)?;
        let above = self.multiply(a, &b.conjugate())?;
        self.divide(&above, &norm.into())
    }

    pub(super) fn modulus(&mut self, z: &Complex) -> Real {
        if z.is_real() {
            return Ok(z.re.magnitude());
        }
        let (re, im) = (self.product(&z.re, &z.re)?, self.product(&z.im, &z.im)?);
        let norm = self.sum(&re, &im)?;
        self.root(&norm, 2)
    }

    pub(super) fn exponential(&mut self, z: &Complex) -> Real<Complex> {
        let size = self.exp(&z.re)?;
        if z.is_real() {
            return Ok(size.into());
        }
        let (sine, cosine) = self.sin_cos(&z.im)?;
        Ok(Complex { re: self.product(&size, &cosine)?, im: self.product(&size, &sine)? })
    }

    pub(super) fn logarithm(&mut self, z: &Complex) -> Real<Complex> {
        if z.is_real() && z.re.sign() == Some(Ordering::Greater) {
            return Ok(self.ln(&z.re)?.into());
        }
        let size = self.modulus(z)?;
        Ok(Complex { re: self.ln(&size)?, im: self.angle(&z.im, &z.re)? })
    }

    /// Sine and cosine.
    pub(super) fn circular(&mut self, z: &Complex) -> Real<(Complex, Complex)> {
        let (sine, cosine) = self.sin_cos(&z.re)?;
        if z.is_real() {
            return Ok((sine.into(), cosine.into()));
        }
        let (sinh, cosh) = self.hyperbolic_real(&z.im)?;
        Ok((
            Complex { re: self.product(&sine, &cosh)?, im: self.product(&cosine, &sinh)? },
            Complex {
                re: self.product(&cosine, &cosh)?,
                im: self.product(&sine, &sinh)?.negated(),
            },
        ))
    }

    /// Hyperbolic sine and cosine of a real number.
    pub(super) fn hyperbolic_real(&mut self, x: &Ball) -> Real<(Ball, Ball)> {
        let up = self.exp(x)?;
        let down = self.quotient(&Ball::integer(1), &up)?;
        let (sum, difference) = (self.sum(&up, &down)?, self.difference(&up, &down)?);
        Ok((difference.shifted(-1), sum.shifted(-1)))
    }

    /// A whole power, by squaring.
    pub(super) fn whole_power(&mut self, base: &Complex, exponent: &UBig) -> Real<Complex> {
        if base.is_real() {
            return Ok(self.power(&base.re, exponent)?.into());
        }
        let mut result = Complex::from(Ball::integer(1));
        for bit in (0..dashu_base::BitTest::bit_len(exponent)).rev() {
            result = self.multiply(&result, &result)?;
            if dashu_base::BitTest::bit(exponent, bit) {
                result = self.multiply(&result, base)?;
            }
        }
        Ok(result)
    }

    /// The root people mean: a real one of a real number where there is one, else the principal
    /// one.
    pub(super) fn principal_root(&mut self, z: &Complex, index: u32) -> Real<Complex> {
        if !z.is_real() || index > MAX_ROOT {
            if z.re.is_exact_zero() && z.im.is_exact_zero() {
                return Ok(Ball::zero().into());
            }
            if z.is_real() && index % 2 == 1 && z.re.sign() == Some(Ordering::Less) {
                return Ok(self.principal_root(&z.negated(), index)?.negated());
            }
            let log = self.logarithm(z)?;
            let share = self.divide(&log, &Ball::integer(index).into())?;
            return self.exponential(&share);
        }
        match z.re.sign() {
            Some(Ordering::Less) if index % 2 == 1 => {
                Ok(self.root(&z.re.negated(), index)?.negated().into())
            }
            Some(Ordering::Less) if index == 2 => {
                Ok(Complex { re: Ball::zero(), im: self.root(&z.re.negated(), 2)? })
            }
            Some(Ordering::Less) => {
                let size = self.root(&z.re.negated(), index)?;
                let pi = self.pi()?;
                let angle = self.quotient(&pi, &Ball::integer(index))?;
                let (sine, cosine) = self.sin_cos(&angle)?;
                Ok(Complex { re: self.product(&size, &cosine)?, im: self.product(&size, &sine)? })
            }
            // zero or not: its root is near zero, on whichever axis
            None if index.is_multiple_of(2) => {
                let near = self.root(&z.re, index)?;
                Ok(Complex { re: near.clone(), im: near })
            }
            _ => Ok(self.root(&z.re, index)?.into()),
        }
    }
}

//! Arithmetic modulo primes of 61 bits that nobody can know beforehand.

use dashu_base::Sign;
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;
use rand_philox::splitmix64;

use super::{fuel::Trouble, modular::random};

/// The integers modulo a prime `p = 1 mod 4` below 2^61, in Montgomery's form.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) p: u64,
    /// `-1/p` modulo 2^64.
    inverse: u64,
    /// 2^128 modulo p.
    square: u64,
    pub(super) one: u64,
    /// A square root of -1.
    pub(super) unit: u64,
}

impl Field {
    fn modulo(p: u64) -> Self {
        let mut inverse = 1u64;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(inverse)));
        }
        let one = ((1u128 << 64) % u128::from(p)) as u64;
        let square = (u128::from(one) * u128::from(one) % u128::from(p)) as u64;
        Self { p, inverse: inverse.wrapping_neg(), square, one, unit: 0 }
    }

    /// The first prime after a random number, with everything else that depends on it.
    pub(super) fn random(seed: u64) -> Self {
        let mut candidate = (1 << 60) | (seed >> 4 & !3) | 1;
        loop {
            let small = [3u64, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47];
            if small.iter().all(|prime| !candidate.is_multiple_of(*prime)) {
                let field = Self::modulo(candidate);
                if field.is_prime() {
                    return field.with_unit();
                }
            }
            candidate += 4;
        }
    }

    /// Miller and Rabin's test with bases that decide every number below 2^64 (Sinclair 2011).
    fn is_prime(&self) -> bool {
        let twos = (self.p - 1).trailing_zeros();
        let minus_one = self.p - self.one;
        [2u64, 325, 9375, 28178, 450_775, 9_780_504, 1_795_265_022].iter().all(|&base| {
            let mut power = self.power(self.enter(base), (self.p - 1) >> twos);
            if power == self.one || power == minus_one {
                return true;
            }
            for _ in 1..twos {
                power = self.product(power, power);
                if power == minus_one {
                    return true;
                }
            }
            false
        })
    }

    fn with_unit(mut self) -> Self {
        let minus_one = self.p - self.one;
        for base in 2.. {
            let unit = self.power(self.enter(base), (self.p - 1) / 4);
            if self.product(unit, unit) == minus_one {
                self.unit = unit;
                break;
            }
        }
        self
    }

    /// A number below 2^64 in the field.
    pub(super) fn enter(&self, value: u64) -> u64 {
        self.product(value % self.p, self.square)
    }

    pub(super) fn product(&self, a: u64, b: u64) -> u64 {
        let wide = u128::from(a) * u128::from(b);
        let multiple = (wide as u64).wrapping_mul(self.inverse);
        let reduced = ((wide + u128::from(multiple) * u128::from(self.p)) >> 64) as u64;
        if reduced >= self.p { reduced - self.p } else { reduced }
    }

    pub(super) fn sum(&self, a: u64, b: u64) -> u64 {
        let sum = a + b;
        if sum >= self.p { sum - self.p } else { sum }
    }

    pub(super) fn negated(&self, a: u64) -> u64 {
        if a == 0 { 0 } else { self.p - a }
    }

    pub(super) fn power(&self, base: u64, exponent: u64) -> u64 {
        let mut result = self.one;
        for bit in (0..64 - exponent.leading_zeros()).rev() {
            result = self.product(result, result);
            if exponent >> bit & 1 == 1 {
                result = self.product(result, base);
            }
        }
        result
    }

    pub(super) fn inverse(&self, a: u64) -> Result<u64, Trouble> {
        if a == 0 {
            return Err(Trouble::Undefined);
        }
        Ok(self.power(a, self.p - 2))
    }

    fn natural(&self, value: &UBig) -> u64 {
        let mut rest = 0;
        for &word in value.as_words().iter().rev() {
            rest = self.sum(self.product(rest, self.square), word % self.p);
        }
        self.product(rest, self.square)
    }

    fn integer(&self, value: &IBig) -> u64 {
        let (sign, magnitude) = value.clone().into_parts();
        let magnitude = self.natural(&magnitude);
        if sign == Sign::Negative { self.negated(magnitude) } else { magnitude }
    }

    pub(super) fn rational(&self, value: &RBig) -> Result<u64, Trouble> {
        let above = self.integer(value.numerator());
        if value.is_int() {
            return Ok(above);
        }
        Ok(self.product(above, self.inverse(self.natural(value.denominator()))?))
    }

    /// A value for an unknown function of values.
    pub(super) fn unknown(&self, name: u64, arguments: &[u64]) -> u64 {
        let mixed = arguments.iter().fold(name, |hash, &value| {
            splitmix64(hash.rotate_left(17) ^ value.wrapping_add(0x9e37_79b9_7f4a_7c15))
        });
        random(mixed, self.p) % self.p
    }
}

//! Positive values some power of which is rational, so that a logarithm of one to the base of
//! another can be rational though neither of them is: `log_{sqrt 2} 2 = 2`.

use dashu_int::IBig;
use dashu_ratio::RBig;

use super::{
    super::tree::{Id, Node},
    arithmetic::{MAX_BITS, burn_size, logarithm, power, size, whole},
    ball::is_negative,
    fuel::{Fuel, Trouble},
};

/// Largest index of a root.
const MAX_INDEX: i64 = 64;

/// The positive root of a positive number.
#[derive(Debug, Clone)]
pub(super) struct Radical {
    radicand: RBig,
    index: i64,
}

impl Radical {
    /// A rational number; `None` where it is not positive.
    pub(super) fn of_rational(value: &RBig) -> Option<Self> {
        let positive = !value.is_zero() && !is_negative(value) && size(value) <= MAX_BITS;
        positive.then(|| Self { radicand: value.clone(), index: 1 })
    }

    /// A node whose value is not rational, its children being `known`, and their rational values
    /// `exact`.
    pub(super) fn of(
        node: &Node,
        known: &[Option<Self>],
        exact: &[Option<RBig>],
        fuel: &mut Fuel,
    ) -> Result<Option<Self>, Trouble> {
        let get = |id: Id| known[id as usize].as_ref();
        let number = |id: Id| exact[id as usize].as_ref();
        match node {
            Node::Root { radicand, index } => {
                match (get(*radicand), number(*index).and_then(whole)) {
                    (Some(of), Some(index @ 1..=MAX_INDEX)) => of.raised(1, index, fuel),
                    _ => Ok(None),
                }
            }
            Node::Power(base, exponent) => match (get(*base), number(*exponent)) {
                (Some(of), Some(exponent)) => {
                    let times = i64::try_from(exponent.numerator());
                    let index = i64::try_from(exponent.denominator());
                    match (times, index) {
                        (Ok(times), Ok(index)) => of.raised(times, index, fuel),
                        _ => Ok(None),
                    }
                }
                _ => Ok(None),
            },
            Node::Product(of) => {
                let mut product = Self { radicand: RBig::ONE, index: 1 };
                for &id in of {
                    let Some(factor) = get(id) else { return Ok(None) };
                    let Some(next) = product.times(factor, fuel)? else { return Ok(None) };
                    product = next;
                }
                Ok(Some(product))
            }
            Node::Quotient(above, below) => match (get(*above), get(*below)) {
                (Some(above), Some(below)) => match below.raised(-1, 1, fuel)? {
                    Some(inverse) => above.times(&inverse, fuel),
                    None => Ok(None),
                },
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Its power to `times / index`.
    fn raised(&self, times: i64, index: i64, fuel: &mut Fuel) -> Result<Option<Self>, Trouble> {
        let bits = (size(&self.radicand) as u64).saturating_mul(times.unsigned_abs());
        let index = self.index.saturating_mul(index);
        if index > MAX_INDEX || bits > MAX_BITS as u64 {
            return Ok(None);
        }
        let radicand = power(&self.radicand, &RBig::from(times), fuel)?;
        Ok(radicand.map(|radicand| Self { radicand, index }))
    }

    fn times(&self, other: &Self, fuel: &mut Fuel) -> Result<Option<Self>, Trouble> {
        // both under roots of one index
        let (one, two) = (self.raised(other.index, 1, fuel)?, other.raised(self.index, 1, fuel)?);
        let index = self.index * other.index;
        let (Some(one), Some(two)) = (one, two) else { return Ok(None) };
        let bits = size(&one.radicand) + size(&two.radicand);
        burn_size(bits, fuel)?;
        let fits = index <= MAX_INDEX && bits <= MAX_BITS;
        Ok(fits.then(|| Self { radicand: one.radicand * two.radicand, index }))
    }

    /// The logarithm of `of` to the base of this, where it is rational.
    pub(super) fn logarithm(&self, of: &Self, fuel: &mut Fuel) -> Result<Option<RBig>, Trouble> {
        let quotient = logarithm(&self.radicand, &of.radicand, fuel)?;
        Ok(quotient.map(|value| value * IBig::from(self.index) / IBig::from(of.index)))
    }
}

//! Sums of monomials with rational factors, modulo a prime: what an exponent or the argument of a
//! factorial is, so that their laws can be applied to it.

use dashu_base::BitTest;
use dashu_int::IBig;
use dashu_ratio::RBig;

use super::{field::Field, fuel::Trouble};

/// The most monomials of a combination.
const MAX_PARTS: usize = 24;

/// The largest numerator and denominator of a factor, in bits.
const MAX_BITS: usize = 128;

/// A sum of monomials, each with a rational factor.
///
/// A monomial is named by its value at the point, so equal monomials have equal names, and the
/// number one is the monomial of the constant. Names ascend, and no factor is zero.
#[derive(Debug, Clone, Default)]
pub(super) struct Combination(Vec<(u64, RBig)>);

impl Combination {
    /// What is not taken apart.
    pub(super) fn atom(name: u64) -> Self {
        Self(vec![(name, RBig::ONE)])
    }

    /// `None` where the number is too large for a factor.
    pub(super) fn constant(value: &RBig, field: &Field) -> Option<Self> {
        Self(vec![(field.one, value.clone())]).bounded()
    }

    fn bounded(mut self) -> Option<Self> {
        self.0.retain(|(_, factor)| !factor.is_zero());
        let is_small = |factor: &RBig| {
            factor.numerator().bit_len() <= MAX_BITS && factor.denominator().bit_len() <= MAX_BITS
        };
        (self.0.len() <= MAX_PARTS && self.0.iter().all(|(_, factor)| is_small(factor)))
            .then_some(self)
    }

    /// `None` where the sum has too many parts; likewise below.
    pub(super) fn plus(mut self, other: &Self) -> Option<Self> {
        for (name, factor) in &other.0 {
            match self.0.binary_search_by_key(name, |part| part.0) {
                Ok(at) => self.0[at].1 += factor,
                Err(at) => self.0.insert(at, (*name, factor.clone())),
            }
        }
        self.bounded()
    }

    pub(super) fn times(&self, other: &Self, field: &Field) -> Option<Self> {
        let mut product = Self::default();
        for (left, factor) in &self.0 {
            let row =
                other.0.iter().map(|(right, other)| (field.product(*left, *right), factor * other));
            for part in row {
                product = product.plus(&Self(vec![part]))?;
            }
        }
        Some(product)
    }

    pub(super) fn scaled(mut self, by: &RBig) -> Option<Self> {
        for (_, factor) in &mut self.0 {
            *factor *= by;
        }
        self.bounded()
    }

    pub(super) fn negated(self) -> Self {
        Self(self.0.into_iter().map(|(name, factor)| (name, -factor)).collect())
    }

    pub(super) fn parts(&self) -> &[(u64, RBig)] {
        &self.0
    }

    /// How many monomials it has, each about as much work as another.
    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// The constant, and everything else.
    pub(super) fn split(mut self, field: &Field) -> (RBig, Self) {
        match self.0.binary_search_by_key(&field.one, |part| part.0) {
            Ok(at) => (self.0.remove(at).1, self),
            Err(_) => (RBig::ZERO, self),
        }
    }

    /// Whether it is an even number, where every monomial is a whole one.
    pub(super) fn is_even(&self) -> bool {
        let two = IBig::from(2);
        self.0.iter().all(|(_, factor)| factor.is_int() && (factor.numerator() % &two).is_zero())
    }

    /// The value at the point.
    pub(super) fn value(&self, field: &Field) -> Result<u64, Trouble> {
        self.0.iter().try_fold(0, |sum, (name, factor)| {
            Ok(field.sum(sum, field.product(*name, field.rational(factor)?)))
        })
    }
}

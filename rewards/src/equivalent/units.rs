//! Units: what a number measures or counts, as a product of powers with an exact size.
//!
//! The vocabulary is closed. A word is a unit if it stands in the [`table`]; any other word after a
//! number is a noun, which measures nothing and equals only itself.

mod nouns;
mod phrase;
mod table;

use std::fmt;

use dashu_ratio::RBig;

use crate::Strictness;

/// Largest magnitude of an exponent: a length to the tenth power is a mistake.
const MAX_POWER: u32 = 9;

/// Most factors of one unit.
const MAX_FACTORS: usize = 8;

/// Whether a unit of these factors is within the bounds.
fn fits(factors: &[Factor]) -> bool {
    factors.len() <= MAX_FACTORS
        && factors.iter().all(|factor| factor.power.unsigned_abs() <= MAX_POWER)
}

/// What the dimensions of units are made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Base {
    /// A base of the [`table`]: `m`, `kg`, `month`, `dollar`.
    Known(&'static str),
    /// Words that stand in no table, as [`phrase`] folds them.
    Noun(Box<str>),
    /// The class of residues by this modulus.
    Modulus(Box<str>),
}

/// Powers of bases, sorted, none of them zero.
type Dimension = Vec<(Base, i32)>;

/// One named unit to a power.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Factor {
    name: Box<str>,
    /// How many of the coherent unit of its dimension it is, to the first power.
    size: RBig,
    /// To the first power.
    dimension: Dimension,
    power: i32,
}

/// A product of powers of named units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    factors: Vec<Factor>,
}

impl Unit {
    /// Reads words, or a formula such as `kg\,m^2/s^2`. `None` where a word says something about
    /// the number before it, or where it is no word.
    pub(super) fn read(text: &str) -> Option<Self> {
        phrase::read(text)
    }

    /// Reads a unit of which every word stands in the table.
    pub(super) fn read_known(text: &str) -> Option<Self> {
        Self::read(text).filter(Self::is_known)
    }

    pub(super) fn modulus(of: &str) -> Self {
        Self::of_base(format!("mod {of}").into(), Base::Modulus(of.into()))
    }

    /// The raised end of an ordinal number.
    pub(super) fn ordinal() -> Self {
        Self::of_base("th".into(), Base::Known("th"))
    }

    fn noun(words: &str) -> Self {
        Self::of_base(words.into(), Base::Noun(words.into()))
    }

    fn of_base(name: Box<str>, base: Base) -> Self {
        let factor = Factor { name, size: RBig::ONE, dimension: vec![(base, 1)], power: 1 };
        Self { factors: vec![factor] }
    }

    fn dimension(&self) -> Dimension {
        let mut total: Dimension = Vec::new();
        for factor in &self.factors {
            for (base, power) in &factor.dimension {
                match total.iter_mut().find(|(known, _)| known == base) {
                    Some((_, sum)) => *sum += power * factor.power,
                    None => total.push((base.clone(), power * factor.power)),
                }
            }
        }
        total.retain(|(_, power)| *power != 0);
        total.sort();
        total
    }

    fn size(&self) -> RBig {
        self.factors
            .iter()
            .fold(RBig::ONE, |size, factor| size * factor.size.pow(factor.power as isize))
    }

    /// Whether every word of it stands in the table.
    pub(super) fn is_known(&self) -> bool {
        let known = |(base, _): &(Base, i32)| matches!(base, Base::Known(_));
        self.factors.iter().all(|factor| factor.dimension.iter().all(known))
    }

    /// The modulus, where it stands for a class of residues.
    pub(super) fn as_modulus(&self) -> Option<&str> {
        match &self.factors[..] {
            [Factor { dimension, .. }] => match &dimension[..] {
                [(Base::Modulus(modulus), 1)] => Some(modulus),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_base(&self, bases: &[&str]) -> bool {
        matches!(&self.dimension()[..], [(Base::Known(base), 1)] if bases.contains(base))
    }

    /// Degrees of an angle, which have a node of their own.
    pub(super) fn is_degree(&self) -> bool {
        self.is_base(&["degree"])
    }

    pub(super) fn is_radian(&self) -> bool {
        self.is_base(&["radian"])
    }

    /// A temperature on a scale with a zero of its own, of which nothing is a factor.
    pub(super) fn is_temperature(&self) -> bool {
        self.is_base(&["celsius", "fahrenheit"])
    }

    /// Whether an answer may carry it where the gold has no unit.
    pub(super) fn may_be_added(&self, strictness: Strictness) -> bool {
        self.factors.iter().flat_map(|factor| &factor.dimension).all(|(base, _)| match base {
            Base::Known(_) | Base::Modulus(_) => true,
            Base::Noun(words) => nouns::may_be_added(words, strictness),
        })
    }

    /// How many of `other` it is; `None` where they measure different things.
    pub(super) fn conversion(&self, other: &Self) -> Option<RBig> {
        if self == other {
            return Some(RBig::ONE);
        }
        (self.dimension() == other.dimension()).then(|| self.size() / other.size())
    }

    /// The product with a power of another, and what the number before it is multiplied by: units
    /// of one dimension become one, and a product without dimension is a number.
    pub(super) fn times(&self, other: &Self, sign: i32) -> Option<(Self, RBig)> {
        let (mut product, mut scale) = (self.clone(), RBig::ONE);
        for factor in &other.factors {
            let times = factor.power * sign;
            match product.factors.iter_mut().find(|known| known.dimension == factor.dimension) {
                Some(known) => {
                    scale *= (&factor.size / &known.size).pow(times as isize);
                    known.power += times;
                }
                None => product.factors.push(Factor { power: times, ..factor.clone() }),
            }
        }
        product.factors.retain(|factor| factor.power != 0);
        if !fits(&product.factors) {
            return None;
        }
        if product.dimension().is_empty() {
            scale *= product.size();
            product.factors.clear();
        }
        Some((product, scale))
    }

    /// Whether it is a plain number, as what `times` returns may be.
    pub(super) fn is_one(&self) -> bool {
        self.factors.is_empty()
    }

    pub(super) fn one() -> Self {
        Self { factors: Vec::new() }
    }

    /// Whether two of its factors measure the same dimension in part, as in `kW h`.
    pub(super) fn overlaps(&self) -> bool {
        let mut seen: Vec<&Base> = Vec::new();
        for factor in &self.factors {
            if factor.dimension.iter().any(|(base, _)| seen.contains(&base)) {
                return true;
            }
            seen.extend(factor.dimension.iter().map(|(base, _)| base));
        }
        false
    }

    /// The coherent unit of its dimension, and how many of those it is.
    pub(super) fn coherent(&self) -> (Self, RBig) {
        let factors = self.dimension().into_iter().map(|(base, power)| {
            let name = match &base {
                Base::Known(name) => (*name).into(),
                Base::Noun(words) => words.clone(),
                Base::Modulus(modulus) => format!("mod {modulus}").into(),
            };
            Factor { name, size: RBig::ONE, dimension: vec![(base, 1)], power }
        });
        (Self { factors: factors.collect() }, self.size())
    }

    pub(super) fn to_power(&self, times: i32) -> Option<Self> {
        let mut raised = self.clone();
        for factor in &mut raised.factors {
            factor.power = factor.power.checked_mul(times)?;
        }
        (times != 0 && fits(&raised.factors)).then_some(raised)
    }

    /// The unit of which it is a power; `None` where it is none.
    pub(super) fn root(&self, index: i32) -> Option<Self> {
        let mut root = self.clone();
        for factor in &mut root.factors {
            if index < 1 || factor.power % index != 0 {
                return None;
            }
            factor.power /= index;
        }
        Some(root)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above = self.factors.iter().filter(|factor| factor.power > 0);
        let below = self.factors.iter().filter(|factor| factor.power < 0);
        for (at, factor) in above.enumerate() {
            write!(f, "{}{}", if at > 0 { " " } else { "" }, factor.name)?;
            if factor.power > 1 {
                write!(f, "^{}", factor.power)?;
            }
        }
        for factor in below {
            write!(f, "/{}", factor.name)?;
            if factor.power < -1 {
                write!(f, "^{}", -factor.power)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

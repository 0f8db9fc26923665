//! Rational results of roots, powers, logarithms, factorials and circular functions, where they
//! exist.

use dashu_base::{BitTest, Gcd, UnsignedAbs};
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::{
    super::tree::Function,
    ball::is_negative,
    fuel::{Fuel, Trouble},
};

/// Size of the largest number that is written out, in bits: more than 3000! has.
pub(super) const MAX_BITS: usize = 1 << 15;

/// Bits of a number, above and below the bar.
pub(super) fn size(value: &RBig) -> usize {
    value.numerator().bit_len() + value.denominator().bit_len()
}

/// The small whole number that a rational is.
pub(super) fn whole(value: &RBig) -> Option<i64> {
    if value.is_int() { i64::try_from(value.numerator()).ok() } else { None }
}

/// Work of a product or a sum with a common divisor, of numbers of so many bits together.
pub(super) fn burn_size(bits: usize, fuel: &mut Fuel) -> Result<(), Trouble> {
    let words = bits as u64 / 64;
    fuel.burn(10 + 12 * words + words * words)
}

pub(super) fn power(
    base: &RBig,
    exponent: &RBig,
    fuel: &mut Fuel,
) -> Result<Option<RBig>, Trouble> {
    let Ok(index) = i64::try_from(exponent.denominator()) else { return Ok(None) };
    let Ok(times) = i64::try_from(exponent.numerator()) else {
        return Ok(base.is_one().then_some(RBig::ONE));
    };
    if base.is_zero() && times <= 0 {
        return Ok((times == 0).then_some(RBig::ONE));
    }
    let base = match index {
        1 => base.clone(),
        _ => match root(base, Some(index), fuel)? {
            Some(root) => root,
            None => return Ok(None),
        },
    };
    let bits = size(&base) as u64;
    if !(base.is_int() && base.numerator().bit_len() <= 1)
        && times.unsigned_abs().saturating_mul(bits) > MAX_BITS as u64
    {
        return Ok(None);
    }
    burn_size((bits * times.unsigned_abs().min(MAX_BITS as u64)) as usize / 4, fuel)?;
    let times =
        if base.numerator().bit_len() <= 1 && base.is_int() { times % 2 + 2 } else { times };
    Ok(Some(base.pow(times as isize)))
}

/// The root where it is rational; a real one of a negative number where the index is odd.
pub(super) fn root(
    radicand: &RBig,
    index: Option<i64>,
    fuel: &mut Fuel,
) -> Result<Option<RBig>, Trouble> {
    let Some(index) = index.filter(|index| (1..=64).contains(index)) else { return Ok(None) };
    let negative = is_negative(radicand);
    if negative && index % 2 == 0 {
        return Ok(None);
    }
    burn_size(2 * size(radicand), fuel)?;
    let index = index as usize;
    let exact = |value: &UBig| {
        let root =
            if index == 2 { dashu_base::SquareRoot::sqrt(value) } else { value.nth_root(index) };
        (root.pow(index) == *value).then_some(root)
    };
    let above = exact(&radicand.numerator().clone().unsigned_abs());
    let below = exact(radicand.denominator());
    Ok(above.zip(below).map(|(above, below)| {
        let root = RBig::from_parts(above.into(), below);
        if negative { -root } else { root }
    }))
}

/// `log_base of`, where it is rational, by Euclid's algorithm on the exponents.
pub(super) fn logarithm(base: &RBig, of: &RBig, fuel: &mut Fuel) -> Result<Option<RBig>, Trouble> {
    if is_negative(base) || is_negative(of) || base.is_zero() || of.is_zero() || base.is_one() {
        return Ok(None);
    }
    let one = RBig::ONE;
    let above_one = |value: &RBig| {
        if *value < one { (one.clone() / value, true) } else { (value.clone(), false) }
    };
    let ((mut large, flipped), (mut small, flipped_base)) = (above_one(of), above_one(base));
    // large = small^(p / q): the quotients of the continued fraction
    let mut quotients = Vec::new();
    while !small.is_one() {
        if quotients.len() == 24 {
            return Ok(None);
        }
        let mut quotient = 0i64;
        while large >= small {
            fuel.burn(60)?;
            burn_size(size(&large) + size(&small), fuel)?;
            large /= &small;
            quotient += 1;
        }
        quotients.push(quotient);
        std::mem::swap(&mut large, &mut small);
    }
    let mut value: Option<RBig> = None;
    for &quotient in quotients.iter().rev() {
        let rest = match value {
            Some(value) if value.is_zero() => return Ok(None),
            Some(value) => RBig::ONE / value,
            None => RBig::ZERO,
        };
        value = Some(RBig::from(quotient) + rest);
    }
    let value = value.unwrap_or(RBig::ZERO);
    Ok(Some(if flipped == flipped_base { value } else { -value }))
}

/// Greatest common divisor, or least common multiple, also of fractions.
pub(super) fn divisor(
    greatest: bool,
    first: RBig,
    rest: impl Iterator<Item = RBig>,
) -> Option<RBig> {
    let mut result = first;
    for value in rest {
        if result.is_zero() || value.is_zero() {
            result = if greatest { result + value } else { RBig::ZERO };
            continue;
        }
        // over one denominator, both are whole
        let below = result.denominator() * value.denominator();
        let whole = |value: RBig| (value * &below).numerator().clone().unsigned_abs();
        let (a, b) = (whole(result), whole(value));
        let common = (&a).gcd(&b);
        let above = if greatest { common } else { a / common * b };
        result = RBig::from_parts(above.into(), below);
        if size(&result) > MAX_BITS {
            return None;
        }
    }
    Some(if is_negative(&result) { -result } else { result })
}

/// The product of the numbers from `n` down to one in steps of `step`; one where there are none.
pub(super) fn product(n: i64, step: usize, fuel: &mut Fuel) -> Result<UBig, Trouble> {
    let mut result = UBig::ONE;
    for factor in (1..=n).rev().step_by(step) {
        fuel.burn(3 + result.bit_len() as u64 / 256)?;
        result *= factor.unsigned_abs();
    }
    Ok(result)
}

/// The lower number of a binomial, where it is so small that the binomial is a polynomial of the
/// upper.
pub(super) fn small_lower(k: &RBig) -> Option<u64> {
    const LARGEST: i64 = 64;
    whole(k).filter(|k| (0..=LARGEST).contains(k)).map(i64::unsigned_abs)
}

pub(super) fn binomial(n: i64, k: i64, fuel: &mut Fuel) -> Result<RBig, Trouble> {
    if k < 0 || k > n {
        return Ok(RBig::ZERO);
    }
    let (n, k) = (n as u64, k.min(n - k) as u64);
    let mut result = UBig::ONE;
    for step in 1..=k {
        fuel.burn(6 + result.bit_len() as u64 / 64)?;
        result = result * (n - k + step) / step;
    }
    Ok(result.into())
}

/// Circular functions of `turns` times pi that are rational.
pub(super) fn circular(function: Function, turns: &RBig) -> Option<RBig> {
    let sixths = whole(&(turns * IBig::from(6)))?.rem_euclid(12);
    let half = || RBig::from_parts(IBig::ONE, UBig::from(2u8));
    let sine = |sixths: i64| match sixths.rem_euclid(12) {
        0 | 6 => Some(RBig::ZERO),
        1 | 5 => Some(half()),
        3 => Some(RBig::ONE),
        7 | 11 => Some(-half()),
        9 => Some(-RBig::ONE),
        _ => None,
    };
    match function {
        Function::Sin => sine(sixths),
        Function::Cos => sine(sixths + 3),
        Function::Tan => match sixths % 6 {
            0 => Some(RBig::ZERO),
            _ => None,
        },
        Function::Sec | Function::Csc => {
            let below = sine(if function == Function::Sec { sixths + 3 } else { sixths })?;
            (!below.is_zero()).then(|| RBig::ONE / below)
        }
        _ => None,
    }
}

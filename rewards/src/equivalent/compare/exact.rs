//! Rational values of nodes, and multiples of pi, both exact.

use dashu_base::{BitTest, Gcd, UnsignedAbs};
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::{
    super::tree::{Constant, Function, Id, Node},
    ball::is_negative,
    fuel::{Fuel, Trouble},
    term::Term,
};

/// Size of the largest number that is written out, in bits: more than 3000! has.
const MAX_BITS: usize = 1 << 15;

/// What is known of each node: by node, `None` where nothing is.
#[derive(Debug)]
pub(super) struct Exact {
    pub(super) rational: Vec<Option<RBig>>,
    /// `c` where the node is `c` times pi.
    pub(super) pi_multiple: Vec<Option<RBig>>,
    /// `c` where the node is `c` times pi times the imaginary unit.
    pub(super) turn: Vec<Option<RBig>>,
}

fn size(value: &RBig) -> usize {
    value.numerator().bit_len() + value.denominator().bit_len()
}

/// The small whole number that a rational is.
pub(super) fn whole(value: &RBig) -> Option<i64> {
    if value.is_int() { i64::try_from(value.numerator()).ok() } else { None }
}

impl Exact {
    /// Values of all nodes of a term. Out of work, the rest stays unknown, but for numbers as written.
    pub(super) fn of(term: &Term<'_>, fuel: &mut Fuel) -> Self {
        let size = term.root as usize + 1;
        let mut known = Self {
            rational: vec![None; size],
            pi_multiple: vec![None; size],
            turn: vec![None; size],
        };
        for (id, node) in term.nodes() {
            let at = id as usize;
            known.rational[at] = known.value(term, id, node, fuel).unwrap_or_else(|_| match node {
                Node::Number { value, .. } => Some(value.clone()),
                _ => None,
            });
            known.pi_multiple[at] = known.linear(term, id, node, &known.pi_multiple, Constant::Pi);
            known.turn[at] = known.imaginary(term, id, node);
        }
        known
    }

    fn get(&self, id: Id) -> Option<&RBig> {
        self.rational[id as usize].as_ref()
    }

    fn value(
        &self,
        term: &Term<'_>,
        id: Id,
        node: &Node,
        fuel: &mut Fuel,
    ) -> Result<Option<RBig>, Trouble> {
        fuel.burn(10)?;
        Ok(match node {
            Node::Number { value, .. } => Some(value.clone()),
            Node::Sum(of) => self.fold(of, RBig::ZERO, fuel, |a, b| a + b)?,
            Node::Product(of) => self.fold(of, RBig::ONE, fuel, |a, b| a * b)?,
            Node::Negated(of) => self.get(*of).map(|value| -value),
            Node::PlusMinus(of) | Node::MinusPlus(of) => {
                self.get(*of).map(|value| if term.takes_minus(id) { -value } else { value.clone() })
            }
            Node::Quotient(above, below) => match (self.get(*above), self.get(*below)) {
                (Some(above), Some(below)) if !below.is_zero() => {
                    burn_size(size(above) + size(below), fuel)?;
                    Some(above / below)
                }
                _ => None,
            },
            Node::Power(base, exponent) => match (self.get(*base), self.get(*exponent)) {
                (Some(base), Some(exponent)) => power(base, exponent, fuel)?,
                _ => None,
            },
            Node::Root { radicand, index } => match (self.get(*radicand), self.get(*index)) {
                (Some(radicand), Some(index)) => root(radicand, whole(index), fuel)?,
                _ => None,
            },
            Node::Apply(function, of) => self.applied(*function, *of),
            Node::Call(name, of) => self.of_many(name, of, fuel)?,
            Node::Ratio(of) if of.len() == 2 => match (self.get(of[0]), self.get(of[1])) {
                (Some(above), Some(below)) if !below.is_zero() => Some(above / below),
                _ => None,
            },
            Node::Log { base, of } => match (self.get(*base), self.get(*of)) {
                (Some(base), Some(of)) => logarithm(base, of, fuel)?,
                _ => None,
            },
            Node::Factorial(of) => match self.get(*of).and_then(whole) {
                Some(n @ 0..=2500) => Some(RBig::from(product(1, n as u64, fuel)?)),
                _ => None,
            },
            Node::Binomial(n, k) => {
                match (self.get(*n).and_then(whole), self.get(*k).and_then(whole)) {
                    (Some(n @ 0..=4000), Some(k)) => Some(binomial(n, k, fuel)?),
                    _ => None,
                }
            }
            Node::Determinant { rows, entries } => {
                self.determinant(*rows as usize, entries, fuel)?
            }
            Node::Percent(of) => self.get(*of).map(|value| value / IBig::from(100)),
            Node::Degrees(of) if !term.is_angle[id as usize] => self.get(*of).cloned(),
            Node::Unit(of, _) | Node::Currency(of) => self.get(*of).cloned(),
            _ => None,
        })
    }

    fn fold(
        &self,
        of: &[Id],
        first: RBig,
        fuel: &mut Fuel,
        step: impl Fn(RBig, &RBig) -> RBig,
    ) -> Result<Option<RBig>, Trouble> {
        if of.iter().any(|&id| self.get(id).is_none()) {
            return Ok(None);
        }
        let mut result = first;
        for value in of.iter().filter_map(|&id| self.get(id)) {
            let bits = size(&result) + size(value);
            if bits > 2 * MAX_BITS {
                return Ok(None);
            }
            burn_size(bits, fuel)?;
            result = step(result, value);
        }
        Ok(Some(result))
    }

    /// The multiple of `unit` that a node is, its children's multiples being `known`.
    fn linear(
        &self,
        term: &Term<'_>,
        id: Id,
        node: &Node,
        known: &[Option<RBig>],
        unit: Constant,
    ) -> Option<RBig> {
        let at = |id: Id| {
            let exact = || self.get(id).filter(|value| value.is_zero()).cloned();
            known[id as usize].clone().or_else(exact)
        };
        let value = match node {
            Node::Constant(constant) if *constant == unit => RBig::ONE,
            Node::Sum(of) => {
                let mut sum = RBig::ZERO;
                for &id in of {
                    sum += at(id)?;
                }
                sum
            }
            Node::Product(of) => {
                let place = of.iter().position(|&id| self.get(id).is_none())?;
                let mut product = at(of[place])?;
                for (other, &id) in of.iter().enumerate() {
                    if other != place {
                        product *= self.get(id)?;
                    }
                }
                product
            }
            Node::Negated(of) => -at(*of)?,
            Node::PlusMinus(of) | Node::MinusPlus(of) => {
                let value = at(*of)?;
                if term.takes_minus(id) { -value } else { value }
            }
            Node::Quotient(above, below) => {
                let below = self.get(*below).filter(|below| !below.is_zero())?;
                at(*above)? / below
            }
            Node::Degrees(of) if term.is_angle[id as usize] => self.get(*of)? / IBig::from(180),
            _ => return None,
        };
        (size(&value) < 4096).then_some(value)
    }

    /// `c` where a node is `c i pi`.
    fn imaginary(&self, term: &Term<'_>, id: Id, node: &Node) -> Option<RBig> {
        let Node::Product(of) = node else {
            return self.linear(term, id, node, &self.turn, Constant::Undefined);
        };
        let (mut product, mut units, mut turns) = (RBig::ONE, 0, 0);
        for &id in of {
            if let Some(value) = self.get(id) {
                product *= value;
            } else if matches!(term.tree.nodes[id as usize], Node::Constant(Constant::I)) {
                units += 1;
            } else if let Some(value) = &self.pi_multiple[id as usize] {
                product *= value;
                turns += 1;
            } else if let Some(value) = &self.turn[id as usize] {
                product *= value;
                (units, turns) = (units + 1, turns + 1);
            } else {
                return None;
            }
        }
        (units == 1 && turns == 1 && size(&product) < 4096).then_some(product)
    }

    /// By elimination.
    fn determinant(
        &self,
        rows: usize,
        entries: &[Id],
        fuel: &mut Fuel,
    ) -> Result<Option<RBig>, Trouble> {
        let values = entries.iter().map(|&id| self.get(id).cloned()).collect::<Option<Vec<_>>>();
        let Some(mut values) = values.filter(|values| rows <= 8 && values.len() == rows * rows)
        else {
            return Ok(None);
        };
        let mut determinant = RBig::ONE;
        for column in 0..rows {
            let Some(pivot) = (column..rows).find(|row| !values[row * rows + column].is_zero())
            else {
                return Ok(Some(RBig::ZERO));
            };
            if pivot != column {
                for at in 0..rows {
                    values.swap(pivot * rows + at, column * rows + at);
                }
                determinant = -determinant;
            }
            let head = values[column * rows + column].clone();
            for row in column + 1..rows {
                let factor = &values[row * rows + column] / &head;
                for at in column..rows {
                    let less = &factor * &values[column * rows + at];
                    burn_size(4 * size(&less), fuel)?;
                    values[row * rows + at] -= less;
                }
            }
            determinant *= head;
        }
        Ok(Some(determinant))
    }

    /// Greatest and least, common divisors and multiples.
    fn of_many(&self, name: &str, of: &[Id], fuel: &mut Fuel) -> Result<Option<RBig>, Trouble> {
        let Some(values) = of.iter().map(|&id| self.get(id)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        for value in &values {
            burn_size(2 * size(value), fuel)?;
        }
        let mut values = values.into_iter().cloned();
        let Some(first) = values.next() else { return Ok(None) };
        Ok(match name {
            "max" => Some(values.fold(first, RBig::max)),
            "min" => Some(values.fold(first, RBig::min)),
            "gcd" => divisor(true, first, values),
            "lcm" => divisor(false, first, values),
            _ => None,
        })
    }

    fn applied(&self, function: Function, of: Id) -> Option<RBig> {
        if let Some(turns) = &self.pi_multiple[of as usize] {
            return circular(function, turns);
        }
        let value = self.get(of)?;
        match function {
            Function::Abs => Some(if is_negative(value) { -value } else { value.clone() }),
            Function::Floor => Some(value.floor().into()),
            Function::Ceil => Some(value.ceil().into()),
            Function::Conjugate | Function::Re => Some(value.clone()),
            Function::Im => Some(RBig::ZERO),
            Function::Sign => Some(value.signum()),
            Function::Ln if value.is_one() => Some(RBig::ZERO),
            Function::Exp if value.is_zero() => Some(RBig::ONE),
            _ if value.is_zero() => circular(function, value),
            _ => None,
        }
    }
}

/// Work of a product or a sum with a common divisor, of numbers of so many bits together.
fn burn_size(bits: usize, fuel: &mut Fuel) -> Result<(), Trouble> {
    let words = bits as u64 / 64;
    fuel.burn(10 + words * words / 4)
}

fn power(base: &RBig, exponent: &RBig, fuel: &mut Fuel) -> Result<Option<RBig>, Trouble> {
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
fn root(radicand: &RBig, index: Option<i64>, fuel: &mut Fuel) -> Result<Option<RBig>, Trouble> {
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
fn logarithm(base: &RBig, of: &RBig, fuel: &mut Fuel) -> Result<Option<RBig>, Trouble> {
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
fn divisor(greatest: bool, first: RBig, rest: impl Iterator<Item = RBig>) -> Option<RBig> {
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

/// The product of `low..=high`.
fn product(low: u64, high: u64, fuel: &mut Fuel) -> Result<UBig, Trouble> {
    let mut result = UBig::ONE;
    for factor in low.max(1)..=high {
        fuel.burn(3 + result.bit_len() as u64 / 256)?;
        result *= factor;
    }
    Ok(result)
}

fn binomial(n: i64, k: i64, fuel: &mut Fuel) -> Result<RBig, Trouble> {
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
fn circular(function: Function, turns: &RBig) -> Option<RBig> {
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

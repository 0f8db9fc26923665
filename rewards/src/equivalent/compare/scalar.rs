//! Whether two values, or two expressions in symbols, are the same.
//!
//! In this order, and the first that can tell decides: exact rational values, values modulo primes,
//! for algebraic constants enclosures as fine as their separation bound asks, and last agreement
//! to 960 bits, where there are symbols at one place to that and at others to 200.

use std::cmp::Ordering;

use dashu_base::BitTest;

use super::{
    super::tree::{Constant, Node},
    arithmetic::whole,
    ball::{Ball, Context, Real, exponent},
    complex::Complex,
    evaluate::Place,
    field::Field,
    form::Form,
    fuel::{Fuel, Trouble},
    modular::{Point, random},
    separation::Separation,
};
use crate::{Equivalence, Policy};

/// Working precisions: the first tells most numbers apart, the second decides what the first cannot.
const PRECISIONS: [usize; 2] = [256, 1024];

/// Bits of a precision that agreement need not have.
const GUARD: usize = 56;

/// Precision beyond which no separation bound is followed.
const MAX_PRECISION: u64 = 12_000;

/// Places at which expressions in symbols have to agree, and the number of places tried for it.
const PLACES: usize = 5;
const TRIED: u64 = 14;

/// By what two expressions may differ and yet say the same when compared with zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    One,
    Positive,
    Any,
}

/// Whether `gold` and `answer` are the same up to a factor of the kind `scale`.
pub(super) fn same(
    gold: &Form<'_>,
    answer: &Form<'_>,
    scale: Scale,
    policy: Policy,
    fuel: &mut Fuel,
) -> Equivalence {
    if scale == Scale::One
        && let (Some(gold), Some(answer)) = (gold.rational(), answer.rational())
    {
        return if gold == answer { Equivalence::Equal } else { Equivalence::Different };
    }
    let seed = gold.digest() ^ answer.digest().rotate_left(32);
    let (verdict, faithful) = modular(gold, answer, scale, seed, fuel);
    if let Some(verdict) = verdict {
        if verdict == Equivalence::Equal && !faithful {
            let defined = is_defined(gold, answer, seed, fuel);
            if defined != Equivalence::Equal {
                return defined;
            }
        }
        if verdict != Equivalence::Equal || scale != Scale::Positive {
            return verdict;
        }
        return match signs_agree(gold, answer, seed, fuel) {
            Some(true) => Equivalence::Equal,
            Some(false) => Equivalence::Different,
            None => Equivalence::Undecided,
        };
    }
    if gold.has_symbol() || answer.has_symbol() {
        return at_places(gold, answer, scale, seed, policy, fuel);
    }
    if scale != Scale::One {
        return Equivalence::Undecided;
    }
    constants(gold, answer, policy, fuel)
}

/// Whether what agrees as an expression has a value, on both sides or on neither: equal if so.
fn is_defined(gold: &Form<'_>, answer: &Form<'_>, seed: u64, fuel: &mut Fuel) -> Equivalence {
    let mut unclear = false;
    for index in 0..8 {
        let place = place(gold, answer, seed, index);
        let mut context = Context::new(PRECISIONS[0], fuel);
        let sides = [gold.value(&mut context, place), answer.value(&mut context, place)];
        let troubles = sides.map(|side| side.err());
        match troubles {
            [Some(Trouble::Undefined), Some(Trouble::Undefined)] => {}
            [Some(Trouble::Undefined), _] | [_, Some(Trouble::Undefined)] => {
                return Equivalence::Different;
            }
            [Some(Trouble::Unclear), _] | [_, Some(Trouble::Unclear)] => unclear = true,
            // or too large, or unknown: then nothing speaks against it
            _ => return Equivalence::Equal,
        }
        if !gold.has_symbol() && !answer.has_symbol() {
            break;
        }
    }
    if unclear { Equivalence::Undecided } else { Equivalence::Equal }
}

/// Values modulo primes: `None` where they prove nothing; and whether they are the values of
/// everything, no part being taken for an unknown.
fn modular(
    gold: &Form<'_>,
    answer: &Form<'_>,
    scale: Scale,
    seed: u64,
    fuel: &mut Fuel,
) -> (Option<Equivalence>, bool) {
    let both = |constant| {
        let has =
            |form: &Form<'_>| form.any(|node| matches!(node, Node::Constant(c) if *c == constant));
        has(gold) || has(answer)
    };
    // whether pi and e are algebraically independent is not known
    let independent = !(both(Constant::Pi) && both(Constant::E));
    let mut faithful = true;
    for prime in 0..2 {
        if fuel.burn(4_000).is_err() {
            return (None, false);
        }
        let field = Field::random(random(seed, prime));
        let (mut agreed, mut first) = (0, None);
        for index in 0..8 {
            let point = Point { field: &field, seed: random(seed, 16 + 64 * prime + index) };
            let (g, a) = match (gold.residue(&point, fuel), answer.residue(&point, fuel)) {
                (Ok(g), Ok(a)) => (g, a),
                // a denominator that vanishes at this point, or everywhere
                (Err(Trouble::Undefined), _) | (_, Err(Trouble::Undefined)) => continue,
                _ => return (None, false),
            };
            faithful &= g.1 && a.1;
            let same = match (scale, first) {
                (Scale::One, _) => g.0 == a.0,
                (_, None) => {
                    first = Some((g.0, a.0));
                    (g.0 == 0) == (a.0 == 0)
                }
                (_, Some((g0, a0))) => field.product(g.0, a0) == field.product(a.0, g0),
            };
            if !same {
                return ((independent && faithful).then_some(Equivalence::Different), faithful);
            }
            agreed += 1;
            let enough = if scale == Scale::One { 2 } else { 4 };
            if agreed == enough {
                break;
            }
        }
        if agreed < 2 {
            return (None, false);
        }
    }
    (Some(Equivalence::Equal), faithful)
}

/// Whether two expressions that differ by a factor have the same sign.
fn signs_agree(gold: &Form<'_>, answer: &Form<'_>, seed: u64, fuel: &mut Fuel) -> Option<bool> {
    for index in 0..TRIED {
        let place = place(gold, answer, seed, index);
        let mut context = Context::new(PRECISIONS[0], fuel);
        let sign = |value: Real<Complex>| value.ok().and_then(|value| value.real().ok()?.sign());
        let signs =
            (sign(gold.value(&mut context, place)), sign(answer.value(&mut context, place)));
        if let (Some(g), Some(a)) = signs
            && g.is_ne()
            && a.is_ne()
        {
            return Some(g == a);
        }
    }
    None
}

fn place(gold: &Form<'_>, answer: &Form<'_>, seed: u64, index: u64) -> Place {
    let imaginary = |form: &Form<'_>| form.any(|node| matches!(node, Node::Constant(Constant::I)));
    let symbolic = gold.has_symbol() || answer.has_symbol();
    Place {
        seed,
        index,
        whole: gold.needs_whole() || answer.needs_whole(),
        real: symbolic && !imaginary(gold) && !imaginary(answer),
    }
}

/// What two enclosures say of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meeting {
    Apart,
    Agreed,
    Unclear,
}

fn meeting(difference: &Complex, scale: i64, bits: usize) -> Meeting {
    if difference.excludes_zero() {
        return Meeting::Apart;
    }
    let radius = difference.error().unwrap_or(i64::MIN / 2);
    if radius.max(difference.bound()) <= scale - exponent(bits - GUARD) {
        Meeting::Agreed
    } else {
        Meeting::Unclear
    }
}

/// Size that agreement is measured by: that of the values, or one where they are near zero.
fn scale_of(a: &Complex, b: &Complex) -> i64 {
    if a.excludes_zero() || b.excludes_zero() { a.bound().max(b.bound()) } else { 0 }
}

fn constants(gold: &Form<'_>, answer: &Form<'_>, policy: Policy, fuel: &mut Fuel) -> Equivalence {
    let place = place(gold, answer, 0, 0);
    if let Some(verdict) = told(&met(gold, answer, place, PRECISIONS[0], fuel)) {
        return verdict;
    }
    if let Some(bits) = separation(gold, answer, fuel).filter(|bits| *bits < MAX_PRECISION) {
        let bits = bits as usize;
        // twice, for what the size of the values and the rounding take from the precision
        for precision in [bits + 128, bits + 640] {
            match met(gold, answer, place, precision, fuel) {
                Ok((Meeting::Apart, _)) => return Equivalence::Different,
                Ok((_, difference)) if difference.bound() < -exponent(bits) => {
                    return Equivalence::Equal;
                }
                Ok(_) | Err(Trouble::Unclear) => {}
                Err(_) => break,
            }
        }
    }
    // against a rational number, enough to see what the numbers written down can do
    let precision = if gold.is_rational() || answer.is_rational() {
        (PRECISIONS[1] + reach(gold) + reach(answer)).min(MAX_PRECISION as usize)
    } else {
        PRECISIONS[1]
    };
    let last = met(gold, answer, place, precision, fuel);
    if let Some(verdict) = told(&last) {
        return verdict;
    }
    let proof_needed = policy == Policy::Rl && gold.is_rational();
    match last {
        Ok((Meeting::Agreed, _)) if !proof_needed => Equivalence::Equal,
        _ => Equivalence::Undecided,
    }
}

/// Bits that the numbers in a form may put between it and a value near it, in the usual functions.
fn reach(form: &Form<'_>) -> usize {
    let rationals = form.terms().flat_map(|(_, exact)| exact.rational.iter().flatten());
    rationals
        .map(|value| {
            let (above, below) = (value.numerator().bit_len(), value.denominator().bit_len());
            // of an exponent, and of what is far below one
            let whole = if value.is_int() { whole(value).map_or(0, i64::unsigned_abs) } else { 0 };
            (3 * whole).min(MAX_PRECISION) as usize + 2 * below.saturating_sub(above)
        })
        .max()
        .unwrap_or(0)
}

/// What a meeting proves, if anything.
fn told(met: &Result<(Meeting, Complex), Trouble>) -> Option<Equivalence> {
    match met {
        Ok((Meeting::Apart, _)) | Err(Trouble::Undefined) => Some(Equivalence::Different),
        // whole numbers that floors or squares gave
        Ok((_, difference)) if difference.is_exact_zero() => Some(Equivalence::Equal),
        Ok(_) | Err(Trouble::Unclear) => None,
        Err(Trouble::Spent | Trouble::Foreign) => Some(Equivalence::Undecided),
    }
}

fn met(
    gold: &Form<'_>,
    answer: &Form<'_>,
    place: Place,
    bits: usize,
    fuel: &mut Fuel,
) -> Result<(Meeting, Complex), Trouble> {
    let mut context = Context::new(bits, fuel);
    let g = gold.value(&mut context, place)?;
    let a = answer.value(&mut context, place)?;
    let difference = context.subtract(&g, &a)?;
    Ok((meeting(&difference, scale_of(&g, &a), bits), difference))
}

fn separation(gold: &Form<'_>, answer: &Form<'_>, fuel: &mut Fuel) -> Option<u64> {
    let fields = [Field::random(1), Field::random(2)];
    let is_product = |form: &Form<'_>| form.times_pi || !form.multipliers.is_empty();
    if is_product(gold) || is_product(answer) {
        return None;
    }
    let mut separation = Separation::new();
    for (term, exact) in gold.parts.iter().chain(&answer.parts) {
        let mut names =
            fields.each_ref().map(|field| Point { field, seed: 0 }.names(term, exact, fuel).ok());
        let names = [names[0].take()?, names[1].take()?];
        separation.add(term, exact, &names)?;
    }
    separation.scale(&gold.factor);
    separation.scale(&answer.factor);
    separation.bits()
}

fn at_places(
    gold: &Form<'_>,
    answer: &Form<'_>,
    scale: Scale,
    seed: u64,
    policy: Policy,
    fuel: &mut Fuel,
) -> Equivalence {
    let (mut agreed, mut first, mut one_sided) = (0, None::<(Complex, Complex)>, 0);
    for index in 0..TRIED {
        let place = place(gold, answer, seed, index);
        match met_at(gold, answer, scale, place, &mut first, fuel) {
            Ok(Some(Meeting::Apart)) => return Equivalence::Different,
            Ok(Some(Meeting::Agreed)) => agreed += 1,
            Ok(Some(Meeting::Unclear)) | Err(Trouble::Unclear | Trouble::Undefined) => {}
            Ok(None) => {
                // one side has no value here: for a reward the two are not the same
                if policy == Policy::Rl {
                    return Equivalence::Different;
                }
                one_sided += 1;
            }
            Err(_) => return Equivalence::Undecided,
        }
        let both_signs = index >= 7;
        if agreed >= PLACES && both_signs {
            break;
        }
    }
    if agreed < PLACES || one_sided > agreed {
        return Equivalence::Undecided;
    }
    if policy == Policy::Rl && gold.is_rational() {
        return Equivalence::Undecided;
    }
    Equivalence::Equal
}

/// `Ok(None)` where one side has a value and the other has none.
fn met_at(
    gold: &Form<'_>,
    answer: &Form<'_>,
    scale: Scale,
    place: Place,
    first: &mut Option<(Complex, Complex)>,
    fuel: &mut Fuel,
) -> Result<Option<Meeting>, Trouble> {
    let bits = PRECISIONS[usize::from(place.index == 0)];
    let mut context = Context::new(bits, fuel);
    let g = gold.value(&mut context, place);
    let a = answer.value(&mut context, place);
    let (g, a) = match (g, a) {
        (Ok(g), Ok(a)) => (g, a),
        (Err(Trouble::Undefined), Ok(_)) | (Ok(_), Err(Trouble::Undefined)) => return Ok(None),
        (Err(trouble), _) | (_, Err(trouble)) => return Err(trouble),
    };
    if scale == Scale::One {
        let difference = context.subtract(&g, &a)?;
        return Ok(Some(meeting(&difference, scale_of(&g, &a), bits)));
    }
    let Some((g0, a0)) = first else {
        if !g.excludes_zero() || !a.excludes_zero() {
            return Err(Trouble::Unclear);
        }
        let opposite = match (g.real(), a.real()) {
            (Ok(g), Ok(a)) => g.sign() != a.sign(),
            _ => true,
        };
        if scale == Scale::Positive && opposite {
            return Ok(Some(Meeting::Apart));
        }
        *first = Some((g, a));
        return Ok(Some(Meeting::Agreed));
    };
    let (left, right) = (context.multiply(&g, a0)?, context.multiply(&a, g0)?);
    let difference = context.subtract(&left, &right)?;
    Ok(Some(meeting(&difference, scale_of(&left, &right), bits)))
}

/// The order of two real constants; `None` where it is not known.
pub(super) fn order(a: &Form<'_>, b: &Form<'_>, fuel: &mut Fuel) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (a.rational(), b.rational()) {
        return Some(a.cmp(&b));
    }
    let place = Place { seed: 0, index: 0, whole: false, real: true };
    let mut context = Context::new(PRECISIONS[0], fuel);
    let left = a.value(&mut context, place).ok()?;
    let right = b.value(&mut context, place).ok()?;
    match context.order(left.real().ok()?, right.real().ok()?).ok()? {
        Some(order) => Some(order),
        None => match same(a, b, Scale::One, Policy::Eval, fuel) {
            Equivalence::Equal => Some(Ordering::Equal),
            _ => None,
        },
    }
}

/// The real number that a constant is, to the first precision.
pub(super) fn approximate(form: &Form<'_>, fuel: &mut Fuel) -> Option<Ball> {
    let place = Place { seed: 0, index: 0, whole: false, real: true };
    let mut context = Context::new(PRECISIONS[0], fuel);
    let value = form.value(&mut context, place).ok()?;
    value.real().ok().cloned()
}

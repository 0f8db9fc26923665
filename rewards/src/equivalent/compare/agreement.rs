//! Constants by enclosures as fine as their separation bound asks, and agreement without a proof.

use dashu_base::BitTest;

use super::{
    super::tree::{Constant, Function, Node},
    arithmetic::whole,
    ball::{Context, exponent},
    complex::Complex,
    field::Field,
    form::Form,
    fuel::{Fuel, Trouble},
    modular::Point,
    place::{PLACES, Place, Survey},
    scalar::Scale,
    separation::Separation,
};
use crate::{Equivalence, Strictness};

/// Working precisions: the first tells most numbers apart, the second decides what the first
/// cannot.
pub(super) const PRECISIONS: [usize; 2] = [256, 1024];

/// Bits of a precision that agreement need not have.
const GUARD: usize = 56;

/// Precision beyond which no separation bound is followed.
const MAX_PRECISION: u64 = 12_000;

/// Precision beyond which no series is summed.
const MAX_SERIES: u64 = 6_000;

/// At how many places expressions in symbols have to agree, at least.
const ENOUGH: usize = 5;

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

pub(super) fn constants(
    gold: &Form<'_>,
    answer: &Form<'_>,
    place: Place<'_>,
    strictness: Strictness,
    fuel: &mut Fuel,
) -> Equivalence {
    let mut least = 0;
    if let Some(verdict) = told(&met(gold, answer, place, PRECISIONS[0], &mut least, fuel)) {
        return verdict;
    }
    if let Some(bits) = separation(gold, answer, fuel).filter(|bits| *bits < MAX_PRECISION) {
        let bits = bits as usize;
        // twice, for what the size of the values and the rounding take from the precision
        for precision in [bits + 128, bits + 640] {
            match met(gold, answer, place, precision, &mut least, fuel) {
                Ok((Meeting::Apart, _)) => return Equivalence::Different,
                Ok((_, difference)) if difference.bound() < -exponent(bits) => {
                    return Equivalence::Equal;
                }
                Ok(_) | Err(Trouble::Unclear) => {}
                Err(_) => break,
            }
        }
    }
    let Some(precision) = fine_enough(gold, answer, least) else { return Equivalence::Undecided };
    let last = met(gold, answer, place, precision, &mut least, fuel);
    if let Some(verdict) = told(&last) {
        return verdict;
    }
    // something smaller may have come to sight only now
    if fine_enough(gold, answer, least).is_none_or(|needed| needed > precision) {
        return Equivalence::Undecided;
    }
    let proof_needed = strictness == Strictness::Rl && gold.is_rational();
    match last {
        Ok((Meeting::Agreed, _)) if !proof_needed => Equivalence::Equal,
        _ => Equivalence::Undecided,
    }
}

/// A precision at which a small part of a value still shows, the smallest met being `2^least`, its
/// square too; `None` where that is beyond every precision.
fn fine_enough(gold: &Form<'_>, answer: &Form<'_>, least: i64) -> Option<usize> {
    let small = 2 * least.unsigned_abs();
    let precision = PRECISIONS[1] as u64 + small.max(reach(gold)).max(reach(answer));
    let series = |form: &Form<'_>| {
        form.any(|node| {
            matches!(
                node,
                Node::Apply(..) | Node::Log { .. } | Node::Constant(Constant::Pi | Constant::E)
            )
        })
    };
    // a series costs more by the square than a root does
    let limit = if series(gold) || series(answer) { MAX_SERIES } else { 2 * MAX_PRECISION };
    (precision <= limit).then_some(precision as usize)
}

/// Bits that the numbers written down may put between a value and one near it: those of a fraction
/// by its denominator, those in an exponent by their size.
fn reach(form: &Form<'_>) -> u64 {
    let grows = form.any(|node| {
        matches!(
            node,
            Node::Apply(Function::Exp | Function::Sinh | Function::Cosh | Function::Tanh, _)
        ) || matches!(node, Node::Constant(Constant::E))
    });
    let rationals = form.terms().flat_map(|(_, exact)| exact.rational.iter().flatten());
    rationals
        .map(|value| {
            let size = whole(value).map_or(0, i64::unsigned_abs);
            let size = if grows && size <= MAX_PRECISION / 4 { 3 * size } else { 0 };
            let below = value.denominator().bit_len() as u64;
            size + 2 * if below > 64 { below } else { 0 }
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
    place: Place<'_>,
    bits: usize,
    least: &mut i64,
    fuel: &mut Fuel,
) -> Result<(Meeting, Complex), Trouble> {
    let mut context = Context::new(bits, fuel);
    let sides = (gold.value(&mut context, place), answer.value(&mut context, place));
    *least = (*least).min(context.least);
    let (g, a) = (sides.0?, sides.1?);
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

pub(super) fn at_places(
    gold: &Form<'_>,
    answer: &Form<'_>,
    scale: Scale,
    survey: &Survey<'_>,
    strictness: Strictness,
    fuel: &mut Fuel,
) -> Equivalence {
    let mut visit = Visit { scale, bits: PRECISIONS[0], least: 0, first: None };
    let (mut agreed, mut one_sided) = (Vec::new(), 0);
    for index in 0..PLACES {
        match visit.meet(gold, answer, survey.place(index), fuel) {
            Ok(Some(Meeting::Apart)) => return Equivalence::Different,
            Ok(Some(Meeting::Agreed)) => agreed.push(index),
            Ok(Some(Meeting::Unclear)) | Err(Trouble::Unclear | Trouble::Undefined) => {}
            Ok(None) => {
                // one side has no value here: for a reward the two are not the same
                if strictness == Strictness::Rl {
                    return Equivalence::Different;
                }
                one_sided += 1;
            }
            Err(_) => return Equivalence::Undecided,
        }
        if agreed.len() >= ENOUGH && index + 1 >= survey.needed {
            break;
        }
    }
    if agreed.len() < ENOUGH || one_sided > agreed.len() {
        return Equivalence::Undecided;
    }
    // The places miss the edges of a step: `\lfloor x \rfloor + 1` and `\lceil x \rceil` differ at
    // whole numbers only. And there are few small whole numbers: `n!` and the polynomial through
    // its first values agree on all of them.
    let unproved = survey.is_whole() || gold.has_steps() || answer.has_steps();
    if strictness == Strictness::Rl && (gold.is_rational() || unproved) {
        return Equivalence::Undecided;
    }
    // once more, at a precision at which the smallest part of this place shows
    let mut probe = Visit { scale, bits: PRECISIONS[0], least: 0, first: None };
    let _ = probe.meet(gold, answer, survey.place(agreed[0]), fuel);
    let Some(bits) = fine_enough(gold, answer, probe.least) else { return Equivalence::Undecided };
    let mut visit = Visit { scale, bits, least: 0, first: None };
    for &index in &agreed[..if scale == Scale::One { 1 } else { 2 }] {
        match visit.meet(gold, answer, survey.place(index), fuel) {
            Ok(Some(Meeting::Agreed)) => {}
            Ok(Some(Meeting::Apart)) => return Equivalence::Different,
            _ => return Equivalence::Undecided,
        }
    }
    match fine_enough(gold, answer, visit.least) {
        Some(needed) if needed <= bits || scale != Scale::One => Equivalence::Equal,
        _ => Equivalence::Undecided,
    }
}

/// Two expressions at one place after another.
#[derive(Debug)]
struct Visit {
    scale: Scale,
    bits: usize,
    /// Size of the smallest value met, as an exponent of two.
    least: i64,
    /// The values at the first place, whose quotient is the factor.
    first: Option<(Complex, Complex)>,
}

impl Visit {
    /// `Ok(None)` where one side has a value and the other has none.
    fn meet(
        &mut self,
        gold: &Form<'_>,
        answer: &Form<'_>,
        place: Place<'_>,
        fuel: &mut Fuel,
    ) -> Result<Option<Meeting>, Trouble> {
        let bits = self.bits;
        let mut context = Context::new(bits, fuel);
        let sides = (gold.value(&mut context, place), answer.value(&mut context, place));
        self.least = self.least.min(context.least);
        let (g, a) = match sides {
            (Ok(g), Ok(a)) => (g, a),
            (Err(Trouble::Undefined), Ok(_)) | (Ok(_), Err(Trouble::Undefined)) => {
                return if context.outside { Err(Trouble::Unclear) } else { Ok(None) };
            }
            (Err(trouble), _) | (_, Err(trouble)) => return Err(trouble),
        };
        if self.scale == Scale::One {
            let difference = context.subtract(&g, &a)?;
            return Ok(Some(meeting(&difference, scale_of(&g, &a), bits)));
        }
        let Some((g0, a0)) = &self.first else {
            if !g.excludes_zero() || !a.excludes_zero() {
                return Err(Trouble::Unclear);
            }
            let opposite = match (g.real(), a.real()) {
                (Ok(g), Ok(a)) => g.sign() != a.sign(),
                _ => true,
            };
            if self.scale == Scale::Positive && opposite {
                return Ok(Some(Meeting::Apart));
            }
            self.first = Some((g, a));
            return Ok(Some(Meeting::Agreed));
        };
        let (left, right) = (context.multiply(&g, a0)?, context.multiply(&a, g0)?);
        let difference = context.subtract(&left, &right)?;
        Ok(Some(meeting(&difference, scale_of(&left, &right), bits)))
    }
}

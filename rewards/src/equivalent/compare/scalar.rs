//! Whether two values, or two expressions in symbols, are the same.
//!
//! In this order, and the first that can tell decides: exact rational values, values modulo primes,
//! for algebraic constants enclosures as fine as their separation bound asks, and last agreement
//! to 960 bits, where there are symbols at one place to that and at others to 200.

use std::cmp::Ordering;

use dashu_ratio::RBig;

use super::{
    super::tree::{Constant, Node},
    agreement::{PRECISIONS, at_places, constants},
    arithmetic::size,
    ball::{Ball, Context, Real},
    complex::Complex,
    field::Field,
    form::{Form, VAST_BITS},
    fuel::{Fuel, Trouble},
    modular::{Point, random},
    place::{PLACES, Place, Survey},
};
use crate::{Equivalence, Strictness};

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
    strictness: Strictness,
    fuel: &mut Fuel,
) -> Equivalence {
    if scale == Scale::One
        && let (Some(gold), Some(answer)) = (gold.rational(), answer.rational())
    {
        return if gold == answer { Equivalence::Equal } else { Equivalence::Different };
    }
    let differs_in_size = |vast: &Form<'_>, other: &Form<'_>| {
        let is_less = |value: RBig| size(&value) < VAST_BITS;
        vast.is_vast() && other.rational().is_some_and(is_less)
    };
    if scale == Scale::One && (differs_in_size(gold, answer) || differs_in_size(answer, gold)) {
        return Equivalence::Different;
    }
    // the same seed from either side
    let seed = random(gold.digest(), 1).wrapping_add(random(answer.digest(), 1));
    let survey = Survey::of(gold, answer, seed);
    let (verdict, faithful) = modular(gold, answer, scale, seed, fuel);
    if let Some(verdict) = verdict {
        if verdict == Equivalence::Equal && !faithful {
            let defined = is_defined(gold, answer, &survey, fuel);
            if defined != Equivalence::Equal {
                return defined;
            }
        }
        if verdict != Equivalence::Equal || scale != Scale::Positive {
            return verdict;
        }
        return match signs_agree(gold, answer, &survey, fuel) {
            Some(true) => Equivalence::Equal,
            Some(false) => Equivalence::Different,
            None => Equivalence::Undecided,
        };
    }
    if gold.has_symbol() || answer.has_symbol() {
        return at_places(gold, answer, scale, &survey, strictness, fuel);
    }
    if scale != Scale::One {
        return Equivalence::Undecided;
    }
    constants(gold, answer, survey.place(0), strictness, fuel)
}

/// Whether what agrees as an expression has a value, on both sides or on neither: equal if so.
fn is_defined(
    gold: &Form<'_>,
    answer: &Form<'_>,
    survey: &Survey<'_>,
    fuel: &mut Fuel,
) -> Equivalence {
    let mut unclear = false;
    for index in 0..8 {
        let place = survey.place(index);
        let mut context = Context::new(PRECISIONS[0], fuel);
        let sides = [gold.value(&mut context, place), answer.value(&mut context, place)];
        let outside = context.outside;
        let troubles = sides.map(Result::err);
        match troubles {
            [Some(Trouble::Undefined), Some(Trouble::Undefined)] => {}
            [Some(Trouble::Undefined), None] | [None, Some(Trouble::Undefined)] if outside => {}
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
fn signs_agree(
    gold: &Form<'_>,
    answer: &Form<'_>,
    survey: &Survey<'_>,
    fuel: &mut Fuel,
) -> Option<bool> {
    for index in 0..PLACES {
        let place = survey.place(index);
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

/// A real constant whose value is asked for more than once.
#[derive(Debug)]
pub(super) struct Known<'tree> {
    form: Form<'tree>,
    rational: Option<RBig>,
    /// To the first precision.
    value: Option<Ball>,
}

impl<'tree> Known<'tree> {
    pub(super) fn of(form: Form<'tree>, fuel: &mut Fuel) -> Self {
        let rational = form.rational();
        let value = approximate(&form, fuel);
        Self { form, rational, value }
    }
}

/// The order of two real constants; `None` where it is not known.
pub(super) fn order(a: &Known<'_>, b: &Known<'_>, fuel: &mut Fuel) -> Option<Ordering> {
    fuel.burn(8).ok()?;
    if let (Some(a), Some(b)) = (&a.rational, &b.rational) {
        return Some(a.cmp(b));
    }
    let mut context = Context::new(PRECISIONS[0], fuel);
    match context.order(a.value.as_ref()?, b.value.as_ref()?).ok()? {
        Some(order) => Some(order),
        None => match same(&a.form, &b.form, Scale::One, Strictness::Eval, fuel) {
            Equivalence::Equal => Some(Ordering::Equal),
            _ => None,
        },
    }
}

/// The real number that a constant is, to the first precision.
pub(super) fn approximate(form: &Form<'_>, fuel: &mut Fuel) -> Option<Ball> {
    let place = Place::without_symbols();
    let mut context = Context::new(PRECISIONS[0], fuel);
    let value = form.value(&mut context, place).ok()?;
    value.real().ok().cloned()
}

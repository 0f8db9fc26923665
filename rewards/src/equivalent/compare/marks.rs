//! What stands around a value and is no part of it, or is one only under one strictness: percent
//! signs, degrees, units, currency; and decimals that stand for what they round.

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::{
    super::tree::{Id, Node, Tree},
    super::units::Unit,
    Judge,
    ball::is_negative,
    coverage,
    form::Form,
    scalar::{Scale, approximate, same},
    structure::Item,
};
use crate::{Equivalence, Strictness};

/// The marks around a value.
#[derive(Debug, Clone, Copy, Default)]
struct Marks<'tree> {
    percent: bool,
    degrees: bool,
    unit: Option<&'tree Unit>,
}

impl Marks<'_> {
    fn has_radians(self) -> bool {
        self.unit.is_some_and(Unit::is_radian)
    }

    /// Whether a gold and an answer carry marks, and marks of different kinds. Degrees and radians
    /// are one kind. Of a temperature the answer may leave the scale out, but a gold in degrees is
    /// an angle.
    fn contradicts(self, other: Self) -> bool {
        let is_marked = |marks: Self| marks.percent || marks.degrees || marks.unit.is_some();
        let is_angle = |marks: Self| marks.degrees || marks.has_radians();
        let is_temperature = |marks: Self| marks.unit.is_some_and(Unit::is_temperature);
        let degrees = other.degrees && is_temperature(self);
        is_marked(self)
            && is_marked(other)
            && (self.percent != other.percent || is_angle(self) != is_angle(other) && !degrees)
    }
}

/// Takes the marks off.
fn unmarked(tree: &Tree, mut id: Id) -> (Id, Marks<'_>) {
    let mut marks = Marks::default();
    loop {
        id = match tree.node(id) {
            Node::Percent(of) if !marks.percent => {
                marks.percent = true;
                *of
            }
            Node::Degrees(of) if !marks.degrees => {
                marks.degrees = true;
                *of
            }
            Node::Unit(of, unit) if marks.unit.is_none() => {
                marks.unit = Some(unit);
                *of
            }
            _ => return (id, marks),
        };
    }
}

/// Whether two numbers leave the same rest, where both are said to modulo the same number.
fn congruent(judge: &Judge<'_>, gold: Id, answer: Id, unit: &Unit) -> Option<bool> {
    let modulus: IBig = unit.as_modulus()?.parse().ok()?;
    let whole = |tree: &Tree, id: Id| match tree.node(id) {
        Node::Number { value, .. } if value.is_int() => Some(value.numerator().clone()),
        _ => None,
    };
    let difference = whole(judge.gold, gold)? - whole(judge.answer, answer)?;
    (!modulus.is_zero()).then(|| (difference % modulus).is_zero())
}

/// A measure in the unit of its first part, and that unit; no value where it is not rational.
fn measure<'tree>(
    judge: &mut Judge<'tree>,
    tree: &'tree Tree,
    id: Id,
) -> Option<(&'tree Unit, Option<RBig>)> {
    let parts = match tree.node(id) {
        Node::Compound(parts) => parts.clone(),
        _ => vec![id],
    };
    let (mut first, mut sum) = (None, Some(RBig::ZERO));
    for part in parts {
        let (of, marks) = unmarked(tree, part);
        if marks.percent || marks.degrees {
            return None;
        }
        let unit = marks.unit?;
        let size = unit.conversion(first.get_or_insert(unit))?;
        let value = Form::new(tree, of, None, 0, &mut judge.fuel).rational();
        sum = sum.zip(value).map(|(sum, value)| sum + value * size);
    }
    Some((first?, sum))
}

/// Whether a unit stands anywhere in an answer.
pub(super) fn has_units(tree: &Tree) -> bool {
    tree.nodes.iter().any(|node| matches!(node, Node::Unit(..)))
}

/// The units in a part of an answer, each once.
pub(super) fn units(tree: &Tree, root: Id) -> Vec<&Unit> {
    let mut wanted = vec![false; root as usize + 1];
    wanted[root as usize] = true;
    let mut found: Vec<&Unit> = Vec::new();
    for id in (0..=root).rev() {
        if wanted[id as usize] {
            let node = tree.node(id);
            node.for_each_child(|child| wanted[child as usize] = true);
            if let Node::Unit(_, unit) = node
                && !holds(&found, unit)
            {
                found.push(unit);
            }
        }
    }
    found
}

/// Whether a unit of the same dimension and size is among others.
fn holds(units: &[&Unit], unit: &Unit) -> bool {
    units.iter().any(|known| known.conversion(unit) == Some(RBig::ONE))
}

impl Judge<'_> {
    /// Compares where one side is a measure in several units: a number without a unit is none.
    pub(super) fn measures(&mut self, gold: Id, answer: Id, nesting: u32) -> Equivalence {
        // a list says how it is to be read only where it names its units
        let marked =
            |tree: &Tree, of: &[Id]| of.iter().all(|&id| matches!(tree.node(id), Node::Unit(..)));
        match (self.gold.node(gold), self.answer.node(answer)) {
            (Node::Compound(gold), Node::List(answer)) if marked(self.answer, answer) => {
                return self.in_order(gold, answer, nesting);
            }
            (Node::List(gold), Node::Compound(answer)) if marked(self.gold, gold) => {
                return self.in_order(gold, answer, nesting);
            }
            _ => {}
        }
        let (Some((unit, one)), Some((other, two))) =
            (measure(self, self.gold, gold), measure(self, self.answer, answer))
        else {
            return Equivalence::Different;
        };
        match (other.conversion(unit), one, two) {
            (Some(size), Some(one), Some(two)) if one == &two * &size => Equivalence::Equal,
            (None, ..) | (_, Some(_), Some(_)) => Equivalence::Different,
            _ => Equivalence::Undecided,
        }
    }

    /// Whether the units of two parts are those of one and the same measure, so that their numbers
    /// alone may be compared: the same ones, or some on one side only. What the answer adds has to
    /// be one known unit, on every value.
    pub(super) fn units_agree(&mut self, gold: Id, answer: Id) -> bool {
        if !self.has_units {
            return true;
        }
        if self.fuel.burn(10 * u64::from(gold + answer)).is_err() {
            return false;
        }
        let (gold, found) = (units(self.gold, gold), units(self.answer, answer));
        match (&gold[..], &found[..]) {
            (_, []) => true,
            ([], [unit]) => {
                unit.may_be_added(self.strictness)
                    && coverage::is_complete(self.answer, answer, self.strictness)
            }
            ([], _) => false,
            _ => gold.len() == found.len() && found.iter().all(|unit| holds(&gold, unit)),
        }
    }

    /// Whether an answer to a gold without units has none, or one on the whole of it.
    pub(super) fn units_fit(&mut self) -> bool {
        let (gold, answer) = (self.gold.root(), self.answer.root());
        has_units(self.gold) || self.units_agree(gold, answer)
    }
}

/// Compares two values as strictly as is asked.
pub(super) fn compare(judge: &mut Judge<'_>, gold: Item, answer: Item) -> Equivalence {
    let (gold_id, gold_marks) = unmarked(judge.gold, gold.id);
    let (answer_id, answer_marks) = unmarked(judge.answer, answer.id);
    if let (Node::Number { value: gold, .. }, Node::Number { value: answer, .. }) =
        (judge.gold.node(gold_id), judge.answer.node(answer_id))
        && gold == answer
        && (gold_marks.percent == answer_marks.percent)
        && gold_marks.unit == answer_marks.unit
    {
        return Equivalence::Equal;
    }
    let factor = match (gold_marks.unit, answer_marks.unit) {
        (Some(gold), Some(answer)) => match answer.conversion(gold) {
            Some(factor) => factor,
            None => return Equivalence::Different,
        },
        (None, Some(unit)) if !unit.may_be_added(judge.strictness) => {
            return Equivalence::Different;
        }
        _ => RBig::ONE,
    };
    if let (Some(unit), true) = (gold_marks.unit, gold_marks.unit == answer_marks.unit)
        && let Some(congruent) = congruent(judge, gold_id, answer_id, unit)
    {
        return if congruent { Equivalence::Equal } else { Equivalence::Different };
    }
    if gold_marks.contradicts(answer_marks) {
        return Equivalence::Different;
    }
    let inner = (Item { id: gold_id, ..gold }, Item { id: answer_id, ..answer });
    let straight = values(judge, inner.0, inner.1, &factor, gold_marks, answer_marks);
    // where only one carries a percent sign, it is a hundredth, or its number by the strictness
    let (gold_percent, answer_percent) = (gold_marks.percent, answer_marks.percent);
    if gold_percent == answer_percent {
        return straight;
    }
    let lenient = gold_percent || judge.strictness == Strictness::Eval;
    if straight == Equivalence::Equal && lenient {
        return straight;
    }
    let hundredth = RBig::from_parts(IBig::ONE, UBig::from(100u8));
    let factor = if answer_percent { factor * hundredth } else { factor * IBig::from(100) };
    values(judge, inner.0, inner.1, &factor, Marks::default(), Marks::default())
}

/// Compares two values without marks, the answer's times `factor`.
fn values(
    judge: &mut Judge<'_>,
    gold: Item,
    answer: Item,
    factor: &RBig,
    gold_marks: Marks<'_>,
    answer_marks: Marks<'_>,
) -> Equivalence {
    let fuel = &mut judge.fuel;
    let form = |tree, item: Item, as_angle, fuel: &mut _| {
        Form::with_angle(tree, item.id, None, item.signs.unwrap_or(0), as_angle, fuel)
    };
    let mut left = form(judge.gold, gold, false, fuel);
    let mut right = form(judge.answer, answer, false, fuel);
    right.scale(factor);
    if gold_marks.degrees && answer_marks.has_radians()
        || answer_marks.degrees && gold_marks.has_radians()
    {
        let marked = if gold_marks.degrees { &mut left } else { &mut right };
        marked.scale(&RBig::from_parts(IBig::ONE, UBig::from(180u8)));
        marked.multiply_by_pi();
        return same(&left, &right, Scale::One, judge.strictness, fuel);
    }
    let verdict = same(&left, &right, Scale::One, judge.strictness, fuel);
    if verdict != Equivalence::Different {
        return verdict;
    }
    if gold_marks.degrees != answer_marks.degrees {
        let radians = RBig::from_parts(IBig::ONE, UBig::from(180u8));
        let (bare, marked) =
            if gold_marks.degrees { (&right, &mut left) } else { (&left, &mut right) };
        if bare.has_pi() || bare.is_angle() {
            marked.scale(&radians);
            marked.multiply_by_pi();
            return same(&left, &right, Scale::One, judge.strictness, fuel);
        }
    }
    if judge.strictness == Strictness::Eval && factor.is_one() && is_rounded(judge, gold, answer) {
        return Equivalence::Equal;
    }
    verdict
}

/// A decimal, with its number of digits after the point.
fn decimal(tree: &Tree, item: Item) -> Option<(RBig, u32)> {
    let (id, negative) = match tree.node(item.id) {
        Node::Negated(of) => (*of, true),
        Node::PlusMinus(of) => (*of, item.signs? & 1 == 1),
        _ => (item.id, false),
    };
    match tree.node(id) {
        Node::Number { value, places: Some(places) } if *places > 0 && *places < 400 => {
            Some((if negative { -value.clone() } else { value.clone() }, *places))
        }
        _ => None,
    }
}

/// Whether one side is a decimal that rounds the other: the answer a gold that is no rational
/// number, or either side any number by a decimal of the length in which programs print theirs.
fn is_rounded(judge: &mut Judge<'_>, gold: Item, answer: Item) -> bool {
    let (as_gold, as_answer) = (decimal(judge.gold, gold), decimal(judge.answer, answer));
    let ((value, places), tree, other, is_answer) = match (as_gold, as_answer) {
        (None, Some(decimal)) => (decimal, judge.gold, gold, true),
        (Some(decimal), None) => (decimal, judge.answer, answer, false),
        _ => return false,
    };
    let form = Form::new(tree, other.id, None, other.signs.unwrap_or(0), &mut judge.fuel);
    if form.has_symbol() {
        return false;
    }
    let unit = RBig::from_parts(IBig::ONE, UBig::from(10u8).pow(places as usize));
    let digits = digits(&(&value / &unit));
    let printed = (15..=17).contains(&digits);
    let exact = form.rational();
    let stands = match &exact {
        // a number that ends is written out, or wrong
        Some(exact) => printed && !terminates(exact),
        None => printed || (is_answer && digits >= 4),
    };
    if !stands {
        return false;
    }
    let error = match exact {
        Some(exact) => Some(exact - &value),
        None => {
            approximate(&form, &mut judge.fuel).and_then(|ball| midpoint(&ball)).map(|x| x - &value)
        }
    };
    let Some(error) = error else { return false };
    let size = if is_negative(&error) { -error } else { error };
    let tolerance = if printed { unit } else { unit / IBig::from(2) };
    size <= tolerance
}

/// The midpoint of a fine enclosure of moderate size.
fn midpoint(ball: &super::ball::Ball) -> Option<RBig> {
    if ball.top() > 400 || ball.exponent < -2_000 || ball.error.is_some_and(|error| error > -100) {
        return None;
    }
    let mantissa = RBig::from(ball.mantissa.clone());
    let power = UBig::ONE << ball.exponent.unsigned_abs() as usize;
    Some(if ball.exponent < 0 { mantissa / power } else { mantissa * power })
}

/// How many digits a whole number has.
fn digits(value: &RBig) -> usize {
    let magnitude = dashu_base::UnsignedAbs::unsigned_abs(value.numerator().clone());
    if magnitude.is_zero() { 1 } else { magnitude.ilog(&UBig::from(10u8)) + 1 }
}

/// Whether a rational number has a decimal expansion that ends.
fn terminates(value: &RBig) -> bool {
    let mut rest = value.denominator().clone();
    for prime in [2u8, 5] {
        rest.remove(&UBig::from(prime));
    }
    rest.is_one()
}

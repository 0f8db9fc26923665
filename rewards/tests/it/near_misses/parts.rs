//! Changes of one thing in an answer of known parts, which count where they change what the answer
//! means.
#![expect(clippy::unnecessary_wraps, reason = "all changes have one type")]

use dashu_ratio::RBig;

use super::Draw;
use super::built::{Answer, Number, Shape, UNITS, Unit, fresh_number, value_of};

/// Changes one thing of an answer; `None` where it has no such thing.
pub(super) type Change = fn(&mut Answer, &mut Draw) -> Option<()>;

/// The kinds of changes, each with the number of rows that it has to make at least.
pub(super) const CHANGES: [(&str, Change, usize); 15] = [
    ("another value of a part", a_value, 300),
    ("another sign of a part", a_sign, 300),
    ("an inverse of a part", an_inverse, 300),
    ("a factorial of a part", a_factorial, 300),
    ("a thousandfold part", a_thousandfold, 300),
    ("a percent sign at a part", a_percent_sign, 300),
    ("another order of parts", an_order, 300),
    ("a part less", a_part_less, 300),
    ("a part twice", a_part_twice, 300),
    ("another bracket of an interval", a_bracket, 300),
    ("another unit of one dimension", a_unit, 300),
    ("a unit of another dimension", a_dimension, 300),
    ("a prefix in another case", a_case, 300),
    ("another power of a unit", a_power, 300),
    ("a unit on one part only", a_unit_on_one, 300),
];

/// A text as one factor.
fn closed(text: &str) -> String {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.to_owned()
    } else {
        format!(r"\left({text}\right)")
    }
}

fn a_value(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    answer.part(draw).number = fresh_number(draw);
    Some(())
}

fn a_sign(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let part = answer.part(draw);
    let Number { answer: text, value, .. } = part.number.clone();
    let positive = text.strip_prefix('-').filter(|rest| value_of(rest).is_some());
    let plain = value_of(&text).is_some();
    let changed = match positive {
        Some(positive) => positive.to_owned(),
        None if plain => format!("-{text}"),
        None => format!("-{}", closed(&text)),
    };
    part.set(changed, -value)
}

fn an_inverse(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let part = answer.part(draw);
    let Number { answer: text, value, .. } = part.number.clone();
    part.set(format!(r"\frac{{1}}{{{text}}}"), RBig::ONE / value)
}

fn a_factorial(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let part = answer.part(draw);
    let Number { answer: text, value, .. } = part.number.clone();
    let factors = (1..=20u64).find(|whole| value == RBig::from(*whole))?;
    part.set(format!("{}!", closed(&text)), RBig::from((1..=factors).product::<u64>()))
}

fn a_thousandfold(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let part = answer.part(draw);
    let Number { answer: text, value, .. } = part.number.clone();
    let thousand = RBig::from(1000);
    if draw.below(2) == 0 {
        return part.set(format!(r"\frac{{{text}}}{{1000}}"), value / thousand);
    }
    let whole = text.bytes().all(|byte| byte.is_ascii_digit());
    let changed =
        if whole { format!("{text}000") } else { format!(r"1000 \cdot {}", closed(&text)) };
    part.set(changed, value * thousand)
}

fn a_percent_sign(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let part = answer.part(draw);
    let Number { answer: text, value, .. } = part.number.clone();
    part.unit.is_none().then_some(())?;
    let plain = value_of(&text).is_some();
    let text = if plain { text } else { closed(&text) };
    part.set(format!(r"{text}\%"), value / RBig::from(100))
}

/// Units go along, but names do not.
fn an_order(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let count = answer.parts.len();
    let (one, other) = (draw.below(count), draw.below(count));
    answer.parts.swap(one, other);
    (count > 1).then_some(())
}

fn a_part_less(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let at = draw.below(answer.parts.len());
    answer.parts.remove(at);
    (!answer.parts.is_empty()).then_some(())
}

fn a_part_twice(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let part = answer.part(draw).clone();
    *answer.part(draw) = part;
    Some(())
}

fn a_bracket(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let Shape { open, close, sizes, .. } = &mut answer.shape;
    if sizes.1 > 2 {
        return None;
    }
    if draw.below(2) == 0 {
        *open = match *open {
            "(" => "[",
            "[" => "(",
            r"\left(" => r"\left[",
            r"\left[" => r"\left(",
            _ => return None,
        };
    } else {
        *close = match *close {
            ")" => "]",
            "]" => ")",
            r"\right)" => r"\right]",
            r"\right]" => r"\right)",
            _ => return None,
        };
    }
    Some(())
}

fn exchange(answer: &mut Answer, draw: &mut Draw, fits: fn(Unit, Unit) -> bool) -> Option<()> {
    let part = answer.part(draw);
    let (old, power) = part.unit?;
    let others: Vec<_> = UNITS.into_iter().filter(|new| fits(old, *new)).collect();
    (!others.is_empty()).then(|| part.unit = Some((draw.of(&others), power)))
}

fn a_unit(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    exchange(answer, draw, |old, new| (old.2, old.3) == (new.2, new.3) && old.1 != new.1)
}

fn a_dimension(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    exchange(answer, draw, |old, new| (old.2, old.3) != (new.2, new.3))
}

fn a_case(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    exchange(answer, draw, |old, new| old.0 != new.0 && old.0.eq_ignore_ascii_case(new.0))
}

fn a_power(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let part = answer.part(draw);
    let (unit, _) = part.unit?;
    part.unit = Some((unit, draw.of(&[1, 2, 3])));
    Some(())
}

/// On every part it would be that of the whole, which a gold without units accepts.
fn a_unit_on_one(answer: &mut Answer, draw: &mut Draw) -> Option<()> {
    let bare = answer.parts.iter().all(|part| part.unit.is_none());
    (bare && answer.parts.len() > 1).then_some(())?;
    answer.part(draw).unit = Some((draw.of(&UNITS), 1));
    Some(())
}

/// A gold, an answer that has to be accepted for it, and the answer with a change that makes it
/// another.
pub(super) struct Changed {
    pub(super) gold: String,
    pub(super) answer: String,
    pub(super) wrong: String,
}

pub(super) fn changed(change: Change, numbers: &[Number], draw: &mut Draw) -> Option<Changed> {
    let before = Answer::new(numbers, draw);
    before.is_certain().then_some(())?;
    let mut behind = before.clone();
    change(&mut behind, draw)?;
    (before.meaning() != behind.meaning()).then(|| Changed {
        gold: Answer { font: (r" \text{ ", "}"), ..before.clone() }.text(|number| &number.gold),
        answer: before.text(|number| &number.answer),
        wrong: behind.text(|number| &number.answer),
    })
}

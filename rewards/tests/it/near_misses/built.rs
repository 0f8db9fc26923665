//! Answers built of known numbers: lists, tuples, points, intervals and measures. What an answer
//! means is computed along with its text.

use dashu_ratio::RBig;

use super::{Draw, Pair, tables};

/// A number, as a gold and an accepted answer write it.
#[derive(Debug, Clone)]
pub(super) struct Number {
    pub(super) gold: String,
    pub(super) answer: String,
    pub(super) value: RBig,
}

/// The pairs of the tables whose gold is a plain number, and whose answer may stand in a larger
/// one.
pub(super) fn numbers(pairs: &[Pair]) -> Vec<Number> {
    let usable = pairs.iter().filter(|pair| {
        tables::is_value(&pair.answer) && !tables::is_marked(pair) && pair.gold.len() < 10
    });
    let known = usable.filter_map(|Pair { gold, answer }| {
        let (gold, answer) = (gold.clone(), answer.clone());
        Some(Number { value: value_of(&gold)?, gold, answer })
    });
    known.collect()
}

/// The value of digits, with a sign or a point, or of a fraction of such.
pub(super) fn value_of(text: &str) -> Option<RBig> {
    let fraction = text.strip_prefix(r"\frac{").and_then(|rest| rest.strip_suffix('}'));
    if let Some((above, below)) = fraction.and_then(|inner| inner.split_once("}{")) {
        return Some(value_of(above)? / value_of(below).filter(|value| *value != RBig::ZERO)?);
    }
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let plain = [digits, places].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    if !plain || digits.is_empty() {
        return None;
    }
    format!("{whole}{places}/1{}", "0".repeat(places.len())).parse().ok()
}

pub(super) fn fresh_number(draw: &mut Draw) -> Number {
    let size = draw.of(&[10, 100, 1000]);
    let sign = draw.of(&["", "", "-"]);
    let whole = 1 + draw.below(size);
    let text = match draw.below(4) {
        0 => format!("{sign}{whole}.{}", 1 + draw.below(9)),
        1 => format!(r"{sign}\frac{{{whole}}}{{{}}}", 2 + draw.below(11)),
        _ => format!("{sign}{whole}"),
    };
    let value = value_of(text.trim_start_matches('-')).unwrap();
    let value = if sign == "-" { -value } else { value };
    Number { gold: text.clone(), answer: text, value }
}

/// A unit: its symbol, its size as a quotient, the base unit and the power of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit(
    pub(super) &'static str,
    pub(super) (u64, u64),
    pub(super) &'static str,
    pub(super) i32,
);

/// Symbols of the SI whose first letter in the other case is another prefix come in pairs.
pub(super) const UNITS: [Unit; 44] = [
    Unit("mm", (1, 1000), "m", 1),
    Unit("Mm", (1_000_000, 1), "m", 1),
    Unit("pm", (1, 1_000_000_000_000), "m", 1),
    Unit("Pm", (1_000_000_000_000_000, 1), "m", 1),
    Unit("cm", (1, 100), "m", 1),
    Unit("m", (1, 1), "m", 1),
    Unit("km", (1000, 1), "m", 1),
    Unit("inches", (254, 10_000), "m", 1),
    Unit("feet", (3048, 10_000), "m", 1),
    Unit("mL", (1, 1_000_000), "m", 3),
    Unit("ML", (1000, 1), "m", 3),
    Unit("L", (1, 1000), "m", 3),
    Unit("mg", (1, 1000), "g", 1),
    Unit("Mg", (1_000_000, 1), "g", 1),
    Unit("g", (1, 1), "g", 1),
    Unit("kg", (1000, 1), "g", 1),
    Unit("ms", (1, 1000), "s", 1),
    Unit("Ms", (1_000_000, 1), "s", 1),
    Unit("s", (1, 1), "s", 1),
    Unit("minutes", (60, 1), "s", 1),
    Unit("hours", (3600, 1), "s", 1),
    Unit("days", (86_400, 1), "s", 1),
    Unit("mW", (1, 1000), "W", 1),
    Unit("MW", (1_000_000, 1), "W", 1),
    Unit("kW", (1000, 1), "W", 1),
    Unit("mJ", (1, 1000), "J", 1),
    Unit("MJ", (1_000_000, 1), "J", 1),
    Unit("kJ", (1000, 1), "J", 1),
    Unit("mN", (1, 1000), "N", 1),
    Unit("MN", (1_000_000, 1), "N", 1),
    Unit("N", (1, 1), "N", 1),
    Unit("mV", (1, 1000), "V", 1),
    Unit("MV", (1_000_000, 1), "V", 1),
    Unit("V", (1, 1), "V", 1),
    Unit("mA", (1, 1000), "A", 1),
    Unit("kA", (1000, 1), "A", 1),
    Unit("mPa", (1, 1000), "Pa", 1),
    Unit("MPa", (1_000_000, 1), "Pa", 1),
    Unit("mHz", (1, 1000), "s", -1),
    Unit("MHz", (1_000_000, 1), "s", -1),
    Unit("pF", (1, 1_000_000_000_000), "F", 1),
    Unit("PF", (1_000_000_000_000_000, 1), "F", 1),
    Unit("dollars", (100, 1), "cent", 1),
    Unit("cents", (1, 1), "cent", 1),
];

#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: Number,
    /// A unit with its exponent.
    pub(super) unit: Option<(Unit, i32)>,
}

/// How parts are put together. An order is part of the meaning, or else each part counts once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) open: &'static str,
    pub(super) between: &'static str,
    pub(super) close: &'static str,
    pub(super) names: &'static [&'static str],
    pub(super) ordered: bool,
    pub(super) sizes: (usize, usize),
}

const fn list(
    open: &'static str,
    between: &'static str,
    close: &'static str,
    sizes: (usize, usize),
) -> Shape {
    Shape { open, between, close, names: &[], ordered: false, sizes }
}

const fn ordered(
    open: &'static str,
    between: &'static str,
    close: &'static str,
    sizes: (usize, usize),
) -> Shape {
    Shape { ordered: true, ..list(open, between, close, sizes) }
}

const INTERVALS: [Shape; 12] = [
    ordered("[", ", ", "]", (2, 2)),
    ordered("[", ", ", ")", (2, 2)),
    ordered("(", ", ", "]", (2, 2)),
    ordered("(", ", ", ")", (2, 2)),
    ordered(r"\left[", ",", r"\right]", (2, 2)),
    ordered(r"\left[", ",", r"\right)", (2, 2)),
    ordered(r"\left(", ",", r"\right]", (2, 2)),
    ordered(r"\left(", ",", r"\right)", (2, 2)),
    ordered(r"(-\infty, ", "", "]", (1, 1)),
    ordered(r"(-\infty, ", "", ")", (1, 1)),
    ordered("[", "", r", \infty)", (1, 1)),
    ordered("(", "", r", \infty)", (1, 1)),
];

const OTHERS: [Shape; 12] = [
    list("", "", "", (1, 1)),
    list("", ", ", "", (2, 3)),
    list("", ", ", "", (2, 3)),
    list("", r" \text{ and } ", "", (2, 2)),
    list(r"\{", ", ", r"\}", (2, 4)),
    list(r"\left\{", ",", r"\right\}", (2, 3)),
    ordered("(", ", ", ")", (2, 4)),
    ordered(r"\left(", ",", r"\right)", (2, 3)),
    ordered(r"\langle ", ", ", r" \rangle", (2, 3)),
    ordered(r"\begin{pmatrix} ", r" \\ ", r" \end{pmatrix}", (2, 3)),
    Shape { names: &["x = ", "y = ", "z = "], ..ordered("", ", ", "", (2, 3)) },
    Shape { names: &["a = ", "b = "], ..ordered("", r" \text{ and } ", "", (2, 2)) },
];

#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) shape: Shape,
    pub(super) parts: Vec<Part>,
    /// What stands in front of a unit and behind it.
    pub(super) font: (&'static str, &'static str),
}

/// What an answer says: its brackets, and the value and dimension of each part.
pub(super) type Meaning = (&'static str, Vec<(RBig, &'static str, i32)>, &'static str);

impl Answer {
    pub(super) fn new(numbers: &[Number], draw: &mut Draw) -> Self {
        let interval = draw.below(3) == 0;
        let shape = if interval { draw.of(&INTERVALS) } else { draw.of(&OTHERS) };
        let (least, most) = shape.sizes;
        let one = draw.of(&UNITS);
        let measures = draw.below(2) == 0;
        let mixed = !interval && draw.below(4) == 0;
        let power = if one.2 == "m" && one.3 == 1 { draw.of(&[1, 2, 3]) } else { 1 };
        let parts = (0..least + draw.below(most - least + 1)).map(|_| {
            let number = match draw.below(2) {
                0 => numbers[draw.below(numbers.len())].clone(),
                _ => fresh_number(draw),
            };
            let unit = if mixed { (draw.of(&UNITS), 1) } else { (one, power) };
            Part { number, unit: measures.then_some(unit) }
        });
        let mut parts: Vec<_> = parts.collect();
        if interval {
            parts.sort_by(|one, other| one.number.value.cmp(&other.number.value));
        }
        let font = draw.of(&[(r" \text{ ", "}"), (r"\,\mathrm{", "}"), (r"\ \text{", "}")]);
        Self { shape, parts, font }
    }

    pub(super) fn text(&self, number: fn(&Number) -> &str) -> String {
        let Shape { open, between, close, names, .. } = self.shape;
        let parts = self.parts.iter().enumerate().map(|(at, part)| {
            let name = names.get(at).copied().unwrap_or_default();
            let unit = part.unit.map_or_else(String::new, |(Unit(symbol, ..), power)| {
                let power = if power == 1 { String::new() } else { format!("^{power}") };
                format!("{}{symbol}{}{power}", self.font.0, self.font.1)
            });
            format!("{name}{}{unit}", number(&part.number))
        });
        format!("{open}{}{close}", parts.collect::<Vec<_>>().join(between))
    }

    pub(super) fn meaning(&self) -> Meaning {
        let parts = self.parts.iter().map(|Part { number, unit }| match *unit {
            None => (number.value.clone(), "", 0),
            Some((Unit(_, (over, under), base, dimension), power)) => {
                let size = RBig::from_parts(over.into(), under.into()).pow(power as isize);
                (number.value.clone() * size, base, dimension * power)
            }
        });
        let mut parts: Vec<_> = parts.collect();
        if !self.shape.ordered {
            parts.sort();
            parts.dedup();
        }
        (self.shape.open, parts, self.shape.close)
    }

    /// A number without unit may be meant for any, and zero is the same in all.
    pub(super) fn is_certain(&self) -> bool {
        let distinct = self.meaning().1.len() == self.parts.len();
        let unequal =
            self.shape.sizes != (2, 2) || self.parts[0].number.value != self.parts[1].number.value;
        distinct && unequal && self.parts.iter().all(|part| part.number.value != RBig::ZERO)
    }

    pub(super) fn part(&mut self, draw: &mut Draw) -> &mut Part {
        let at = draw.below(self.parts.len());
        &mut self.parts[at]
    }
}

impl Part {
    #[expect(clippy::unnecessary_wraps, reason = "changes end with it")]
    pub(super) fn set(&mut self, answer: String, value: RBig) -> Option<()> {
        self.number = Number { answer, value, ..self.number.clone() };
        Some(())
    }
}

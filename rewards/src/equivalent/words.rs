//! Words that stand in answers: numbers by name, plurals, and what questions a value.

use dashu_int::UBig;
use dashu_ratio::RBig;

use crate::denial::{Denial, denial};

/// How many ones a word of number stands for, singular or plural; short forms keep their case,
/// since `mN` is a unit.
pub(super) fn magnitude(word: &str) -> Option<RBig> {
    let exponent = match word {
        "mn" | "mln" => 6,
        "bn" | "bln" => 9,
        "tn" | "trn" => 12,
        _ => match singular(word).as_str() {
            "dozen" => return Some(RBig::from(12)),
            "hundred" => 2,
            "thousand" => 3,
            "myriad" => 4,
            "lakh" | "lac" => 5,
            "million" => 6,
            "crore" => 7,
            "billion" | "milliard" => 9,
            "trillion" => 12,
            "quadrillion" => 15,
            "quintillion" => 18,
            _ => return None,
        },
    };
    Some(RBig::from(UBig::from(10u8).pow(exponent)))
}

/// What words after a number say of it, where they name a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Percent,
    /// One of so many.
    Of(u32),
}

/// Splits the name of a part off the start of words.
pub(super) fn part(words: &str) -> Option<(Part, &str)> {
    const NAMES: [(&str, Part); 26] = [
        ("percentage points", Part::Percent),
        ("percentage point", Part::Percent),
        ("percent points", Part::Percent),
        ("percentage", Part::Percent),
        ("percents", Part::Percent),
        ("percent", Part::Percent),
        ("per cent", Part::Percent),
        ("pct", Part::Percent),
        ("pour cent", Part::Percent),
        ("por ciento", Part::Percent),
        ("por cento", Part::Percent),
        ("per cento", Part::Percent),
        ("prozent", Part::Percent),
        ("per mille", Part::Of(1000)),
        ("per mill", Part::Of(1000)),
        ("per mil", Part::Of(1000)),
        ("permille", Part::Of(1000)),
        ("promille", Part::Of(1000)),
        ("basis points", Part::Of(10_000)),
        ("basis point", Part::Of(10_000)),
        ("parts per hundred", Part::Percent),
        ("parts per thousand", Part::Of(1000)),
        ("parts per million", Part::Of(1_000_000)),
        ("parts per billion", Part::Of(1_000_000_000)),
        ("ppm", Part::Of(1_000_000)),
        ("ppb", Part::Of(1_000_000_000)),
    ];
    NAMES.iter().find_map(|&(name, part)| {
        let start = words.get(..name.len())?;
        let rest = &words[name.len()..];
        let ends = rest.is_empty() || rest.starts_with(' ');
        (ends && start.eq_ignore_ascii_case(name)).then_some((part, rest.trim_start()))
    })
}

/// The base of a numeral in words: `in binary`, `octal`, `in base seven`, `base-7`.
pub(super) fn numeral_base(words: &str) -> Option<u32> {
    let lower = words.to_lowercase();
    let words = lower.trim_start_matches("in ");
    if let Some(number) = words.strip_prefix("base").and_then(|rest| rest.strip_prefix([' ', '-']))
    {
        return base(number);
    }
    Some(match words {
        "binary" => 2,
        "ternary" => 3,
        "octal" => 8,
        "decimal" => 10,
        "duodecimal" => 12,
        "hexadecimal" | "hex" => 16,
        _ => return None,
    })
}

/// A base as a word or in digits.
pub(super) fn base(number: &str) -> Option<u32> {
    let number = number.trim();
    let in_digits = || {
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
        number.parse().ok().filter(|_| is_plain)
    };
    number_word(number).map(u32::from).or_else(in_digits).filter(|base| (2..=36).contains(base))
}

/// Whether words say that the last decimal repeats.
pub(super) fn repeats(words: &str) -> bool {
    matches!(&*words.to_lowercase(), "repeating" | "recurring" | "repeated" | "repeats" | "recurs")
}

/// The small numbers by name.
pub(super) fn number_word(word: &str) -> Option<u8> {
    const WORDS: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ];
    WORDS.iter().position(|&known| known == word).map(|at| at as u8)
}

/// Letters that are a word rather than a product: three or more, with a vowel, not in the order of
/// the alphabet.
pub(super) fn is_word(letters: &str) -> bool {
    let ascending = letters.as_bytes().windows(2).all(|pair| pair[0] < pair[1]);
    letters.len() > 2
        && !ascending
        && letters.contains(['a', 'e', 'i', 'o', 'u', 'y', 'A', 'E', 'I', 'O', 'U', 'Y'])
}

/// Two or three letters that are a unit after a number, and no product.
pub(super) fn is_short_unit(word: &str) -> bool {
    const UNITS: [&str; 43] = [
        "cm", "mm", "km", "kg", "mg", "lb", "lbs", "oz", "ft", "yd", "mi", "mph", "kph", "ml",
        "mL", "hr", "hrs", "sec", "mins", "pct", "sq", "cal", "rad", "deg", "USD", "usd", "AM",
        "PM", "am", "pm", "yrs", "way", "day", "men", "st", "nd", "rd", "th", "Hz", "kHz", "MHz",
        "GHz", "kWh",
    ];
    UNITS.contains(&word)
}

/// Whether words describe a quantity, with nothing in them that could say more of its value.
pub(super) fn describe(words: &str) -> bool {
    const WORDS: &str = "the a an of in for area perimeter circumference volume length width height \
        sum product difference quotient ratio mean median mode average range variance standard \
        deviation probability expected value number total speed rate slope angle measure radius \
        diameter degree rank dimension maximum minimum greatest least largest smallest common \
        divisor multiple factor remainder surface lateral side sides edge base triangle circle \
        square rectangle parallelogram trapezoid rhombus quadrilateral pentagon hexagon polygon region \
        sector segment arc chord answer result sample population constant term sphere cone cylinder cube pyramid prism tetrahedron ways";
    let is_known = |word: &str| {
        word.len() == 1 && word.chars().all(char::is_uppercase)
            || word.len() > 1 && word.chars().all(char::is_uppercase) && word.len() < 6
            || WORDS.split_whitespace().any(|known| known == word.to_lowercase())
    };
    words.split(' ').all(is_known)
}

/// Whether words do nothing but announce the value after them.
pub(super) fn announces(words: &str) -> bool {
    let Some(words) = words.trim().strip_suffix(':') else { return false };
    let words = words.trim().to_lowercase();
    matches!(&*words, "answer" | "the answer" | "final answer" | "ans" | "result" | "solution")
}

/// How many bytes the raised end of an ordinal takes, after its caret.
pub(super) fn ordinal(text: &str) -> Option<usize> {
    const ENDS: [&str; 4] = ["st", "nd", "rd", "th"];
    let inner = text.trim_start_matches([' ', '{']);
    let inner = [r"\textrm", r"\text", r"\mathrm"]
        .iter()
        .find_map(|font| inner.strip_prefix(font))?
        .strip_prefix('{')?;
    let after = ENDS.iter().find_map(|end| inner.strip_prefix(end))?.strip_prefix('}')?;
    let closed = if text.starts_with('{') { after.strip_prefix('}')? } else { after };
    Some(text.len() - closed.len())
}

/// Whether a word changes or questions the number before it, so that a gold answer with it is not a
/// number and a noun.
pub(super) fn says_something(word: &str) -> bool {
    const WORDS: &str = "or and is are was when to from between minus plus times over least most \
        below under negative mod modulo base root factorial choose squared cubed inverse reciprocal \
        twice double pi infinity undefined \
        half halves third thirds fourth fourths fifth fifths sixth sixths seventh sevenths eighth \
        eighths ninth ninths tenth tenths twelfth twelfths hundredth hundredths thousandth \
        thousandths millionth millionths quarter quarters dozen hundred thousand million billion \
        trillion";
    denial(word).is_some() || WORDS.split_whitespace().any(|known| known == word)
}

/// Whether a name or a script holds a word that takes back or doubts a value.
pub(super) fn deny(name: &str) -> bool {
    name.split(|c: char| !c.is_alphabetic() && c != '\'').any(takes_back)
}

/// Whether a word in front takes back or doubts what follows, so that it names nothing.
pub(super) fn takes_back(word: &str) -> bool {
    denial(&word.to_lowercase()).is_some_and(|kind| kind != Denial::Contrast)
}

/// A word in lower case and singular.
pub(super) fn singular(word: &str) -> String {
    let lower = word.to_lowercase();
    let irregular = match &*lower {
        "feet" => "foot",
        "teeth" => "tooth",
        "geese" => "goose",
        "mice" => "mouse",
        "men" => "man",
        "women" => "woman",
        "people" | "persons" => "person",
        "children" => "child",
        "pennies" | "penny" => "cent",
        "leaves" => "leaf",
        "knives" => "knife",
        "lives" => "life",
        "halves" => "half",
        "vertices" => "vertex",
        "millennia" => "millennium",
        "paise" => "paisa",
        "cookies" | "movies" | "ties" | "pies" | "shoes" | "toes" => {
            return lower.trim_end_matches('s').to_owned();
        }
        _ => "",
    };
    if !irregular.is_empty() {
        return irregular.to_owned();
    }
    let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    if lower.len() < 3 || ends(&["ss", "us", "is", "hertz", "siemens"]) {
        return lower;
    }
    if let Some(stem) = lower.strip_suffix("ies").filter(|stem| stem.len() > 1) {
        return format!("{stem}y");
    }
    if ends(&["xes", "ches", "shes", "sses", "oes"]) {
        return lower[..lower.len() - 2].to_owned();
    }
    lower.strip_suffix('s').unwrap_or(&lower).to_owned()
}

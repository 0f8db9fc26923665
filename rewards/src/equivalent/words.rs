//! Words that stand in answers: units and nouns, and numbers by name.

/// How many ones a word of number stands for, by its exponent of ten.
pub(super) fn magnitude(word: &str) -> Option<usize> {
    Some(match word {
        "hundred" => 2,
        "thousand" => 3,
        "million" => 6,
        "billion" => 9,
        "trillion" => 12,
        _ => return None,
    })
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
    const UNITS: [&str; 38] = [
        "cm", "mm", "km", "kg", "mg", "lb", "lbs", "oz", "ft", "yd", "mi", "mph", "kph", "ml",
        "mL", "hr", "hrs", "sec", "mins", "pct", "sq", "cal", "rad", "deg", "USD", "usd", "AM",
        "PM", "am", "pm", "yrs", "way", "day", "men", "st", "nd", "rd", "th",
    ];
    UNITS.contains(&word)
}

/// The one spelling of a unit or noun: lower case, singular, `m^2` for square metres, `m/s` for metres
/// per second. `None` for words that are no unit, since they say something about the number.
pub(super) fn unit(words: &str) -> Option<Box<str>> {
    let (words, mut power) = match words.split_once('^') {
        Some((words, power)) => (words, power.trim_matches(['{', '}'])),
        None => (words, ""),
    };
    let mut name = String::new();
    for (count, word) in words.split_whitespace().enumerate() {
        let word = word.trim_matches(['.', '(', ')']);
        let lower = word.to_lowercase();
        if count == 5 || says_something(&lower) || number_word(&lower).is_some() {
            return None;
        }
        if !word.chars().all(|letter| letter.is_alphabetic() || letter == '-' || letter == '/') {
            return None;
        }
        match &*lower {
            "square" | "sq" if name.is_empty() && words.contains(' ') => power = "2",
            "cubic" | "cu" if name.is_empty() && words.contains(' ') => power = "3",
            "per" if !name.is_empty() => name.push('/'),
            _ => {
                if !name.is_empty() && !name.ends_with('/') {
                    name.push(' ');
                }
                let parts: Vec<_> = word.split('/').map(singular).collect();
                name.push_str(&parts.join("/"));
            }
        }
    }
    if !power.is_empty() {
        name = format!("{name}^{power}");
    }
    (!name.is_empty()).then(|| name.into())
}

/// Whether words say that nothing is a solution: "no solution", "there are no real solutions".
pub(super) fn say_none(words: &str) -> bool {
    let words =
        ["there is ", "there are ", "there exist ", "there exists ", "it has ", "equation has "]
            .iter()
            .find_map(|start| words.strip_prefix(start))
            .unwrap_or(words);
    let words =
        [" exist", " exists"].iter().find_map(|end| words.strip_suffix(end)).unwrap_or(words);
    let Some(what) = words.strip_prefix("no ") else { return false };
    matches!(
        what.strip_prefix("real ").unwrap_or(what),
        "solution" | "solutions" | "root" | "roots"
    )
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

/// Whether a word changes or questions the number before it, so that it is no unit.
fn says_something(word: &str) -> bool {
    const WORDS: &str = "or and not no nor is are was if when wrong incorrect false either maybe but \
        to from between minus plus times over than less more least most below under negative \
        approximately approx about roughly almost nearly mod modulo base root factorial choose \
        squared cubed inverse reciprocal twice double pi infinity undefined none \
        half halves third thirds fourth fourths fifth fifths sixth sixths seventh sevenths eighth \
        eighths ninth ninths tenth tenths twelfth twelfths hundredth hundredths thousandth \
        thousandths millionth millionths quarter quarters dozen hundred thousand million billion \
        trillion";
    WORDS.split_whitespace().any(|known| known == word)
}

fn singular(word: &str) -> String {
    let lower = word.to_lowercase();
    let name = match &*lower {
        "centimeters" | "centimeter" | "centimetres" | "centimetre" => "cm",
        "millimeters" | "millimeter" | "millimetres" | "millimetre" => "mm",
        "kilometers" | "kilometer" | "kilometres" | "kilometre" => "km",
        "meters" | "meter" | "metres" | "metre" => "m",
        "inches" | "in" => "inch",
        "feet" | "ft" => "foot",
        "yd" | "yds" => "yard",
        "mi" => "mile",
        "mph" => "mile/hour",
        "hr" | "hrs" | "h" => "hour",
        "min" | "mins" => "minute",
        "s" | "sec" | "secs" => "second",
        "kilograms" | "kilogram" | "kgs" => "kg",
        "grams" | "gram" => "g",
        "l" | "liters" | "litre" | "litres" => "liter",
        "ml" | "milliliters" | "millilitres" | "millilitre" => "milliliter",
        "lb" | "lbs" | "pounds" => "pound",
        "rad" | "radians" => "radian",
        "v" | "volts" => "volt",
        "w" | "watts" => "watt",
        "n" | "newtons" => "newton",
        "j" | "joules" => "joule",
        "k" | "kelvins" => "kelvin",
        "mol" | "moles" => "mole",
        "celsius" => "celsius",
        "deg" | "degrees" => "degree",
        "st" | "nd" | "rd" => "th",
        _ if lower.ends_with("ss") => &lower,
        _ if lower.len() > 2 => lower.strip_suffix('s').unwrap_or(&lower),
        _ => &lower,
    };
    name.to_owned()
}

//! What belongs to a unit beside its words.

use super::{Bracket, Lexer, Token, without_spaces};
use crate::equivalent::literal::Place;
use crate::equivalent::units::Unit;

impl<'a> Lexer<'a> {
    /// Takes the words and the end of a group that has just been opened, if there is nothing else
    /// in it.
    pub(in crate::equivalent) fn words_in_group(&mut self) -> Option<&'a str> {
        let mut ahead = *self;
        let Ok(Token::Words(words)) = ahead.next(Place::Bracketed) else { return None };
        if ahead.next(Place::Bracketed) != Ok(Token::Close(Bracket::Group)) {
            return None;
        }
        *self = ahead;
        Some(words)
    }

    /// Whether a name is minutes or seconds after a number, and not the minimum or the secant of
    /// what follows.
    pub(super) fn is_time(&self, name: &str, start: usize, after: &str) -> bool {
        let before = self.text[..start].trim_end_matches([' ', '~', '\\', ',', ';', ':', '!']);
        // `5 min^{-1}` is a rate, `5 \sec^2 x` a function
        let after = exponent(after).map_or(after, |(_, rest)| rest);
        let after = without_spaces(after);
        let goes_on = match after.strip_prefix('\\') {
            Some(command) => {
                let operators = ["cdot", "times", "div", "text", "end"];
                command.starts_with(|c: char| c.is_ascii_alphabetic())
                    && !operators.iter().any(|operator| command.starts_with(operator))
            }
            None => after.starts_with(|c: char| c.is_alphanumeric() || "([{_^|".contains(c)),
        };
        matches!(name, "min" | "sec")
            && before.ends_with(|c: char| c.is_ascii_digit() || matches!(c, ')' | '}'))
            && !goes_on
    }

    /// Takes a unit that is set with a sign outside of words: `\mu\text{m}`, `\text{k}\Omega`,
    /// `\AA`. Without a font, `\mu m` and `\Omega` may be variables: they are units where a space
    /// of LaTeX sets them off from a number, and nothing follows that they could be factors of.
    pub(in crate::equivalent) fn unit_of_signs(&mut self, is_after_number: bool) -> Option<String> {
        let text = without_spaces(self.rest());
        let in_front = &self.rest()[..self.rest().len() - text.len()];
        let (prefix, after) = upright(text).unwrap_or(("", text));
        let (sign, after) = [(r"\mu", "u"), (r"\Omega", "Ω"), (r"\AA", "Å"), ("Å", "Å")]
            .iter()
            .find_map(|(name, sign)| Some((*sign, without_spaces(after).strip_prefix(name)?)))?;
        if sign != "Å" && after.starts_with(|next: char| next.is_ascii_alphabetic()) {
            return None;
        }
        let (base, is_upright, rest) = match sign {
            "u" => {
                let after = without_spaces(after.strip_prefix("{}").unwrap_or(after));
                match (upright(after), after.strip_prefix(r"\Omega")) {
                    (Some((base, rest)), _) => (base, true, rest),
                    (None, Some(rest)) => ("Ω", false, rest),
                    (None, None) => {
                        let length = after.bytes().take_while(u8::is_ascii_alphabetic).count();
                        (&after[..length], false, &after[length..])
                    }
                }
            }
            sign => ("", sign == "Å" || !prefix.is_empty(), after),
        };
        let is_set_off = is_after_number && in_front.contains(['\\', '~']) && is_end(rest);
        let unit = format!("{prefix}{sign}{base}");
        if !(is_upright || is_set_off) || Unit::read_known(&unit).is_none() {
            return None;
        }
        self.at = self.text.len() - rest.len();
        Some(unit)
    }

    /// Takes the exponent of a unit, which is a whole number: `^2`, `^{-1}`.
    pub(in crate::equivalent) fn unit_exponent(&mut self) -> Option<i32> {
        let (exponent, rest) = exponent(self.rest())?;
        // `m^23` is set as the square of a unit and a digit
        if rest.starts_with(|next: char| next.is_ascii_digit()) {
            return None;
        }
        self.at = self.text.len() - rest.len();
        Some(exponent)
    }

    /// The unit that the letters ahead spell up to the end of a value, and how many bytes they
    /// take: `m/s^2`, `kg\,m^{2}`, `\frac{m}{s}`. `None` where they are no phrase of the table.
    pub(in crate::equivalent) fn unit_ahead(&self) -> Option<(String, usize)> {
        let start = without_spaces(self.rest());
        let (formula, rest) = if let Some(found) = self.fraction_of_units() {
            found
        } else {
            let rest = after_formula(start)?;
            (start[..start.len() - rest.len()].to_owned(), rest)
        };
        (ends_value(rest) && Unit::read_known(&formula).is_some())
            .then(|| (formula, self.rest().len() - rest.len()))
    }

    fn fraction_of_units(&self) -> Option<(String, &'a str)> {
        let mut ahead = *self;
        ahead.skip_dress();
        let rest =
            ["frac", "dfrac", "tfrac"].iter().find_map(|name| command(ahead.rest(), name))?;
        ahead.at = self.text.len() - rest.len();
        let (above, below) = (ahead.braced()?.trim(), ahead.braced()?.trim());
        let is_product = |part: &str| after_formula(part) == Some("") && !part.contains('/');
        let formula =
            (is_product(above) && is_product(below)).then(|| format!("{above}/{below}"))?;
        Some((formula, ahead.rest()))
    }
}

/// Takes an exponent off the start of a text.
fn exponent(text: &str) -> Option<(i32, &str)> {
    let raised = without_spaces(text).strip_prefix('^')?.trim_start();
    let (exponent, rest) = if let Some(inner) = raised.strip_prefix('{') {
        inner.split_once('}')?
    } else {
        raised.split_at_checked(1 + usize::from(raised.starts_with('-')))?
    };
    let exponent: i8 = exponent.trim().parse().ok()?;
    Some((exponent.into(), rest))
}

/// What follows a command, if a text begins with it.
fn command<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.strip_prefix('\\')?.strip_prefix(name)?;
    (!rest.starts_with(|next: char| next.is_ascii_alphabetic())).then_some(rest)
}

/// What follows one name of a unit, if a text begins with what may be one: `km`, `\mu m`,
/// `k\Omega`.
fn after_name(text: &str) -> Option<&str> {
    let letters = |text| str::trim_start_matches(text, |next: char| next.is_ascii_alphabetic());
    let rest = command(text, "mu").map_or_else(|| letters(text), str::trim_start);
    let rest = command(rest, "Omega").unwrap_or_else(|| letters(rest));
    (rest.len() < text.len()).then_some(rest)
}

/// What follows names with exponents, and the signs between them.
fn after_formula(text: &str) -> Option<&str> {
    let mut rest = after_name(text)?;
    loop {
        if without_spaces(rest).starts_with('^') {
            rest = exponent(rest)?.1;
        }
        let next = without_spaces(rest);
        let sign = next.strip_prefix(['/', '*']);
        let sign = sign.or_else(|| command(next, "cdot")).or_else(|| command(next, "times"));
        match after_name(sign.map_or(next, without_spaces)) {
            Some(after) => rest = after,
            None => return Some(rest),
        }
    }
}

/// Whether nothing in a text belongs to the value before it.
fn ends_value(text: &str) -> bool {
    const ENDS: [&str; 16] = [
        ",", ";", ")", "]", "}", "=", "<", ">", "+", "-", "$", r"\)", r"\]", r"\}", r"\\",
        r"\right",
    ];
    let text = without_spaces(text);
    // `newton-meters`
    let is_hyphen =
        text.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
    text.is_empty() || !is_hyphen && ENDS.iter().any(|end| text.starts_with(end))
}

/// Splits letters in an upright font off the start of a text.
fn upright(text: &str) -> Option<(&str, &str)> {
    let fonts = [r"\text{", r"\mathrm{", r"\textrm{"];
    let inner = fonts.iter().find_map(|font| text.strip_prefix(font))?;
    let (letters, rest) = inner.split_once('}')?;
    let letters = letters.trim();
    let is_word = !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_word.then_some((letters, rest))
}

/// Whether a value ends before a text, but for more of its unit.
fn is_end(rest: &str) -> bool {
    const ENDS: [&str; 9] =
        [",", ";", ")", "]", "$", r"\text", r"\mathrm", r"\right", r"\cdot\text"];
    let rest = without_spaces(rest);
    rest.is_empty() || ENDS.iter().any(|end| rest.starts_with(end))
}

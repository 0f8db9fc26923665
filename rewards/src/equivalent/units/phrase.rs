//! Units as they are written: `square feet`, `miles per hour`, `m/s^2`, `kg\,m^{2}\,s^{-2}`.

use super::{Factor, Unit, fits, table};
use crate::equivalent::words;

/// Most words of a noun.
const MAX_NOUN: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Word(&'a str),
    Per,
    Power(i32),
}

/// A phrase on its way to a unit.
#[derive(Debug)]
struct Phrase<'a> {
    factors: Vec<Factor>,
    /// Words in a row that stand in no table.
    noun: Vec<&'a str>,
    /// Minus one after "per".
    sign: i32,
    /// Of what follows "square" or "cubic".
    power: i32,
}

pub(super) fn read(text: &str) -> Option<Unit> {
    let text = plain(text);
    let pieces = pieces(&text)?;
    let mut phrase = Phrase { factors: Vec::new(), noun: Vec::new(), sign: 1, power: 1 };
    let mut rest = &pieces[..];
    while !rest.is_empty() {
        let taken = phrase.take(rest)?;
        rest = &rest[taken..];
    }
    phrase.finish()
}

/// The formula without what only TeX needs.
fn plain(text: &str) -> String {
    let text = [r"\cdot", r"\times", r"\,", r"\;", r"\:", r"\ ", "~", "*"]
        .iter()
        .fold(text.to_owned(), |text, space| text.replace(space, " "));
    // signs of units, as commands; the degree before what it is of
    [
        (r"\mu ", "u"),
        (r"\mu", "u"),
        (r"\Omega", "Ω"),
        (r"\AA", "Å"),
        (r"^\circ", "°"),
        (r"\degree", "°"),
        ("° ", "°"),
        ("° ", "°"),
        ("°C", "celsius"),
        ("°F", "fahrenheit"),
        ("°", "degree "),
    ]
    .iter()
    .fold(text.replace(['{', '}'], ""), |text, (sign, plain)| text.replace(sign, plain))
}

fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '/' => {
                pieces.push(Piece::Per);
                &rest[1..]
            }
            '^' => {
                let after = rest[1..].trim_start();
                let end =
                    after.find(|c: char| !(c.is_ascii_digit() || c == '-')).unwrap_or(after.len());
                pieces.push(Piece::Power(after[..end].parse::<i8>().ok()?.into()));
                &after[end..]
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || c == '/' || c == '^')
                    .unwrap_or(rest.len());
                let word = rest[..end].trim_matches(['.', ',', '(', ')']);
                if !word.chars().all(|c| c.is_alphabetic() || c == '-') {
                    return None;
                }
                if !word.is_empty() {
                    pieces.push(Piece::Word(word));
                }
                &rest[end..]
            }
        }
        .trim_start();
    }
    Some(pieces)
}

/// A unit by one spelling: as it is, or a formula of others.
fn known(spelling: &str) -> Option<Vec<Factor>> {
    let words: Vec<_> = spelling.split(' ').map(words::singular).collect();
    let name = words.join(" ");
    if let Some(formula) = table::formula(&name) {
        return Some(read(formula)?.factors);
    }
    if let Some(factor) = table::find(spelling, &name) {
        return Some(vec![factor]);
    }
    if !spelling.contains('-') {
        return None;
    }
    // `light-years`, and `newton-meters`
    if let Some(factor) = table::find(spelling, &name.replace('-', " ")) {
        return Some(vec![factor]);
    }
    spelling.split('-').map(|part| table::find(part, &words::singular(part))).collect()
}

impl<'a> Phrase<'a> {
    /// Takes the next piece, or two; returns how many.
    fn take(&mut self, rest: &[Piece<'a>]) -> Option<usize> {
        let next = match rest.get(1) {
            Some(Piece::Word(word)) => Some(*word),
            _ => None,
        };
        match rest[0] {
            Piece::Per => self.per()?,
            Piece::Power(times) => self.raise(times)?,
            Piece::Word(word) => {
                let lower = word.to_lowercase();
                let started = !self.factors.is_empty() || !self.noun.is_empty();
                match &*lower {
                    "per" => self.per()?,
                    // miles an hour
                    "a" | "an" if started && next.is_some_and(|next| known(next).is_some()) => {
                        self.per()?;
                    }
                    "square" | "sq" if self.noun.is_empty() && next.and_then(known).is_some() => {
                        self.power = 2;
                    }
                    "cubic" | "cu" if self.noun.is_empty() && next.and_then(known).is_some() => {
                        self.power = 3;
                    }
                    "squared" => self.raise(2)?,
                    "cubed" => self.raise(3)?,
                    _ => return self.word(word, &lower, next),
                }
            }
        }
        Some(1)
    }

    fn word(&mut self, word: &'a str, lower: &str, next: Option<&str>) -> Option<usize> {
        if self.noun.is_empty() {
            if let Some(factors) = next.and_then(|next| known(&format!("{word} {next}"))) {
                self.push(factors)?;
                return Some(2);
            }
            if let Some(factors) = known(word) {
                self.push(factors)?;
                return Some(1);
            }
        }
        if words::says_something(lower) || words::number_word(lower).is_some() {
            return None;
        }
        self.noun.push(word);
        (self.noun.len() <= MAX_NOUN).then_some(1)
    }

    fn push(&mut self, factors: Vec<Factor>) -> Option<()> {
        for mut factor in factors {
            factor.power *= self.sign * self.power;
            match self
                .factors
                .iter_mut()
                .find(|known| known.name == factor.name && known.dimension == factor.dimension)
            {
                Some(known) => known.power += factor.power,
                None => self.factors.push(factor),
            }
        }
        self.power = 1;
        fits(&self.factors).then_some(())
    }

    fn raise(&mut self, times: i32) -> Option<()> {
        let last = self.factors.last_mut().filter(|_| self.noun.is_empty())?;
        last.power = last.power.checked_mul(times)?;
        (last.power != 0 && fits(&self.factors)).then_some(())
    }

    fn per(&mut self) -> Option<()> {
        self.end_noun()?;
        self.sign = -1;
        Some(())
    }

    fn end_noun(&mut self) -> Option<()> {
        if self.noun.is_empty() {
            return Some(());
        }
        let words: Vec<_> = self.noun.drain(..).map(words::singular).collect();
        self.push(Unit::noun(&words.join(" ")).factors)
    }

    fn finish(mut self) -> Option<Unit> {
        self.end_noun()?;
        self.factors.retain(|factor| factor.power != 0);
        (!self.factors.is_empty()).then_some(Unit { factors: self.factors })
    }
}

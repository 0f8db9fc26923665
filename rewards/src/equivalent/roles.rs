//! Which letters stand for functions: `f(x + 1)` is a value of `f`, `a(x + 1)` is a product; and
//! which for [`units`].
//!
//! The letter alone does not tell, so both texts of a comparison are looked at. What the gold
//! answer uses as a factor is a factor in the answer, and what it applies is applied.

mod units;

use super::characters;
use super::lex::{Bracket, Lexer, Token};
use super::literal::Place;
use super::tree::Relation;
use crate::Strictness;

/// Letters that are functions before a bracket, unless a text uses them as factors.
const FUNCTIONS: [&str; 16] = [
    "f", "g", "h", "F", "G", "H", "P", "Q", "T", "phi", "psi", "Phi", "Psi", "Gamma", "zeta", "chi",
];

/// Letters that are functions of random variables and events.
const OF_CHANCE: [&str; 5] = ["E", "V", "D", "P", "H"];

/// Letters that stand for unknowns and counters: before a number in parentheses they are factors.
const UNKNOWNS: [&str; 6] = ["x", "z", "k", "m", "n", "t"];

/// How much of a text is looked at.
const MAX_TOKENS: usize = 600;
const MAX_BYTES: usize = 4096;

/// What kind of thing stands between a bracket and its end, the later ones outweighing the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Content {
    /// Single symbols, between commas.
    #[default]
    Symbols,
    /// Numbers among them.
    Numbers,
    /// Anything else that has a value.
    Expression,
    /// An operation on sets, or a condition after a bar.
    Event,
    /// Something is in a set.
    Membership,
    /// An equation, an inequality or the like.
    Relation,
}

impl Content {
    /// What a token between symbols and numbers makes of the whole.
    pub(super) fn of(token: &Token<'_>) -> Self {
        match token {
            Token::Relation(Relation::In | Relation::NotIn) => Self::Membership,
            Token::Relation(Relation::MapsTo) => Self::Expression,
            Token::Relation(Relation::Divides)
            | Token::Union
            | Token::Intersection
            | Token::Difference => Self::Event,
            Token::Relation(_) => Self::Relation,
            _ => Self::Expression,
        }
    }
}

/// What stands between a bracket and its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Enclosed {
    pub(super) content: Content,
    /// The first symbol.
    pub(super) first: Option<Box<str>>,
    /// A symbol that is a capital letter.
    pub(super) capital: bool,
    /// How many bars.
    pub(super) bars: usize,
    /// An equals sign follows.
    pub(super) equated: bool,
}

impl Enclosed {
    /// Nothing but single symbols and numbers.
    fn is_plain(&self) -> bool {
        self.content <= Content::Numbers
    }

    /// Nothing but single symbols, this letter first.
    fn is_letter(&self, letter: &str) -> bool {
        self.content == Content::Symbols && self.first.as_deref() == Some(letter)
    }

    pub(super) fn is_condition(&self) -> bool {
        self.content >= Content::Membership
    }
}

/// The letters of two texts, by what they stand for. Letters are without index and primes.
#[derive(Debug, Default)]
pub(super) struct Roles {
    functions: Vec<Box<str>>,
    factors: Vec<Box<str>>,
    /// Letters after a number are a unit where they spell one.
    letters_are_units: bool,
}

impl Roles {
    pub(super) fn of(gold: &str, answer: &str, strictness: Strictness) -> Self {
        let letters_are_units = units::are_letters(gold, answer, strictness);
        if !gold.contains('(') && !answer.contains('(') {
            return Self { letters_are_units, ..Self::default() };
        }
        let [gold, answer] = [gold, answer].map(|text| Uses::of(text, strictness));
        let mut factors = gold.factors;
        factors.extend(answer.factors.into_iter().filter(|name| !gold.applied.contains(name)));
        let mut functions = gold.defined;
        functions.extend(answer.defined);
        Self { functions, factors, letters_are_units }
    }

    pub(super) fn letters_are_units(&self) -> bool {
        self.letters_are_units
    }

    /// Whether a symbol before a round bracket is applied to what the bracket holds.
    pub(super) fn applies(&self, symbol: &str, argument: &Enclosed) -> bool {
        let letter = letter(symbol);
        // `f(f)` is a square
        if argument.is_letter(letter) {
            return false;
        }
        let among = |names: &[Box<str>]| names.iter().any(|name| &**name == letter);
        let is_factor = among(&self.factors);
        let by_custom = FUNCTIONS.contains(&letter);
        let of_chance = OF_CHANCE.contains(&letter);
        let is_capital = letter.starts_with(|first: char| first.is_ascii_uppercase());
        let applied_by_content = match argument.content {
            Content::Event => true,
            // `y = x (x > 0)` has a condition
            _ if argument.first.as_deref() == Some(symbol) => false,
            Content::Relation => letter == "p" || is_capital,
            Content::Membership => of_chance,
            _ => false,
        };
        applied_by_content
            || among(&self.functions)
            || by_custom && (argument.is_plain() || !is_factor)
            || of_chance && argument.capital && !is_factor
            // a derivative; and nobody writes a Greek letter times a number so
            || !is_factor && (symbol.contains('\'') || letter.len() > 1 && argument.is_plain())
    }

    /// Whether a symbol is a function by custom, and not used as a factor.
    pub(super) fn is_function(&self, symbol: &str) -> bool {
        let letter = letter(symbol);
        let among = |names: &[Box<str>]| names.iter().any(|name| &**name == letter);
        among(&self.functions) || FUNCTIONS.contains(&letter) && !among(&self.factors)
    }
}

/// Whether a letter before a square bracket is applied to a random variable.
pub(super) fn is_of_chance(symbol: &str, argument: &Enclosed) -> bool {
    OF_CHANCE.contains(&letter(symbol)) && argument.capital
}

/// Whether one bar in the arguments of this function separates an event from its condition.
pub(super) fn is_conditional(symbol: &str) -> bool {
    OF_CHANCE.contains(&letter(symbol)) || matches!(letter(symbol), "p" | "f" | "I" | "var" | "cov")
}

/// A symbol without its index and primes.
fn letter(symbol: &str) -> &str {
    symbol.trim_end_matches('\'').split(['_', '^']).next().unwrap_or_default()
}

/// How one text uses its letters.
#[derive(Debug, Default)]
struct Uses {
    applied: Vec<Box<str>>,
    factors: Vec<Box<str>>,
    /// Applied in a way that products are not written: `a(n) = ...`, `f \circ g`, `f^{-1}(x)`.
    defined: Vec<Box<str>>,
}

impl Uses {
    fn of(text: &str, strictness: Strictness) -> Self {
        let mut uses = Self::default();
        if text.len() > MAX_BYTES {
            return uses;
        }
        let text = characters::plain(text, strictness);
        let mut lexer = Lexer::new(&text, strictness);
        let (mut starts, mut composed) = (true, false);
        for _ in 0..MAX_TOKENS {
            let token = match lexer.next(Place::Bracketed) {
                Ok(Token::Finish) | Err(_) => break,
                Ok(token) => token,
            };
            if let Token::Symbol(name) = &token {
                uses.symbol(name, &mut lexer, starts, composed);
            }
            if token == Token::Underscore {
                skip_script(&mut lexer);
            }
            composed = token == Token::Circle;
            starts = matches!(
                token,
                Token::Comma
                    | Token::Semicolon
                    | Token::And
                    | Token::Or
                    | Token::Row
                    | Token::Begin(_)
            );
        }
        uses
    }

    /// One letter, with what follows it.
    fn symbol(&mut self, name: &str, lexer: &mut Lexer<'_>, starts: bool, composed: bool) {
        let custom = FUNCTIONS.contains(&name);
        let mut raised = false;
        loop {
            match lexer.peek(Place::Argument) {
                Ok(Token::Prime) => drop(lexer.next(Place::Argument)),
                Ok(Token::Underscore) => {
                    drop(lexer.next(Place::Argument));
                    skip_script(lexer);
                }
                Ok(Token::Caret) if custom && !raised => {
                    let mut after = *lexer;
                    drop(after.next(Place::Argument));
                    let Some((_, length)) = after.raised() else { break };
                    after.skip(length);
                    (*lexer, raised) = (after, true);
                }
                _ => break,
            }
        }
        match lexer.peek(Place::Bracketed) {
            _ if composed => self.defined.push(name.into()),
            Ok(Token::Circle) => self.defined.push(name.into()),
            Ok(Token::Open(Bracket::Round)) => {
                let mut inside = *lexer;
                drop(inside.next(Place::Bracketed));
                let argument = inside.enclosed();
                let counted = argument.content == Content::Numbers && UNKNOWNS.contains(&name);
                let is_definition = starts
                    && argument.equated
                    && argument.is_plain()
                    && !counted
                    && !argument.is_letter(name);
                if raised || is_definition {
                    self.defined.push(name.into());
                }
                self.applied.push(name.into());
            }
            _ => self.factors.push(name.into()),
        }
    }
}

/// Passes over an index.
pub(super) fn skip_script(lexer: &mut Lexer<'_>) {
    if lexer.braced().is_none() {
        drop(lexer.next(Place::Argument));
    }
}

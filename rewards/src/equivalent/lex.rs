//! The tokens of an answer, one at a time, from where the parser stands.

mod ahead;
mod command;
mod unit;

use super::literal::{self, Literal, Place};
use super::names;
use super::tree::{Bound, Constant, Function, Relation, Unreadable};
use super::words;
use crate::Strictness;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bracket {
    Round,
    Square,
    /// `\{`.
    Curly,
    /// A TeX group, which is not seen.
    Group,
    /// The same, of text: what stands in it is no factor unless it is a letter.
    Text,
    Floor,
    Ceil,
    Angle,
}

/// Something that takes what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Apply(Function),
    /// A logarithm, whose base may follow; without one it is natural, as in higher mathematics.
    Log,
    /// To the base ten.
    Lg,
    /// `cos` plus `i` times `sin`.
    Cis,
    Call(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    Matrix,
    /// As a matrix, but that one cell alone is what stands in it: only layout.
    Array,
    Determinant,
    /// Lines of one list; `&` only aligns them.
    Lines,
    /// Lines of one list, or values of which `&` says when each holds.
    Cases,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Finish,
    Number(Literal),
    Symbol(Box<str>),
    Constant(Constant),
    Function(Head),
    Root,
    /// A sum, product, integral or limit, whose variable and bounds follow.
    Bound(Bound),
    Fraction,
    Binomial,
    Conjugate,
    /// A mark that makes another letter of a letter.
    Accent(&'static str),
    /// An operator that takes one operand, by its name: `\\det`, `\\dim`, `\\mathbb{E}`.
    Named(&'static str),
    Modulo,
    Choose,
    Over,
    /// `\pmod{12}`.
    Modulus(&'a str),
    /// Words of `\text`, or a run of letters that is no product.
    Words(&'a str),
    Open(Bracket),
    Close(Bracket),
    Bar,
    LeftBar,
    RightBar,
    Caret,
    Underscore,
    Prime,
    Plus,
    Minus,
    PlusMinus,
    MinusPlus,
    Times,
    Divide,
    Colon,
    Relation(Relation),
    Union,
    Intersection,
    Difference,
    Comma,
    Semicolon,
    And,
    Or,
    Bang,
    Percent,
    Degree,
    Circle,
    Currency(&'static str),
    Ellipsis,
    Ampersand,
    Row,
    Begin(Table),
    End,
}

/// Reads a text from left to right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    strictness: Strictness,
    /// Single dollar signs are prices: their number is odd.
    dollars_are_prices: bool,
}

type Found<'a> = Result<Token<'a>, Unreadable>;

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, strictness: Strictness) -> Self {
        Self { text, at: 0, strictness, dollars_are_prices: bare_dollars(text) % 2 == 1 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Gives the end of the last token back, if that token is the text before.
    pub(super) fn give_back(&mut self, token: &str, end: &str) -> bool {
        let is_before = self.text[..self.at].ends_with(token) && token.ends_with(end);
        self.at -= if is_before { end.len() } else { 0 };
        is_before
    }

    /// What the next token is, without taking it.
    pub(super) fn peek(&self, place: Place) -> Found<'a> {
        let mut ahead = *self;
        ahead.next(place)
    }

    /// A single digit, as TeX takes an argument without braces.
    pub(super) fn digit(&mut self) -> Option<u8> {
        self.skip_dress();
        let digit = self.rest().bytes().next().filter(u8::is_ascii_digit)?;
        self.at += 1;
        Some(digit - b'0')
    }

    pub(super) fn next(&mut self, place: Place) -> Found<'a> {
        loop {
            self.skip_dress();
            let rest = self.rest();
            let Some(first) = rest.chars().next() else { return Ok(Token::Finish) };
            return match first {
                '0'..='9' => self.number(place),
                '.' if starts_places(&rest[1..]) => self.number(place),
                'a'..='z' | 'A'..='Z' => Ok(self.letters()),
                '\\' => match self.command()? {
                    Some(token) => Ok(token),
                    None => continue,
                },
                '$' => {
                    self.at += 1;
                    if self.dollars_are_prices {
                        return Ok(Token::Currency("dollar"));
                    }
                    continue;
                }
                _ => self.sign(),
            };
        }
    }

    fn number(&mut self, place: Place) -> Found<'a> {
        let (number, length) = literal::literal(self.rest(), place, self.strictness)
            .ok_or(Unreadable::NotMathematics)?;
        self.at += length;
        Ok(Token::Number(number))
    }

    /// A run of letters is one name, or words, or the first letter of a product.
    fn letters(&mut self) -> Token<'a> {
        let rest = self.rest();
        let length = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let run = &rest[..length];
        // in the middle of a run whose letters are factors
        if self.text[..self.at].ends_with(|before: char| before.is_ascii_alphabetic()) {
            self.at += 1;
            return letter(&run[..1]);
        }
        if let Some((value, length)) = literal::digits_with_letters(rest) {
            self.at += length;
            return Token::Number(Literal::whole(value));
        }
        let is_time = self.is_time(run, self.at, &rest[length..]);
        if let Some(token) = names::plain(run).filter(|_| !is_time) {
            self.at += length;
            return token;
        }
        if let Some((function, length)) = names::function_with_letter(run) {
            self.at += length;
            return Token::Function(function);
        }
        if length > 4
            || is_time
            || matches!(run, "is" | "by" | "of" | "to")
            // `NO` may be a segment
            || (length > 2 || length > 1 && run.contains(char::is_lowercase))
                && words::takes_back(run)
            || rest.starts_with("in base")
            || words::is_word(run)
            || words::is_short_unit(run)
        {
            // words go on to the next word
            let end = rest
                .find(|next: char| !(next.is_ascii_alphabetic() || next == ' ' || next == '-'))
                .unwrap_or(rest.len());
            let words = rest[..end].trim_end_matches([' ', '-']);
            self.at += words.len();
            return Token::Words(words);
        }
        self.at += 1;
        letter(&run[..1])
    }

    fn sign(&mut self) -> Found<'a> {
        const SIGNS: [(&str, Token<'static>); 36] = [
            // braces that only take the space from around a sign
            (r"{\$}", Token::Currency("dollar")),
            ("{-}", Token::Minus),
            ("{+}", Token::Plus),
            ("{:}", Token::Colon),
            ("{=}", Token::Relation(Relation::Equal)),
            ("<=", Token::Relation(Relation::LessEqual)),
            (">=", Token::Relation(Relation::GreaterEqual)),
            ("!=", Token::Relation(Relation::NotEqual)),
            ("<>", Token::Relation(Relation::NotEqual)),
            ("->", Token::Relation(Relation::MapsTo)),
            ("**", Token::Caret),
            ("==", Token::Relation(Relation::Equal)),
            ("=", Token::Relation(Relation::Equal)),
            ("<", Token::Relation(Relation::Less)),
            (">", Token::Relation(Relation::Greater)),
            ("+", Token::Plus),
            ("-", Token::Minus),
            ("*", Token::Times),
            ("/", Token::Divide),
            ("^", Token::Caret),
            ("_", Token::Underscore),
            ("(", Token::Open(Bracket::Round)),
            (")", Token::Close(Bracket::Round)),
            ("[", Token::Open(Bracket::Square)),
            ("]", Token::Close(Bracket::Square)),
            ("{", Token::Open(Bracket::Group)),
            ("}", Token::Close(Bracket::Group)),
            ("|", Token::Bar),
            ("'", Token::Prime),
            ("!", Token::Bang),
            ("%", Token::Percent),
            (",", Token::Comma),
            (";", Token::Semicolon),
            (":", Token::Colon),
            ("&", Token::Ampersand),
            ("...", Token::Ellipsis),
        ];
        let rest = self.rest();
        // an answer may end a sentence inside its wrappers
        if let Some(end) = rest.strip_prefix('.')
            && !end.is_empty()
            && (end.trim_end_matches([' ', '$', '}', ')', ']', '\\']).is_empty()
                || end.trim_start().starts_with(r"\end"))
        {
            self.at += 1;
            return self.next(Place::Open);
        }
        for (sign, token) in SIGNS {
            if rest.starts_with(sign) {
                self.at += sign.len();
                return Ok(token);
            }
        }
        Err(Unreadable::NotMathematics)
    }

    /// Takes a braced argument, as text.
    pub(super) fn braced(&mut self) -> Option<&'a str> {
        let rest = self.rest().trim_start();
        let mut depth = 0;
        let mut escaped = false;
        for (at, byte) in rest.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                if at == 0 {
                    return None;
                }
                self.at = self.text.len() - rest.len() + at + 1;
                return Some(&rest[1..at]);
            }
        }
        None
    }

    /// Takes a run of digits.
    fn digits(&mut self) -> Option<&'a str> {
        let rest = self.rest().trim_start();
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at = self.text.len() - rest.len() + length;
        (length > 0).then(|| &rest[..length])
    }

    /// Takes a single letter, as TeX takes an argument without braces.
    fn one_letter(&mut self) -> Option<&'a str> {
        let rest = self.rest().trim_start();
        let letter = rest.get(..1).filter(|letter| letter.as_bytes()[0].is_ascii_alphabetic())?;
        self.at = self.text.len() - rest.len() + 1;
        Some(letter)
    }

    /// Skips white space and the spaces of LaTeX.
    fn skip_dress(&mut self) {
        self.at = self.text.len() - without_spaces(self.rest()).len();
    }
}

/// What follows white space and the spaces of LaTeX.
fn without_spaces(text: &str) -> &str {
    const SPACES: [&str; 7] = [r"\ ", r"\,", r"\;", r"\:", r"\!", r"\>", "~"];
    let mut text = text.trim_start();
    while let Some(rest) = SPACES.iter().find_map(|space| text.strip_prefix(space)) {
        text = rest.trim_start();
    }
    text
}

/// Whether a decimal point stands before this.
fn starts_places(text: &str) -> bool {
    text.starts_with(|next: char| next.is_ascii_digit())
        || [r"\overline", r"\bar", r"\dot{"].iter().any(|mark| text.starts_with(mark))
}

fn letter(name: &str) -> Token<'static> {
    match name {
        "e" => Token::Constant(Constant::E),
        "i" => Token::Constant(Constant::I),
        _ => Token::Symbol(name.into()),
    }
}

/// How many dollar signs stand in a text without a backslash.
fn bare_dollars(text: &str) -> usize {
    let mut escaped = false;
    let mut count = 0;
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'$' => count += 1,
            _ => {}
        }
    }
    count
}

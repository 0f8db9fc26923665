//! Whether letters without a font are units: `10 m/s` beside `10 \text{ m/s}`.
//!
//! A letter alone is a variable. It is a unit where the other text has an explicit one, if the
//! letters after each number spell a phrase of the table and neither text has a variable.

use super::{MAX_BYTES, MAX_TOKENS};
use crate::Strictness;
use crate::equivalent::lex::{Lexer, Token};
use crate::equivalent::literal::Place;
use crate::equivalent::units::Unit;
use crate::equivalent::{characters, names};

/// Whether both texts of a comparison are to be read with letters as units.
pub(super) fn are_letters(gold: &str, answer: &str, strictness: Strictness) -> bool {
    if gold.is_empty() || answer.is_empty() || ![gold, answer].into_iter().any(may_be_explicit) {
        return false;
    }
    let Some(gold) = Units::of(gold, strictness) else { return false };
    let Some(answer) = Units::of(answer, strictness) else { return false };
    gold.explicit && answer.has_letters() || answer.explicit && gold.has_letters()
}

/// Whether text in a font or a word stands in a text; cheap, as most texts have neither.
fn may_be_explicit(text: &str) -> bool {
    text.split('\\').enumerate().any(|(at, piece)| {
        let is_command = |byte: &u8| at > 0 && byte.is_ascii_alphabetic();
        let (command, rest) = piece.split_at(piece.bytes().take_while(is_command).count());
        let mut runs = rest.split(|c: char| !c.is_alphabetic());
        names::is_text(command) || runs.any(|run| run.chars().nth(1).is_some())
    })
}

/// The units of one text without variables.
#[derive(Debug, Default)]
struct Units {
    /// Whether one of them is no product of letters.
    explicit: bool,
    /// Letters that are units if there is an explicit one in the other text.
    letters: Vec<Box<str>>,
    /// Letters on one side of a relation, which are named and not computed with.
    names: Vec<Box<str>>,
    /// Letters for which no relation has come yet.
    variables: Vec<Box<str>>,
}

impl Units {
    /// `None` where the text has a variable, or cannot be read.
    fn of(text: &str, strictness: Strictness) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let text = characters::plain(text, strictness);
        let has_relation = text.contains(['=', '<', '>', '\\']);
        let (mut units, mut lexer) = (Self::default(), Lexer::new(&text, strictness));
        let mut follows_value = false;
        for _ in 0..MAX_TOKENS {
            if follows_value && units.take_letters(&mut lexer)? {
                follows_value = false;
                continue;
            }
            let token = lexer.next(Place::Bracketed).ok()?;
            follows_value = matches!(
                token,
                Token::Number(_)
                    | Token::Close(_)
                    | Token::Constant(_)
                    | Token::RightBar
                    | Token::Bang
                    | Token::Degree
            );
            match token {
                Token::Finish => return units.without_variables(),
                Token::Symbol(_) if !has_relation => return None,
                Token::Symbol(name) => units.variables.push(name),
                Token::Relation(_) => units.names.append(&mut units.variables),
                Token::Words(words) if Unit::read_known(words).is_some() => {
                    units.explicit = true;
                    units.complete(&mut lexer)?;
                }
                _ => {}
            }
        }
        None
    }

    fn has_letters(&self) -> bool {
        !self.letters.is_empty()
    }

    fn without_variables(self) -> Option<Self> {
        let is_named = self.letters.iter().any(|letter| self.names.contains(letter));
        (self.variables.is_empty() && !is_named).then_some(self)
    }

    /// Takes letters that spell a unit; false where they spell none.
    fn take_letters(&mut self, lexer: &mut Lexer<'_>) -> Option<bool> {
        let Some((_, length)) = lexer.unit_ahead() else { return Some(false) };
        let after = lexer.rest().len() - length;
        while lexer.rest().len() > after {
            match lexer.next(Place::Bracketed).ok()? {
                Token::Symbol(name) => self.letters.push(name),
                Token::Words(_) => self.explicit = true,
                _ => {}
            }
        }
        Some(true)
    }

    /// Takes what follows an explicit unit and belongs to it: `^2`, `/h`.
    fn complete(&mut self, lexer: &mut Lexer<'_>) -> Option<()> {
        lexer.unit_exponent();
        let mut below = *lexer;
        if below.next(Place::Bracketed) == Ok(Token::Divide) && self.take_letters(&mut below)? {
            *lexer = below;
        } else {
            self.take_letters(lexer)?;
        }
        Some(())
    }
}

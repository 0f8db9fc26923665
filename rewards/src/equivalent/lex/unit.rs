//! What belongs to a unit beside its words.

use super::{Bracket, Lexer, Token, without_spaces};
use crate::equivalent::literal::Place;

impl<'a> Lexer<'a> {
    /// Takes the words and the end of a group that has just been opened, if there is nothing else in it.
    pub(in crate::equivalent) fn words_in_group(&mut self) -> Option<&'a str> {
        let mut ahead = *self;
        let Ok(Token::Words(words)) = ahead.next(Place::Bracketed) else { return None };
        if ahead.next(Place::Bracketed) != Ok(Token::Close(Bracket::Group)) {
            return None;
        }
        *self = ahead;
        Some(words)
    }

    /// Whether a name is minutes or seconds after a number, and not the minimum or the secant of what
    /// follows.
    pub(super) fn is_time(&self, name: &str, start: usize, after: &str) -> bool {
        let before = self.text[..start].trim_end_matches([' ', '~', '\\', ',', ';', ':', '!']);
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

    /// Takes the exponent of a unit, which is a whole number: `^2`, `^{-1}`.
    pub(in crate::equivalent) fn unit_exponent(&mut self) -> Option<i32> {
        let raised = without_spaces(self.rest()).strip_prefix('^')?.trim_start();
        let (exponent, rest) = if let Some(inner) = raised.strip_prefix('{') {
            inner.split_once('}')?
        } else {
            raised.split_at_checked(1 + usize::from(raised.starts_with('-')))?
        };
        // `m^23` is set as the square of a unit and a digit
        if rest.starts_with(|next: char| next.is_ascii_digit()) {
            return None;
        }
        let exponent: i8 = exponent.trim().parse().ok()?;
        self.at = self.text.len() - rest.len();
        Some(exponent.into())
    }
}

//! What stands further on, where that decides how a token is read.

use super::{Bracket, Lexer, Token, without_spaces};
use crate::equivalent::literal::{self, Place};
use crate::equivalent::roles::{Content, Enclosed, skip_script};
use crate::equivalent::tree::{Constant, Relation};
use crate::equivalent::words;

/// How many tokens of an argument are looked at.
const MAX_TOKENS: usize = 48;

/// How many bytes a base in words has at most, with the bracket that ends it.
const MAX_BASE: usize = 40;

/// How many characters an event in words has at most.
const MAX_EVENT: usize = 120;

/// Whether a token may stand among single symbols, `filled` saying whether one stands there
/// already.
fn is_plain(token: &Token<'_>, filled: bool) -> bool {
    match token {
        Token::Close(Bracket::Group) | Token::Open(Bracket::Group | Bracket::Text) => true,
        Token::Symbol(_)
        | Token::Minus
        | Token::Plus
        | Token::Constant(Constant::Pi | Constant::E | Constant::I) => !filled,
        Token::Comma => filled,
        _ => false,
    }
}

impl<'a> Lexer<'a> {
    /// How many bytes the variable of a set takes and what separates it from its condition:
    /// `x \mid`, `x :`, `x \in \mathbb{R} \mid`.
    pub(in crate::equivalent) fn variable_of_set(&self) -> Option<usize> {
        let text = self.rest();
        let rest = without_spaces(text);
        let rest = without_spaces(rest.strip_prefix(|first: char| first.is_ascii_alphabetic())?);
        let rest = match rest.strip_prefix(r"\in") {
            Some(domain) => without_spaces(without_spaces(domain).strip_prefix(r"\mathbb{R}")?),
            None => rest,
        };
        let rest = [r"\mid", r"\vert", "|", ":"].iter().find_map(|mark| rest.strip_prefix(mark))?;
        Some(text.len() - rest.len())
    }

    /// Takes what follows an opening parenthesis, if it says a modulus: `\text{mod } 4)`.
    pub(in crate::equivalent) fn modulus(&mut self) -> Option<&'a str> {
        let rest = without_spaces(self.rest());
        let rest = [r"\text{mod }", r"\text{mod}", r"\bmod", r"\mod", r"\mathrm{mod}", "mod"]
            .iter()
            .find_map(|word| rest.strip_prefix(word))?;
        let rest = without_spaces(rest);
        let (modulus, rest) = literal::split_digits(rest);
        let rest = without_spaces(rest).strip_prefix(')')?;
        self.at = self.text.len() - rest.len();
        (!modulus.is_empty()).then_some(modulus)
    }

    /// Takes what follows an opening parenthesis, if it says a base: `\text{base } 2)`, `in base
    /// 2)`.
    pub(in crate::equivalent) fn base_in_brackets(&mut self) -> Option<u32> {
        let end = self.rest().bytes().take(MAX_BASE).position(|byte| byte == b')')?;
        let (inner, rest) = (&self.rest()[..end], &self.rest()[end + 1..]);
        let plain = [r"\text", r"\mathrm", "{", "}", "$"]
            .iter()
            .fold(inner.to_owned(), |plain, dress| plain.replace(dress, ""));
        let base = words::numeral_base(&plain.split_whitespace().collect::<Vec<_>>().join(" "))?;
        self.at = self.text.len() - rest.len();
        Some(base)
    }

    /// What stands before the end of the round or square bracket that was opened last.
    pub(in crate::equivalent) fn enclosed(&self) -> Enclosed {
        let mut ahead = *self;
        let mut found = Enclosed::default();
        // `filled`: the argument has its symbol or number
        let (mut depth, mut filled) = (0, false);
        for _ in 0..MAX_TOKENS {
            let Ok(token) = ahead.next(Place::Bracketed) else { break };
            let content = match &token {
                Token::Finish => break,
                Token::Close(Bracket::Round | Bracket::Square) if depth == 0 => {
                    let next = ahead.peek(Place::Bracketed);
                    found.equated = next == Ok(Token::Relation(Relation::Equal));
                    // a bar without another is no absolute value
                    found.content = found.content.max(match found.bars {
                        1 => Content::Event,
                        _ if filled => Content::Symbols,
                        _ => Content::Expression,
                    });
                    return found;
                }
                Token::Number(_) if !filled => Content::Numbers,
                token if is_plain(token, filled) => Content::Symbols,
                Token::Underscore => {
                    skip_script(&mut ahead);
                    Content::Symbols
                }
                token => Content::of(token),
            };
            found.content = found.content.max(content);
            match token {
                Token::Open(Bracket::Group | Bracket::Text) => {}
                Token::Open(_) => depth += 1,
                Token::Close(bracket) if bracket != Bracket::Group => depth -= 1,
                Token::Bar => found.bars += 1,
                Token::Comma => filled = false,
                Token::Number(_) | Token::Constant(_) => filled = true,
                Token::Symbol(name) => {
                    filled = true;
                    found.capital |= name.starts_with(|first: char| first.is_ascii_uppercase());
                    found.first.get_or_insert(name);
                }
                _ => {}
            }
        }
        Enclosed { content: found.content.max(Content::Expression), ..found }
    }

    /// The text before the end of the bracket that was opened last, where it has words in it.
    pub(in crate::equivalent) fn worded(&self) -> Option<&'a str> {
        let mut depth = 0usize;
        let text = self.rest();
        let end = text.char_indices().take(MAX_EVENT).find(|&(_, next)| {
            let ends = depth == 0 && matches!(next, ')' | ']');
            match next {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            ends
        });
        let text = &text[..end?.0];
        let text = text.strip_suffix(r"\right").unwrap_or(text);
        (text.contains(r"\text{") || text.contains(r"\mathrm{")).then_some(text)
    }

    /// What stands raised at the letter of a function before its argument: `^{-1}`, `^{(4)}`, `^2`;
    /// and how many bytes it takes, the caret being read.
    pub(in crate::equivalent) fn raised(&self) -> Option<(&'a str, usize)> {
        let mut ahead = *self;
        let raised = match ahead.braced() {
            Some(raised) => raised.trim(),
            None => ahead.digits()?,
        };
        let is_order =
            !raised.is_empty() && raised.bytes().all(|byte| b"-()0123456789".contains(&byte));
        let applied = ahead.peek(Place::Bracketed) == Ok(Token::Open(Bracket::Round));
        (is_order && applied).then_some((raised, ahead.at - self.at))
    }

    /// The functions of a composition that is applied, `f \circ g)(`, the bracket before it being
    /// read; and how many bytes come before the second bracket.
    pub(in crate::equivalent) fn composition(&self) -> Option<(Vec<Box<str>>, usize)> {
        let mut ahead = *self;
        let mut names = Vec::new();
        loop {
            match ahead.next(Place::Bracketed) {
                Ok(Token::Symbol(name)) => names.push(name),
                _ => return None,
            }
            match ahead.next(Place::Bracketed) {
                Ok(Token::Circle) => {}
                Ok(Token::Close(Bracket::Round)) if names.len() > 1 => break,
                _ => return None,
            }
        }
        let applied = ahead.peek(Place::Bracketed) == Ok(Token::Open(Bracket::Round));
        applied.then_some((names, ahead.at - self.at))
    }
}

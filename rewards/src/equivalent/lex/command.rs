//! Commands: those that take text for an argument, and those that are tokens.

use super::{Bracket, Found, Lexer, Table, Token};
use crate::Strictness;
use crate::equivalent::names;
use crate::equivalent::tree::{Relation, Unreadable};
use crate::equivalent::units::Unit;
use crate::equivalent::words;

impl<'a> Lexer<'a> {
    /// Reads a command; `None` for one that is only dress.
    pub(super) fn command(&mut self) -> Result<Option<Token<'a>>, Unreadable> {
        let rest = &self.rest()[1..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        if letters == 0 {
            return self.symbol_command(rest);
        }
        let mut name = &rest[..letters];
        if self.strictness == Strictness::Eval
            && names::command(name).is_none()
            && let Some(length) = names::glued(name)
        {
            name = &name[..length];
        }
        self.at += 1 + name.len();
        match name {
            "begin" => return self.begin().map(Some),
            "end" => {
                self.braced().ok_or(Unreadable::NotMathematics)?;
                return Ok(Some(Token::End));
            }
            // the side without a bracket
            "left" | "right" if self.rest().starts_with('.') => {
                self.at += 1;
                return Ok(None);
            }
            "left" | "mleft" if self.rest().trim_start().starts_with('|') => {
                self.at = self.text.len() - self.rest().trim_start().len() + 1;
                return Ok(Some(Token::LeftBar));
            }
            "right" | "mright" if self.rest().trim_start().starts_with('|') => {
                self.at = self.text.len() - self.rest().trim_start().len() + 1;
                return Ok(Some(Token::RightBar));
            }
            _ => {}
        }
        if let Some(read) = self.with_argument(name) {
            return read;
        }
        if names::is_dress(name) {
            return Ok(None);
        }
        if names::is_text(name) {
            return Ok(self.words(name));
        }
        names::command(name).map(Some).ok_or(Unreadable::NotMathematics)
    }

    /// Commands that take an argument as text; `None` for all others.
    fn with_argument(&mut self, name: &str) -> Option<Result<Option<Token<'a>>, Unreadable>> {
        const WRONG: Unreadable = Unreadable::NotMathematics;
        Some(match name {
            "tag" | "color" | "textcolor" | "colorbox" | "hspace" | "vspace" | "phantom"
            | "label" => self.braced().map(|_| None).ok_or(WRONG),
            "not" => {
                let rest = self.rest();
                let negated = [("=", Relation::NotEqual), (r"\in", Relation::NotIn)];
                let found =
                    negated.into_iter().find(|(sign, _)| rest.trim_start().starts_with(sign));
                if let Some((sign, _)) = found {
                    self.at += rest.len() - rest.trim_start().len() + sign.len();
                }
                found.map(|(_, relation)| Some(Token::Relation(relation))).ok_or(WRONG)
            }
            "pmod" => {
                let modulus = self.braced().or_else(|| self.digits());
                modulus.map(|modulus| Some(Token::Modulus(modulus))).ok_or(WRONG)
            }
            "mathbb" | "Bbb" => {
                let letter = self.braced().or_else(|| self.one_letter()).map_or("", str::trim);
                let set = names::number_set(letter).map(Token::Constant);
                set.or_else(|| names::of_chance(letter).map(Token::Named)).map(Some).ok_or(WRONG)
            }
            "dot" | "ddot" => Err(WRONG),
            _ => return None,
        })
    }

    fn symbol_command(&mut self, rest: &str) -> Result<Option<Token<'a>>, Unreadable> {
        let token = match rest.chars().next() {
            // the brace of a system of equations, which has no partner
            Some('{') if rest[1..].trim_start().starts_with(r"\begin{") => {
                self.at += 2;
                return Ok(None);
            }
            Some('{') => Token::Open(Bracket::Curly),
            Some('&') => Token::And,
            Some('}') => Token::Close(Bracket::Curly),
            Some('#') => Token::Named("#"),
            Some('%') => Token::Percent,
            Some('$') => Token::Currency("dollar"),
            Some('\\') => {
                self.at += row_space(&rest[1..]);
                Token::Row
            }
            Some('|') => Token::Bar,
            Some('(' | ')' | '[' | ']') => {
                self.at += 2;
                return Ok(None);
            }
            _ => return Err(Unreadable::NotMathematics),
        };
        self.at += 2;
        Ok(Some(token))
    }

    /// The argument of `\text` and its kin: words, or mathematics in a group of its own.
    fn words(&mut self, name: &str) -> Option<Token<'a>> {
        let before = *self;
        let argument = self.braced()?;
        let content = argument.trim_matches(|edge: char| edge.is_whitespace() || edge == '~');
        let bare = content.trim_matches(['(', ')', ',', '.', ';', ' ']);
        // degrees of temperature
        let after_degrees = self.text[..before.at].trim_end().trim_end_matches([' ', '}']);
        match bare {
            // punctuation, and words that announce a value
            "" if content == "," => return Some(Token::Comma),
            "" if matches!(content, "." | ";" | "") => return None,
            _ if self.strictness == Strictness::Eval && words::announces(content) => return None,
            r"^\circ" => return Some(Token::Degree),
            r"\$" => return Some(Token::Currency("dollar")),
            _ if let Some(currency @ Token::Currency(_)) =
                bare.strip_prefix('\\').and_then(names::command) =>
            {
                return Some(currency);
            }
            "%" | r"\%" => return Some(Token::Percent),
            "C" | "F" if [r"\circ", r"\degree"].iter().any(|sign| after_degrees.contains(sign)) => {
                return Some(Token::Words(bare));
            }
            "and" | "And" | "AND" => return Some(Token::And),
            "or" | "Or" | "OR" => return Some(Token::Or),
            _ if self.is_time(bare, before.at - name.len() - 1, self.rest()) => {
                return Some(Token::Words(bare));
            }
            _ if names::head(content).is_some() && name != "textbf" => {
                return names::head(content).map(Token::Function);
            }
            // `\operatorname{Var}(X)`; before anything else it may be a unit
            _ if (name == "operatorname" || self.rest().trim_start().starts_with(['(', '[']))
                && let Some(operator) = names::operator(bare) =>
            {
                return Some(Token::Named(operator));
            }
            "m" | "g" | "s" | "h" | "L" | "N" | "J" | "W" | "V" | "K" => {
                return Some(Token::Words(bare));
            }
            _ if is_wordy(bare) || is_unit(argument) || words::numeral_base(bare).is_some() => {
                return Some(Token::Words(bare));
            }
            _ => {}
        }
        *self = before;
        self.at = self.text.len() - self.rest().trim_start().len() + 1;
        Some(Token::Open(Bracket::Text))
    }

    fn begin(&mut self) -> Found<'a> {
        let name = self.braced().ok_or(Unreadable::NotMathematics)?;
        match name.trim_end_matches('*') {
            "matrix" | "pmatrix" | "bmatrix" | "Bmatrix" | "smallmatrix" => {
                Ok(Token::Begin(Table::Matrix))
            }
            "aligned" | "align" | "gathered" | "split" => Ok(Token::Begin(Table::Lines)),
            "cases" => Ok(Token::Begin(Table::Cases)),
            "vmatrix" => Ok(Token::Begin(Table::Determinant)),
            "array" => {
                // the alignment of its columns
                self.braced().ok_or(Unreadable::NotMathematics)?;
                Ok(Token::Begin(Table::Array))
            }
            _ => Err(Unreadable::NotMathematics),
        }
    }
}

/// Whether the argument of `\text` is words. Capitals alone are points, which are factors.
fn is_wordy(bare: &str) -> bool {
    let plain = ["^{2}", "^{3}", "^2", "^3"].iter().find_map(|power| bare.strip_suffix(power));
    let plain = plain.unwrap_or(bare);
    (plain.len() > 1 || plain != bare)
        && plain.chars().all(|c| c.is_alphabetic() || " -/.,'".contains(c))
        && (bare.contains(char::is_lowercase)
            || words::deny(bare)
            || words::is_short_unit(bare)
            || bare.contains('.')
            || bare.len() > 2 && Unit::read_known(bare).is_some())
}

/// Whether the argument of `\text` is a formula of units, such as `m\,s^{-1}`; letters alone are
/// one where a space sets them off from a number.
fn is_unit(argument: &str) -> bool {
    let set_off = argument.starts_with([' ', '~']) || !argument.is_ascii();
    (set_off || !argument.chars().all(char::is_alphabetic)) && Unit::read_known(argument).is_some()
}

/// How many bytes the space between two rows takes: `[4pt]`.
fn row_space(text: &str) -> usize {
    let inner = text.strip_prefix('[').and_then(|inner| inner.split_once(']'));
    let is_length = |length: &str| {
        let number = length.trim_end_matches(|c: char| c.is_ascii_lowercase());
        number.len() + 2 == length.len() && number.parse::<f32>().is_ok()
    };
    match inner {
        Some((length, _)) if is_length(length) => length.len() + 2,
        _ => 0,
    }
}

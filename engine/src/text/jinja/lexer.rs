//! From the source of a template to tokens.
//!
//! Source: Jinja2's `lexer.py` with `trim_blocks` and `lstrip_blocks`: every line end becomes `\n`,
//! one at the end of the source is dropped, one after a block tag too, and so are the blanks before
//! a block tag that is the first on its line.

use std::sync::Arc;

use super::literals::{float_length, integer, integer_length, unescape};
use super::unicode::{is_space, trim_end};
use super::{Outcome, Trouble, trouble};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Text(String),
    PrintStart,
    PrintEnd,
    BlockStart,
    BlockEnd,
    Name(Arc<str>),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    End,
}

/// Longest first.
const OPERATORS: [&str; 24] = [
    "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|",
];
const SEPARATORS: [&str; 2] = [",", ";"];

/// The tokens with their lines, from 1; the last is [`Token::End`].
pub(super) fn tokens(source: &str) -> Outcome<Vec<(u32, Token)>> {
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer = Lexer { rest: &source, line: 1, fresh: true, tokens: Vec::new() };
    lexer.root().map_err(|trouble| trouble.at(lexer.line))?;
    lexer.push(Token::End);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    rest: &'s str,
    line: u32,
    /// Whether what was consumed last ended a line.
    fresh: bool,
    tokens: Vec<(u32, Token)>,
}

impl<'s> Lexer<'s> {
    fn push(&mut self, token: Token) {
        self.tokens.push((self.line, token));
    }

    fn take(&mut self, length: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.line += taken.matches('\n').count() as u32;
        if let Some(last) = taken.chars().next_back() {
            self.fresh = last == '\n';
        }
        taken
    }

    fn root(&mut self) -> Outcome<()> {
        while !self.rest.is_empty() {
            let Some(start) = next_tag(self.rest) else {
                let text = self.rest.to_owned();
                self.push(Token::Text(text));
                self.rest = "";
                return Ok(());
            };
            let (text, tag) = self.rest.split_at(start);
            let sign = tag[2..].chars().next().filter(|c| matches!(c, '-' | '+'));
            let text = match sign {
                Some('-') => trim_end(text),
                None if !tag.starts_with("{{") => before_block(text, self.fresh),
                _ => text,
            };
            if !text.is_empty() {
                let text = text.to_owned();
                self.push(Token::Text(text));
            }
            self.take(start);
            if let Some(length) = tag_length(tag, "raw", false) {
                self.take(length);
                self.raw()?;
                continue;
            }
            self.take(2 + usize::from(sign.is_some()));
            match &tag[..2] {
                "{#" => self.comment()?,
                "{%" => self.tag(Token::BlockStart)?,
                _ => self.tag(Token::PrintStart)?,
            }
        }
        Ok(())
    }

    fn comment(&mut self) -> Outcome<()> {
        let end = self.rest.find("#}").ok_or_else(|| trouble("a comment does not end"))?;
        let (comment, after) = (&self.rest[..end], &self.rest[end + 2..]);
        let blanks = match comment.chars().next_back() {
            Some('-') => after.len() - trim_start(after).len(),
            Some('+') => 0,
            _ => usize::from(after.starts_with('\n')),
        };
        self.take(end + 2 + blanks);
        Ok(())
    }

    fn raw(&mut self) -> Outcome<()> {
        let mut ends = self.rest.match_indices("{%").map(|(at, _)| at);
        let end = ends.find_map(|at| Some((at, tag_length(&self.rest[at..], "endraw", true)?)));
        let (at, length) = end.ok_or_else(|| trouble("a raw block does not end"))?;
        let text = &self.rest[..at];
        let text = match self.rest[at + 2..].chars().next() {
            Some('-') => trim_end(text),
            Some('+') => text,
            _ => before_block(text, self.fresh),
        };
        if !text.is_empty() {
            let text = text.to_owned();
            self.push(Token::Text(text));
        }
        self.take(at + length);
        Ok(())
    }

    /// What stands between the marks of a tag, and its end.
    fn tag(&mut self, start: Token) -> Outcome<()> {
        let block = start == Token::BlockStart;
        self.push(start);
        let mut open = Vec::new();
        while !self.rest.is_empty() {
            let length = self.rest.len() - trim_start(self.rest).len();
            if length > 0 {
                self.take(length);
                continue;
            }
            if let Some(length) = end_length(self.rest, block).filter(|_| open.is_empty()) {
                self.push(if block { Token::BlockEnd } else { Token::PrintEnd });
                self.take(length);
                return Ok(());
            }
            let (token, length) = self.inner()?;
            if let Token::Op(op) = token {
                balance(&mut open, op)?;
            }
            self.push(token);
            self.take(length);
        }
        Ok(())
    }

    fn inner(&self) -> Outcome<(Token, usize)> {
        let rest = self.rest;
        // `a.1.2` is an item of an item, so that a number after a point has no fraction.
        let after_point = matches!(self.tokens.last(), Some((_, Token::Op("."))));
        if let Some(length) = float_length(rest).filter(|_| !after_point) {
            let number = rest[..length].replace('_', "");
            let number = number.parse().map_err(|_| trouble(format!("{number} is no number")))?;
            return Ok((Token::Float(number), length));
        }
        if let Some((length, radix)) = integer_length(rest) {
            return Ok((Token::Int(integer(&rest[..length], radix)?), length));
        }
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if name > 0 {
            return Ok((Token::Name(rest[..name].into()), name));
        }
        if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let length = string_length(&rest[1..], quote)
                .ok_or_else(|| trouble(format!("a text in {quote} does not end")))?;
            return Ok((Token::Str(unescape(&rest[1..=length])?), length + 2));
        }
        let operators = OPERATORS.iter().chain(&SEPARATORS);
        let op = operators.copied().find(|op| rest.starts_with(op));
        op.map(|op| (Token::Op(op), op.len())).ok_or_else(|| self.unexpected())
    }

    fn unexpected(&self) -> Trouble {
        trouble(format!("unexpected character {:?}", self.rest.chars().next().unwrap_or_default()))
    }
}

fn next_tag(text: &str) -> Option<usize> {
    let starts = text.match_indices('{').map(|(at, _)| at);
    starts.into_iter().find(|at| text[at + 1..].starts_with(['{', '%', '#']))
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// `text` without the blanks between a line's start and the block tag that follows.
fn before_block(text: &str, fresh: bool) -> &str {
    let start = text.rfind('\n').map_or(0, |at| at + 1);
    let blank = text[start..].chars().all(is_space);
    if blank && (start > 0 || fresh) { &text[..start] } else { text }
}

/// Length of a whole `{% name %}` with the white space it takes along; a closing one takes a line
/// end.
fn tag_length(tag: &str, name: &str, closing: bool) -> Option<usize> {
    let rest = tag.strip_prefix("{%")?;
    let rest = trim_start(rest.strip_prefix(['-', '+']).unwrap_or(rest));
    let rest = trim_start(rest.strip_prefix(name)?);
    let rest = if closing {
        &rest[end_length(rest, true)?..]
    } else if let Some(rest) = rest.strip_prefix("-%}") {
        trim_start(rest)
    } else {
        rest.strip_prefix("%}")?
    };
    Some(tag.len() - rest.len())
}

/// Length of the mark that ends a tag, with the white space it takes along.
fn end_length(rest: &str, block: bool) -> Option<usize> {
    let mark = if block { "%}" } else { "}}" };
    if let Some(after) = rest.strip_prefix('-').and_then(|rest| rest.strip_prefix(mark)) {
        return Some(rest.len() - trim_start(after).len());
    }
    if block && rest.starts_with("+%}") {
        return Some(3);
    }
    let after = rest.strip_prefix(mark)?;
    Some(2 + usize::from(block && after.starts_with('\n')))
}

/// Bytes before the quote that ends a text.
fn string_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn balance(open: &mut Vec<&'static str>, op: &'static str) -> Outcome<()> {
    match op {
        "(" => open.push(")"),
        "[" => open.push("]"),
        "{" => open.push("}"),
        ")" | "]" | "}" => match open.pop() {
            Some(expected) if expected == op => {}
            Some(expected) => {
                return Err(trouble(format!("unexpected '{op}', expected '{expected}'")));
            }
            None => return Err(trouble(format!("unexpected '{op}'"))),
        },
        _ => {}
    }
    Ok(())
}

//! Sums and products over an index, integrals, limits.
//!
//! `\sum_{k=1}^{n}` takes the product that follows, `\int_a^b` all up to its differential.

use super::{Command, Done, Open, Operator, Parser, WRONG};
use crate::equivalent::build::{Builder, Built};
use crate::equivalent::lex::{Bracket, Token};
use crate::equivalent::literal::Place;
use crate::equivalent::names;
use crate::equivalent::tree::{Bound, Id, Node};

/// What is known of a sum or the like before what it is of.
#[derive(Debug)]
pub(super) struct Scope {
    operator: Bound,
    variable: Option<Box<str>>,
    low: Option<Id>,
    high: Option<Id>,
}

impl Scope {
    fn new(operator: Bound) -> Self {
        Self { operator, variable: None, low: None, high: None }
    }

    pub(super) fn set(&mut self, low: bool, id: Id) {
        *if low { &mut self.low } else { &mut self.high } = Some(id);
    }

    /// Whether it takes the product that follows.
    pub(super) fn is_prefix(&self) -> bool {
        self.operator != Bound::Integral
    }

    fn is_complete(&self) -> bool {
        let bounds = (self.low.is_some(), self.high.is_some());
        match self.operator {
            Bound::Sum | Bound::Product => bounds == (true, true),
            Bound::Limit => bounds == (true, false),
            Bound::Integral => bounds.0 == bounds.1,
        }
    }

    pub(super) fn build(self, builder: &mut Builder, body: Id) -> Built {
        let variable = self.variable.ok_or(WRONG)?;
        let bounds: Vec<Id> = self.low.into_iter().chain(self.high).collect();
        if bounds.is_empty() {
            let free = builder.push(Node::Symbol(variable))?;
            return builder.push(Node::Bound {
                operator: self.operator,
                level: 0,
                of: vec![body, free],
            });
        }
        builder.bound(self.operator, &variable, body, &bounds)
    }
}

/// A letter at the start of a text, and how many bytes it takes.
fn variable(text: &str) -> Option<(Box<str>, usize)> {
    let Some(command) = text.strip_prefix('\\') else {
        let letter = text.get(..1).filter(|letter| letter.as_bytes()[0].is_ascii_alphabetic())?;
        return Some((letter.into(), 1));
    };
    let letters = command.bytes().take_while(u8::is_ascii_alphabetic).count();
    match names::command(&command[..letters])? {
        Token::Symbol(name) => Some((name, letters + 1)),
        _ => None,
    }
}

/// `{k =` or `{x \to`: the variable, and how many bytes that takes.
fn index(text: &str, operator: Bound) -> Option<(Box<str>, usize)> {
    let rest = text.trim_start().strip_prefix('{')?.trim_start();
    let (name, length) = variable(rest)?;
    let rest = rest[length..].trim_start();
    let signs: &[&str] = match operator {
        Bound::Limit => &[r"\to", r"\rightarrow", r"\longrightarrow", "->"],
        _ => &["="],
    };
    let rest = signs.iter().find_map(|sign| rest.strip_prefix(sign))?;
    Some((name, text.len() - rest.len()))
}

/// `dx` at the start of a text: the variable, and how many bytes that takes.
fn differential(text: &str) -> Option<(Box<str>, usize)> {
    const SIGNS: [&str; 5] = ["d", r"\mathrm{d}", r"\text{d}", r"{\rm d}", r"\operatorname{d}"];
    const SPACES: [&str; 6] = [r"\,", r"\;", r"\:", r"\!", r"\ ", "~"];
    let mut rest = text.trim_start();
    while let Some(after) = SPACES.iter().find_map(|space| rest.strip_prefix(space)) {
        rest = after.trim_start();
    }
    let rest = SIGNS.iter().find_map(|sign| rest.strip_prefix(sign))?.trim_start();
    let (name, length) = variable(rest)?;
    let rest = &rest[length..];
    let ends = !rest.starts_with(|next: char| next.is_ascii_alphabetic() || "_^'".contains(next));
    ends.then_some((name, text.len() - rest.len()))
}

impl Parser<'_> {
    pub(super) fn open_bound(&mut self, operator: Bound) -> Done {
        self.operators.push(Operator::Bound(Scope::new(operator)));
        self.scripts()
    }

    /// What stands below and above the sign of a sum or the like.
    pub(super) fn scripts(&mut self) -> Done {
        let token = self.lexer.peek(Place::Bracketed)?;
        let Some(Operator::Bound(scope)) = self.operators.last_mut() else { return Err(WRONG) };
        let command = match token {
            Token::Underscore if scope.low.is_none() => Command::Low,
            Token::Caret if scope.high.is_none() => Command::High,
            _ if scope.is_complete() => {
                self.wanting = true;
                return Ok(());
            }
            _ => return Err(WRONG),
        };
        self.lexer.next(Place::Bracketed)?;
        let has_index = matches!(command, Command::Low) && scope.is_prefix();
        self.operators.push(Operator::Command(command));
        if has_index {
            let Some(Operator::Bound(scope)) = self.operators.iter_mut().rev().nth(1) else {
                return Err(WRONG);
            };
            let (name, length) = index(self.lexer.rest(), scope.operator).ok_or(WRONG)?;
            scope.variable = Some(name);
            self.lexer.skip(length);
            self.operators.push(Operator::Open(Open::Bracket(Bracket::Group)));
        }
        self.wanting = true;
        Ok(())
    }

    /// The differential that comes next, if an integral waits for it; and its length.
    pub(super) fn differential(&self) -> Option<(Box<str>, usize)> {
        let found = differential(self.lexer.rest())?;
        let innermost = self.operators.iter().rev().find(|operator| match operator {
            Operator::Bound(scope) => !scope.is_prefix(),
            Operator::Open(_) | Operator::Table { .. } | Operator::Command(_) => true,
            _ => false,
        });
        matches!(innermost, Some(Operator::Bound(_))).then_some(found)
    }

    pub(super) fn close_integral(&mut self, variable: Box<str>) -> Done {
        if self.wanting {
            // nothing but a differential: the integral of one
            if !matches!(self.operators.last(), Some(Operator::Bound(_))) {
                return Err(WRONG);
            }
            let one = self.builder.whole(1)?;
            self.values.push(one);
        }
        self.reduce(0)?;
        let Some(Operator::Bound(mut scope)) = self.operators.pop() else { return Err(WRONG) };
        let body = self.values.pop().ok_or(WRONG)?;
        scope.variable = Some(variable);
        let id = scope.build(&mut self.builder, body)?;
        self.operand(id, super::Last::Other)
    }
}

//! Statements: from tokens to a tree.
//!
//! Source: Jinja2's `parser.py`, with the extensions that `transformers` adds (`generation`, loop
//! controls). Statements about other templates have no meaning in a chat template and are refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ast::{Applied, Body, Expr, For, Kind, Macro, Special, Statement};
use super::lexer::{self, Token};
use super::{Outcome, Trouble, trouble};

/// How deep statements and expressions may be nested, and how long a chain of operators may be.
const MAX_NESTING: usize = 100;

/// A parsed template.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) body: Body,
    /// Every name that is read anywhere.
    pub(super) reads: BTreeSet<Arc<str>>,
}

pub(super) fn parse(source: &str) -> Outcome<Parsed> {
    let tokens = lexer::tokens(source)?;
    let mut parser =
        Parser { tokens, at: 0, reads: Vec::new(), depth: 0, loops: 0, conditional: false };
    let body = parser.body(&[]).map_err(|trouble| trouble.at(parser.line()))?;
    Ok(Parsed { body, reads: parser.reads.into_iter().collect() })
}

pub(super) struct Parser {
    tokens: Vec<(u32, Token)>,
    at: usize,
    /// The names read so far, in order.
    pub(super) reads: Vec<Arc<str>>,
    depth: usize,
    /// Loops around, within the macro.
    loops: usize,
    /// Inside a condition, where Jinja2 looks filters and tests up only when they are reached.
    pub(super) conditional: bool,
}

impl Parser {
    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).map_or(0, |(line, _)| *line)
    }

    pub(super) fn current(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(_, token)| token)
    }

    pub(super) fn ahead(&self) -> &Token {
        self.tokens.get(self.at + 1).map_or(&Token::End, |(_, token)| token)
    }

    pub(super) fn previous(&self) -> &Token {
        self.at
            .checked_sub(1)
            .and_then(|at| self.tokens.get(at))
            .map_or(&Token::End, |(_, token)| token)
    }

    pub(super) fn advance(&mut self) -> Token {
        let token = self.current().clone();
        self.at += 1;
        token
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.current(), Token::Name(found) if &**found == name)
    }

    pub(super) fn is_op(&self, op: &str) -> bool {
        matches!(self.current(), Token::Op(found) if *found == op)
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_op(&mut self, op: &str) -> Outcome<()> {
        if self.skip_op(op) { Ok(()) } else { Err(self.unexpected(&format!("'{op}'"))) }
    }

    pub(super) fn expect_name(&mut self) -> Outcome<Arc<str>> {
        match self.current() {
            Token::Name(name) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    pub(super) fn unexpected(&self, expected: &str) -> Trouble {
        let found = match self.current() {
            Token::Text(_) => "text".to_owned(),
            Token::PrintStart => "'{{'".to_owned(),
            Token::PrintEnd => "the end of '{{'".to_owned(),
            Token::BlockStart => "'{%'".to_owned(),
            Token::BlockEnd => "the end of '{%'".to_owned(),
            Token::Name(name) => format!("'{name}'"),
            Token::Str(text) => format!("the text {text:?}"),
            Token::Int(number) => number.to_string(),
            Token::Float(number) => number.to_string(),
            Token::Op(op) => format!("'{op}'"),
            Token::End => "the end of the template".to_owned(),
        };
        trouble(format!("expected {expected}, got {found}"))
    }

    /// Calls `parse` one level deeper.
    pub(super) fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        self.depth += 1;
        bounded(self.depth)?;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Statements up to a tag that starts with one of `ends`, which is left as the current name;
    /// up to the end of the template where there are none.
    fn body(&mut self, ends: &[&str]) -> Outcome<Body> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.advance() {
                Token::Text(text) => Kind::Text(text),
                Token::PrintStart => {
                    let value = self.tuple(true, false)?;
                    self.end(&Token::PrintEnd)?;
                    Kind::Print(value)
                }
                Token::BlockStart => {
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    self.nested(Self::statement)?
                }
                _ if ends.is_empty() => return Ok(body),
                _ => {
                    self.at -= 1;
                    return Err(self.unexpected(&format!("`{}`", ends.join("` or `"))));
                }
            };
            body.push(Statement { line, kind });
        }
    }

    fn end(&mut self, token: &Token) -> Outcome<()> {
        if self.current() == token {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected(if *token == Token::PrintEnd { "'}}'" } else { "'%}'" }))
    }

    /// The rest of a start tag, then its body; the end tag's name is left as the current one.
    fn block(&mut self, ends: &[&str]) -> Outcome<Body> {
        self.skip_op(":");
        self.end(&Token::BlockEnd)?;
        self.body(ends)
    }

    /// As [`Self::block`], with the end tag taken.
    fn whole_block(&mut self, end: &str) -> Outcome<Body> {
        let body = self.block(&[end])?;
        self.at += 1;
        self.end(&Token::BlockEnd)?;
        Ok(body)
    }

    fn statement(&mut self) -> Outcome<Kind> {
        let name = self.expect_name()?;
        match &*name {
            "if" => self.if_block(),
            "for" => self.for_block(),
            "set" => self.set(),
            "with" => self.with(),
            "macro" => self.macro_block(),
            "call" => self.call_block(),
            "filter" => {
                let filters = self.filters(true)?;
                let body = self.scoped("endfilter")?;
                Ok(Kind::FilterBlock(filters, body))
            }
            "generation" => self.isolated("endgeneration").map(Kind::Generation),
            "print" => {
                let value = self.tuple(true, false)?;
                self.end(&Token::BlockEnd)?;
                Ok(Kind::Print(value))
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(trouble(format!("`{name}` outside of a loop")));
                }
                self.end(&Token::BlockEnd)?;
                Ok(if &*name == "break" { Kind::Break } else { Kind::Continue })
            }
            "autoescape" | "block" | "extends" | "from" | "import" | "include" => {
                Err(trouble(format!("the statement `{name}` is not supported in a chat template")))
            }
            _ => Err(trouble(format!("unknown statement `{name}`"))),
        }
    }

    fn if_block(&mut self) -> Outcome<Kind> {
        let outer = std::mem::replace(&mut self.conditional, true);
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            let test = self.tuple(false, false)?;
            branches.push((test, self.block(&["elif", "else", "endif"])?));
            if self.skip_name("elif") {
                continue;
            }
            if self.skip_name("else") {
                otherwise = self.block(&["endif"])?;
            }
            self.at += usize::from(self.is_name("endif"));
            self.end(&Token::BlockEnd)?;
            break;
        }
        self.conditional = outer;
        Ok(Kind::If { branches, otherwise })
    }

    /// A body with a scope of its own, up to its end tag.
    fn scoped(&mut self, end: &str) -> Outcome<Body> {
        let outer = std::mem::replace(&mut self.conditional, false);
        let body = self.whole_block(end)?;
        self.conditional = outer;
        Ok(body)
    }

    /// A body that is called: loops around it are out of reach.
    fn isolated(&mut self, end: &str) -> Outcome<Body> {
        let outer = std::mem::replace(&mut self.loops, 0);
        let body = self.scoped(end)?;
        self.loops = outer;
        Ok(body)
    }

    fn for_block(&mut self) -> Outcome<Kind> {
        let target = self.target(false)?;
        if !self.skip_name("in") {
            return Err(self.unexpected("'in'"));
        }
        let items = self.tuple(false, true)?;
        let outer = std::mem::replace(&mut self.conditional, false);
        let only = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        self.loops += 1;
        let body = self.block(&["endfor", "else"])?;
        self.loops -= 1;
        let otherwise = if self.skip_name("else") { self.block(&["endfor"])? } else { Vec::new() };
        self.conditional = outer;
        self.at += 1;
        self.end(&Token::BlockEnd)?;
        Ok(Kind::For(Arc::new(For { target, items, only, recursive, body, otherwise })))
    }

    fn set(&mut self) -> Outcome<Kind> {
        let target = self.target(true)?;
        if self.skip_op("=") {
            let value = self.tuple(true, false)?;
            self.end(&Token::BlockEnd)?;
            return Ok(Kind::Set(target, value));
        }
        let filters = self.filters(false)?;
        Ok(Kind::SetBlock(target, filters, self.scoped("endset")?))
    }

    fn with(&mut self) -> Outcome<Kind> {
        let mut values = Vec::new();
        while *self.current() != Token::BlockEnd {
            if !values.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(false)?;
            self.expect_op("=")?;
            values.push((target, self.expression()?));
        }
        Ok(Kind::With(values, self.scoped("endwith")?))
    }

    fn macro_block(&mut self) -> Outcome<Kind> {
        let name = self.expect_name()?;
        let parameters = self.parameters()?;
        self.macro_body(name, parameters, "endmacro").map(|made| Kind::Macro(Arc::new(made)))
    }

    fn call_block(&mut self) -> Outcome<Kind> {
        let parameters = if self.is_op("(") { self.parameters()? } else { Vec::new() };
        let Expr::Call(call) = self.expression()? else {
            return Err(trouble("expected a call after `call`"));
        };
        let caller = self.macro_body("caller".into(), parameters, "endcall")?;
        Ok(Kind::CallBlock(*call, Arc::new(caller)))
    }

    fn macro_body(
        &mut self,
        name: Arc<str>,
        parameters: Vec<(Arc<str>, Option<Expr>)>,
        end: &str,
    ) -> Outcome<Macro> {
        let start = self.reads.len();
        let body = self.isolated(end)?;
        let reads = |name: &str| self.reads[start..].iter().any(|read| &**read == name);
        let takes =
            Special { varargs: reads("varargs"), kwargs: reads("kwargs"), caller: reads("caller") };
        Ok(Macro { name, parameters, takes, body })
    }

    fn parameters(&mut self) -> Outcome<Vec<(Arc<str>, Option<Expr>)>> {
        let mut parameters: Vec<(Arc<str>, Option<Expr>)> = Vec::new();
        self.expect_op("(")?;
        while !self.is_op(")") {
            if !parameters.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.expect_name()?;
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(trouble(format!("there are two parameters `{name}`")));
            }
            let default = if self.skip_op("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.iter().any(|(_, default)| default.is_some()) {
                return Err(trouble(format!(
                    "parameter `{name}` without a default follows one with"
                )));
            }
            parameters.push((name, default));
        }
        self.expect_op(")")?;
        Ok(parameters)
    }

    /// The filters of a block: `first` is one without a bar before it.
    fn filters(&mut self, first: bool) -> Outcome<Vec<Applied>> {
        let mut filters = Vec::new();
        if first {
            filters.push(self.filter()?);
        }
        while self.skip_op("|") {
            bounded(filters.len())?;
            filters.push(self.filter()?);
        }
        Ok(filters)
    }
}

/// That a chain of operators is not longer than nesting may be deep.
pub(super) fn bounded(length: usize) -> Outcome<()> {
    if length <= MAX_NESTING {
        return Ok(());
    }
    Err(trouble(format!("nested or chained more than {MAX_NESTING} deep")))
}

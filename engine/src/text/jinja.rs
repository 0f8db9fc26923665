//! Jinja, as chat templates are written in it: the language of Jinja2 3.1 in the environment that
//! `transformers` sets up, with Python's values, operators and printing.
//!
//! A template either renders to the bytes that Jinja2 renders, or fails with what is not supported:
//! templates are copied from checkpoints, and one that renders a little differently would train on
//! prompts that the model never saw. Jinja for Rust programs (`minijinja`) takes other decisions on
//! purpose: it orders values of different types, goes through none, prints other floats, and has no
//! `%` on text.
//!
//! Reading order: [`lexer`], [`ast`], [`parser`] with `expressions`, [`value`], [`machine`] with
//! `evaluate` and `calls`; then what values can do (`attributes`, `arithmetic`, `order`,
//! `printing`, `methods`) and the vocabulary (`filters`, `predicates`). [`bounds`] ends what runs
//! too long.

mod arithmetic;
mod ast;
mod attributes;
mod bounds;
mod calls;
mod clock;
mod evaluate;
mod expressions;
mod filters;
mod html;
mod json;
mod lexer;
mod literals;
mod loops;
mod machine;
mod methods;
mod numbers;
mod order;
mod parser;
mod percent;
mod predicates;
mod printing;
mod targets;
mod unicode;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

pub use clock::Date;
use machine::Machine;
use value::Value;

/// What went wrong, and on which line of the template.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) line: Option<u32>,
    pub(super) message: String,
}

impl Trouble {
    /// The innermost line stays.
    fn at(mut self, line: u32) -> Self {
        self.line.get_or_insert(line);
        self
    }
}

fn trouble(message: impl Into<String>) -> Trouble {
    Trouble { line: None, message: message.into() }
}

pub(super) type Outcome<T> = Result<T, Trouble>;

/// A template that is ready to be rendered.
#[derive(Debug)]
pub(super) struct Program(parser::Parsed);

impl Program {
    pub(super) fn parse(source: &str) -> Outcome<Self> {
        parser::parse(source).map(Self)
    }

    /// Whether the template reads the name anywhere.
    pub(super) fn reads(&self, name: &str) -> bool {
        self.0.reads.contains(name)
    }

    /// The template's text for the names that it is given, told that today is `date`.
    pub(super) fn render(&self, given: &Map<String, Json>, date: Date) -> Outcome<String> {
        // What is given does not count: the work of a template begins afterwards.
        let budget = bounds::Budget::unlimited();
        let value = |(name, value): (&String, &Json)| {
            Ok((Arc::from(name.as_str()), Value::from_json(value, &budget)?))
        };
        let given: BTreeMap<_, _> = given.iter().map(value).collect::<Outcome<_>>()?;
        let mut out = String::new();
        Machine::new(given, date).body(&self.0.body, &mut out)?;
        Ok(out)
    }
}

/// Whether every template has a function of the name.
pub(super) fn is_function(name: &str) -> bool {
    calls::global(name).is_some()
}

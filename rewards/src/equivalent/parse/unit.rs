//! Words after a value: a word of number, a part of one, a base, or the unit.

use dashu_ratio::RBig;

use super::{Command, Done, Last, Open, Operator, Parser, WRONG};
use crate::equivalent::infix::Infix;
use crate::equivalent::lex::Bracket;
use crate::equivalent::literal::{self, Literal};
use crate::equivalent::tree::{Id, Node};
use crate::equivalent::units::Unit;
use crate::equivalent::words::{self, Part};

impl Parser<'_> {
    pub(super) fn words_after(&mut self, words: &str) -> Done {
        if self.condition_after_value(words)? {
            return Ok(());
        }
        if self.last == Last::Words {
            return Err(WRONG);
        }
        if let Some((part, rest)) = words::part(words) {
            self.attach()?;
            match part {
                Part::Percent => self.postfix(Last::Percent, Node::Percent)?,
                Part::Of(many) => self.scale(RBig::ONE / RBig::from(many))?,
            }
            return if rest.is_empty() { Ok(()) } else { self.unit(rest) };
        }
        if matches!(words, "base" | "in base") {
            self.attach()?;
            self.lexer.skip(usize::from(self.lexer.rest().starts_with('-')));
            return self.subscript();
        }
        if let Some(base) = words::numeral_base(words) {
            return self.in_base(base);
        }
        if words::repeats(words) {
            return self.repeat();
        }
        self.magnitude(words)
    }

    /// Words of number, each of which multiplies, and what they count.
    fn magnitude(&mut self, words: &str) -> Done {
        let (mut rest, mut scale) = (words, RBig::ONE);
        loop {
            let (first, others) = rest.split_once(' ').unwrap_or((rest, ""));
            let Some(magnitude) = words::magnitude(first) else { break };
            scale *= magnitude;
            rest = others.trim_start();
        }
        if rest.len() == words.len() {
            return self.unit(words);
        }
        self.attach()?;
        self.scale(scale)?;
        let counted = rest.strip_prefix("of ").unwrap_or(rest);
        if counted.is_empty() { Ok(()) } else { self.unit(counted) }
    }

    fn scale(&mut self, by: RBig) -> Done {
        let id = self.values.pop().ok_or(WRONG)?;
        let by = self.builder.push(Node::Number { value: by, places: None })?;
        let id = self.builder.push(Node::Product(vec![id, by]))?;
        self.values.push(id);
        self.last = Last::Other;
        Ok(())
    }

    /// The number on top, if it is one: no part of an expression is written in another base.
    fn number(&self) -> Option<(RBig, Option<u32>)> {
        match self.builder.node(*self.values.last()?) {
            Node::Number { value, places } if matches!(self.last, Last::Whole | Last::Number) => {
                Some((value.clone(), *places))
            }
            _ => None,
        }
    }

    fn replace_number(&mut self, number: Literal) -> Done {
        self.values.pop();
        let id = self.builder.number(number)?;
        self.values.push(id);
        self.last = Last::Other;
        Ok(())
    }

    pub(super) fn in_base(&mut self, base: u32) -> Done {
        let (value, places) = self.number().ok_or(WRONG)?;
        if places.is_some() || !value.is_int() || value < RBig::ZERO {
            return Err(WRONG);
        }
        let value = literal::in_base(value.numerator(), base).ok_or(WRONG)?;
        self.replace_number(Literal::whole(value))
    }

    /// The only decimal repeats; of several, one cannot tell which.
    fn repeat(&mut self) -> Done {
        let (value, places) = self.number().ok_or(WRONG)?;
        if places != Some(1) {
            return Err(WRONG);
        }
        let whole = RBig::from(value.trunc());
        let value = (value - &whole) * RBig::from_parts(10.into(), 9u8.into()) + whole;
        self.replace_number(Literal { value, places: None })
    }

    /// A unit after a value, with its exponent.
    pub(super) fn unit(&mut self, words: &str) -> Done {
        let unit = self.read_unit(words).ok_or(WRONG)?;
        self.attach()?;
        let id = self.values.pop().ok_or(WRONG)?;
        // a letter before words is a choice or a name, and no value
        if matches!(self.builder.node(id), Node::Symbol(_)) {
            return Err(WRONG);
        }
        let id = self.builder.measure(id, unit)?;
        self.values.push(id);
        self.last = if matches!(self.builder.node(id), Node::Degrees(_)) {
            Last::Degrees
        } else {
            Last::Unit
        };
        Ok(())
    }

    /// Takes a unit that is set with a sign outside of words, after an operand; false where none
    /// follows.
    pub(super) fn unit_of_signs(&mut self) -> Done<bool> {
        if self.wanting || self.last == Last::Words {
            return Ok(false);
        }
        let is_number = self.values.last().is_some_and(|&id| self.builder.is_plain_number(id));
        match self.lexer.unit_of_signs(is_number) {
            Some(unit) => self.unit(&unit).map(|()| true),
            None => Ok(false),
        }
    }

    fn read_unit(&mut self, words: &str) -> Option<Unit> {
        let words = match words {
            "C" | "F" if self.last == Last::Degrees => {
                if words == "C" {
                    "celsius"
                } else {
                    "fahrenheit"
                }
            }
            _ => words,
        };
        match self.lexer.unit_exponent() {
            Some(exponent) => Unit::read(&format!("{words}^{exponent}")),
            None => Unit::read(words),
        }
    }

    /// Completes what words after it belong to: the factors before them, and of quotients, products
    /// and sums as much as carries no unit yet. `3 + 5 \text{ m}` is eight metres, in
    /// `3 \text{ m} + 5 \text{ cm}` each number has its own.
    fn attach(&mut self) -> Done {
        self.reduce(Infix::Times.precedence() + 1)?;
        while let Some(Operator::Infix(infix)) = self.operators.last() {
            let precedence = infix.precedence();
            let same = |operator: &&Operator| matches!(operator, Operator::Infix(other) if other.precedence() == precedence);
            let run = self.operators.iter().rev().take_while(same).count();
            let operands = self.values.iter().rev().skip(1).take(run);
            let measured = operands.clone().any(|&id| self.builder.has_unit(id));
            if precedence <= Infix::Union.precedence() || measured {
                break;
            }
            self.reduce_run(precedence)?;
        }
        Ok(())
    }

    /// Whether a unit may stand alone where an operand is expected: in a fraction, or after a value
    /// with its unit, as in `60 \text{ km} / \text{h}`.
    pub(super) fn is_place_of_unit(&self) -> bool {
        let outer = self.operators.iter().rev().find(|operator| {
            !matches!(operator, Operator::Open(Open::Bracket(Bracket::Group | Bracket::Text)))
        });
        match outer {
            Some(Operator::Command(Command::Numerator | Command::Denominator(_))) => true,
            Some(Operator::Infix(Infix::Times | Infix::Divide)) => {
                self.values.last().is_some_and(|&id| self.builder.has_unit(id))
            }
            _ => false,
        }
    }

    /// The same for a letter without a font: `60 km/h`.
    pub(super) fn is_divisor_of_unit(&self) -> bool {
        matches!(self.operators.last(), Some(Operator::Infix(Infix::Divide)))
            && self.is_place_of_unit()
    }

    /// Takes a unit alone, which is one of it; false where the words are none.
    pub(super) fn unit_operand(&mut self, words: &str) -> Done<bool> {
        let before = self.lexer;
        let Some(unit) = self.read_unit(words).filter(Unit::is_known) else {
            self.lexer = before;
            return Ok(false);
        };
        let one = self.builder.whole(1)?;
        let id = self.builder.push(Node::Unit(one, unit))?;
        self.operand(id, Last::Unit)?;
        Ok(true)
    }

    /// A letter under a unit is a unit: `\frac{km}{h}`.
    pub(super) fn letter_as_unit(&mut self, above: Id, below: Id) -> Done<Id> {
        let is_unit = matches!(*self.builder.node(above), Node::Unit(value, _)
            if matches!(self.builder.node(value), Node::Number { value, .. } if *value == RBig::ONE));
        let text = match self.builder.node(below) {
            Node::Symbol(name) => name.to_string(),
            &Node::Power(base, exponent) => {
                match (self.builder.node(base), self.builder.integer(exponent)) {
                    (Node::Symbol(name), Some(exponent)) => format!("{name}^{exponent}"),
                    _ => return Ok(below),
                }
            }
            _ => return Ok(below),
        };
        match Unit::read_known(&text).filter(|_| is_unit) {
            Some(unit) => {
                let one = self.builder.whole(1)?;
                self.builder.push(Node::Unit(one, unit))
            }
            None => Ok(below),
        }
    }
}

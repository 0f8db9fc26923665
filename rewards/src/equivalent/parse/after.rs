//! What may stand after an operand.

use dashu_base::RemEuclid;
use dashu_int::IBig;
use dashu_ratio::RBig;

use super::{Command, Done, Last, Operator, Parser, WRONG};
use crate::Strictness;
use crate::equivalent::infix::Infix;
use crate::equivalent::lex::{Bracket, Table, Token};
use crate::equivalent::literal::{self, Place};
use crate::equivalent::roles::{is_conditional, is_of_chance};
use crate::equivalent::tree::{Constant, Id, Node, Relation};
use crate::equivalent::units::Unit;
use crate::equivalent::words;

impl Parser<'_> {
    /// A token after an operand.
    pub(super) fn proceed(&mut self, token: Token<'_>) -> Done {
        match token {
            Token::Caret => self.caret(),
            Token::Underscore => self.subscript(),
            Token::Prime => {
                let &id = self.values.last().ok_or(WRONG)?;
                let named = self.last == Last::Letter && self.builder.rename(id, "'");
                if named { Ok(()) } else { Err(WRONG) }
            }
            // `2^n!` has two readings, and `n!!!` is no function that answers have
            Token::Bang if matches!(self.last, Last::Factorial | Last::Power) => Err(WRONG),
            Token::Bang if self.lexer.rest().starts_with('!') => {
                self.lexer.skip(1);
                self.postfix(Last::Factorial, Node::DoubleFactorial)
            }
            Token::Bang => self.postfix(Last::Factorial, Node::Factorial),
            Token::Percent => self.postfix(Last::Percent, Node::Percent),
            Token::Degree => self.postfix(Last::Degrees, Node::Degrees),
            Token::Currency(name) => self.unit(name),
            Token::Words(words) => self.words_after(words),
            Token::Modulus(modulus) => self.modulus(modulus),
            Token::Close(bracket) => self.close(bracket),
            Token::RightBar => self.close_bar(),
            Token::Bar | Token::Relation(Relation::Divides) if self.bar_is_open() => {
                self.close_bar()
            }
            // an event and its condition, as in `P(A|B)`
            Token::Bar if self.holds_event() && self.lexer.enclosed().bars == 0 => {
                self.infix(Infix::Relation(Relation::Divides))
            }
            Token::Ampersand if self.table() == Some(Table::Lines) => Ok(()),
            Token::Ampersand if self.table() == Some(Table::Cases) => self.cases_ampersand(),
            Token::Row if self.table().is_none() && self.strictness == Strictness::Eval => {
                self.infix(Infix::Comma)
            }
            Token::Ampersand | Token::Row => self.cell(token == Token::Row),
            Token::End => self.end_table(),
            Token::Ellipsis | Token::Circle => Err(WRONG),
            token => match Infix::of(&token) {
                Some(infix) => self.infix(infix),
                None => self.juxtapose(token),
            },
        }
    }

    pub(super) fn infix(&mut self, infix: Infix) -> Done {
        self.reduce(infix.precedence() + 1)?;
        self.operators.push(Operator::Infix(infix));
        self.wanting = true;
        Ok(())
    }

    pub(super) fn postfix(&mut self, last: Last, node: impl FnOnce(Id) -> Node) -> Done {
        let id = self.values.pop().ok_or(WRONG)?;
        let id = self.builder.push(node(id))?;
        self.values.push(id);
        self.last = last;
        Ok(())
    }

    pub(super) fn caret(&mut self) -> Done {
        if let Some(length) = words::ordinal(self.lexer.rest()) {
            self.lexer.skip(length);
            return self.postfix(Last::Unit, |id| Node::Unit(id, Unit::ordinal()));
        }
        if self.last == Last::Letter && self.raised_function()? {
            return Ok(());
        }
        // a power of a power needs braces or parentheses; that of a unit has been read with it
        if matches!(self.last, Last::Power | Last::Words | Last::Unit) {
            return Err(WRONG);
        }
        let base = self.values.pop().ok_or(WRONG)?;
        self.operators.push(Operator::Command(Command::Exponent(base)));
        self.wanting = true;
        Ok(())
    }

    /// Takes what is raised at the name of a function: `f^{-1}(x)`, `f^{\prime}(x)`; false where it
    /// is an exponent.
    fn raised_function(&mut self) -> Done<bool> {
        let &id = self.values.last().ok_or(WRONG)?;
        for (raised, suffix) in [(r"{\prime}", "'"), (r"\prime", "'"), (r"{\prime\prime}", "''")] {
            if self.lexer.rest().starts_with(raised) {
                self.lexer.skip(raised.len());
                return Ok(self.builder.rename(id, suffix));
            }
        }
        let is_function =
            matches!(self.builder.node(id), Node::Symbol(name) if self.roles.is_function(name));
        match self.lexer.raised() {
            Some((raised, length)) if is_function => {
                self.lexer.skip(length);
                Ok(self.builder.rename(id, &format!("^{raised}")))
            }
            _ => Ok(false),
        }
    }

    /// A subscript belongs to a letter's name, or says in which base a number is written.
    pub(super) fn subscript(&mut self) -> Done {
        let &id = self.values.last().ok_or(WRONG)?;
        let text = match self.lexer.braced() {
            Some(text) => text.to_owned(),
            None => match self.lexer.next(Place::Argument)? {
                Token::Number(number) => number.value.to_string(),
                Token::Symbol(name) => name.into(),
                Token::Constant(Constant::I) => "i".into(),
                Token::Constant(Constant::E) => "e".into(),
                _ => return Err(WRONG),
            },
        };
        let is_denied = words::deny(&text);
        let text =
            [r"\text", r"\mathrm", r"\rm"].iter().fold(text, |text, font| text.replace(font, ""));
        let text = text.replace(['{', '}', '\\', ' '], "");
        // `x_{\text{not}}` is not what `x` is
        if is_denied || words::deny(&text) {
            return Err(WRONG);
        }
        if let Node::Number { value, places: None } = self.builder.node(id) {
            let base = words::base(text.strip_prefix("base").unwrap_or(&text)).ok_or(WRONG)?;
            if !value.is_int() || value < &RBig::ZERO {
                return Err(WRONG);
            }
            let value = literal::in_base(value.numerator(), base).ok_or(WRONG)?;
            let id = self.builder.number(literal::Literal::whole(value))?;
            self.values.pop();
            self.values.push(id);
            return Ok(());
        }
        let named = matches!(self.last, Last::Letter | Last::Power | Last::Words)
            || matches!(self.builder.node(id), Node::Constant(Constant::E | Constant::I));
        if named && self.builder.rename(id, &format!("_{text}")) { Ok(()) } else { Err(WRONG) }
    }

    /// The modulus of a congruence is a mark of its right side, which stands for its whole class.
    fn modulus(&mut self, modulus: &str) -> Done {
        self.reduce(Infix::Union.precedence() + 1)?;
        let unit = Unit::modulus(&modulus.replace(' ', ""));
        let id = self.values.pop().ok_or(WRONG)?;
        let modulus = modulus.trim().parse::<u64>().ok().filter(|modulus| *modulus > 0);
        let id = match (self.builder.integer(id), modulus) {
            (Some(value), Some(modulus)) => {
                let value = RBig::from(value.rem_euclid(IBig::from(modulus)));
                self.builder.push(Node::Number { value, places: None })?
            }
            _ => id,
        };
        self.values.push(id);
        self.postfix(Last::Unit, |id| Node::Unit(id, unit))
    }

    /// Minutes or seconds of arc after degrees.
    fn minutes(&mut self, number: &literal::Literal) -> Done {
        let rest = self.lexer.rest().trim_start();
        let marks = [
            (r"^{\prime\prime}", 3600),
            ("''", 3600),
            (r"^{\prime}", 60),
            (r"^\prime", 60),
            ("'", 60),
        ];
        let &(mark, parts) = marks.iter().find(|(mark, _)| rest.starts_with(mark)).ok_or(WRONG)?;
        self.lexer.skip(self.lexer.rest().len() - rest.len() + mark.len());
        let id = self.values.pop().ok_or(WRONG)?;
        let &Node::Degrees(whole) = self.builder.node(id) else { return Err(WRONG) };
        let value = number.value.clone() / RBig::from(parts);
        let part = self.builder.push(Node::Number { value, places: None })?;
        let sum = self.builder.push(Node::Sum(vec![whole, part]))?;
        let id = self.builder.push(Node::Degrees(sum))?;
        self.values.push(id);
        self.last = Last::Degrees;
        Ok(())
    }

    /// Two operands side by side are a product, or a mixed number, or a call.
    pub(super) fn juxtapose(&mut self, token: Token<'_>) -> Done {
        if let Token::Open(bracket) = token
            && self.opens_no_factor(bracket)?
        {
            return Ok(());
        }
        match (self.last, &token) {
            // `\text{Area of } ABC`
            (Last::Words, Token::Symbol(_)) => {
                let &id = self.values.last().ok_or(WRONG)?;
                match self.builder.node(id) {
                    Node::Symbol(name) if words::describe(name) => {}
                    _ => return Err(WRONG),
                }
                self.infix(Infix::Times)?;
                return self.begin(token);
            }
            // `m\,s^{-1}`
            (Last::Unit, Token::Symbol(name)) => return self.unit(name),
            // `7 % 5` is a remainder in code
            (Last::Whole | Last::Number, Token::Number(_))
            | (Last::Words | Last::Unit | Last::Percent, _) => {
                return Err(WRONG);
            }
            (Last::Degrees, Token::Symbol(name)) if matches!(&**name, "C" | "F") => {
                return self.unit(name);
            }
            (Last::Degrees, Token::Number(number)) => return self.minutes(number),
            (Last::Whole, Token::Fraction | Token::Open(Bracket::Group))
                if token == Token::Fraction || self.fraction_in_group()? =>
            {
                let whole = self.values.pop().ok_or(WRONG)?;
                self.operators.push(Operator::Command(Command::Mixed(whole)));
                self.wanting = true;
                return self.open(&token);
            }
            _ => {}
        }
        // inside the bare argument of a function, a product binds its factors tighter
        let in_argument = matches!(
            self.operators.last(),
            Some(Operator::Function { .. } | Operator::Infix(Infix::Factor))
        );
        let infix = match token {
            Token::Function(_) => Infix::Times,
            _ if in_argument => Infix::Factor,
            _ => Infix::Times,
        };
        self.infix(infix)?;
        self.begin(token)
    }

    /// Takes a bracket after an operand which opens no factor: an empty group, a modulus, the
    /// argument of a function, words, a condition; false for any other.
    fn opens_no_factor(&mut self, bracket: Bracket) -> Done<bool> {
        if bracket == Bracket::Group && self.lexer.rest().trim_start().starts_with('}') {
            self.lexer.next(Place::Bracketed)?;
            return Ok(true);
        }
        if bracket == Bracket::Round
            && let Some(modulus) = self.lexer.modulus()
        {
            self.modulus(modulus)?;
            return Ok(true);
        }
        if bracket == Bracket::Round
            && let Some(base) = self.lexer.base_in_brackets()
        {
            self.in_base(base)?;
            return Ok(true);
        }
        if self.is_call(bracket) {
            let id = self.values.pop().ok_or(WRONG)?;
            self.operators.push(Operator::Command(Command::Call(id)));
            self.wanting = true;
            self.open(&Token::Open(bracket))?;
            return Ok(true);
        }
        if matches!(bracket, Bracket::Group | Bracket::Text) {
            // `{\rm hours}`
            if let Some(words) = self.lexer.words_in_group() {
                self.words_after(words)?;
                return Ok(true);
            }
            return if self.is_factor(bracket)? { Ok(false) } else { Err(WRONG) };
        }
        // `2k\pi (k \in \mathbb{Z})`
        let is_condition =
            bracket == Bracket::Round && self.inside == 0 && self.lexer.enclosed().is_condition();
        if is_condition {
            self.infix(Infix::Comma)?;
            self.begin(Token::Open(bracket))?;
        }
        Ok(is_condition)
    }

    /// Whether the group that has just been opened begins with a fraction, as in `2{\frac{1}{3}}`.
    fn fraction_in_group(&self) -> Done<bool> {
        Ok(self.lexer.peek(Place::Bracketed)? == Token::Fraction)
    }

    /// Whether a group may be a factor: `10{+2}` is set as a sum and `1{0}` as ten, and text is no
    /// mathematics but for its letters.
    fn is_factor(&self, opening: Bracket) -> Done<bool> {
        let first = self.lexer.peek(Place::Bracketed)?;
        Ok(match first {
            Token::Symbol(_) | Token::Constant(_) | Token::Words(_) | Token::Function(_) => true,
            Token::Number(_) | Token::Plus | Token::Minus | Token::PlusMinus | Token::MinusPlus => {
                false
            }
            _ => opening == Bracket::Group,
        })
    }

    /// Whether the symbol before a bracket is applied to what the bracket holds: `f(x + 1)`,
    /// `E[X]`, `\text{Area}(ABC)`; else the two are a product, as in `a(x + 1)`.
    fn is_call(&self, bracket: Bracket) -> bool {
        let Some(Node::Symbol(name)) = self.values.last().map(|&id| self.builder.node(id)) else {
            return false;
        };
        match bracket {
            _ if self.last == Last::Words => matches!(bracket, Bracket::Round | Bracket::Square),
            _ if self.last != Last::Letter => false,
            Bracket::Round => self.roles.applies(name, &self.lexer.enclosed()),
            Bracket::Square => is_of_chance(name, &self.lexer.enclosed()),
            _ => false,
        }
    }

    /// Whether the innermost bracket holds what a function of events is applied to.
    pub(super) fn holds_event(&self) -> bool {
        let function = self.operators.iter().rev().find_map(|operator| match operator {
            Operator::Command(Command::Call(name)) => match self.builder.node(*name) {
                Node::Symbol(name) => Some(&**name),
                _ => None,
            },
            Operator::Command(Command::Named(name)) => Some(*name),
            _ => None,
        });
        self.opens_argument() && function.is_some_and(is_conditional)
    }
}

//! Expressions: from tokens to a tree, one method a level of precedence.

use super::ast::{Applied, Args, Call, Choice, Comparison, Expr, Literal, Operator};
use super::lexer::Token;
use super::parser::{Parser, bounded};
use super::{Outcome, filters, predicates, trouble};

impl Parser {
    pub(super) fn expression(&mut self) -> Outcome<Expr> {
        self.nested(Self::choice)
    }

    /// One expression, or several with commas between them.
    ///
    /// `choices` allows `a if b else c` at the top; `recursive` also ends a tuple in a loop.
    pub(super) fn tuple(&mut self, choices: bool, recursive: bool) -> Outcome<Expr> {
        let mut items = Vec::new();
        let mut tuple = false;
        loop {
            let end = matches!(self.current(), Token::PrintEnd | Token::BlockEnd)
                || self.is_op(")")
                || (recursive && self.is_name("recursive"));
            if end {
                break;
            }
            let parse = if choices { Self::choice } else { Self::or };
            items.push(self.nested(parse)?);
            if !self.skip_op(",") {
                break;
            }
            tuple = true;
        }
        match (tuple, items.pop()) {
            (false, Some(item)) => Ok(item),
            (_, Some(item)) => {
                items.push(item);
                Ok(Expr::Tuple(items))
            }
            (_, None) => Err(self.unexpected("an expression")),
        }
    }

    fn choice(&mut self) -> Outcome<Expr> {
        let mut line = self.line();
        let mut value = self.or()?;
        let mut length = 0;
        while self.skip_name("if") {
            length += 1;
            bounded(length)?;
            let outer = std::mem::replace(&mut self.conditional, true);
            let test = self.or()?;
            let otherwise =
                if self.skip_name("else") { Some(self.nested(Self::choice)?) } else { None };
            self.conditional = outer;
            value = Expr::If(Box::new(Choice { line, test, then: value, otherwise }));
            line = self.line();
        }
        Ok(value)
    }

    fn or(&mut self) -> Outcome<Expr> {
        let mut left = self.and()?;
        let mut length = 0;
        while self.skip_name("or") {
            length += 1;
            bounded(length)?;
            left = Expr::Or(Box::new((left, self.and()?)));
        }
        Ok(left)
    }

    fn and(&mut self) -> Outcome<Expr> {
        let mut left = self.not()?;
        let mut length = 0;
        while self.skip_name("and") {
            length += 1;
            bounded(length)?;
            left = Expr::And(Box::new((left, self.not()?)));
        }
        Ok(left)
    }

    fn not(&mut self) -> Outcome<Expr> {
        if self.skip_name("not") {
            return Ok(Expr::Not(Box::new(self.nested(Self::not)?)));
        }
        self.compare()
    }

    fn compare(&mut self) -> Outcome<Expr> {
        let first = self.sum()?;
        let mut others = Vec::new();
        loop {
            let comparison = match self.current() {
                Token::Op("==") => Comparison::Equal,
                Token::Op("!=") => Comparison::NotEqual,
                Token::Op("<") => Comparison::Less,
                Token::Op("<=") => Comparison::LessOrEqual,
                Token::Op(">") => Comparison::Greater,
                Token::Op(">=") => Comparison::GreaterOrEqual,
                Token::Name(name) if &**name == "in" => Comparison::In,
                Token::Name(name) if &**name == "not" => match self.ahead() {
                    Token::Name(next) if &**next == "in" => Comparison::NotIn,
                    _ => break,
                },
                _ => break,
            };
            self.advance();
            if comparison == Comparison::NotIn {
                self.advance();
            }
            others.push((comparison, self.sum()?));
        }
        if others.is_empty() { Ok(first) } else { Ok(Expr::Compare(Box::new(first), others)) }
    }

    fn sum(&mut self) -> Outcome<Expr> {
        let operators = [("+", Operator::Add), ("-", Operator::Subtract)];
        self.chain(&operators, Self::concat)
    }

    fn concat(&mut self) -> Outcome<Expr> {
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.skip_op("~") {
            parts.push(self.product()?);
        }
        Ok(Expr::Concat(parts))
    }

    fn product(&mut self) -> Outcome<Expr> {
        let operators = [
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("//", Operator::FloorDivide),
            ("%", Operator::Modulo),
        ];
        self.chain(&operators, Self::power)
    }

    /// Powers group to the left, unlike Python's.
    fn power(&mut self) -> Outcome<Expr> {
        self.chain(&[("**", Operator::Power)], |parser| parser.unary(true))
    }

    fn chain(
        &mut self,
        operators: &[(&str, Operator)],
        parse: impl Fn(&mut Self) -> Outcome<Expr>,
    ) -> Outcome<Expr> {
        let mut left = parse(self)?;
        let mut length = 0;
        while let Some(&(_, operator)) = operators.iter().find(|(op, _)| self.is_op(op)) {
            self.advance();
            length += 1;
            bounded(length)?;
            left = Expr::Binary(operator, Box::new((left, parse(self)?)));
        }
        Ok(left)
    }

    fn unary(&mut self, filtered: bool) -> Outcome<Expr> {
        let value = if self.skip_op("-") {
            Expr::Negative(Box::new(self.nested(|parser| parser.unary(false))?))
        } else if self.skip_op("+") {
            Expr::Positive(Box::new(self.nested(|parser| parser.unary(false))?))
        } else {
            self.primary()?
        };
        let mut length = 0;
        let value = self.postfix(value, &mut length)?;
        if filtered { self.filtered(value, &mut length) } else { Ok(value) }
    }

    fn primary(&mut self) -> Outcome<Expr> {
        let literal = match self.current().clone() {
            Token::Name(name) => match &*name {
                "true" | "True" => Literal::Bool(true),
                "false" | "False" => Literal::Bool(false),
                "none" | "None" => Literal::None,
                "self" => return Err(trouble("`self` is not supported in a chat template")),
                _ => {
                    self.advance();
                    self.reads.push(name.clone());
                    return Ok(Expr::Name(name));
                }
            },
            Token::Int(number) => Literal::Int(number),
            Token::Float(number) => Literal::Float(number),
            Token::Str(mut text) => {
                while let Token::Str(more) = self.ahead() {
                    text.push_str(more);
                    self.advance();
                }
                Literal::Str(text.into())
            }
            Token::Op("(") => return self.parenthesized(),
            Token::Op("[") => return self.list(),
            Token::Op("{") => return self.dict(),
            _ => return Err(self.unexpected("an expression")),
        };
        self.advance();
        Ok(Expr::Literal(literal))
    }

    fn parenthesized(&mut self) -> Outcome<Expr> {
        self.advance();
        if self.skip_op(")") {
            return Ok(Expr::Tuple(Vec::new()));
        }
        let value = self.tuple(true, false)?;
        self.expect_op(")")?;
        Ok(value)
    }

    fn list(&mut self) -> Outcome<Expr> {
        self.advance();
        let mut items = Vec::new();
        while !self.is_op("]") {
            items.push(self.expression()?);
            if !self.skip_op(",") {
                break;
            }
        }
        self.expect_op("]")?;
        Ok(Expr::List(items))
    }

    fn dict(&mut self) -> Outcome<Expr> {
        self.advance();
        let mut items = Vec::new();
        while !self.is_op("}") {
            let key = self.expression()?;
            self.expect_op(":")?;
            items.push((key, self.expression()?));
            if !self.skip_op(",") {
                break;
            }
        }
        self.expect_op("}")?;
        Ok(Expr::Dict(items))
    }

    fn postfix(&mut self, mut value: Expr, length: &mut usize) -> Outcome<Expr> {
        loop {
            *length += 1;
            bounded(*length)?;
            value = match self.current() {
                Token::Op(".") => self.attribute(value)?,
                Token::Op("[") => self.subscript(value)?,
                Token::Op("(") => self.call(value)?,
                _ => return Ok(value),
            };
        }
    }

    fn filtered(&mut self, mut value: Expr, length: &mut usize) -> Outcome<Expr> {
        loop {
            *length += 1;
            bounded(*length)?;
            value = match self.current() {
                Token::Op("|") => {
                    self.advance();
                    Expr::Filter(Box::new((value, self.filter()?)))
                }
                Token::Name(name) if &**name == "is" => self.test(value)?,
                Token::Op("(") => self.call(value)?,
                _ => return Ok(value),
            };
        }
    }

    fn attribute(&mut self, value: Expr) -> Outcome<Expr> {
        self.advance();
        match self.advance() {
            Token::Name(name) => Ok(Expr::Attribute(Box::new(value), name)),
            Token::Int(index) => {
                Ok(Expr::Item(Box::new((value, Expr::Literal(Literal::Int(index))))))
            }
            _ => Err(trouble("expected a name or an integer after '.'")),
        }
    }

    fn subscript(&mut self, value: Expr) -> Outcome<Expr> {
        self.advance();
        let first = if self.is_op(":") { None } else { Some(self.expression()?) };
        if let Some(first) = first {
            if self.skip_op("]") {
                return Ok(Expr::Item(Box::new((value, first))));
            }
            if self.is_op(",") {
                return Err(trouble("an index of several values is not supported"));
            }
            return self.slice(value, Some(first));
        }
        self.slice(value, None)
    }

    fn slice(&mut self, value: Expr, start: Option<Expr>) -> Outcome<Expr> {
        self.expect_op(":")?;
        let bound = |parser: &mut Self| {
            if parser.is_op(":") || parser.is_op("]") {
                return Ok(None);
            }
            parser.expression().map(Some)
        };
        let stop = bound(self)?;
        let step = if self.skip_op(":") { bound(self)? } else { None };
        self.expect_op("]")?;
        Ok(Expr::Slice(Box::new((value, [start, stop, step]))))
    }

    fn call(&mut self, callee: Expr) -> Outcome<Expr> {
        let args = self.args()?;
        Ok(Expr::Call(Box::new(Call { callee, args })))
    }

    fn args(&mut self) -> Outcome<Args> {
        self.expect_op("(")?;
        let mut args = Args::default();
        while !self.is_op(")") {
            let named = matches!((self.current(), self.ahead()), (Token::Name(_), Token::Op("=")));
            let late = args.stars.is_some()
                || (!named && (args.star.is_some() || !args.named.is_empty()) && !self.is_op("**"));
            if late && !(self.is_op("*") && args.star.is_none() && args.stars.is_none()) {
                return Err(trouble("arguments in a wrong order: positional ones go first"));
            }
            if self.skip_op("*") {
                args.star = Some(self.expression()?);
            } else if self.skip_op("**") {
                args.stars = Some(self.expression()?);
            } else if named {
                let name = self.expect_name()?;
                self.advance();
                args.named.push((name, self.expression()?));
            } else {
                args.positional.push(self.expression()?);
            }
            if !self.skip_op(",") {
                break;
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    pub(super) fn filter(&mut self) -> Outcome<Applied> {
        let applied = self.applied()?;
        if !self.conditional && !filters::is_known(&applied.name) {
            return Err(trouble(format!("there is no filter `{}`", applied.name)));
        }
        Ok(applied)
    }

    fn applied(&mut self) -> Outcome<Applied> {
        let mut name = self.expect_name()?.to_string();
        while self.skip_op(".") {
            name = format!("{name}.{}", self.expect_name()?);
        }
        let args = if self.is_op("(") { self.args()? } else { Args::default() };
        Ok(Applied { name: name.into(), args })
    }

    fn test(&mut self, value: Expr) -> Outcome<Expr> {
        self.advance();
        let negated = self.skip_name("not");
        let mut applied = self.applied()?;
        if !self.conditional && !predicates::is_known(&applied.name) {
            return Err(trouble(format!("there is no test `{}`", applied.name)));
        }
        let has_args = matches!(self.previous(), Token::Op(")"));
        let operand = match self.current() {
            Token::Name(name) => !matches!(&**name, "else" | "or" | "and"),
            Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Op("[" | "{") => true,
            _ => false,
        };
        if operand && !has_args {
            if self.is_name("is") {
                return Err(trouble("tests with `is` cannot be chained"));
            }
            let primary = self.primary()?;
            applied.args.positional.push(self.postfix(primary, &mut 0)?);
        }
        let test = Expr::Test(Box::new((value, applied)));
        Ok(if negated { Expr::Not(Box::new(test)) } else { test })
    }
}

//! The value of an expression.

use super::arithmetic::{binary, negative, positive};
use super::ast::{Choice, Comparison, Expr, Literal};
use super::attributes::{attribute, item, slice};
use super::machine::Machine;
use super::order::compare;
use super::value::{Dict, Value};
use super::{Outcome, filters, predicates, printing};

impl Machine {
    pub(super) fn eval(&mut self, expr: &Expr) -> Outcome<Value> {
        match expr {
            Expr::Literal(literal) => {
                self.budget.spend(1)?;
                Ok(self::literal(literal))
            }
            Expr::Name(name) => {
                self.budget.spend(1)?;
                Ok(self.lookup(name))
            }
            _ => {
                self.budget.enter()?;
                let value = self.compound(expr);
                self.budget.leave();
                value
            }
        }
    }

    fn compound(&mut self, expr: &Expr) -> Outcome<Value> {
        match expr {
            Expr::Literal(_) | Expr::Name(_) => self.eval(expr),
            Expr::List(items) => Value::list(self.all(items)?),
            Expr::Tuple(items) => Value::tuple(self.all(items)?),
            Expr::Dict(items) => self.dict(items),
            Expr::Attribute(value, name) => attribute(&self.eval(value)?, name, &self.budget),
            Expr::Item(pair) => {
                let (value, key) = (self.eval(&pair.0)?, self.eval(&pair.1)?);
                item(&value, &key, &self.budget)
            }
            Expr::Slice(slice) => self.slice(&slice.0, &slice.1),
            Expr::Call(call) => {
                let callee = self.eval(&call.callee)?;
                let given = self.given(&call.args)?;
                self.call(&callee, given)
            }
            Expr::Filter(filter) => {
                let value = self.eval(&filter.0)?;
                let given = self.given(&filter.1.args)?;
                filters::apply(self, &filter.1.name, &value, given)
            }
            Expr::Test(test) => {
                let value = self.eval(&test.0)?;
                let given = self.given(&test.1.args)?;
                predicates::apply(&test.1.name, &value, given, &self.budget).map(Value::Bool)
            }
            Expr::Not(value) => Ok(Value::Bool(!self.eval(value)?.truthy())),
            Expr::Negative(value) => negative(&self.eval(value)?),
            Expr::Positive(value) => positive(&self.eval(value)?),
            Expr::And(pair) => {
                let left = self.eval(&pair.0)?;
                if left.truthy() { self.eval(&pair.1) } else { Ok(left) }
            }
            Expr::Or(pair) => {
                let left = self.eval(&pair.0)?;
                if left.truthy() { Ok(left) } else { self.eval(&pair.1) }
            }
            Expr::Binary(operator, pair) => {
                let (left, right) = (self.eval(&pair.0)?, self.eval(&pair.1)?);
                binary(*operator, &left, &right, &self.budget)
            }
            Expr::Concat(parts) => self.concat(parts),
            Expr::Compare(first, others) => self.compare(first, others),
            Expr::If(choice) => self.choice(choice),
        }
    }

    fn all(&mut self, items: &[Expr]) -> Outcome<Vec<Value>> {
        self.budget.slots(items.len())?;
        items.iter().map(|item| self.eval(item)).collect()
    }

    fn dict(&mut self, items: &[(Expr, Expr)]) -> Outcome<Value> {
        self.budget.slots(2 * items.len())?;
        let pair = |(key, value): &(Expr, Expr)| Ok((self.eval(key)?, self.eval(value)?));
        let pairs: Vec<_> = items.iter().map(pair).collect::<Outcome<_>>()?;
        Dict::new(pairs, &self.budget).map(Value::Dict)
    }

    fn slice(&mut self, value: &Expr, bounds: &[Option<Expr>; 3]) -> Outcome<Value> {
        let value = self.eval(value)?;
        let mut values = [Value::None, Value::None, Value::None];
        for (value, bound) in values.iter_mut().zip(bounds) {
            if let Some(bound) = bound {
                *value = self.eval(bound)?;
            }
        }
        slice(&value, &values, &self.budget)
    }

    fn concat(&mut self, parts: &[Expr]) -> Outcome<Value> {
        let mut text = String::new();
        for part in parts {
            let part = self.eval(part)?;
            printing::write(&part, &self.budget, &mut text)?;
        }
        Ok(Value::str(text))
    }

    /// `a < b < c` is `a < b and b < c`.
    fn compare(&mut self, first: &Expr, others: &[(Comparison, Expr)]) -> Outcome<Value> {
        let mut left = self.eval(first)?;
        for (comparison, other) in others {
            let right = self.eval(other)?;
            if !compare(*comparison, &left, &right, &self.budget)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn choice(&mut self, choice: &Choice) -> Outcome<Value> {
        if self.eval(&choice.test)?.truthy() {
            return self.eval(&choice.then);
        }
        match &choice.otherwise {
            Some(otherwise) => self.eval(otherwise),
            None => Ok(Value::undefined(format!(
                "the `if` without `else` on line {} gives nothing",
                choice.line
            ))),
        }
    }
}

fn literal(literal: &Literal) -> Value {
    match literal {
        Literal::None => Value::None,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(number) => Value::Int(*number),
        Literal::Float(number) => Value::Float(*number),
        Literal::Str(text) => Value::Str(text.clone()),
    }
}

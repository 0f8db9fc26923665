//! From operators that wait on the stack to nodes.

use super::{Done, Operator, Parser, Sign, WRONG};
use crate::equivalent::infix::join;
use crate::equivalent::tree::Node;

/// A function's bare argument goes up to the next explicit operator.
const FUNCTION: u8 = 61;
/// A sum over an index goes up to the next term.
const BOUND: u8 = 55;
/// A sign binds to one factor; its value is the same for a product.
const SIGN: u8 = 70;

impl Parser<'_> {
    /// Builds everything on the stack that binds at least as tightly as `floor`.
    pub(super) fn reduce(&mut self, floor: u8) -> Done {
        loop {
            match self.operators.last() {
                Some(Operator::Infix(infix)) if infix.precedence() >= floor => {
                    self.reduce_run(infix.precedence())?;
                }
                Some(Operator::Sign(_)) if SIGN >= floor => {
                    let Some(Operator::Sign(sign)) = self.operators.pop() else {
                        return Err(WRONG);
                    };
                    let id = self.values.pop().ok_or(WRONG)?;
                    let id = match sign {
                        Sign::Plus => id,
                        Sign::Minus => self.builder.push(Node::Negated(id))?,
                        Sign::PlusMinus => self.builder.push(Node::PlusMinus(id))?,
                        Sign::MinusPlus => self.builder.push(Node::MinusPlus(id))?,
                    };
                    self.values.push(id);
                }
                Some(Operator::Function { .. }) if FUNCTION >= floor => {
                    let Some(Operator::Function { head, power, base }) = self.operators.pop()
                    else {
                        return Err(WRONG);
                    };
                    let id = self.values.pop().ok_or(WRONG)?;
                    let id = self.builder.apply(head, (power, base), id)?;
                    self.values.push(id);
                }
                Some(Operator::Bound(scope)) if scope.is_prefix() && BOUND >= floor => {
                    let Some(Operator::Bound(scope)) = self.operators.pop() else {
                        return Err(WRONG);
                    };
                    let body = self.values.pop().ok_or(WRONG)?;
                    let id = scope.build(&mut self.builder, body)?;
                    self.values.push(id);
                }
                _ => return Ok(()),
            }
        }
    }

    /// All operators of one kind side by side, and their operands, become one node.
    pub(super) fn reduce_run(&mut self, precedence: u8) -> Done {
        let mut run = Vec::new();
        while let Some(Operator::Infix(infix)) = self.operators.last() {
            if infix.precedence() != precedence {
                break;
            }
            run.push(*infix);
            self.operators.pop();
        }
        run.reverse();
        let first = self.values.len().checked_sub(run.len() + 1).ok_or(WRONG)?;
        let operands = self.values.split_off(first);
        let id = join(&mut self.builder, &run, operands)?;
        self.values.push(id);
        Ok(())
    }
}

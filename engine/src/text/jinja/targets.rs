//! What is assigned to: from tokens to a tree.

use super::ast::Target;
use super::lexer::Token;
use super::parser::Parser;
use super::{Outcome, trouble};

impl Parser {
    /// What is assigned to; `set` may also name an attribute of a namespace.
    pub(super) fn target(&mut self, attributes: bool) -> Outcome<Target> {
        let mut targets = Vec::new();
        let mut tuple = false;
        loop {
            if matches!(self.current(), Token::BlockEnd) || self.is_op(")") || self.is_name("in") {
                break;
            }
            targets.push(self.nested(|parser| parser.one_target(attributes))?);
            if !self.skip_op(",") {
                break;
            }
            tuple = true;
        }
        match (tuple, targets.pop()) {
            (false, Some(target)) => Ok(target),
            (_, Some(target)) => {
                targets.push(target);
                Ok(Target::Tuple(targets))
            }
            (_, None) => Err(self.unexpected("a name to assign to")),
        }
    }

    fn one_target(&mut self, attributes: bool) -> Outcome<Target> {
        if self.skip_op("(") {
            let target = self.target(false)?;
            self.expect_op(")")?;
            return Ok(target);
        }
        let name = self.expect_name()?;
        if matches!(&*name, "true" | "false" | "none" | "True" | "False" | "None") {
            return Err(trouble(format!("cannot assign to `{name}`")));
        }
        if attributes && self.skip_op(".") {
            return Ok(Target::Attribute(name, self.expect_name()?));
        }
        Ok(Target::Name(name))
    }
}

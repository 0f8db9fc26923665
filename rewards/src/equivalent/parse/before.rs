//! What may stand where an operand is expected, and is none.

use super::{Done, Last, Open, Operator, Parser, WRONG};
use crate::equivalent::infix::Infix;
use crate::equivalent::lex::{Bracket, Token};
use crate::equivalent::tree::{Node, Relation};

impl Parser<'_> {
    /// Words in front name something: `\text{Area} = 5`.
    pub(super) fn leading_words(&mut self, words: &str) -> Done {
        if matches!(words, "negative" | "minus") {
            return self.open(&Token::Minus);
        }
        if self.condition(words) {
            return Ok(());
        }
        if words.contains(' ') || matches!(self.operators.last(), Some(Operator::Command(_))) {
            return Err(WRONG);
        }
        let (name, last) = match words.len() {
            1 => (words.to_owned(), Last::Letter),
            _ => (words.to_lowercase(), Last::Words),
        };
        let id = self.builder.push(Node::Symbol(name.into()))?;
        self.operand(id, last)
    }

    /// A relation without its left side.
    pub(super) fn leading_relation(&mut self, relation: Relation) -> Done {
        let first = matches!(
            self.operators.last(),
            None | Some(Operator::Open(_) | Operator::Infix(Infix::Comma))
        );
        match relation {
            Relation::Equal | Relation::Approximately if first => return Ok(()),
            Relation::Divides => {
                self.operators.push(Operator::Open(Open::Bar));
                return Ok(());
            }
            _ if !first => return Err(WRONG),
            _ => {}
        }
        let id = self.builder.push(Node::Symbol("".into()))?;
        self.values.push(id);
        self.operators.push(Operator::Infix(Infix::Relation(relation)));
        Ok(())
    }

    pub(super) fn close_empty(&mut self) -> Done {
        match self.operators.pop() {
            Some(Operator::Open(Open::Bracket(Bracket::Curly))) => {
                self.inside -= 1;
                let id = self.builder.push(Node::Set(Vec::new()))?;
                self.operand(id, Last::Other)
            }
            _ => Err(WRONG),
        }
    }
}

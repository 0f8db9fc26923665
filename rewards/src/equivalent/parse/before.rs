//! What may stand where an operand is expected, and is none.

use super::{Command, Done, Last, Open, Operator, Parser, WRONG};
use crate::Strictness;
use crate::equivalent::infix::Infix;
use crate::equivalent::lex::{Bracket, Token};
use crate::equivalent::literal::Place;
use crate::equivalent::names;
use crate::equivalent::roles::skip_script;
use crate::equivalent::tree::{Node, Relation};
use crate::equivalent::words;

impl Parser<'_> {
    /// Words in front name something: `\text{Area} = 5`.
    pub(super) fn leading_words(&mut self, words: &str) -> Done {
        if matches!(words, "negative" | "minus") {
            return self.open(&Token::Minus);
        }
        if self.condition(words) {
            return Ok(());
        }
        if words::deny(words) {
            return Err(WRONG);
        }
        if self.is_place_of_unit() && self.unit_operand(words)? {
            return Ok(());
        }
        let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
        // `rank A`, of which the reader of words took both
        if let Some(name) = names::operator(first)
            && (rest.is_empty() && self.operand_follows()? || self.lexer.give_back(words, rest))
        {
            return self.named(name);
        }
        let argument = self.opens_argument();
        if words.contains(' ') && !argument && !words::describe(words)
            || matches!(self.operators.last(), Some(Operator::Command(_)))
        {
            return Err(WRONG);
        }
        let (name, last) = match words.len() {
            1 => (words.to_owned(), Last::Letter),
            _ => (words.to_lowercase(), Last::Words),
        };
        let id = self.builder.push(Node::Symbol(name.into()))?;
        self.operand(id, last)
    }

    /// An operator with a name, which takes the next operand.
    pub(super) fn named(&mut self, name: &'static str) -> Done {
        if self.lexer.peek(Place::Argument)? == Token::Underscore {
            self.lexer.next(Place::Argument)?;
            let mut script = self.lexer;
            if script.braced().is_some_and(words::deny) {
                return Err(WRONG);
            }
            skip_script(&mut self.lexer);
        }
        self.operators.push(Operator::Command(Command::Named(name)));
        self.wanting = true;
        Ok(())
    }

    /// Takes `f \circ g)` after an opening parenthesis, where the composition is applied.
    pub(super) fn composed(&mut self) -> Done<bool> {
        let Some((names, length)) = self.lexer.composition() else { return Ok(false) };
        self.lexer.skip(length);
        let mut functions = Vec::with_capacity(names.len());
        for name in names {
            functions.push(self.builder.push(Node::Symbol(name))?);
        }
        let functions = self.builder.push(Node::Tuple(functions))?;
        self.operators.push(Operator::Command(Command::Composed(functions)));
        Ok(true)
    }

    /// Takes an event in words, `P(X \text{ is even})`, as its text, where one has just been
    /// opened.
    pub(super) fn event_in_words(&mut self) -> Done {
        if !matches!(self.operators.last(), Some(Operator::Open(_))) || !self.holds_event() {
            return Ok(());
        }
        let Some(text) = self.lexer.worded() else { return Ok(()) };
        self.lexer.skip(text.len());
        let name = text.split_whitespace().collect::<String>();
        let id = self.builder.push(Node::Symbol(name.into()))?;
        self.operand(id, Last::Other)
    }

    /// Whether the innermost bracket is that of a function's argument.
    pub(super) fn opens_argument(&self) -> bool {
        let mut inner =
            self.operators.iter().rev().skip_while(|operator| {
                !matches!(operator, Operator::Open(_) | Operator::Table { .. })
            });
        let is_bracket = matches!(
            inner.next(),
            Some(Operator::Open(Open::Bracket(Bracket::Round | Bracket::Square)))
        );
        let is_call = |operator: &Operator| {
            matches!(operator, Operator::Command(Command::Call(_) | Command::Named(_)))
        };
        is_bracket && inner.next().is_some_and(is_call)
    }

    /// Whether an operand begins with the next token.
    fn operand_follows(&self) -> Done<bool> {
        Ok(matches!(
            self.lexer.peek(Place::Open)?,
            Token::Symbol(_)
                | Token::Open(_)
                | Token::Named(_)
                | Token::Begin(_)
                | Token::Words(_)
                | Token::Underscore
        ))
    }

    /// A relation without its left side.
    pub(super) fn leading_relation(&mut self, relation: Relation) -> Done {
        let first = matches!(
            self.operators.last(),
            None | Some(Operator::Open(_) | Operator::Infix(Infix::Comma))
        );
        match relation {
            Relation::Equal if first => return Ok(()),
            // what is about five is not five
            Relation::Approximately if first && self.strictness == Strictness::Eval => {
                return Ok(());
            }
            Relation::Approximately => return Err(WRONG),
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

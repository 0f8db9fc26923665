//! Functions by cases: `\begin{cases} x^2 & x < 0 \\ 1 & \text{otherwise} \end{cases}`.

use super::{Done, Open, Operator, Parser, WRONG};
use crate::equivalent::infix::Infix;
use crate::equivalent::lex::{Bracket, Table, Token};
use crate::equivalent::literal::Place;
use crate::equivalent::tree::{Constant, Id, Node, Unreadable};

/// How many rows a function by cases may have.
const MAX_CASES: usize = 16;

/// Whether words begin a condition.
fn is_if(words: &str) -> bool {
    matches!(words.split(' ').next(), Some("if" | "for" | "when"))
}

impl Parser<'_> {
    /// Between a value and its condition, or before the sign of a relation, which it only aligns.
    pub(super) fn cases_ampersand(&mut self) -> Done {
        match self.lexer.peek(Place::Bracketed)? {
            Token::Relation(_) => Ok(()),
            _ => self.cell(false),
        }
    }

    /// Takes the word before a condition; false where it is none.
    pub(super) fn condition(&mut self, words: &str) -> bool {
        let aside = |operator: &&Operator| {
            matches!(
                operator,
                Operator::Open(Open::Bracket(Bracket::Group | Bracket::Text))
                    | Operator::Infix(Infix::Comma)
            )
        };
        let in_cases = matches!(
            self.operators.iter().rev().find(|operator| !aside(operator)),
            Some(
                Operator::Table { kind: Table::Cases, .. }
                    | Operator::Table { kind: Table::Matrix | Table::Array, row: 1, .. }
            )
        );
        // the reader of words took what follows, too
        let rest = words.split_once(' ').map_or("", |(_, rest)| rest);
        is_if(words) && in_cases && (rest.is_empty() || self.lexer.give_back(words, rest))
    }

    /// A condition that no ampersand separates from its value; false where words are none.
    pub(super) fn condition_after_value(&mut self, words: &str) -> Done<bool> {
        let separates = is_if(words)
            && matches!(
                self.operators.last(),
                Some(
                    Operator::Table { kind: Table::Cases, row: 0, .. }
                        | Operator::Infix(_)
                        | Operator::Sign(_)
                )
            )
            && self.table() == Some(Table::Cases);
        if separates {
            self.cell(false)?;
            self.leading_words(words)?;
        }
        Ok(separates)
    }

    fn is_condition(&self, id: Id) -> bool {
        matches!(self.builder.node(id), Node::Relation { .. } | Node::All(_) | Node::Any(_))
    }

    fn is_otherwise(&self, id: Id) -> bool {
        matches!(self.builder.node(id), Node::Symbol(name) if matches!(&**name, "otherwise" | "else"))
    }

    /// The cells of a table as rows of a value and a condition, a comma between them being as good
    /// as an ampersand.
    pub(super) fn rows_of_cases(&self, kind: Table, cells: &[Id], width: usize) -> Option<Vec<Id>> {
        match (kind, width) {
            (_, 2) => Some(cells.to_vec()),
            (Table::Cases, 1) => {
                let mut rows = Vec::with_capacity(2 * cells.len());
                for &cell in cells {
                    match self.builder.node(cell) {
                        Node::List(of) if of.len() == 2 => rows.extend(of),
                        _ => return None,
                    }
                }
                Some(rows)
            }
            _ => None,
        }
    }

    /// A function by cases; `None` where the rows are no values with their conditions.
    pub(super) fn piecewise(&mut self, mut rows: Vec<Id>) -> Done<Option<Id>> {
        let (mut conditions, mut rest) = (Vec::new(), None);
        for (at, row) in rows.chunks(2).enumerate() {
            let &[value, condition] = row else { return Err(WRONG) };
            if self.is_condition(value) {
                return Ok(None);
            }
            if self.is_condition(condition) {
                conditions.push(condition);
            } else if !self.is_otherwise(condition) || rest.replace(2 * at + 1).is_some() {
                return Ok(None);
            }
        }
        if rows.len() > 2 * MAX_CASES {
            return Err(Unreadable::Limit);
        }
        if let Some(rest) = rest {
            let others = match conditions[..] {
                [] => return Ok(None),
                [only] => only,
                _ => self.builder.push(Node::Any(conditions))?,
            };
            let all = self.builder.push(Node::Constant(Constant::Reals))?;
            rows[rest] = self.builder.push(Node::Difference(all, others))?;
        }
        self.builder.push(Node::Piecewise(rows)).map(Some)
    }
}

//! Brackets, bars and tables, from their end.

use super::{Command, Done, Last, Open, Operator, Parser, WRONG};
use crate::Strictness;
use crate::equivalent::build::Built;
use crate::equivalent::lex::{Bracket, Table, Token};
use crate::equivalent::tree::{Function, Id, Node};

impl Parser<'_> {
    pub(super) fn close(&mut self, bracket: Bracket) -> Done {
        self.reduce(0)?;
        let Some(Operator::Open(open)) = self.operators.pop() else { return Err(WRONG) };
        let content = self.values.pop().ok_or(WRONG)?;
        let opening = match open {
            Open::Bracket(opening) => opening,
            Open::Index if bracket == Bracket::Square => {
                let Some(Operator::Command(Command::Root(index))) = self.operators.last_mut()
                else {
                    return Err(WRONG);
                };
                *index = Some(content);
                self.wanting = true;
                return Ok(());
            }
            Open::Condition if bracket == Bracket::Curly => {
                return match self.builder.node(content) {
                    Node::Relation { .. } | Node::All(_) | Node::Any(_) => {
                        self.operand(content, Last::Other)
                    }
                    _ => Err(WRONG),
                };
            }
            _ => return Err(WRONG),
        };
        self.inside -= usize::from(separates(opening));
        let id = self.enclosed(opening, bracket, content)?;
        // TeX sets `{5}6` as one number and `{5}\frac{1}{6}` as a mixed one: they are no products;
        // and `{f}(x)` as `f(x)`
        let last = match (opening, self.builder.node(id)) {
            (Bracket::Group | Bracket::Text, Node::Number { value, places: None })
                if value.is_int() =>
            {
                Last::Whole
            }
            (Bracket::Group | Bracket::Text, Node::Number { .. }) => Last::Number,
            (Bracket::Group | Bracket::Text, Node::Symbol(_)) if self.last == Last::Letter => {
                Last::Letter
            }
            _ => Last::Other,
        };
        self.operand(id, last)
    }

    /// What brackets make of their content.
    pub(super) fn enclosed(&mut self, opening: Bracket, closing: Bracket, content: Id) -> Built {
        let builder = &mut self.builder;
        let pair = match builder.node(content) {
            Node::List(items) => (items.len() == 2).then(|| (items[0], items[1])),
            _ => None,
        };
        let is_list = matches!(builder.node(content), Node::List(_));
        Ok(match (opening, closing) {
            (Bracket::Group | Bracket::Text, Bracket::Group) => content,
            (Bracket::Round, Bracket::Round) | (Bracket::Angle, Bracket::Angle) => match pair {
                Some((low, high))
                    if opening == Bracket::Round
                        && (builder.is_infinite(low) || builder.is_infinite(high)) =>
                {
                    let (low_closed, high_closed) = (false, false);
                    builder.push(Node::Interval { low, high, low_closed, high_closed })?
                }
                _ => builder.enclose(content, Node::Tuple),
            },
            (Bracket::Round | Bracket::Square, Bracket::Round | Bracket::Square) => match pair {
                Some((low, high)) => {
                    let low_closed = opening == Bracket::Square && !builder.is_infinite(low);
                    let high_closed = closing == Bracket::Square && !builder.is_infinite(high);
                    // no interval has an infinite end
                    let reaches = (low_closed, high_closed)
                        != (opening == Bracket::Square, closing == Bracket::Square);
                    if reaches && self.strictness == Strictness::Rl {
                        return Err(WRONG);
                    }
                    builder.push(Node::Interval { low, high, low_closed, high_closed })?
                }
                None if opening != closing => return Err(WRONG),
                None if is_list => builder.enclose(content, Node::Tuple),
                None if matches!(builder.node(content), Node::Matrix { .. }) => content,
                None => builder.push(Node::Tuple(vec![content]))?,
            },
            (Bracket::Curly, Bracket::Curly) if is_list => builder.enclose(content, Node::Set),
            (Bracket::Curly, Bracket::Curly) => match builder.node(content) {
                Node::Relation { .. } | Node::All(_) => return Err(WRONG),
                _ => builder.push(Node::Set(vec![content]))?,
            },
            (Bracket::Floor, Bracket::Floor) if !is_list => {
                builder.push(Node::Apply(Function::Floor, content))?
            }
            (Bracket::Ceil, Bracket::Ceil) if !is_list => {
                builder.push(Node::Apply(Function::Ceil, content))?
            }
            _ => return Err(WRONG),
        })
    }

    /// Whether a bar closes: the innermost open bracket is one.
    pub(super) fn bar_is_open(&self) -> bool {
        self.operators
            .iter()
            .rev()
            .find(|operator| matches!(operator, Operator::Open(_) | Operator::Table { .. }))
            .is_some_and(|operator| matches!(operator, Operator::Open(Open::Bar)))
    }

    pub(super) fn close_bar(&mut self) -> Done {
        self.reduce(0)?;
        let Some(Operator::Open(Open::Bar)) = self.operators.pop() else { return Err(WRONG) };
        let content = self.values.pop().ok_or(WRONG)?;
        let node = match self.builder.node(content) {
            Node::Matrix { .. } => self.builder.determinant(content).ok_or(WRONG)?,
            Node::List(_) => return Err(WRONG),
            _ => Node::Apply(Function::Abs, content),
        };
        let id = self.builder.push(node)?;
        self.operand(id, Last::Other)
    }

    /// The table that the next token would stand in.
    pub(super) fn table(&self) -> Option<Table> {
        self.operators
            .iter()
            .rev()
            .find_map(|operator| match operator {
                Operator::Open(_) => Some(None),
                Operator::Table { kind, .. } => Some(Some(*kind)),
                _ => None,
            })
            .flatten()
    }

    /// A line that ends with a comma ends its element, too.
    pub(super) fn cell_after_comma(&mut self, token: &Token<'_>) -> Done {
        match (token, self.table()) {
            (Token::Row, None) => Ok(()),
            (Token::Row, Some(Table::Lines | Table::Cases)) => {
                self.operators.pop();
                self.cell(true)
            }
            (Token::Ampersand, Some(Table::Cases)) => {
                self.operators.pop();
                self.cell(false)
            }
            (Token::End, Some(Table::Cases)) => {
                self.operators.pop();
                self.wanting = false;
                self.end_table()
            }
            _ => Err(WRONG),
        }
    }

    /// The end of a cell, and of its row too.
    pub(super) fn cell(&mut self, row_ends: bool) -> Done {
        self.reduce(0)?;
        let value = self.values.pop().ok_or(WRONG)?;
        let Some(Operator::Table { cells, width, row, .. }) = self.operators.last_mut() else {
            // a line break outside a table ends nothing but the line
            return Err(WRONG);
        };
        cells.push(value);
        *row += 1;
        if row_ends {
            if *width.get_or_insert(*row) != *row {
                return Err(WRONG);
            }
            *row = 0;
        }
        self.wanting = true;
        Ok(())
    }

    pub(super) fn end_table(&mut self) -> Done {
        if !self.wanting {
            self.cell(true)?;
        }
        let Some(Operator::Table { kind, cells, width, row: 0 }) = self.operators.pop() else {
            return Err(WRONG);
        };
        self.inside -= 1;
        let width = width.ok_or(WRONG)?;
        let rows = (cells.len() / width) as u32;
        let is_relation = |id: &Id| matches!(self.builder.node(*id), Node::Relation { .. });
        let lines = matches!(kind, Table::Lines | Table::Cases)
            || kind != Table::Determinant && width == 1 && cells.iter().all(is_relation);
        if let ([only], true) = (&cells[..], lines || kind == Table::Array) {
            return self.operand(*only, Last::Other);
        }
        if matches!(kind, Table::Cases | Table::Matrix | Table::Array)
            && let Some(rows) = self.rows_of_cases(kind, &cells, width)
            && let Some(id) = self.piecewise(rows)?
        {
            return self.operand(id, Last::Other);
        }
        let node = match kind {
            Table::Cases if width > 1 => return Err(WRONG),
            _ if lines => Node::List(cells),
            Table::Determinant => Node::Determinant { rows, entries: cells },
            _ => Node::Matrix { rows, entries: cells },
        };
        let id = self.builder.push(node)?;
        self.operand(id, Last::Other)
    }
}

/// Whether commas separate between these brackets.
pub(super) fn separates(bracket: Bracket) -> bool {
    !matches!(bracket, Bracket::Group | Bracket::Text | Bracket::Floor | Bracket::Ceil)
}

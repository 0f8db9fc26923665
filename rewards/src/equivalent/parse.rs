//! From tokens to a tree: operator precedence with two explicit stacks, values and operators.
//!
//! Input deepens the stacks and never the call stack. Every loop takes a token or pops an operator.

use super::build::{Builder, Built};
use super::infix::{Infix, join};
use super::lex::{Bracket, Head, Lexer, Table, Token};
use super::literal::{self, Place};
use super::names;
use super::tree::{Constant, Function, Id, Node, Relation, Tree, Unreadable};
use crate::Policy;

/// Reads a whole text.
pub(super) fn parse(text: &str, policy: Policy) -> Result<Tree, Unreadable> {
    let mut parser = Parser {
        lexer: Lexer::new(text, policy),
        policy,
        builder: Builder::default(),
        values: Vec::new(),
        operators: Vec::new(),
        wanting: true,
        last: Last::Other,
        inside: 0,
    };
    while parser.step()? {}
    match parser.values[..] {
        [root] => parser.builder.finish(root),
        _ => Err(Unreadable::NotMathematics),
    }
}

/// What an operand was, where that decides how the next token is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Whole,
    Number,
    Letter,
    Power,
    Factorial,
    Unit,
    Words,
    Other,
}

/// An operator that waits on the stack.
#[derive(Debug)]
enum Operator {
    Infix(Infix),
    Sign(Sign),
    /// A function whose argument stands without brackets, or has not begun.
    Function { head: Head, power: Option<Id>, base: Option<Id> },
    /// Waits for one operand more, which it takes at once.
    Command(Command),
    Open(Open),
    Table { kind: Table, cells: Vec<Id>, width: Option<usize>, row: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Bracket(Bracket),
    Bar,
    /// The index of a root, in square brackets.
    Index,
}

#[derive(Debug, Clone, Copy)]
enum Sign {
    Minus,
    Plus,
    PlusMinus,
    MinusPlus,
}

#[derive(Debug, Clone, Copy)]
enum Command {
    Numerator,
    Denominator(Id),
    Upper,
    Lower(Id),
    Root(Option<Id>),
    Exponent(Id),
    Conjugate,
    Currency,
    Minus,
    /// A function with its argument in brackets.
    Apply(Head, Option<Id>, Option<Id>),
    /// What may be a call of a function with a letter for its name.
    Call(Id),
    /// The whole part of what may be a mixed number.
    Mixed(Id),
    FunctionPower,
    FunctionBase,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    policy: Policy,
    builder: Builder,
    values: Vec<Id>,
    operators: Vec<Operator>,
    /// An operand comes next.
    wanting: bool,
    last: Last,
    /// How many brackets are open in which commas separate.
    inside: usize,
}

type Done<T = ()> = Result<T, Unreadable>;

const WRONG: Unreadable = Unreadable::NotMathematics;

impl Parser<'_> {
    /// Reads one token; false at the end of the text.
    fn step(&mut self) -> Done<bool> {
        if self.wanting
            && let Some(Operator::Command(
                Command::Numerator | Command::Denominator(_) | Command::Upper | Command::Lower(_),
            )) = self.operators.last()
            && let Some(digit) = self.lexer.digit()
        {
            let id = self.builder.whole(digit.into())?;
            self.operand(id, Last::Other)?;
            return Ok(true);
        }
        let token = self.lexer.next(self.place())?;
        if self.wanting {
            self.begin(token)?;
        } else if token == Token::Finish {
            self.reduce(0)?;
            return if self.operators.is_empty() { Ok(false) } else { Err(WRONG) };
        } else {
            self.proceed(token)?;
        }
        Ok(true)
    }

    fn place(&self) -> Place {
        if matches!(self.operators.last(), Some(Operator::Command(_))) {
            Place::Argument
        } else if self.inside > 0 {
            Place::Bracketed
        } else {
            Place::Open
        }
    }

    /// A token where an operand is expected.
    fn begin(&mut self, token: Token<'_>) -> Done {
        let node = match token {
            Token::Number(number) => {
                let last = if number.is_whole() { Last::Whole } else { Last::Number };
                let id = self.builder.number(number)?;
                return self.operand(id, last);
            }
            Token::Symbol(name) => {
                let id = self.builder.push(Node::Symbol(name))?;
                return self.operand(id, Last::Letter);
            }
            Token::Constant(constant) => Node::Constant(constant),
            Token::Ellipsis => Node::Symbol("…".into()),
            Token::Circle => Node::Symbol("∘".into()),
            Token::Words(words) => return self.leading_words(words),
            Token::Relation(relation) => return self.leading_relation(relation),
            Token::Close(Bracket::Curly) => return self.close_empty(),
            // `a, b, and c`
            Token::And if matches!(self.operators.last(), Some(Operator::Infix(Infix::Comma))) => {
                return Ok(());
            }
            other => return self.open(other),
        };
        let id = self.builder.push(node)?;
        self.operand(id, Last::Other)
    }

    /// A token that opens something.
    fn open(&mut self, token: Token<'_>) -> Done {
        let in_command = matches!(self.operators.last(), Some(Operator::Command(_)));
        let operator = match token {
            Token::Fraction => Operator::Command(Command::Numerator),
            Token::Binomial => Operator::Command(Command::Upper),
            Token::Conjugate => Operator::Command(Command::Conjugate),
            Token::Currency => Operator::Command(Command::Currency),
            Token::Root => {
                self.operators.push(Operator::Command(Command::Root(None)));
                if self.lexer.peek(Place::Bracketed)? != Token::Open(Bracket::Square) {
                    return Ok(());
                }
                self.lexer.next(Place::Bracketed)?;
                Operator::Open(Open::Index)
            }
            Token::Function(head) => {
                self.operators.push(Operator::Function { head, power: None, base: None });
                return self.head();
            }
            Token::Open(bracket) => {
                self.inside += usize::from(separates(bracket));
                Operator::Open(Open::Bracket(bracket))
            }
            Token::Bar | Token::LeftBar => Operator::Open(Open::Bar),
            Token::Begin(kind) => {
                self.inside += 1;
                Operator::Table { kind, cells: Vec::new(), width: None, row: 0 }
            }
            Token::Minus if in_command => Operator::Command(Command::Minus),
            Token::Plus if in_command => return Ok(()),
            // two signs in a row are no arithmetic
            _ if matches!(self.operators.last(), Some(Operator::Sign(_))) => return Err(WRONG),
            Token::Minus => Operator::Sign(Sign::Minus),
            Token::Plus => Operator::Sign(Sign::Plus),
            Token::PlusMinus => Operator::Sign(Sign::PlusMinus),
            Token::MinusPlus => Operator::Sign(Sign::MinusPlus),
            // after the last row of a table
            Token::End => return self.end_table(),
            _ => return Err(WRONG),
        };
        self.operators.push(operator);
        Ok(())
    }

    /// Words in front name something: `\text{Area} = 5`.
    fn leading_words(&mut self, words: &str) -> Done {
        if words.contains(' ') || matches!(self.operators.last(), Some(Operator::Command(_))) {
            return Err(WRONG);
        }
        let id = self.builder.push(Node::Symbol(words.to_lowercase().into()))?;
        self.operand(id, Last::Words)
    }

    /// A relation without its left side.
    fn leading_relation(&mut self, relation: Relation) -> Done {
        if !matches!(self.operators.last(), None | Some(Operator::Open(_) | Operator::Infix(Infix::Comma)))
        {
            return Err(WRONG);
        }
        if matches!(relation, Relation::Approximately | Relation::Equal) {
            return if self.policy == Policy::Eval { Ok(()) } else { Err(WRONG) };
        }
        let id = self.builder.push(Node::Symbol("".into()))?;
        self.values.push(id);
        self.operators.push(Operator::Infix(Infix::Relation(relation)));
        Ok(())
    }

    fn close_empty(&mut self) -> Done {
        match self.operators.pop() {
            Some(Operator::Open(Open::Bracket(Bracket::Curly))) => {
                self.inside -= 1;
                let id = self.builder.push(Node::Set(Vec::new()))?;
                self.operand(id, Last::Other)
            }
            _ => Err(WRONG),
        }
    }

    /// What stands between a function's name and its argument.
    fn head(&mut self) -> Done {
        match self.lexer.peek(Place::Bracketed)? {
            Token::Caret => {
                self.lexer.next(Place::Bracketed)?;
                self.operators.push(Operator::Command(Command::FunctionPower));
            }
            Token::Underscore => {
                self.lexer.next(Place::Bracketed)?;
                self.operators.push(Operator::Command(Command::FunctionBase));
            }
            Token::Open(_) | Token::LeftBar => {
                let Some(Operator::Function { head, power, base }) = self.operators.pop() else {
                    return Err(WRONG);
                };
                self.operators.push(Operator::Command(Command::Apply(head, power, base)));
            }
            _ => {}
        }
        self.wanting = true;
        Ok(())
    }

    /// An operand is complete: commands that waited for it take it, innermost first.
    fn operand(&mut self, mut id: Id, mut last: Last) -> Done {
        while let Some(Operator::Command(_)) = self.operators.last() {
            let Some(Operator::Command(command)) = self.operators.pop() else { return Err(WRONG) };
            match command {
                Command::FunctionPower | Command::FunctionBase => {
                    let Some(Operator::Function { power, base, .. }) = self.operators.last_mut()
                    else {
                        return Err(WRONG);
                    };
                    let slot =
                        if matches!(command, Command::FunctionPower) { power } else { base };
                    if slot.replace(id).is_some() {
                        return Err(WRONG);
                    }
                    return self.head();
                }
                Command::Numerator => {
                    self.operators.push(Operator::Command(Command::Denominator(id)));
                    self.wanting = true;
                    return Ok(());
                }
                Command::Upper => {
                    self.operators.push(Operator::Command(Command::Lower(id)));
                    self.wanting = true;
                    return Ok(());
                }
                _ => (id, last) = self.complete(command, id)?,
            }
        }
        self.values.push(id);
        (self.wanting, self.last) = (false, last);
        Ok(())
    }

    /// A command with its last operand.
    fn complete(&mut self, command: Command, id: Id) -> Done<(Id, Last)> {
        let builder = &mut self.builder;
        let node = match command {
            Command::Denominator(above) => Node::Quotient(above, id),
            Command::Lower(upper) => Node::Binomial(upper, id),
            Command::Root(index) => {
                let index = match index {
                    Some(index) => index,
                    None => builder.whole(2)?,
                };
                Node::Root { radicand: id, index }
            }
            Command::Exponent(base) => match builder.node(id) {
                Node::Symbol(name) if &**name == "∘" => Node::Degrees(base),
                _ => return Ok((builder.push(Node::Power(base, id))?, Last::Power)),
            },
            Command::Conjugate => Node::Apply(Function::Conjugate, id),
            Command::Currency => Node::Currency(id),
            Command::Minus => Node::Negated(id),
            Command::Apply(head, power, base) => {
                return Ok((builder.apply(head, (power, base), id)?, Last::Other));
            }
            Command::Call(name) => call(builder, name, id),
            Command::Mixed(whole) => match (builder.node(whole), builder.proper_fraction(id)) {
                (Node::Number { value, .. }, Some(fraction)) => {
                    Node::Number { value: value.clone() + fraction, places: None }
                }
                _ => Node::Product(vec![whole, id]),
            },
            Command::Numerator | Command::Upper | Command::FunctionPower | Command::FunctionBase => {
                return Err(WRONG);
            }
        };
        Ok((builder.push(node)?, Last::Other))
    }

    /// A token after an operand.
    fn proceed(&mut self, token: Token<'_>) -> Done {
        match token {
            Token::Caret => self.caret(),
            Token::Underscore => self.subscript(),
            Token::Prime => {
                let &id = self.values.last().ok_or(WRONG)?;
                let named = self.last == Last::Letter && self.builder.rename(id, "'");
                if named { Ok(()) } else { Err(WRONG) }
            }
            Token::Bang if self.last == Last::Factorial => Err(WRONG),
            Token::Bang => self.postfix(Last::Factorial, Node::Factorial),
            Token::Percent => self.postfix(Last::Other, Node::Percent),
            Token::Degree => self.postfix(Last::Other, Node::Degrees),
            Token::Currency => self.postfix(Last::Other, Node::Currency),
            Token::Words(words) => self.unit(words),
            Token::Close(bracket) => self.close(bracket),
            Token::RightBar => self.close_bar(),
            Token::Bar if self.bar_is_open() => self.close_bar(),
            Token::Ampersand | Token::Row => self.cell(token == Token::Row),
            Token::End => self.end_table(),
            Token::Ellipsis | Token::Circle => Err(WRONG),
            token => match Infix::of(&token) {
                Some(infix) => self.infix(infix),
                None => self.juxtapose(token),
            },
        }
    }

    fn infix(&mut self, infix: Infix) -> Done {
        // kilometres per hour
        if (infix, self.last) == (Infix::Divide, Last::Unit)
            && let Token::Words(below) = self.lexer.peek(Place::Bracketed)?
        {
            self.lexer.next(Place::Bracketed)?;
            let &unit = self.values.last().ok_or(WRONG)?;
            let below = names::unit(below).ok_or(WRONG)?;
            return if self.builder.rename(unit, &format!("/{below}")) { Ok(()) } else { Err(WRONG) };
        }
        self.reduce(infix.precedence() + 1)?;
        self.operators.push(Operator::Infix(infix));
        self.wanting = true;
        Ok(())
    }

    fn postfix(&mut self, last: Last, node: impl FnOnce(Id) -> Node) -> Done {
        let id = self.values.pop().ok_or(WRONG)?;
        let id = self.builder.push(node(id))?;
        self.values.push(id);
        self.last = last;
        Ok(())
    }

    fn caret(&mut self) -> Done {
        if self.last == Last::Unit {
            let raised = self.lexer.rest().trim_start();
            let exponent = ["{2}", "2", "{3}", "3"].into_iter().find(|text| raised.starts_with(text));
            let exponent = exponent.ok_or(WRONG)?;
            self.lexer.skip(self.lexer.rest().len() - raised.len() + exponent.len());
            let &unit = self.values.last().ok_or(WRONG)?;
            let suffix = format!("^{}", exponent.trim_matches(['{', '}']));
            return if self.builder.rename(unit, &suffix) { Ok(()) } else { Err(WRONG) };
        }
        // a power of a power needs braces or parentheses
        if matches!(self.last, Last::Power | Last::Words) {
            return Err(WRONG);
        }
        let base = self.values.pop().ok_or(WRONG)?;
        self.operators.push(Operator::Command(Command::Exponent(base)));
        self.wanting = true;
        Ok(())
    }

    /// A subscript belongs to a letter's name, or says in which base a number is written.
    fn subscript(&mut self) -> Done {
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
        let text: String = text.chars().filter(|c| !c.is_whitespace() && !"{}".contains(*c)).collect();
        if let Node::Number { value, places: None } = self.builder.node(id) {
            let base = text.parse().ok().filter(|base| (2..=36).contains(base)).ok_or(WRONG)?;
            if !value.is_int() || value < &dashu_ratio::RBig::ZERO {
                return Err(WRONG);
            }
            let value = literal::in_base(value.numerator(), base).ok_or(WRONG)?;
            let id = self.builder.number(literal::Literal::whole(value))?;
            self.values.pop();
            self.values.push(id);
            return Ok(());
        }
        let named = matches!(self.last, Last::Letter | Last::Power)
            || matches!(self.builder.node(id), Node::Constant(Constant::E | Constant::I));
        if named && self.builder.rename(id, &format!("_{text}")) { Ok(()) } else { Err(WRONG) }
    }

    /// Words after a value are its unit, a noun, or a power of ten.
    fn unit(&mut self, words: &str) -> Done {
        if matches!(self.last, Last::Words | Last::Unit) {
            return Err(WRONG);
        }
        self.reduce(Infix::Union.precedence() + 1)?;
        let id = self.values.pop().ok_or(WRONG)?;
        let (first, others) = words.split_once(' ').unwrap_or((words, ""));
        let node = if let Some(exponent) = names::magnitude(&first.to_lowercase()) {
            let power = literal::Literal::whole(dashu_int::UBig::from(10u8).pow(exponent));
            let power = self.builder.number(power)?;
            Node::Product(vec![id, power])
        } else {
            mark(id, &names::unit(words).ok_or(WRONG)?)
        };
        let is_magnitude = matches!(node, Node::Product(_));
        self.last = if matches!(node, Node::Unit(..)) { Last::Unit } else { Last::Other };
        let mut id = self.builder.push(node)?;
        if is_magnitude && !others.is_empty() {
            id = self.builder.push(mark(id, &names::unit(others).ok_or(WRONG)?))?;
            self.last = Last::Unit;
        }
        self.values.push(id);
        Ok(())
    }

    /// Two operands side by side are a product, or a mixed number, or a call.
    fn juxtapose(&mut self, token: Token<'_>) -> Done {
        match (self.last, &token) {
            (Last::Whole | Last::Number, Token::Number(_)) | (Last::Words | Last::Unit, _) => {
                return Err(WRONG);
            }
            (Last::Whole, Token::Fraction) => {
                let whole = self.values.pop().ok_or(WRONG)?;
                self.operators.push(Operator::Command(Command::Mixed(whole)));
                self.wanting = true;
                return self.open(token);
            }
            (Last::Letter, Token::Open(Bracket::Round)) => {
                let id = self.values.pop().ok_or(WRONG)?;
                self.operators.push(Operator::Command(Command::Call(id)));
                self.wanting = true;
                return self.open(token);
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

    /// Builds everything on the stack that binds at least as tightly as `floor`.
    fn reduce(&mut self, floor: u8) -> Done {
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
                _ => return Ok(()),
            }
        }
    }

    /// All operators of one kind side by side, and their operands, become one node.
    fn reduce_run(&mut self, precedence: u8) -> Done {
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

    fn close(&mut self, bracket: Bracket) -> Done {
        self.reduce(0)?;
        let Some(Operator::Open(open)) = self.operators.pop() else { return Err(WRONG) };
        let content = self.values.pop().ok_or(WRONG)?;
        let opening = match open {
            Open::Bracket(opening) => opening,
            Open::Index if bracket == Bracket::Square => {
                let Some(Operator::Command(Command::Root(index))) = self.operators.last_mut() else {
                    return Err(WRONG);
                };
                *index = Some(content);
                self.wanting = true;
                return Ok(());
            }
            _ => return Err(WRONG),
        };
        self.inside -= usize::from(separates(opening));
        let id = self.enclosed(opening, bracket, content)?;
        self.operand(id, Last::Other)
    }

    /// What brackets make of their content.
    fn enclosed(&mut self, opening: Bracket, closing: Bracket, content: Id) -> Built {
        let builder = &mut self.builder;
        let pair = match builder.node(content) {
            Node::List(items) => (items.len() == 2).then(|| (items[0], items[1])),
            _ => None,
        };
        let is_list = matches!(builder.node(content), Node::List(_));
        Ok(match (opening, closing) {
            (Bracket::Group, Bracket::Group) => content,
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
                    let low_closed = opening == Bracket::Square;
                    let high_closed = closing == Bracket::Square;
                    builder.push(Node::Interval { low, high, low_closed, high_closed })?
                }
                None if opening != closing => return Err(WRONG),
                None if is_list => builder.enclose(content, Node::Tuple),
                None if matches!(builder.node(content), Node::Matrix { .. }) => content,
                None if self.policy == Policy::Eval => content,
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
    fn bar_is_open(&self) -> bool {
        self.operators
            .iter()
            .rev()
            .find(|operator| matches!(operator, Operator::Open(_) | Operator::Table { .. }))
            .is_some_and(|operator| matches!(operator, Operator::Open(Open::Bar)))
    }

    fn close_bar(&mut self) -> Done {
        self.reduce(0)?;
        let Some(Operator::Open(Open::Bar)) = self.operators.pop() else { return Err(WRONG) };
        let content = self.values.pop().ok_or(WRONG)?;
        let node = match self.builder.node(content) {
            Node::Matrix { rows, entries } => {
                Node::Determinant { rows: *rows, entries: entries.clone() }
            }
            Node::List(_) => return Err(WRONG),
            _ => Node::Apply(Function::Abs, content),
        };
        let id = self.builder.push(node)?;
        self.operand(id, Last::Other)
    }

    /// The end of a cell, and of its row too.
    fn cell(&mut self, row_ends: bool) -> Done {
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

    fn end_table(&mut self) -> Done {
        if !self.wanting {
            self.cell(true)?;
        }
        let Some(Operator::Table { kind, cells, width, row: 0 }) = self.operators.pop() else {
            return Err(WRONG);
        };
        self.inside -= 1;
        let width = width.ok_or(WRONG)?;
        let rows = (cells.len() / width) as u32;
        let node = match kind {
            Table::Matrix => Node::Matrix { rows, entries: cells },
            Table::Determinant => Node::Determinant { rows, entries: cells },
        };
        let id = self.builder.push(node)?;
        self.operand(id, Last::Other)
    }
}

/// A function's bare argument goes up to the next explicit operator.
const FUNCTION: u8 = 61;
/// A sign binds to one factor; its value is the same for a product.
const SIGN: u8 = 70;

fn separates(bracket: Bracket) -> bool {
    !matches!(bracket, Bracket::Group | Bracket::Floor | Bracket::Ceil)
}

/// `f(x)` is a call where the letter is one of those that functions have, and the argument is a
/// value as one would put in; else it is a product, as in `h(a + b)`.
fn call(builder: &Builder, name: Id, argument: Id) -> Node {
    let is_name = |letter: &str| {
        let letter = letter.trim_end_matches('\'');
        let letter = letter.split('_').next().unwrap_or(letter);
        matches!(letter, "f" | "g" | "h" | "F" | "G" | "P" | "Q")
    };
    let is_value = |id: &Id| matches!(builder.node(*id), Node::Number { .. } | Node::Symbol(_));
    match (builder.node(name), builder.node(argument)) {
        (Node::Symbol(letter), Node::Tuple(items)) if is_name(letter) && items.iter().all(is_value) => {
            Node::Call(letter.clone(), items.clone())
        }
        (Node::Symbol(letter), _) if is_name(letter) && is_value(&argument) => {
            Node::Call(letter.clone(), vec![argument])
        }
        _ => Node::Product(vec![name, argument]),
    }
}

/// A value with its unit: some units are marks of their own.
fn mark(id: Id, unit: &str) -> Node {
    match unit {
        "percent" | "pct" | "percentage" | "percentage point" => Node::Percent(id),
        "degree" | "deg" => Node::Degrees(id),
        "dollar" | "usd" | "euro" => Node::Currency(id),
        _ => Node::Unit(id, unit.into()),
    }
}

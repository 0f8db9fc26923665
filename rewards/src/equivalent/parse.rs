//! From tokens to a tree: operator precedence with two explicit stacks, values and operators.
//!
//! Input deepens the stacks and never the call stack. Every loop takes a token or pops an operator.

mod after;
mod before;
mod bound;
mod cases;
mod close;
mod complete;
mod numbers;
mod reduce;
mod unit;

use bound::Scope;
use close::separates;

use super::build::Builder;
use super::infix::Infix;
use super::lex::{Bracket, Head, Lexer, Table, Token};
use super::literal::Place;
use super::roles::Roles;
use super::tree::{Id, Node, Tree, Unreadable};
use crate::Strictness;

/// Reads a whole text.
pub(super) fn parse(text: &str, strictness: Strictness, roles: &Roles) -> Result<Tree, Unreadable> {
    let mut parser = Parser {
        lexer: Lexer::new(text, strictness),
        strictness,
        roles,
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
    Degrees,
    Percent,
    Other,
}

/// An operator that waits on the stack.
#[derive(Debug)]
enum Operator {
    Infix(Infix),
    Sign(Sign),
    /// A function whose argument stands without brackets, or has not begun.
    Function {
        head: Head,
        power: Option<Id>,
        base: Option<Id>,
    },
    /// A sum or the like: its bounds, and then what it is of, have not been read. An integral ends
    /// with its differential, as a bracket does.
    Bound(Scope),
    /// Waits for one operand more, which it takes at once.
    Command(Command),
    Open(Open),
    Table {
        kind: Table,
        cells: Vec<Id>,
        width: Option<usize>,
        row: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Bracket(Bracket),
    Bar,
    /// A set by its condition, which is then all there is to it.
    Condition,
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
    Accent(&'static str),
    /// An operator with a name of its own.
    Named(&'static str),
    Currency(&'static str),
    Minus,
    /// A function with its argument in brackets.
    Apply(Head, Option<Id>, Option<Id>),
    /// What may be a call of a function with a letter for its name.
    Call(Id),
    /// A composition of functions, the outermost first.
    Composed(Id),
    /// The whole part of what may be a mixed number.
    Mixed(Id),
    FunctionPower,
    FunctionBase,
    /// The bounds of a sum or the like.
    Low,
    High,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    strictness: Strictness,
    roles: &'a Roles,
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
                command @ (Command::Numerator
                | Command::Denominator(_)
                | Command::Upper
                | Command::Lower(_)
                | Command::FunctionBase
                | Command::Low
                | Command::High),
            )) = self.operators.last()
            // of all bases of two digits, ten is the one that people mean
            && !(matches!(command, Command::FunctionBase) && self.lexer.rest().starts_with("10"))
            && let Some(digit) = self.lexer.digit()
        {
            let id = self.builder.whole(digit.into())?;
            self.operand(id, Last::Other)?;
            return Ok(true);
        }
        if let Some((variable, length)) = self.differential() {
            self.lexer.skip(length);
            return self.close_integral(variable).map(|()| true);
        }
        if !self.wanting
            && self.roles.letters_are_units()
            && let Some((formula, length)) = self.lexer.unit_ahead()
        {
            self.lexer.skip(length);
            return self.unit(&formula).map(|()| true);
        }
        if self.unit_of_signs()? {
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
            Token::Symbol(name) if self.is_divisor_of_unit() && self.unit_operand(&name)? => {
                return Ok(());
            }
            Token::Symbol(name) => {
                let id = self.builder.push(Node::Symbol(name))?;
                return self.operand(id, Last::Letter);
            }
            Token::Constant(constant) if constant.is_set() => {
                let id = self.set_of_numbers(constant)?;
                return self.operand(id, Last::Other);
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
            // an alignment, or a line that ended with a comma
            Token::Ampersand if self.table() == Some(Table::Lines) => return Ok(()),
            Token::Row | Token::Ampersand | Token::End
                if matches!(self.operators.last(), Some(Operator::Infix(Infix::Comma))) =>
            {
                return self.cell_after_comma(&token);
            }
            other => return self.open(&other),
        };
        let id = self.builder.push(node)?;
        self.operand(id, Last::Other)
    }

    /// A token that opens something.
    fn open(&mut self, token: &Token<'_>) -> Done {
        let in_command = matches!(self.operators.last(), Some(Operator::Command(_)));
        let operator = match *token {
            Token::Bound(_) if in_command => return Err(WRONG),
            Token::Bound(operator) => return self.open_bound(operator),
            Token::Fraction => Operator::Command(Command::Numerator),
            Token::Binomial => Operator::Command(Command::Upper),
            Token::Conjugate => Operator::Command(Command::Conjugate),
            Token::Accent(name) => Operator::Command(Command::Accent(name)),
            Token::Named(name) => return self.named(name),
            // one amount has one currency
            Token::Currency(_)
                if matches!(
                    self.operators.last(),
                    Some(Operator::Command(Command::Currency(_)))
                ) =>
            {
                return Err(WRONG);
            }
            Token::Currency(name) => Operator::Command(Command::Currency(name)),
            Token::Root => return self.open_root(),
            Token::Function(head) => {
                self.operators.push(Operator::Function { head, power: None, base: None });
                return self.head();
            }
            Token::Open(Bracket::Round) if self.composed()? => return Ok(()),
            Token::Open(bracket) => match self.lexer.variable_of_set() {
                Some(length) if bracket == Bracket::Curly => {
                    self.lexer.skip(length);
                    Operator::Open(Open::Condition)
                }
                _ => {
                    self.inside += usize::from(separates(bracket));
                    Operator::Open(Open::Bracket(bracket))
                }
            },
            Token::Bar | Token::LeftBar => Operator::Open(Open::Bar),
            Token::Begin(kind) => {
                self.inside += 1;
                Operator::Table { kind, cells: Vec::new(), width: None, row: 0 }
            }
            Token::Minus if in_command => Operator::Command(Command::Minus),
            Token::Plus if in_command => return Ok(()),
            Token::Minus if matches!(self.operators.last(), Some(Operator::Sign(Sign::Plus))) => {
                Operator::Sign(Sign::Minus)
            }
            // other signs in a row are no arithmetic
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
        self.event_in_words()
    }

    /// A root, whose index may follow.
    fn open_root(&mut self) -> Done {
        self.operators.push(Operator::Command(Command::Root(None)));
        if self.lexer.peek(Place::Bracketed)? == Token::Open(Bracket::Square) {
            self.lexer.next(Place::Bracketed)?;
            self.operators.push(Operator::Open(Open::Index));
        }
        Ok(())
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
                    let slot = if matches!(command, Command::FunctionPower) { power } else { base };
                    if slot.replace(id).is_some() {
                        return Err(WRONG);
                    }
                    return self.head();
                }
                Command::Low | Command::High => {
                    let Some(Operator::Bound(scope)) = self.operators.last_mut() else {
                        return Err(WRONG);
                    };
                    scope.set(matches!(command, Command::Low), id);
                    return self.scripts();
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
}

//! The tree that a template is parsed into.

use std::sync::Arc;

/// A statement and the line it starts on, from 1.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) line: u32,
    pub(super) kind: Kind,
}

pub(super) type Body = Vec<Statement>;

#[derive(Debug)]
pub(super) enum Kind {
    /// Text between tags.
    Text(String),
    Print(Expr),
    If {
        branches: Vec<(Expr, Body)>,
        otherwise: Body,
    },
    For(Arc<For>),
    Set(Target, Expr),
    SetBlock(Target, Vec<Applied>, Body),
    With(Vec<(Target, Expr)>, Body),
    Macro(Arc<Macro>),
    /// `{% call %}`: the call, and its body as the macro `caller`.
    CallBlock(Call, Arc<Macro>),
    FilterBlock(Vec<Applied>, Body),
    /// `{% generation %}`: the body, in a scope of its own.
    Generation(Body),
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct For {
    pub(super) target: Target,
    pub(super) items: Expr,
    /// Only items that pass are looped over.
    pub(super) only: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Body,
    /// Rendered where no iteration went to its end.
    pub(super) otherwise: Body,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) name: Arc<str>,
    pub(super) parameters: Vec<(Arc<str>, Option<Expr>)>,
    /// Which of the special names the body reads: only then are they passed.
    pub(super) takes: Special,
    pub(super) body: Body,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Special {
    pub(super) varargs: bool,
    pub(super) kwargs: bool,
    pub(super) caller: bool,
}

#[derive(Debug)]
pub(super) enum Target {
    Name(Arc<str>),
    /// An attribute of a namespace.
    Attribute(Arc<str>, Arc<str>),
    Tuple(Vec<Self>),
}

#[derive(Debug, Clone)]
pub(super) enum Literal {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
}

#[derive(Debug)]
pub(super) enum Expr {
    Literal(Literal),
    Name(Arc<str>),
    List(Vec<Self>),
    Tuple(Vec<Self>),
    Dict(Vec<(Self, Self)>),
    Attribute(Box<Self>, Arc<str>),
    Item(Box<(Self, Self)>),
    /// Start, stop and step.
    Slice(Box<(Self, [Option<Self>; 3])>),
    Call(Box<Call>),
    Filter(Box<(Self, Applied)>),
    Test(Box<(Self, Applied)>),
    Not(Box<Self>),
    Negative(Box<Self>),
    Positive(Box<Self>),
    And(Box<(Self, Self)>),
    Or(Box<(Self, Self)>),
    Binary(Operator, Box<(Self, Self)>),
    Concat(Vec<Self>),
    Compare(Box<Self>, Vec<(Comparison, Self)>),
    If(Box<Choice>),
}

#[derive(Debug)]
pub(super) struct Choice {
    pub(super) line: u32,
    pub(super) test: Expr,
    pub(super) then: Expr,
    pub(super) otherwise: Option<Expr>,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) callee: Expr,
    pub(super) args: Args,
}

/// A filter or a test with its arguments.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) name: Arc<str>,
    pub(super) args: Args,
}

#[derive(Debug, Default)]
pub(super) struct Args {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(Arc<str>, Expr)>,
    /// `*args`
    pub(super) star: Option<Expr>,
    /// `**kwargs`
    pub(super) stars: Option<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

impl Operator {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Modulo => "%",
            Self::Power => "**",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

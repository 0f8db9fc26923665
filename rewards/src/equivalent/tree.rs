//! What an answer says, as nodes in one list: children before parents, the root last.
//!
//! Nothing that walks a tree needs recursion: a loop over the list meets every child first.

use dashu_ratio::RBig;

use super::units::Unit;

/// How many nodes a tree may have.
pub(super) const MAX_NODES: usize = 512;

/// How deep nodes may lie under each other.
pub(super) const MAX_DEPTH: usize = 64;

/// Index of a node in its tree, smaller than that of its parent.
pub(super) type Id = u32;

/// An answer. Never empty; at most [`MAX_NODES`] nodes, at most [`MAX_DEPTH`] deep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

impl Tree {
    /// Where the root is.
    pub(super) fn root(&self) -> Id {
        self.nodes.len() as Id - 1
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }
}

/// Why a text has no tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is neither mathematics nor a few plain words.
    NotMathematics,
    /// It is larger or deeper than the reader looks at.
    Limit,
}

/// One part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// An exact number: integer, decimal, repeating decimal, mixed number, other base, scientific.
    Number {
        value: RBig,
        /// How many digits stand after the decimal point as written; `None` where there is no
        /// point.
        places: Option<u32>,
    },
    Constant(Constant),
    /// A variable with its subscript: `x`, `x_1`, `alpha`; primes are part of the name.
    /// The name is empty where nothing stands left of a relation (`> 5`), and `…` for an ellipsis,
    /// which is only ever an element of a list, set or tuple.
    Symbol(Box<str>),
    /// Two terms or more. A difference is a sum with a [`Negated`](Self::Negated) term.
    Sum(Vec<Id>),
    /// Two factors or more.
    Product(Vec<Id>),
    Quotient(Id, Id),
    Power(Id, Id),
    Negated(Id),
    /// Real odd roots of negative numbers are real.
    Root {
        radicand: Id,
        index: Id,
    },
    Apply(Function, Id),
    /// `f(x)` with a function that is none of [`Function`]: its name (`f`, `gcd`, `max`) and
    /// arguments.
    Call(Box<str>, Vec<Id>),
    Log {
        base: Id,
        of: Id,
    },
    /// An operation over a variable, which stands in its first child alone, named by
    /// [`bound_name`].
    Bound {
        operator: Bound,
        /// Larger than that of any such operation in it.
        level: u32,
        /// What is operated on; then the two bounds, or where a limit is taken, or the variable of
        /// an integral without bounds, which is free.
        of: Vec<Id>,
    },
    Factorial(Id),
    /// `n!!`, the product of every second number.
    DoubleFactorial(Id),
    Binomial(Id, Id),
    /// Both signs of it: `a \pm b` is a sum of `a` and this. [`Id`] is what the sign stands before.
    PlusMinus(Id),
    /// The opposite sign of every [`PlusMinus`](Self::PlusMinus) in the same answer: `\mp`.
    MinusPlus(Id),
    /// Marks around a value, dropped or kept by strictness.
    Percent(Id),
    Degrees(Id),
    /// A value with its unit. Sums, products and the like have none inside: what is built of units
    /// is computed with them, and carries one unit or is a plain number.
    Unit(Id, Unit),
    /// One measure in several units, the largest first: `3 hours 20 minutes`.
    Compound(Vec<Id>),
    /// `(a, b)`; also `\langle a, b \rangle`.
    Tuple(Vec<Id>),
    /// `\{a, b\}`, also empty.
    Set(Vec<Id>),
    /// Bare `a, b`; also `a; b` and `a and b`.
    List(Vec<Id>),
    /// `(a, b)` of two finite ends is a [`Tuple`](Self::Tuple); everything else with two ends is
    /// this.
    Interval {
        low: Id,
        high: Id,
        low_closed: bool,
        high_closed: bool,
    },
    Union(Vec<Id>),
    Intersection(Vec<Id>),
    Difference(Id, Id),
    /// `a : b`, also of more parts.
    Ratio(Vec<Id>),
    /// Row by row; vectors are one row or one column.
    Matrix {
        rows: u32,
        entries: Vec<Id>,
    },
    Determinant {
        rows: u32,
        entries: Vec<Id>,
    },
    /// A function by cases: a value, then the condition under which it holds, row by row.
    /// "Otherwise" is all numbers without those of the other conditions.
    Piecewise(Vec<Id>),
    Relation {
        operator: Relation,
        left: Id,
        right: Id,
    },
    /// All of these relations hold: the links of a chain `a < b < c`, in order.
    All(Vec<Id>),
    /// `a or b`.
    Any(Vec<Id>),
    /// Words that are no mathematics, case-folded, white space collapsed.
    Text(Box<str>),
    /// The letter of a multiple choice, upper case, marked as such: `(A)`, `\text{A}`, `A.`. A bare
    /// letter is a [`Symbol`](Self::Symbol).
    Choice(char),
}

/// Calls `$visit` for every child of `$node`, in order; `$iter` is `iter` or `iter_mut`, as the
/// node is borrowed.
macro_rules! visit_children {
    ($node:expr, $visit:expr, $iter:ident) => {{
        let mut visit = $visit;
        match $node {
            Self::Number { .. }
            | Self::Constant(_)
            | Self::Symbol(_)
            | Self::Text(_)
            | Self::Choice(_) => {}
            Self::Sum(children)
            | Self::Product(children)
            | Self::Call(_, children)
            | Self::Tuple(children)
            | Self::Set(children)
            | Self::List(children)
            | Self::Union(children)
            | Self::Intersection(children)
            | Self::Ratio(children)
            | Self::Piecewise(children)
            | Self::Compound(children)
            | Self::Bound { of: children, .. }
            | Self::Matrix { entries: children, .. }
            | Self::Determinant { entries: children, .. }
            | Self::All(children)
            | Self::Any(children) => children.$iter().for_each(visit),
            Self::Quotient(a, b)
            | Self::Power(a, b)
            | Self::Root { radicand: a, index: b }
            | Self::Log { base: a, of: b }
            | Self::Binomial(a, b)
            | Self::Interval { low: a, high: b, .. }
            | Self::Difference(a, b)
            | Self::Relation { left: a, right: b, .. } => {
                visit(a);
                visit(b);
            }
            Self::Negated(a)
            | Self::Apply(_, a)
            | Self::Factorial(a)
            | Self::DoubleFactorial(a)
            | Self::PlusMinus(a)
            | Self::MinusPlus(a)
            | Self::Percent(a)
            | Self::Degrees(a)
            | Self::Unit(a, _) => visit(a),
        }
    }};
}

impl Node {
    /// Visits what lies directly under this node, in order.
    pub(super) fn for_each_child(&self, mut visit: impl FnMut(Id)) {
        visit_children!(self, |child: &Id| visit(*child), iter);
    }

    /// The same for changing where children are.
    pub(super) fn for_each_child_mut(&mut self, visit: impl FnMut(&mut Id)) {
        visit_children!(self, visit, iter_mut);
    }
}

/// The name of a bound variable: no text has such a symbol.
pub(super) fn bound_name(level: u32) -> String {
    format!("#{level}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Sum,
    Product,
    Integral,
    Limit,
}

impl Bound {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Product => "product",
            Self::Integral => "integral",
            Self::Limit => "limit",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Constant {
    Pi,
    E,
    I,
    /// Positive; negative infinity is this, negated.
    Infinity,
    EmptySet,
    Reals,
    Integers,
    Naturals,
    Rationals,
    Complexes,
    /// "undefined", "does not exist", "DNE".
    Undefined,
}

impl Constant {
    /// Whether it is a set of numbers.
    pub(super) fn is_set(self) -> bool {
        match self {
            Self::EmptySet
            | Self::Reals
            | Self::Integers
            | Self::Naturals
            | Self::Rationals
            | Self::Complexes => true,
            Self::Pi | Self::E | Self::I | Self::Infinity | Self::Undefined => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Arcsin,
    Arccos,
    Arctan,
    Arccot,
    Arcsec,
    Arccsc,
    Sinh,
    Cosh,
    Tanh,
    Ln,
    Exp,
    Abs,
    Floor,
    Ceil,
    Conjugate,
    Re,
    Im,
    Arg,
    Sign,
}

impl Function {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Tan => "tan",
            Self::Cot => "cot",
            Self::Sec => "sec",
            Self::Csc => "csc",
            Self::Arcsin => "arcsin",
            Self::Arccos => "arccos",
            Self::Arctan => "arctan",
            Self::Arccot => "arccot",
            Self::Arcsec => "arcsec",
            Self::Arccsc => "arccsc",
            Self::Sinh => "sinh",
            Self::Cosh => "cosh",
            Self::Tanh => "tanh",
            Self::Ln => "ln",
            Self::Exp => "exp",
            Self::Abs => "abs",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Conjugate => "conjugate",
            Self::Re => "re",
            Self::Im => "im",
            Self::Arg => "arg",
            Self::Sign => "sign",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
    Subset,
    SubsetEqual,
    Approximately,
    MapsTo,
    Equivalent,
    Divides,
    Parallel,
    Perpendicular,
    Similar,
    Congruent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_last_node() {
        let one = Node::Number { value: RBig::ONE, places: None };
        let tree = Tree { nodes: vec![one.clone(), Node::Negated(0)] };
        assert_eq!(tree.root(), 1);
        assert_eq!(tree.node(0), &one);
    }
}

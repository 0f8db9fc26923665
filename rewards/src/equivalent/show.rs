//! How a tree reads, for people: what kind of answer it is, and one line of plain text.

use super::tree::{Constant, Id, Node, Relation, Tree};

/// Longest text of a node, in bytes: nodes are shared, and so texts could grow without bound.
const MAX_BYTES: usize = 400;

/// The tree in plain text, cut where it is long.
pub(super) fn shown(tree: &Tree) -> String {
    shown_at(tree, tree.root())
}

/// One node of a tree with what it holds, in the same way.
pub(super) fn shown_at(tree: &Tree, id: Id) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(id as usize + 1);
    for node in &tree.nodes[..=id as usize] {
        let text = text(node, &texts);
        texts.push(cut(text));
    }
    texts.pop().unwrap_or_default()
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_BYTES {
        text.truncate(text.floor_char_boundary(MAX_BYTES));
        text.push('…');
    }
    text
}

fn text(node: &Node, texts: &[String]) -> String {
    let of = |id: &Id| texts[*id as usize].as_str();
    let all = |ids: &[Id], between: &str| {
        let mut joined = String::new();
        for id in ids {
            if joined.len() > MAX_BYTES {
                break;
            }
            joined.push_str(if joined.is_empty() { "" } else { between });
            joined.push_str(of(id));
        }
        joined
    };
    match node {
        Node::Number { value, .. } => value.to_string(),
        Node::Constant(constant) => constant_name(*constant).to_owned(),
        Node::Symbol(name) => name.to_string(),
        Node::Sum(terms) => format!("({})", all(terms, " + ")),
        Node::Product(factors) => format!("({})", all(factors, " * ")),
        Node::Quotient(over, under) => format!("({} / {})", of(over), of(under)),
        Node::Power(base, exponent) => format!("({} ^ {})", of(base), of(exponent)),
        Node::Negated(value) => format!("-{}", of(value)),
        Node::Root { radicand, index } => format!("root({}, {})", of(radicand), of(index)),
        Node::Apply(function, value) => format!("{}({})", function.name(), of(value)),
        Node::Call(name, arguments) => format!("{name}({})", all(arguments, ", ")),
        Node::Log { base, of: value } => format!("log({}, {})", of(value), of(base)),
        Node::Bound { operator, of, .. } => format!("{}({})", operator.name(), all(of, ", ")),
        Node::Factorial(value) => format!("{}!", of(value)),
        Node::DoubleFactorial(value) => format!("{}!!", of(value)),
        Node::Binomial(n, k) => format!("binomial({}, {})", of(n), of(k)),
        Node::PlusMinus(value) => format!("±{}", of(value)),
        Node::MinusPlus(value) => format!("∓{}", of(value)),
        Node::Percent(value) => format!("{} %", of(value)),
        Node::Degrees(value) => format!("{}°", of(value)),
        Node::Unit(value, unit) => format!("{} {unit}", of(value)),
        Node::Compound(parts) => all(parts, " "),
        Node::Tuple(entries) => format!("({})", all(entries, ", ")),
        Node::Set(entries) => format!("{{{}}}", all(entries, ", ")),
        Node::List(entries) => all(entries, ", "),
        Node::Interval { low, high, low_closed, high_closed } => {
            interval((of(low), of(high)), (*low_closed, *high_closed))
        }
        Node::Union(parts) => all(parts, " ∪ "),
        Node::Intersection(parts) => all(parts, " ∩ "),
        Node::Difference(from, less) => format!("{} \\ {}", of(from), of(less)),
        Node::Ratio(parts) => all(parts, " : "),
        Node::Matrix { rows, entries } => table("matrix", *rows, entries, &all),
        Node::Determinant { rows, entries } => table("determinant", *rows, entries, &all),
        Node::Piecewise(rows) => cases(rows, &all),
        Node::Relation { operator, left, right } => {
            format!("{} {} {}", of(left), sign(*operator), of(right))
        }
        Node::All(parts) => all(parts, " and "),
        Node::Any(parts) => all(parts, " or "),
        Node::Text(words) => format!("\"{words}\""),
        Node::Choice(letter) => format!("choice {letter}"),
    }
}

fn interval((low, high): (&str, &str), closed: (bool, bool)) -> String {
    let (open, close) = (if closed.0 { '[' } else { '(' }, if closed.1 { ']' } else { ')' });
    format!("{open}{low}, {high}{close}")
}

fn table(name: &str, rows: u32, entries: &[Id], all: &dyn Fn(&[Id], &str) -> String) -> String {
    let columns = (entries.len() / rows.max(1) as usize).max(1);
    let rows: Vec<_> = entries.chunks(columns).map(|row| all(row, ", ")).collect();
    format!("{name}[{}]", rows.join("; "))
}

fn cases(rows: &[Id], all: &dyn Fn(&[Id], &str) -> String) -> String {
    rows.chunks(2).map(|row| all(row, " if ")).collect::<Vec<_>>().join("; ")
}

fn constant_name(constant: Constant) -> &'static str {
    match constant {
        Constant::Pi => "pi",
        Constant::E => "e",
        Constant::I => "i",
        Constant::Infinity => "infinity",
        Constant::EmptySet => "the empty set",
        Constant::Reals => "the reals",
        Constant::Integers => "the integers",
        Constant::Naturals => "the naturals",
        Constant::Rationals => "the rationals",
        Constant::Complexes => "the complex numbers",
        Constant::Undefined => "undefined",
    }
}

fn sign(relation: Relation) -> &'static str {
    match relation {
        Relation::Equal => "=",
        Relation::NotEqual => "≠",
        Relation::Less => "<",
        Relation::LessEqual => "≤",
        Relation::Greater => ">",
        Relation::GreaterEqual => "≥",
        Relation::In => "∈",
        Relation::NotIn => "∉",
        Relation::Subset => "⊂",
        Relation::SubsetEqual => "⊆",
        Relation::Approximately => "≈",
        Relation::MapsTo => "↦",
        Relation::Equivalent => "≡",
        Relation::Divides => "|",
        Relation::Parallel => "∥",
        Relation::Perpendicular => "⊥",
        Relation::Similar => "∼",
        Relation::Congruent => "≅",
    }
}

/// What kind of answer it is, with its article.
pub(super) fn kind(tree: &Tree) -> &'static str {
    let number = |id: &Id| match tree.node(*id) {
        Node::Number { value, .. } => Some(value.is_int()),
        _ => None,
    };
    let root = tree.root();
    let is_integer = match tree.node(root) {
        Node::Negated(value) => number(value),
        Node::Quotient(over, under) => number(over).and(number(under)).map(|_| false),
        _ => number(&root),
    };
    match tree.node(root) {
        _ if is_integer == Some(true) => "an integer",
        _ if is_integer == Some(false) => "a number",
        Node::Constant(Constant::Infinity | Constant::Undefined) => "a word for no number",
        Node::Constant(constant) if constant.is_set() => "a set",
        Node::Set(_) | Node::Union(_) | Node::Intersection(_) | Node::Difference(..) => "a set",
        Node::Symbol(_) => "a variable",
        Node::PlusMinus(_) | Node::MinusPlus(_) | Node::List(_) => "several values",
        Node::Percent(_) => "a percentage",
        Node::Degrees(_) => "a number of degrees",
        Node::Unit(..) | Node::Compound(_) => "a value with a unit",
        Node::Tuple(_) => "a tuple",
        Node::Interval { .. } => "an interval",
        Node::Ratio(_) => "a ratio",
        Node::Matrix { .. } => "a matrix",
        Node::Piecewise(_) => "a function by cases",
        Node::Relation { operator: Relation::Equal, .. } => "an equation",
        Node::Relation { .. } | Node::All(_) => "a relation",
        Node::Any(_) => "alternatives",
        Node::Text(_) => "words",
        Node::Choice(_) => "a choice",
        _ if tree.nodes.iter().any(|node| matches!(node, Node::Symbol(_) | Node::Call(..))) => {
            "an expression"
        }
        _ => "a value",
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::read;
    use super::*;
    use crate::Strictness;

    #[track_caller]
    fn check(text: &str, expected_kind: &str, expected: &str) {
        let tree = read(text, Strictness::Eval).unwrap();
        assert_eq!((kind(&tree), shown(&tree).as_str()), (expected_kind, expected), "{text}");
    }

    #[test]
    fn answers_are_shown_as_they_are_read() {
        check("204", "an integer", "204");
        check(r"-\frac{1}{3}\pi", "a value", "(-(1 / 3) * pi)");
        check(r"\frac{1}{3}", "a number", "(1 / 3)");
        check("-7", "an integer", "-7");
        check(r"x^2-\sqrt{y}", "an expression", "((x ^ 2) + -root(y, 2))");
        check(r"[1,\infty)\cup\{0\}", "a set", "[1, infinity) ∪ {0}");
        check(r"\sin x = \log_2 8", "an equation", "sin(x) = log(8, 2)");
        check("1, 2 or 3", "several values", "1, 2, 3");
        check(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "a matrix", "matrix[1, 2; 3, 4]");
        check("(A)", "a choice", "choice A");
        check("7!!", "a value", "7!!");
        check("3 h 20 min", "a value with a unit", "3 h 20 min");
        check(
            r"\begin{cases}1&x<0\\2&\text{else}\end{cases}",
            "a function by cases",
            r"1 if x < 0; 2 if the reals \ x < 0",
        );
        check("two apples", "words", "\"two apples\"");
        check("no solution", "a set", "the empty set");
    }

    #[test]
    fn what_is_shared_is_shown_in_bounds() {
        let mut nodes = vec![Node::Symbol("x".into())];
        for id in 0..60 {
            nodes.push(Node::Sum(vec![id; 8]));
        }
        assert!(shown(&Tree { nodes }).len() < 2 * MAX_BYTES);
    }
}

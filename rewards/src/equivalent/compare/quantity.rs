//! What the left side of an equation names: `P(X = 1) = \frac{1}{5}` gives the value of a probability,
//! and `-x = 5` is an equation still to be solved, whose right side is the value of nothing asked for.

use super::{
    super::{
        show::shown_at,
        tree::{Function, Id, Node, Tree},
    },
    term::Term,
};

/// How many parts a sum or a product of quantities may have.
const MAX_PARTS: usize = 16;

/// The symbol of a node.
pub(super) fn symbol(tree: &Tree, id: Id) -> Option<&str> {
    match tree.node(id) {
        Node::Symbol(name) => Some(name),
        _ => None,
    }
}

/// Functions whose values are computed; a call of any other names a value.
fn is_computed(name: &str) -> bool {
    matches!(name, "gcd" | "lcm" | "max" | "min")
}

fn is_capital(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
}

/// Different capital letters side by side: a segment, an angle, a triangle.
fn is_figure(tree: &Tree, of: &[Id]) -> bool {
    let names: Option<Vec<&str>> =
        of.iter().map(|&id| symbol(tree, id).filter(|name| is_capital(name))).collect();
    names.is_some_and(|mut names| {
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1])
    })
}

/// `\frac{dy}{dx}`, `\frac{d}{dx}`, `\frac{d^2y}{dx^2}`, also with the sign of partial derivatives.
fn is_derivative(tree: &Tree, above: Id, below: Id) -> bool {
    let first = |id: Id| match tree.node(id) {
        Node::Product(of) => of[0],
        _ => id,
    };
    let sign = |id: Id| match tree.node(first(id)) {
        Node::Power(base, _) => symbol(tree, *base),
        _ => symbol(tree, first(id)),
    };
    matches!(tree.node(below), Node::Product(_))
        && sign(above) == sign(below)
        && matches!(sign(below), Some("d" | "partial"))
}

/// The name of a quantity that stands for a value whatever that is: a symbol, a function of something,
/// a ratio of names, a point, capital letters side by side, a derivative.
pub(super) fn name(tree: &Tree, id: Id) -> Option<&str> {
    let named = |of: &[Id]| of.iter().all(|&id| name_of_part(tree, id).is_some());
    match tree.node(id) {
        Node::Call(name, _) if is_computed(name) => None,
        Node::Ratio(of) => named(of).then_some("a ratio"),
        Node::Tuple(of) => match of[..] {
            // the area of a figure, where brackets group nothing
            [only] => matches!(tree.node(only), Node::Product(of) if is_figure(tree, of))
                .then_some("an area"),
            _ => named(of).then_some("a point"),
        },
        Node::Product(of) => match tree.node(of[0]) {
            Node::Quotient(above, below) if is_derivative(tree, *above, *below) => {
                Some("a derivative")
            }
            _ => is_figure(tree, of).then_some("letters"),
        },
        Node::Quotient(above, below) => {
            is_derivative(tree, *above, *below).then_some("a derivative")
        }
        _ => name_of_part(tree, id),
    }
}

/// The same for a part of a ratio or a point.
fn name_of_part(tree: &Tree, id: Id) -> Option<&str> {
    match tree.node(id) {
        Node::Symbol(name) => Some(name),
        Node::Call(name, _) if !is_computed(name) => Some(name),
        Node::Product(of) => is_figure(tree, of).then_some("letters"),
        _ => None,
    }
}

/// Whether a node names a quantity whose value is a number, or something else: a [`name`], or a function
/// of one that is a quantity of its own and from whose value nothing else is concluded: a size, a sine,
/// a greatest common divisor, a set made of named ones; a power of these.
pub(super) fn is_quantity(tree: &Tree, id: Id, is_number: bool) -> bool {
    // of powers of lone symbols, those that have names: variances; and powers of matrices
    let has_power = |id: Id| {
        symbol(tree, id).is_some_and(|name| {
            matches!(stem(name), "sigma" | "chi") || !is_number && is_capital(name)
        })
    };
    match tree.node(id) {
        Node::Call(name, _) if is_computed(name) => num_names(tree, id) > 1,
        Node::Apply(Function::Abs, of) => is_sized(tree, *of),
        Node::Apply(function, of) => is_function_of_name(*function) && num_names(tree, *of) > 0,
        Node::Power(base, _) => {
            has_power(*base) || symbol(tree, *base).is_none() && is_quantity(tree, *base, is_number)
        }
        // a segment's power takes the last of its letters
        Node::Product(of) if name(tree, id).is_none() => {
            let mut letters = of.clone();
            if let Some(last) = letters.last_mut()
                && let Node::Power(base, _) = tree.node(*last)
            {
                *last = *base;
            }
            is_figure(tree, &letters)
        }
        Node::Union(of) | Node::Intersection(of) => of.iter().all(|&id| num_names(tree, id) > 0),
        Node::Difference(a, b) => num_names(tree, *a) > 0 && num_names(tree, *b) > 0,
        _ => name(tree, id).is_some(),
    }
}

/// A name without its index.
fn stem(name: &str) -> &str {
    name.split('_').next().unwrap_or_default()
}

/// Functions whose values are asked for as such. What a logarithm or a root is of can be concluded from
/// its value, and is what is asked for.
fn is_function_of_name(function: Function) -> bool {
    use Function as F;
    matches!(
        function,
        F::Sin | F::Cos | F::Tan | F::Cot | F::Sec | F::Csc | F::Conjugate | F::Re | F::Im | F::Arg
    )
}

/// Whether bars around a node mean the size of something that is no real unknown: of a segment, a set, a
/// vector, a complex number, a difference of two quantities.
fn is_sized(tree: &Tree, id: Id) -> bool {
    let is_other = |name: &str| is_capital(name) || matches!(stem(name), "z" | "w" | "u" | "v");
    match tree.node(id) {
        Node::Symbol(name) => is_other(name),
        Node::Sum(_) => is_combination(tree, id, true),
        _ => is_quantity(tree, id, true),
    }
}

/// How many different symbols and functions without a value of their own a node holds.
pub(super) fn num_names(tree: &Tree, id: Id) -> usize {
    let term = Term::new(tree, id, 0, false);
    let mut names: Vec<&str> = term
        .nodes()
        .filter_map(|(_, node)| match node {
            Node::Symbol(name) => Some(&**name),
            Node::Call(name, _) if !is_computed(name) => Some(&**name),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// Whether a node is a sum, a product or a quotient of two quantities or more, each of them once and
/// without a factor or a sign before the first: what `a + b = 7` says is the value of the sum, since it
/// determines none of the parts.
pub(super) fn is_combination(tree: &Tree, id: Id, is_number: bool) -> bool {
    let mut parts = Vec::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        if parts.len() + open.len() > MAX_PARTS {
            return false;
        }
        match tree.node(id) {
            _ if is_quantity(tree, id, is_number) => parts.push(shown_at(tree, id)),
            Node::Sum(of) => {
                for (at, &id) in of.iter().enumerate() {
                    open.push(match tree.node(id) {
                        Node::Negated(term) if at > 0 => *term,
                        _ => id,
                    });
                }
            }
            Node::Product(of) => open.extend(of),
            Node::Quotient(above, below) => open.extend([*above, *below]),
            _ => return false,
        }
    }
    let count = parts.len();
    parts.sort_unstable();
    parts.dedup();
    count > 1 && parts.len() == count
}

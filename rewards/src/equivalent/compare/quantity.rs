//! What the left side of an equation names: `P(X = 1) = \frac{1}{5}` gives the value of a
//! probability, and `-x = 5` is an equation still to be solved, whose right side is the value of
//! nothing asked for.

use super::{
    super::{
        names,
        show::shown_at,
        tree::{Function, Id, Node, Tree},
        words,
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

/// Segments side by side, `PA \cdot PB`, each of them once.
fn is_product_of_segments(tree: &Tree, of: &[Id]) -> bool {
    let mut segments: Vec<_> = of
        .chunks(2)
        .map(|ends| ends.iter().map(|&id| symbol(tree, id)).collect::<Vec<_>>())
        .collect();
    for ends in &mut segments {
        ends.sort_unstable();
    }
    segments.sort_unstable();
    of.chunks(2).all(|ends| ends.len() == 2 && is_figure(tree, ends))
        && segments.windows(2).all(|pair| pair[0] != pair[1])
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

/// The name of a quantity that stands for a value whatever that is: a symbol, a function of
/// something, a ratio of names, a point, capital letters side by side, a derivative.
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
        // a vector by its coordinates
        Node::Matrix { entries, .. } => {
            entries.iter().all(|&id| symbol(tree, id).is_some()).then_some("a vector")
        }
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

/// Whether a node names a quantity whose value is a number, or something else: a [`name`], or a
/// function of one that is a quantity of its own and from whose value nothing else is concluded: a
/// size, a sine, a greatest common divisor, a set made of named ones; a power of these.
pub(super) fn is_quantity(tree: &Tree, id: Id, is_number: bool) -> bool {
    // of powers of lone symbols, those that have names: variances; and powers of matrices
    let has_power = |id: Id| {
        symbol(tree, id).is_some_and(|name| {
            matches!(stem(name), "sigma" | "chi") || !is_number && is_capital(name)
        })
    };
    match tree.node(id) {
        Node::Call(name, of) if is_computed(name) => {
            // the largest of one thing is that of its values
            let is_lone = matches!(of[..], [only] if symbol(tree, only).is_some());
            is_lone || num_names(tree, id) > 1
        }
        Node::Apply(Function::Abs, of) => is_sized(tree, *of),
        Node::Apply(function, of) => is_function_of_name(*function) && num_names(tree, *of) > 0,
        Node::Power(base, exponent) => {
            // a power of a sine or of a length is asked for as often as itself
            let has_own = match tree.node(*base) {
                Node::Apply(..) => is_quantity(tree, *base, is_number),
                Node::Product(of) => is_figure(tree, of),
                // `\det A^{-1}`
                Node::Call(name, _) => {
                    !is_computed(name) && name.len() > 1 && !name.contains(['\'', '_', '^'])
                }
                _ => false,
            };
            has_power(*base) || has_own && matches!(tree.node(*exponent), Node::Number { .. })
        }
        // a segment's power takes the last of its letters
        Node::Product(of) if name(tree, id).is_none() => {
            let mut letters = of.clone();
            if let Some(last) = letters.last_mut()
                && let Node::Power(base, _) = tree.node(*last)
            {
                *last = *base;
            }
            is_figure(tree, &letters) || is_product_of_segments(tree, of)
        }
        Node::Union(of) | Node::Intersection(of) => of.iter().all(|&id| num_names(tree, id) > 0),
        Node::Difference(a, b) => num_names(tree, *a) > 0 && num_names(tree, *b) > 0,
        // a sum or an integral that no rule works out
        Node::Bound { .. } => true,
        _ => name(tree, id).is_some(),
    }
}

/// A name without its index.
fn stem(name: &str) -> &str {
    name.split('_').next().unwrap_or_default()
}

/// Functions whose values are asked for as such. What a logarithm or a root is of can be concluded
/// from its value, and is what is asked for.
fn is_function_of_name(function: Function) -> bool {
    use Function as F;
    matches!(function, F::Conjugate | F::Re | F::Im | F::Arg) || is_trigonometric(function)
}

fn is_trigonometric(function: Function) -> bool {
    use Function as F;
    matches!(function, F::Sin | F::Cos | F::Tan | F::Cot | F::Sec | F::Csc)
}

/// The trigonometric function, or its power, of an angle that is not given by points.
fn is_of_angle(tree: &Tree, id: Id) -> bool {
    match tree.node(id) {
        Node::Power(base, _) => is_of_angle(tree, *base),
        Node::Apply(function, of) => {
            let is_by_points =
                matches!(tree.node(*of), Node::Product(letters) if is_figure(tree, letters));
            is_trigonometric(*function) && !is_by_points
        }
        _ => false,
    }
}

/// Whether bars around a node mean the size of something that is no real unknown: of a segment, a
/// set, a vector, a complex number, a difference of two quantities.
fn is_sized(tree: &Tree, id: Id) -> bool {
    let is_other = |name: &str| is_capital(name) || matches!(stem(name), "z" | "w" | "u" | "v");
    match tree.node(id) {
        Node::Symbol(name) => is_other(name),
        Node::Sum(_) => is_combination(tree, id, true),
        Node::Power(base, _) => symbol(tree, *base).is_some_and(is_capital),
        _ => is_quantity(tree, id, true),
    }
}

/// The symbols of a node, of which a bound variable is none.
fn symbols(tree: &Tree, id: Id) -> Vec<&str> {
    Term::new(tree, id, 0, false)
        .nodes()
        .filter_map(|(_, node)| match node {
            Node::Symbol(name) => Some(&**name).filter(|name| !name.starts_with('#')),
            _ => None,
        })
        .collect()
}

/// Whether a quantity depends on an unknown, so that it is zero for some values of the unknown:
/// `f(x) = 0` and `xy = 0` are still to be solved, `f(2) = 0` and `P(x > 3) = 0` are not.
pub(super) fn has_roots(tree: &Tree, id: Id) -> bool {
    let is_value = match tree.node(id) {
        Node::Symbol(_) | Node::Bound { .. } => true,
        Node::Call(name, of) => {
            let is_of_event =
                |&id: &Id| matches!(tree.node(id), Node::Relation { .. } | Node::All(_));
            stem(name.trim_end_matches('\'')).chars().count() > 1 || of.iter().any(is_of_event)
        }
        Node::Apply(function, _) => !is_trigonometric(*function),
        Node::Power(base, _) => symbol(tree, *base).is_some(),
        _ => false,
    };
    let is_of_angle = is_of_angle(tree, id);
    !is_value && symbols(tree, id).iter().any(|name| is_of_angle || !is_capital(name))
}

/// How many different symbols and functions without a value of their own a node holds.
pub(super) fn num_names(tree: &Tree, id: Id) -> usize {
    let term = Term::new(tree, id, 0, false);
    let mut names: Vec<&str> = term
        .nodes()
        .filter_map(|(_, node)| match node {
            // a bound variable is no name
            Node::Symbol(name) => Some(&**name).filter(|name| !name.starts_with('#')),
            Node::Call(name, _) if !is_computed(name) => Some(&**name),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// Whether a name is a word that describes no quantity, and may question or deny the value after
/// it.
pub(super) fn is_other_word(tree: &Tree, id: Id) -> bool {
    symbol(tree, id).is_some_and(|name| {
        let first = name.split([' ', '_', '\'', '^']).next().unwrap_or_default();
        let phrase = name.split('_').next().unwrap_or_default();
        !names::is_letter(first) && !words::describe(phrase)
    })
}

/// Whether a symbol stands in a node.
pub(super) fn occurs(tree: &Tree, id: Id, name: &str) -> bool {
    let term = Term::new(tree, id, 0, false);
    term.nodes().any(|(_, node)| matches!(node, Node::Symbol(other) if &**other == name))
}

/// Whether a name is that of a function at another place than its variable, or of another term of a
/// sequence, where `value` is an expression in that variable: `f(x + 1) = x^2` and `a_{n+1} = 2n`
/// do not say what `f(x)` and `a_n` are.
pub(super) fn is_elsewhere(tree: &Tree, left: Id, value: Id) -> bool {
    let is_place = |id: Id| {
        let is_expression = matches!(
            tree.node(id),
            Node::Sum(_)
                | Node::Product(_)
                | Node::Quotient(..)
                | Node::Power(..)
                | Node::Negated(_)
                | Node::Root { .. }
        );
        let term = Term::new(tree, id, 0, false);
        is_expression
            && term
                .nodes()
                .any(|(_, node)| matches!(node, Node::Symbol(name) if occurs(tree, value, name)))
    };
    match tree.node(left) {
        Node::Symbol(name) => name.split_once('_').is_some_and(|(_, index)| {
            let signs = ['+', '-'];
            index.contains(signs) && index.split(signs).any(|part| occurs(tree, value, part))
        }),
        Node::Call(name, of) => {
            let is_letter = stem(name.trim_end_matches('\'')).chars().count() == 1;
            is_letter && of.iter().any(|&id| is_place(id))
        }
        _ => false,
    }
}

/// Whether a node is a sum, a product or a quotient of two quantities or more, each of them once
/// and without a factor or a sign before the first: what `a + b = 7` says is the value of the sum,
/// since it determines none of the parts.
pub(super) fn is_combination(tree: &Tree, id: Id, is_number: bool) -> bool {
    let mut parts = Vec::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        if parts.len() + open.len() > MAX_PARTS {
            return false;
        }
        match tree.node(id) {
            _ if is_quantity(tree, id, is_number) => parts.push(id),
            // `E(X^2) - E(X)^2`
            Node::Power(base, times)
                if matches!(tree.node(*base), Node::Call(..))
                    && matches!(tree.node(*times), Node::Number { .. }) =>
            {
                parts.push(id);
            }
            Node::Sum(of) => {
                for (at, &id) in of.iter().enumerate() {
                    open.push(match tree.node(id) {
                        Node::Negated(term) if at > 0 => *term,
                        _ => id,
                    });
                }
            }
            // a matrix times a vector is one side of a system
            Node::Product(of) if is_number => open.extend(of),
            Node::Quotient(above, below) if is_number => open.extend([*above, *below]),
            _ => return false,
        }
    }
    parts.len() > 1 && are_independent(tree, &parts)
}

/// Whether quantities are all different, and no unknown occurs in two of them: `\sin x + \cos x`
/// and `y'' + y` are expressions in an unknown. Segments, events and the like may share capital
/// letters.
fn are_independent(tree: &Tree, parts: &[Id]) -> bool {
    let mut shown: Vec<_> = parts.iter().map(|&id| shown_at(tree, id)).collect();
    shown.sort_unstable();
    let unknowns: Vec<Vec<&str>> = parts
        .iter()
        .map(|&id| {
            let names = symbols(tree, id).into_iter();
            names
                .map(|name| if is_capital(name) { name } else { name.trim_end_matches('\'') })
                .collect()
        })
        .collect();
    let share = |one: usize, other: usize| {
        let of_angles = is_of_angle(tree, parts[one]) && is_of_angle(tree, parts[other]);
        unknowns[one]
            .iter()
            .any(|name| (of_angles || !is_capital(name)) && unknowns[other].contains(name))
    };
    shown.windows(2).all(|pair| pair[0] != pair[1])
        && (0..parts.len()).all(|one| (0..one).all(|other| !share(one, other)))
}

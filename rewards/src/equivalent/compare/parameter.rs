//! Parameters that an answer declares, `k` in `\frac{\pi}{4} + k\pi, k \in \mathbb{Z}`: their names
//! say nothing, and one that is any integer may be counted from elsewhere or backwards.

use std::borrow::Cow;

use super::super::tree::{Constant, Id, Node, Relation, Tree};

/// How far the counting of a parameter may be shifted.
const MAX_SHIFT: i64 = 2;

fn symbol(tree: &Tree, id: Id) -> Option<&str> {
    match tree.node(id) {
        Node::Symbol(name) => Some(name),
        _ => None,
    }
}

/// A parameter: its name, and where it and the set it is taken from stand in its declaration.
#[derive(Debug, Clone, Copy)]
struct Declared<'tree> {
    name: &'tree str,
    at: Id,
    set: Id,
}

/// The symbols that a tree declares by `k \in ...` and uses, in the order of their declarations.
fn declared(tree: &Tree) -> Vec<Declared<'_>> {
    let count = |name: &str| {
        tree.nodes.iter().filter(|node| matches!(node, Node::Symbol(n) if &**n == name)).count()
    };
    let mut found: Vec<Declared<'_>> = Vec::new();
    for node in &tree.nodes {
        if let &Node::Relation { operator: Relation::In, left, right } = node
            && let Some(name) = symbol(tree, left)
            && count(name) > 1
            && found.iter().all(|other| other.name != name)
        {
            found.push(Declared { name, at: left, set: right });
        }
    }
    found
}

/// The answer in all forms in which its parameters are called as the gold's are, at least as it is.
pub(super) fn forms<'a>(gold: &Tree, answer: &'a Tree) -> Vec<Cow<'a, Tree>> {
    // a lone membership declares nothing: it is the answer
    let is_list = matches!(gold.node(gold.root()), Node::List(_) | Node::All(_) | Node::Set(_));
    let (wanted, given) = (declared(gold), declared(answer));
    let has = |tree: &Tree, name: &str| {
        tree.nodes.iter().any(|node| matches!(node, Node::Symbol(other) if &**other == name))
    };
    let names = |of: &[Declared<'_>], name: &str| of.iter().any(|declared| declared.name == name);
    let clashes = |of: &[Declared<'_>], other: &Tree, bound: &[Declared<'_>]| {
        of.iter().any(|declared| has(other, declared.name) && !names(bound, declared.name))
    };
    if !is_list
        || wanted.is_empty()
        || wanted.len() != given.len()
        || clashes(&wanted, answer, &given)
        || clashes(&given, gold, &wanted)
    {
        return vec![Cow::Borrowed(answer)];
    }
    let mut renamed = answer.clone();
    for node in &mut renamed.nodes {
        if let Node::Symbol(name) = node
            && let Some(at) = given.iter().position(|given| given.name == &**name)
        {
            *name = wanted[at].name.into();
        }
    }
    let mut forms = vec![Cow::Owned(renamed)];
    if let ([wanted], [given]) = (&wanted[..], &given[..])
        && *answer.node(given.set) == Node::Constant(Constant::Integers)
    {
        for opposite in [false, true] {
            for shift in (-MAX_SHIFT..=MAX_SHIFT).filter(|&shift| opposite || shift != 0) {
                let form = counted(&forms[0], wanted.name, given.at, (opposite, shift));
                forms.push(Cow::Owned(form));
            }
        }
    }
    forms
}

/// A tree with `k + shift` or `-k + shift` in the place of `k`, but for where it is declared.
fn counted(tree: &Tree, name: &str, declared: Id, (opposite, shift): (bool, i64)) -> Tree {
    let mut nodes = Vec::with_capacity(tree.nodes.len());
    let mut places = Vec::with_capacity(tree.nodes.len());
    for (id, node) in tree.nodes.iter().enumerate() {
        let mut node = node.clone();
        node.for_each_child_mut(|child| *child = places[*child as usize]);
        let is_parameter = matches!(&node, Node::Symbol(other) if &**other == name);
        nodes.push(node);
        if is_parameter && id != declared as usize {
            if opposite {
                nodes.push(Node::Negated(nodes.len() as Id - 1));
            }
            let term = nodes.len() as Id - 1;
            nodes.push(Node::Number { value: shift.into(), places: None });
            nodes.push(Node::Sum(vec![term, term + 1]));
        }
        places.push(nodes.len() as Id - 1);
    }
    Tree { nodes }
}

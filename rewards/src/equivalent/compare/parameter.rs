//! Parameters that an answer declares, `k` in `\frac{\pi}{4} + k\pi, k \in \mathbb{Z}`: their names say
//! nothing.

use super::super::tree::{Id, Node, Relation, Tree};

/// The symbols that a tree declares by `k \in ...` and uses, in the order of their declarations.
fn declared(tree: &Tree) -> Vec<&str> {
    let symbol = |id: Id| match tree.node(id) {
        Node::Symbol(name) => Some(&**name),
        _ => None,
    };
    let count = |name: &str| {
        tree.nodes.iter().filter(|node| matches!(node, Node::Symbol(n) if &**n == name)).count()
    };
    let mut names = Vec::new();
    for node in &tree.nodes {
        if let Node::Relation { operator: Relation::In, left, .. } = node
            && let Some(name) = symbol(*left)
            && count(name) > 1
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// The answer with its parameters called as the gold's are; `None` where they are already, or where
/// they are not as many or a name would then mean two things.
pub(super) fn renamed(gold: &Tree, answer: &Tree) -> Option<Tree> {
    // a lone membership declares nothing: it is the answer
    if !matches!(gold.node(gold.root()), Node::List(_) | Node::All(_) | Node::Set(_)) {
        return None;
    }
    let (wanted, given) = (declared(gold), declared(answer));
    if wanted.is_empty() || wanted.len() != given.len() || wanted == given {
        return None;
    }
    let is_free = |tree: &Tree, name: &str, bound: &[&str]| {
        !bound.contains(&name)
            && tree.nodes.iter().any(|node| matches!(node, Node::Symbol(n) if &**n == name))
    };
    if wanted.iter().any(|name| is_free(answer, name, &given))
        || given.iter().any(|name| is_free(gold, name, &wanted))
    {
        return None;
    }
    let mut renamed = answer.clone();
    for node in &mut renamed.nodes {
        if let Node::Symbol(name) = node
            && let Some(at) = given.iter().position(|given| *given == &**name)
        {
            *name = wanted[at].into();
        }
    }
    Some(renamed)
}

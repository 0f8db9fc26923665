//! Square brackets around one value. In the middle of a formula they group, as in `2[x + 1]`; alone
//! they may be a list of one element, and around a fraction, a root or a lone letter the integer
//! part.

use super::tree::{Id, Node};

/// Puts the content of square brackets in their place wherever they surely group.
pub(super) fn group(nodes: &mut [Node]) {
    let single = |node: &Node| match node {
        Node::Tuple(of) if of.len() == 1 => Some(of[0]),
        _ => None,
    };
    if !nodes.iter().any(|node| single(node).is_some()) {
        return;
    }
    for at in 0..nodes.len() {
        let mut node = nodes[at].clone();
        let mut before = None;
        let raised = matches!(node, Node::Power(..));
        let is_argument = matches!(node, Node::Apply(..));
        let is_arithmetic = matches!(
            node,
            Node::Sum(_)
                | Node::Product(_)
                | Node::Quotient(..)
                | Node::Power(..)
                | Node::Negated(_)
                | Node::PlusMinus(_)
                | Node::MinusPlus(_)
                | Node::Root { .. }
                | Node::Factorial(_)
                | Node::Apply(..)
        );
        if !is_arithmetic {
            continue;
        }
        node.for_each_child_mut(|child| {
            let applied = before.is_some_and(|before: Id| is_function(&nodes[before as usize]));
            let content = single(&nodes[*child as usize])
                .filter(|&content| is_argument || !applied && is_group(nodes, content, raised));
            before = Some(*child);
            *child = content.unwrap_or(*child);
        });
        nodes[at] = node;
    }
}

/// Letters that functions have: `f[x + 1]`, `E[X + Y]`.
fn is_function(node: &Node) -> bool {
    match node {
        Node::Symbol(name) => name.starts_with(|first: char| {
            first.is_ascii_uppercase() || matches!(first, 'f' | 'g' | 'h' | 'p' | 'q' | 'u' | 'v')
        }),
        _ => false,
    }
}

/// Whether what stands in brackets is more than one writes an integer part of: a sum, or what holds
/// one in brackets of its own. With a fraction in it, only a power tells.
fn is_group(nodes: &[Node], content: Id, raised: bool) -> bool {
    let mut under = vec![content];
    let (mut has_fraction, mut has_group) = (false, false);
    while let Some(id) = under.pop() {
        let node = &nodes[id as usize];
        let is_sum = |id: Id| matches!(nodes[id as usize], Node::Sum(_));
        has_fraction |= match node {
            Node::Number { value, .. } => !value.is_int(),
            Node::Symbol(_)
            | Node::Sum(_)
            | Node::Product(_)
            | Node::Negated(_)
            | Node::PlusMinus(_)
            | Node::MinusPlus(_) => false,
            Node::Power(_, exponent) => !matches!(nodes[*exponent as usize], Node::Number { .. }),
            _ => true,
        };
        has_group |= match node {
            Node::Product(of) => of.iter().any(|&id| is_sum(id)),
            Node::Power(base, _) => is_sum(*base),
            _ => false,
        };
        node.for_each_child(|child| under.push(child));
    }
    let is_sum = matches!(nodes[content as usize], Node::Sum(_));
    if has_fraction { has_group && raised } else { has_group || is_sum }
}

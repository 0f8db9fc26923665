//! All numbers but some, in words: "all real numbers except 1 and 2".

use super::super::roles::Roles;
use super::super::tree::{Constant, Id, Node, Relation, Tree};
use super::{parse, trim, words};
use crate::Strictness;

/// Words between all numbers and those left out.
const BUT: [&str; 6] = ["except", "other than", "excluding", "but", "apart from", "without"];

/// Words for all real numbers.
const ALL: [&str; 10] = [
    "all real numbers",
    "all reals",
    "all real",
    "any real number",
    "every real number",
    "real numbers",
    "the real numbers",
    "all real x",
    "all real numbers x",
    "all real values",
];

/// The set of all real numbers without some; `None` where a text does not say so.
pub(super) fn excluded(text: &str, strictness: Strictness, roles: &Roles) -> Option<Tree> {
    let (all, after) = BUT.iter().find_map(|but| {
        let (all, after) = text.split_once(but)?;
        let ends = [all.chars().next_back()?, after.chars().next()?];
        ends.iter().all(|c| !c.is_alphanumeric()).then_some((all, after))
    })?;
    let plain = all.trim().trim_end_matches(r"\text{").trim().trim_matches('$');
    let is_all = plain == r"\mathbb{R}"
        || words(all).is_some_and(|words| ALL.contains(&&*words.to_lowercase()));
    if !is_all {
        return None;
    }
    let points = trim(after.trim_start()).replacen("for ", "", usize::from(after.contains("for ")));
    let mut tree = parse(trim(&without_brace(&points)), strictness, roles).ok()?;
    let points = points_of(&tree, tree.root())?;
    tree.nodes.push(Node::Set(points));
    tree.nodes.push(Node::Constant(Constant::Reals));
    let last = tree.root();
    tree.nodes.push(Node::Difference(last, last - 1));
    Some(tree)
}

/// A text without the brace that closes what was opened before it.
fn without_brace(text: &str) -> String {
    let mut depth = 0;
    let unmatched = text.char_indices().find(|&(_, next)| {
        depth += i32::from(next == '{') - i32::from(next == '}');
        depth < 0
    });
    match unmatched {
        Some((at, _)) => format!("{} {}", &text[..at], &text[at + 1..]),
        None => text.to_owned(),
    }
}

/// The values that are left out, bare or named.
fn points_of(tree: &Tree, root: Id) -> Option<Vec<Id>> {
    let items = match tree.node(root) {
        Node::List(of) | Node::Any(of) | Node::Set(of) => of.clone(),
        _ => vec![root],
    };
    let point = |id: Id| match tree.node(id) {
        Node::Relation { operator: Relation::Equal, left, right } => {
            matches!(tree.node(*left), Node::Symbol(_)).then_some(*right)
        }
        Node::Number { .. }
        | Node::Negated(_)
        | Node::Quotient(..)
        | Node::Root { .. }
        | Node::PlusMinus(_)
        | Node::Sum(_)
        | Node::Product(_)
        | Node::Constant(Constant::Pi | Constant::E) => Some(id),
        _ => None,
    };
    items.into_iter().map(point).collect()
}

//! The table of readings, each tree written as a list with its operator first.

use serde::Deserialize;

use super::super::tree::{Id, Node, Relation, Tree, Unreadable};
use super::read;
use crate::Strictness;

#[derive(Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    text: String,
    /// Under `rl`; and under `eval`, unless `eval` says otherwise.
    tree: String,
    eval: Option<String>,
    why: String,
}

fn cases() -> Vec<Case> {
    toml::from_str::<Table>(include_str!("../../../testdata/reading.toml")).unwrap().case
}

fn shown(text: &str, strictness: Strictness) -> String {
    match read(text, strictness) {
        Ok(tree) => show(&tree),
        Err(Unreadable::NotMathematics) => "unreadable".into(),
        Err(Unreadable::Limit) => "limit".into(),
    }
}

fn show(tree: &Tree) -> String {
    let mut shown: Vec<String> = Vec::new();
    for node in &tree.nodes {
        let mut children = Vec::new();
        node.for_each_child(|child| children.push(shown[child as usize].clone()));
        let name = match node {
            Node::Number { value, places: Some(places) } => format!("{value}~{places}"),
            Node::Number { value, .. } => value.to_string(),
            Node::Constant(constant) => format!("{constant:?}"),
            Node::Symbol(name) => name.to_string(),
            Node::Text(text) => format!("'{text}'"),
            Node::Choice(letter) => format!("<{letter}>"),
            node => operator(node),
        };
        shown.push(if children.is_empty() && !name.ends_with(':') {
            name
        } else {
            format!("({})", [vec![name], children].concat().join(" ").replace(':', ""))
        });
    }
    shown.pop().unwrap()
}

fn operator(node: &Node) -> String {
    match node {
        Node::Sum(_) => "+".into(),
        Node::Product(_) => "*".into(),
        Node::Quotient(..) => "/".into(),
        Node::Power(..) => "^".into(),
        Node::Negated(_) => "-".into(),
        Node::Root { .. } => "root".into(),
        Node::Apply(function, _) => format!("{function:?}").to_lowercase(),
        Node::Call(name, _) => format!("call {name}"),
        Node::Log { .. } => "log".into(),
        Node::Bound { operator, .. } => operator.name().into(),
        Node::Factorial(_) => "!".into(),
        Node::DoubleFactorial(_) => "!!".into(),
        Node::Binomial(..) => "choose".into(),
        Node::PlusMinus(_) => "+-".into(),
        Node::MinusPlus(_) => "-+".into(),
        Node::Percent(_) => "%".into(),
        Node::Degrees(_) => "deg".into(),
        Node::Unit(_, unit) => format!("unit '{unit}'"),
        Node::Tuple(_) => "tuple:".into(),
        Node::Set(_) => "set:".into(),
        Node::List(_) => "list:".into(),
        Node::Interval { low_closed, high_closed, .. } => {
            format!(
                "{}{}",
                if *low_closed { '[' } else { ']' },
                if *high_closed { ']' } else { '[' }
            )
        }
        Node::Union(_) => "union".into(),
        Node::Intersection(_) => "intersection".into(),
        Node::Difference(..) => "without".into(),
        Node::Ratio(_) => "ratio".into(),
        Node::Matrix { rows, .. } => format!("matrix{rows}"),
        Node::Determinant { rows, .. } => format!("det{rows}"),
        Node::Compound(_) => "measure".into(),
        Node::Piecewise(_) => "cases".into(),
        Node::Relation { operator, .. } => match operator {
            Relation::Equal => "=".into(),
            Relation::Less => "<".into(),
            Relation::Greater => ">".into(),
            Relation::LessEqual => "<=".into(),
            Relation::GreaterEqual => ">=".into(),
            other => format!("{other:?}").to_lowercase(),
        },
        Node::All(_) => "all".into(),
        Node::Any(_) => "any".into(),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_text_has_its_tree() {
    let mut mistakes = Vec::new();
    for Case { text, tree, eval, why } in cases() {
        for (strictness, expected) in
            [(Strictness::Rl, &tree), (Strictness::Eval, eval.as_ref().unwrap_or(&tree))]
        {
            let shown = shown(&text, strictness);
            if shown != *expected {
                mistakes
                    .push(format!("{strictness:?} {text} ({why}): {shown}, expected {expected}"));
            }
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn every_case_has_a_reason_and_stands_once() {
    let mut seen = std::collections::HashSet::new();
    for Case { text, why, .. } in cases() {
        assert!(!why.is_empty(), "no reason: {text}");
        assert!(seen.insert(text.clone()), "twice: {text}");
    }
}

#[test]
fn children_come_before_parents_and_all_are_used() {
    for Case { text, .. } in cases() {
        let Ok(tree) = read(&text, Strictness::Rl) else { continue };
        let mut used = vec![false; tree.nodes.len()];
        for (at, node) in tree.nodes.iter().enumerate() {
            node.for_each_child(|child: Id| {
                assert!((child as usize) < at, "{text}");
                used[child as usize] = true;
            });
        }
        assert_eq!(used.pop(), Some(false), "{text}");
        assert!(used.iter().all(|used| *used), "{text}");
    }
}

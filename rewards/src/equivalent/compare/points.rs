//! Points by the names of their coordinates: `(x, y) = (1, 2)`, `x = 1, y = 2`, `x = y = 1`.

use super::{
    super::tree::{Id, Node, Relation, Tree},
    Judge,
    relation::{assigned, name},
};
use crate::Equivalence;

/// Names with their values.
type Named = Vec<(String, Id)>;

/// `(x, y) = (1, 2)`.
fn point(tree: &Tree, id: Id) -> Option<Named> {
    let assigned = assigned(tree, id)?;
    match (tree.node(assigned.left), tree.node(assigned.value)) {
        (Node::Tuple(names), Node::Tuple(values)) if names.len() == values.len() => names
            .iter()
            .zip(values)
            .map(|(&id, &value)| Some((name(tree, id)?.to_owned(), value)))
            .collect(),
        _ => None,
    }
}

/// `x = 1, y = 2`.
fn list(tree: &Tree, id: Id) -> Option<Named> {
    let Node::List(of) = tree.node(id) else { return None };
    of.iter()
        .map(|&id| assigned(tree, id).and_then(|a| Some((a.name?.to_owned(), a.value))))
        .collect()
}

/// `x = y = 1`: symbols, each once, and one value at an end of the chain.
fn common(tree: &Tree, id: Id) -> Option<Named> {
    let Node::All(links) = tree.node(id) else { return None };
    let mut sides = Vec::with_capacity(links.len() + 1);
    for &link in links {
        let Node::Relation { operator: Relation::Equal, left, right } = tree.node(link) else {
            return None;
        };
        if sides.is_empty() {
            sides.push(*left);
        }
        sides.push(*right);
    }
    let symbol = |id: Id| match tree.node(id) {
        Node::Symbol(name) => Some(&**name),
        _ => None,
    };
    let (&first, &last) = (sides.first()?, sides.last()?);
    let (value, named) = match (symbol(first), symbol(last)) {
        (Some(_), None) => (last, &sides[..sides.len() - 1]),
        (None, Some(_)) => (first, &sides[1..]),
        _ => return None,
    };
    let mut names = named.iter().map(|&id| symbol(id)).collect::<Option<Vec<_>>>()?;
    names.sort_unstable();
    if names.len() < 2 || names.windows(2).any(|pair| pair[0] == pair[1]) {
        return None;
    }
    Some(names.into_iter().map(|name| (name.to_owned(), value)).collect())
}

impl Judge<'_> {
    /// Compares where one side gives its values as a point or a chain; `None` where it does not, or
    /// where the other gives none by name or in order.
    pub(super) fn points(&mut self, gold: Id, answer: Id, nesting: u32) -> Option<Equivalence> {
        let sides = [(self.gold, gold), (self.answer, answer)];
        let [gold_chain, answer_chain] = sides.map(|(tree, id)| common(tree, id));
        let [gold_point, answer_point] = sides.map(|(tree, id)| point(tree, id));
        let [gold_list, answer_list] = sides.map(|(tree, id)| list(tree, id));
        // of several names, one alone is not all
        let is_one = |(tree, id): (&Tree, Id)| {
            matches!(tree.node(id), Node::Relation { operator: Relation::Equal, left, right }
                if [*left, *right].iter().any(|&id| matches!(tree.node(id), Node::Symbol(_))))
        };
        let bare = |(tree, id): (&Tree, Id)| match tree.node(id) {
            Node::Tuple(of) => Some(of.clone()),
            _ => None,
        };
        let (mut one, mut other) = match (gold_chain, answer_chain) {
            (Some(gold), None) => match answer_point.or(answer_list) {
                Some(answer) => (gold, answer),
                None if is_one(sides[1]) => return Some(Equivalence::Different),
                // all coordinates are the same: their order says nothing
                None => return self.equal_coordinates(&gold, &bare(sides[1])?, true, nesting),
            },
            (None, Some(answer)) => match gold_point.or(gold_list) {
                Some(gold) => (gold, answer),
                None if is_one(sides[0]) => return Some(Equivalence::Different),
                None => return self.equal_coordinates(&answer, &bare(sides[0])?, false, nesting),
            },
            (Some(gold), Some(answer)) => (gold, answer),
            (None, None) => match (gold_point, answer_point) {
                (Some(gold), None) => (gold, answer_list?),
                (None, Some(answer)) => (gold_list?, answer),
                _ => return None,
            },
        };
        one.sort();
        other.sort();
        let names = |of: &Named| of.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        if names(&one) != names(&other) {
            return Some(Equivalence::Different);
        }
        let values = |of: &Named| of.iter().map(|(_, value)| *value).collect::<Vec<_>>();
        Some(self.in_order(&values(&one), &values(&other), nesting))
    }

    /// A chain against a tuple without names.
    fn equal_coordinates(
        &mut self,
        chain: &Named,
        tuple: &[Id],
        chain_is_gold: bool,
        nesting: u32,
    ) -> Option<Equivalence> {
        let values: Vec<_> = chain.iter().map(|(_, value)| *value).collect();
        let (gold, answer) =
            if chain_is_gold { (&values[..], tuple) } else { (tuple, &values[..]) };
        Some(self.in_order(gold, answer, nesting))
    }
}

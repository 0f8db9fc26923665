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

/// `x = y = 1`: the symbols of a chain of equations, two at least, and what else stands in it.
struct Chain<'tree> {
    names: Vec<&'tree str>,
    values: Vec<Id>,
}

impl Chain<'_> {
    fn named(&self) -> Named {
        self.names.iter().map(|&name| (name.to_owned(), self.values[0])).collect()
    }
}

fn chain(tree: &Tree, id: Id) -> Option<Chain<'_>> {
    let Node::All(links) = tree.node(id) else { return None };
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (at, &link) in links.iter().enumerate() {
        let Node::Relation { operator: Relation::Equal, left, right } = tree.node(link) else {
            return None;
        };
        let first = (at == 0).then_some(*left);
        for side in first.into_iter().chain([*right]) {
            match tree.node(side) {
                Node::Symbol(name) => names.push(&**name),
                _ => values.push(side),
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    (names.len() > 1 && !values.is_empty()).then_some(Chain { names, values })
}

impl Judge<'_> {
    /// Compares where one side gives its values as a point or a chain; `None` where it does not, or
    /// where the other gives none by name or in order.
    pub(super) fn points(&mut self, gold: Id, answer: Id, nesting: u32) -> Option<Equivalence> {
        let sides = [(self.gold, gold), (self.answer, answer)];
        let chains = sides.map(|(tree, id)| chain(tree, id));
        let points = sides.map(|(tree, id)| point(tree, id));
        if chains.iter().any(Option::is_some) {
            return self.chains_of_names(sides.map(|side| side.1), &chains, points, nesting);
        }
        let [one, other] = match points {
            [Some(gold), None] => [gold, list(self.answer, answer)?],
            [None, Some(answer)] => [list(self.gold, gold)?, answer],
            _ => return None,
        };
        Some(self.named_alike(one, other, nesting))
    }

    /// The same names with the same values.
    fn named_alike(&mut self, mut gold: Named, mut answer: Named, nesting: u32) -> Equivalence {
        gold.sort();
        answer.sort();
        let names = |of: &Named| of.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        if names(&gold) != names(&answer) {
            return Equivalence::Different;
        }
        let values = |of: &Named| of.iter().map(|(_, value)| *value).collect::<Vec<_>>();
        self.in_order(&values(&gold), &values(&answer), nesting)
    }

    /// A chain on one side at least.
    fn chains_of_names(
        &mut self,
        [gold, answer]: [Id; 2],
        chains: &[Option<Chain<'_>>; 2],
        points: [Option<Named>; 2],
        nesting: u32,
    ) -> Option<Equivalence> {
        let mut bare = false;
        let mut named = |chain: &Option<Chain<'_>>, point: Option<Named>, tree: &Tree, id: Id| {
            if let Some(named) = chain.as_ref().map(Chain::named).or(point).or(list(tree, id)) {
                return Some(named);
            }
            match tree.node(id) {
                // all coordinates are the same: their order says nothing
                Node::Tuple(of) => {
                    bare = true;
                    Some(of.iter().map(|&value| (String::new(), value)).collect())
                }
                // of several names, one alone is not all
                Node::Relation { .. } | Node::All(_) => Some(Vec::new()),
                _ => None,
            }
        };
        let [gold_point, answer_point] = points;
        let mut gold_named = named(&chains[0], gold_point, self.gold, gold)?;
        let mut answer_named = named(&chains[1], answer_point, self.answer, answer)?;
        if bare {
            for (name, _) in gold_named.iter_mut().chain(&mut answer_named) {
                name.clear();
            }
        }
        let first =
            (gold_named.first().map(|named| named.1), answer_named.first().map(|named| named.1));
        let mut verdict = self.named_alike(gold_named, answer_named, nesting);
        // whatever else stands in a chain has to be the value, too
        if let (Some(gold), Some(answer)) = first {
            let others = |chain: &Option<Chain<'_>>| {
                chain.iter().flat_map(|chain| chain.values[1..].to_vec()).collect::<Vec<_>>()
            };
            let pairs = others(&chains[0]).into_iter().map(|other| (other, answer));
            for (gold, answer) in
                pairs.chain(others(&chains[1]).into_iter().map(|other| (gold, other)))
            {
                if verdict == Equivalence::Equal {
                    verdict = self.compare(gold.into(), answer.into(), nesting + 1);
                }
            }
        }
        Some(verdict)
    }
}

//! Points by the names of their coordinates: `(x, y) = (1, 2)`, `x = 1, y = 2`, `x = y = 1`.

use super::{
    super::tree::{Id, Node, Relation, Tree},
    Judge,
    quantity::symbol,
    relation::assigned,
    structure::Item,
};
use crate::Equivalence;

/// Names with their values.
type Named = Vec<(String, Id)>;

/// `(x, y) = (1, 2)`.
fn point(tree: &Tree, id: Id) -> Option<Named> {
    let assigned = assigned(tree, id)?;
    match (tree.node(assigned.left), tree.node(assigned.value)) {
        (Node::Tuple(names), Node::Tuple(values)) => pairs(tree, names, values),
        _ => None,
    }
}

/// `a : b : c = 2 : 3 : 4`.
fn ratio(tree: &Tree, id: Id) -> Option<Named> {
    let assigned = assigned(tree, id)?;
    match (tree.node(assigned.left), tree.node(assigned.value)) {
        (Node::Ratio(names), Node::Ratio(values)) => pairs(tree, names, values),
        _ => None,
    }
}

/// Names with the values that stand in the same order.
fn pairs(tree: &Tree, names: &[Id], values: &[Id]) -> Option<Named> {
    if names.len() != values.len() {
        return None;
    }
    let pairs = names.iter().zip(values);
    pairs.map(|(&id, &value)| Some((symbol(tree, id)?.to_owned(), value))).collect()
}

/// `x = 1, y = 2`.
fn list(tree: &Tree, id: Id) -> Option<Named> {
    let Node::List(of) = tree.node(id) else { return None };
    of.iter()
        .map(|&id| {
            assigned(tree, id).and_then(|a| Some((symbol(tree, a.left)?.to_owned(), a.value)))
        })
        .collect()
}

/// `x = 1 or y = 2`: alternatives that give values to different unknowns.
pub(super) fn names_alternatives(tree: &Tree, id: Id) -> bool {
    let Node::Any(of) = tree.node(id) else { return false };
    let mut names = of.iter().filter_map(|&id| symbol(tree, assigned(tree, id)?.left));
    names.next().is_some_and(|first| names.any(|name| name != first))
}

/// The values of both sides in the order of their names; `None` where those differ.
fn by_name(mut gold: Named, mut answer: Named) -> Option<(Vec<Id>, Vec<Id>)> {
    gold.sort();
    answer.sort();
    let same =
        gold.len() == answer.len() && gold.iter().zip(&answer).all(|(one, other)| one.0 == other.0);
    let values = |of: &Named| of.iter().map(|(_, value)| *value).collect();
    same.then(|| (values(&gold), values(&answer)))
}

/// A letter and its index, by which names are in order.
fn rank(name: &str) -> (&str, u64) {
    let (stem, index) = name.split_once('_').unwrap_or((name, ""));
    (stem, index.parse().unwrap_or(u64::MAX))
}

/// Sorts names by the alphabet, where it has all of them: letters of one case, or one letter with
/// indices. Whether that moved any.
fn in_alphabet(named: &mut Named) -> bool {
    let case = |name: &str| match name.as_bytes() {
        [letter @ (b'a'..=b'z' | b'A'..=b'Z')] => Some(letter.is_ascii_uppercase()),
        _ => None,
    };
    let have_order = named.windows(2).all(|pair| {
        let [(one, _), (other, _)] = [rank(&pair[0].0), rank(&pair[1].0)];
        one == other || case(one).is_some() && case(one) == case(other)
    });
    let sorted = named.is_sorted_by_key(|(name, _)| rank(name));
    if have_order && !sorted {
        named.sort_by(|one, other| rank(&one.0).cmp(&rank(&other.0)));
    }
    have_order && !sorted
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
        if let [Some(gold), Some(answer)] = sides.map(|(tree, id)| ratio(tree, id)) {
            return Some(match by_name(gold, answer) {
                Some((gold, answer)) => self.proportions(&gold, &answer),
                None => Equivalence::Different,
            });
        }
        let chains = sides.map(|(tree, id)| chain(tree, id));
        let points = sides.map(|(tree, id)| point(tree, id));
        if chains.iter().any(Option::is_some) {
            return self.chains_of_names(sides.map(|side| side.1), &chains, points, nesting);
        }
        let [one, other] = match points {
            [Some(gold), Some(answer)] => [gold, answer],
            [Some(gold), None] => [gold, list(self.answer, answer)?],
            [None, Some(mut named)] => match self.gold.node(gold) {
                Node::Tuple(of) => {
                    in_alphabet(&mut named);
                    let values: Vec<Id> = named.iter().map(|(_, value)| *value).collect();
                    return Some(self.in_order(of, &values, nesting));
                }
                _ => [list(self.gold, gold)?, named],
            },
            _ => return None,
        };
        Some(self.named_alike(one, other, nesting))
    }

    /// `x = 1, y = 2` against `(1, 2)`: the coordinates are in the order of the alphabet, or as
    /// they are named where their names have none. `None` where a list names no coordinates.
    pub(super) fn named_as_tuple(
        &mut self,
        gold: &[Item],
        answer: &[Item],
        answer_is_named: bool,
        nesting: u32,
    ) -> Option<Equivalence> {
        let (tree, items) = if answer_is_named { (self.answer, answer) } else { (self.gold, gold) };
        let mut named = Vec::with_capacity(items.len());
        for item in items {
            let assigned = assigned(tree, item.id)?;
            let Node::Symbol(name) = tree.node(assigned.left) else { return None };
            if item.signs.is_some()
                || named.iter().any(|(other, _): &(String, Id)| **other == **name)
            {
                return None;
            }
            named.push((name.to_string(), assigned.value));
        }
        let moved = in_alphabet(&mut named);
        let named: Vec<Id> = named.iter().map(|(_, value)| *value).collect();
        let bare = |items: &[Item]| items.iter().map(|item| item.id).collect::<Vec<_>>();
        let verdict = if answer_is_named {
            self.in_order(&bare(gold), &named, nesting)
        } else {
            self.in_order(&named, &bare(answer), nesting)
        };
        // a gold that names them in another order may mean either
        let unsure = moved && !answer_is_named && verdict == Equivalence::Equal;
        Some(if unsure { Equivalence::Undecided } else { verdict })
    }

    /// The same names with the same values.
    fn named_alike(&mut self, gold: Named, answer: Named, nesting: u32) -> Equivalence {
        match by_name(gold, answer) {
            Some((gold, answer)) => self.in_order(&gold, &answer, nesting),
            None => Equivalence::Different,
        }
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

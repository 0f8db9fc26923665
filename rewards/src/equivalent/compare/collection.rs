//! Lists, sets and tuples, part by part.

use dashu_ratio::RBig;

use super::{
    super::tree::{Id, Node, Tree},
    Judge,
    field::Field,
    form::Form,
    fuel::Fuel,
    modular::Point,
    relation,
    structure::{Item, Kind, kind},
    term::Term,
};
use crate::{Equivalence, Policy};

/// Seed of the keys by which items of long lists are found.
const KEYS: u64 = 7;

/// Largest number of open signs in one value.
const MAX_SIGNS: u32 = 4;

impl Judge<'_> {
    pub(super) fn single(&mut self, gold: &[Item], answer: &[Item], nesting: u32) -> Equivalence {
        match (self.policy, gold, answer) {
            (Policy::Eval, &[gold], &[answer]) => self.compare(gold, answer, nesting + 1),
            _ => Equivalence::Different,
        }
    }

    /// The parts of a list, set, tuple or value with open signs; `None` where it is one value.
    pub(super) fn parts(&self, is_gold: bool, item: Item) -> Option<Vec<Item>> {
        let tree = if is_gold { self.gold } else { self.answer };
        match tree.node(item.id) {
            Node::Set(of) | Node::List(of) | Node::Any(of) => {
                let mut parts = Vec::with_capacity(of.len());
                for &id in of {
                    match signed(tree, id.into()) {
                        Some(signed) => parts.extend(signed),
                        None => parts.push(id.into()),
                    }
                }
                Some(parts)
            }
            Node::Tuple(of) => signed(tree, item).or_else(|| Some(coordinates(tree, of, item))),
            Node::Ratio(of) if of.len() > 2 => None,
            _ => signed(tree, item),
        }
    }

    pub(super) fn collections(
        &mut self,
        gold: &[Item],
        answer: &[Item],
        kinds: (Kind, Kind),
        nesting: u32,
    ) -> Equivalence {
        use Kind::{List, Set, Tuple};
        let ordered = match kinds {
            (Tuple, Tuple) => true,
            (Tuple, List) | (List, Tuple)
                if let Some(verdict) =
                    self.named_as_tuple(gold, answer, kinds.1 == List, nesting) =>
            {
                return verdict;
            }
            // brackets forgotten, or put around a list
            (Tuple, List) | (List, Tuple) if self.policy == Policy::Eval => true,
            (Tuple, _) | (_, Tuple) => return Equivalence::Different,
            _ => self.names_one_side(gold, answer),
        };
        if ordered {
            if gold.len() != answer.len() {
                return Equivalence::Different;
            }
            let pairs: Vec<_> = gold.iter().copied().zip(answer.iter().copied()).collect();
            let mut result = Equivalence::Equal;
            for (gold, answer) in pairs {
                match self.compare(gold, answer, nesting + 1) {
                    Equivalence::Equal => {}
                    Equivalence::Different => return Equivalence::Different,
                    _ => result = Equivalence::Undecided,
                }
            }
            return result;
        }
        let once = kinds.0 == Set || kinds.1 == Set || self.policy == Policy::Eval;
        self.matched(gold, answer, once, nesting)
    }

    /// Whether one side names its values (`x = 1, y = 2`) and the other gives them bare: then the
    /// order is all that tells them apart.
    fn names_one_side(&self, gold: &[Item], answer: &[Item]) -> bool {
        let names = |tree: &Tree, items: &[Item]| {
            let mut names: Vec<_> =
                items.iter().filter_map(|item| relation::assigned_name(tree, item.id)).collect();
            names.sort_unstable();
            names.dedup();
            names.len()
        };
        let (gold, answer) = (names(self.gold, gold), names(self.answer, answer));
        (gold > 1 && answer == 0) || (answer > 1 && gold == 0)
    }

    /// Matches parts in no order; with `once`, repeated ones count once.
    pub(super) fn matched(
        &mut self,
        gold: &[Item],
        answer: &[Item],
        once: bool,
        nesting: u32,
    ) -> Equivalence {
        if !once && gold.len() != answer.len() {
            return Equivalence::Different;
        }
        if let Some(verdict) = self.matched_numbers(gold, answer, once) {
            return verdict;
        }
        let keys = self.keys(gold, answer);
        let mut taken = vec![false; answer.len()];
        let mut undecided = false;
        for (place, &one) in gold.iter().enumerate() {
            // what looks the same is compared first
            let alike = |at: &usize| keys.0[place].is_some() && keys.0[place] == keys.1[*at];
            let (first, rest): (Vec<_>, Vec<_>) = (0..answer.len()).partition(alike);
            let mut found = false;
            for at in first.into_iter().chain(rest) {
                if taken[at] && (found || !once) {
                    continue;
                }
                // with repetitions every equal one is taken, but only those that look the same
                if found && !alike(&at) {
                    break;
                }
                match self.compare(one, answer[at], nesting + 1) {
                    Equivalence::Equal => {
                        taken[at] = true;
                        found = true;
                        if !once {
                            break;
                        }
                    }
                    Equivalence::Different => {}
                    _ => undecided = true,
                }
            }
            if !found {
                return if undecided { Equivalence::Undecided } else { Equivalence::Different };
            }
        }
        if once {
            return self.rest_found(gold, answer, &taken, undecided, nesting);
        }
        Equivalence::Equal
    }

    /// Whether what nothing was matched with repeats something.
    fn rest_found(
        &mut self,
        gold: &[Item],
        answer: &[Item],
        taken: &[bool],
        mut undecided: bool,
        nesting: u32,
    ) -> Equivalence {
        for (at, &one) in answer.iter().enumerate() {
            if taken[at] {
                continue;
            }
            let mut found = false;
            for &other in gold {
                match self.compare(other, one, nesting + 1) {
                    Equivalence::Equal => {
                        found = true;
                        break;
                    }
                    Equivalence::Different => {}
                    _ => undecided = true,
                }
            }
            if !found {
                return if undecided { Equivalence::Undecided } else { Equivalence::Different };
            }
        }
        Equivalence::Equal
    }

    /// A number for each item, equal where items look equal; none for short lists, which need none.
    fn keys(&mut self, gold: &[Item], answer: &[Item]) -> (Vec<Option<u64>>, Vec<Option<u64>>) {
        if gold.len().min(answer.len()) < 6 {
            return (vec![None; gold.len()], vec![None; answer.len()]);
        }
        let field = Field::random(KEYS);
        let point = Point { field: &field, seed: KEYS };
        let fuel = &mut self.fuel;
        let mut keys = |tree, items: &[Item]| -> Vec<Option<u64>> {
            let key = |item: &Item| {
                let form = Form::new(tree, item.id, None, item.signs.unwrap_or(0), fuel);
                form.residue(&point, fuel).ok().map(|residue| residue.0)
            };
            items.iter().map(key).collect()
        };
        (keys(self.gold, gold), keys(self.answer, answer))
    }

    /// The same for rational numbers, by sorting.
    fn matched_numbers(
        &mut self,
        gold: &[Item],
        answer: &[Item],
        once: bool,
    ) -> Option<Equivalence> {
        let gold = numbers(self.gold, gold, once, &mut self.fuel)?;
        let answer = numbers(self.answer, answer, once, &mut self.fuel)?;
        Some(if gold == answer { Equivalence::Equal } else { Equivalence::Different })
    }
}

/// The values of items in order, where all are rational and bare.
fn numbers(tree: &Tree, items: &[Item], once: bool, fuel: &mut Fuel) -> Option<Vec<RBig>> {
    let mut numbers = Vec::with_capacity(items.len());
    for item in items {
        numbers.push(match tree.node(item.id) {
            Node::Number { value, .. } => value.clone(),
            Node::Negated(_)
            | Node::PlusMinus(_)
            | Node::MinusPlus(_)
            | Node::Quotient(..)
            | Node::Power(..)
            | Node::Sum(_) => {
                Form::new(tree, item.id, None, item.signs.unwrap_or(0), fuel).rational()?
            }
            _ => return None,
        });
    }
    numbers.sort_unstable();
    if once {
        numbers.dedup();
    }
    Some(numbers)
}

/// The coordinates of a tuple, each with its share of the signs.
fn coordinates(tree: &Tree, of: &[Id], item: Item) -> Vec<Item> {
    let Some(signs) = item.signs else { return of.iter().map(|&id| id.into()).collect() };
    let opposite = Term::new(tree, item.id, 0, false).has_opposite();
    let mut rest = if opposite && signs & 1 == 1 { u32::MAX } else { signs };
    let mut items = Vec::with_capacity(of.len());
    for &id in of {
        items.push(Item { id, signs: Some(rest) });
        if !opposite {
            rest >>= Term::new(tree, id, 0, false).num_signs();
        }
    }
    items
}

/// The values of a value or a tuple with open signs.
fn signed(tree: &Tree, item: Item) -> Option<Vec<Item>> {
    if item.signs.is_some() || !matches!(kind(tree, item.id), Kind::Scalar | Kind::Tuple) {
        return None;
    }
    if matches!(tree.node(item.id), Node::Number { .. } | Node::Symbol(_)) {
        return None;
    }
    let open = Term::new(tree, item.id, 0, false).num_signs();
    if open == 0 || open > MAX_SIGNS {
        return None;
    }
    Some((0..1 << open).map(|signs| Item { id: item.id, signs: Some(signs) }).collect())
}

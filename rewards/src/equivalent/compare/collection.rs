//! Lists, sets and tuples, part by part.

use dashu_ratio::RBig;

use super::{
    super::tree::{Id, Node, Tree},
    Judge,
    form::Form,
    fuel::Fuel,
    likeness::Likeness,
    relation,
    structure::{Item, Kind, kind},
    term::Term,
};
use crate::{Equivalence, Strictness};

/// Largest number of open signs in one value.
const MAX_SIGNS: u32 = 4;

impl Judge<'_> {
    pub(super) fn single(&mut self, gold: &[Item], answer: &[Item], nesting: u32) -> Equivalence {
        match (self.strictness, gold, answer) {
            (Strictness::Eval, &[gold], &[answer]) => self.compare(gold, answer, nesting + 1),
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
            (Tuple, List) | (List, Tuple) if self.strictness == Strictness::Eval => true,
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
        let once = kinds.0 == Set || kinds.1 == Set || self.strictness == Strictness::Eval;
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
        let looks = self.looks(gold, answer);
        let mut taken = vec![false; answer.len()];
        for (place, &one) in gold.iter().enumerate() {
            let free = (0..answer.len()).filter(|&at| once || !taken[at]);
            let near = nearest(free, |at| looks.between(place, at));
            match self.first_equal(near, |at| (one, answer[at]), nesting) {
                Ok(at) => taken[at] = true,
                Err(verdict) => return verdict,
            }
        }
        // what nothing was matched with has to repeat something
        for at in (0..answer.len()).filter(|&at| !taken[at]) {
            let near = nearest(0..gold.len(), |place| looks.between(place, at));
            if let Err(verdict) = self.first_equal(near, |place| (gold[place], answer[at]), nesting)
            {
                return verdict;
            }
        }
        Equivalence::Equal
    }

    /// The first place whose parts are equal; otherwise what is known of them all.
    fn first_equal(
        &mut self,
        places: Vec<usize>,
        parts: impl Fn(usize) -> (Item, Item),
        nesting: u32,
    ) -> Result<usize, Equivalence> {
        let mut verdict = Equivalence::Different;
        for at in places {
            let (gold, answer) = parts(at);
            match self.compare(gold, answer, nesting + 1) {
                Equivalence::Equal => return Ok(at),
                Equivalence::Different => {}
                _ => verdict = Equivalence::Undecided,
            }
        }
        Err(verdict)
    }

    /// What the parts look like; of short lists, which need it not, nothing.
    fn looks(&mut self, gold: &[Item], answer: &[Item]) -> Looks {
        if gold.len().min(answer.len()) < 6 {
            return Looks { gold: Vec::new(), answer: Vec::new() };
        }
        let (strictness, fuel) = (self.strictness, &mut self.fuel);
        // out of work, every later step says so
        let _ = fuel.burn((gold.len() * answer.len()) as u64);
        let mut looks = |tree: &Tree, items: &[Item]| -> Vec<_> {
            items.iter().map(|&item| Likeness::of(tree, item, strictness, fuel)).collect()
        };
        Looks { gold: looks(self.gold, gold), answer: looks(self.answer, answer) }
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

/// What the parts of two lists look like.
struct Looks {
    gold: Vec<Likeness>,
    answer: Vec<Likeness>,
}

impl Looks {
    /// How far two parts are apart; `None` where they differ for certain.
    fn between(&self, gold: usize, answer: usize) -> Option<f64> {
        match (self.gold.get(gold), self.answer.get(answer)) {
            (Some(gold), Some(answer)) => gold.distance(answer),
            _ => Some(0.0),
        }
    }
}

/// Places in the order of their distance, without those that are out of question.
fn nearest(
    places: impl Iterator<Item = usize>,
    distance: impl Fn(usize) -> Option<f64>,
) -> Vec<usize> {
    let mut near: Vec<_> = places.filter_map(|at| Some((distance(at)?, at))).collect();
    near.sort_by(|one, other| one.0.total_cmp(&other.0));
    near.into_iter().map(|(_, at)| at).collect()
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

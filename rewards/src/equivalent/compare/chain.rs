//! Chains of relations: `a < b < c`, and proportions `\frac{x}{2} = \frac{y}{3} = \frac{z}{4}`,
//! whose sides may stand in any order.

use super::{
    super::tree::{Id, Node, Relation, Tree},
    Judge,
    quantity::{is_combination, is_quantity},
    structure::Item,
};
use crate::Equivalence;

/// How many sides of a chain of equations are tried in every order.
const MAX_SIDES: usize = 4;

/// The sides of a chain of equations.
fn sides(tree: &Tree, links: &[Id]) -> Option<Vec<Id>> {
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
    Some(sides)
}

impl Judge<'_> {
    /// Chains link by link, from either end; of equations, with the sides in any order.
    pub(super) fn chains(&mut self, gold: &[Id], answer: &[Id], nesting: u32) -> Equivalence {
        let forward = self.in_order(gold, answer, nesting);
        if forward == Equivalence::Equal {
            return forward;
        }
        let backward: Vec<Id> = answer.iter().rev().copied().collect();
        let backward = self.in_order(gold, &backward, nesting);
        if backward != Equivalence::Different {
            return backward;
        }
        match (sides(self.gold, gold), sides(self.answer, answer)) {
            (Some(gold), Some(answer)) if gold.len() == answer.len() && gold.len() <= MAX_SIDES => {
                self.rearranged(&gold, &mut Vec::new(), &answer, nesting)
            }
            _ => forward,
        }
    }

    /// Whether every value in an answer's chain of equations is the gold's; what they name is none.
    pub(super) fn every_value(
        &mut self,
        gold: Item,
        links: &[Id],
        is_number: bool,
        nesting: u32,
    ) -> Equivalence {
        let Some(sides) = sides(self.answer, links) else { return Equivalence::Different };
        for side in sides {
            let names = is_quantity(self.answer, side, is_number)
                || is_combination(self.answer, side, is_number);
            if !names && self.compare(gold, side.into(), nesting + 1) != Equivalence::Equal {
                return Equivalence::Different;
            }
        }
        Equivalence::Equal
    }

    /// Whether the sides of the answer's chain follow each other in some order as the gold's do,
    /// `taken` being the first of them.
    fn rearranged(
        &mut self,
        gold: &[Id],
        taken: &mut Vec<Id>,
        answer: &[Id],
        nesting: u32,
    ) -> Equivalence {
        let place = taken.len();
        if place == gold.len() {
            return Equivalence::Equal;
        }
        let mut result = Equivalence::Different;
        for &side in answer {
            if taken.contains(&side) {
                continue;
            }
            let link = match taken.last() {
                None => Equivalence::Equal,
                Some(&before) => self.single_relations(
                    (Relation::Equal, gold[place - 1], gold[place]),
                    (Relation::Equal, before, side),
                    nesting + 1,
                ),
            };
            if link == Equivalence::Equal {
                taken.push(side);
                let rest = self.rearranged(gold, taken, answer, nesting);
                taken.pop();
                if rest == Equivalence::Equal {
                    return rest;
                }
                result = if rest == Equivalence::Undecided { rest } else { result };
            } else if link == Equivalence::Undecided {
                result = link;
            }
        }
        result
    }
}

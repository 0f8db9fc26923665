//! From two trees to a verdict.
//!
//! Reading order: [`expand`] works out what it can, [`structure`] takes an answer apart,
//! [`collection`] lists and sets (by their [`likeness`]), [`relation`] equations and inequalities
//! ([`points`], [`chain`] and [`solved`] some of the former, [`quantity`] what they name,
//! [`parameter`] what they declare), [`real_set`] the solutions of the latter, [`marks`] units (by
//! their [`coverage`]) and percent signs; what remains are single values (a [`form`] of [`term`]s),
//! which [`scalar`] compares by the help of [`exact`], [`modular`] (and its [`laws`] of
//! [`combination`]s), [`evaluate`] (at a [`place`]), [`separation`] and [`agreement`].
//! [`arithmetic`], [`field`], [`ball`], [`functions`], [`complex`] and [`radical`] are the numbers
//! below, [`fuel`] bounds the work of all of them together.

mod agreement;
mod arithmetic;
mod ball;
mod chain;
mod collection;
mod combination;
mod complex;
mod coverage;
mod evaluate;
mod exact;
mod expand;
mod field;
mod form;
mod fuel;
mod functions;
mod laws;
mod likeness;
mod marks;
mod modular;
mod parameter;
mod place;
mod points;
mod quantity;
mod radical;
mod ratio;
mod real_set;
mod relation;
mod scalar;
mod separation;
mod solved;
mod structure;
mod term;
#[cfg(test)]
mod tests;

use expand::expanded;
pub(super) use fuel::Fuel;

use super::tree::Tree;
use crate::{Equivalence, Strictness};

/// One comparison: both trees, the strictness, and the work left for it.
#[derive(Debug)]
struct Judge<'tree> {
    gold: &'tree Tree,
    answer: &'tree Tree,
    strictness: Strictness,
    fuel: Fuel,
    /// Whether a unit stands in either tree.
    has_units: bool,
}

/// Compares an answer with the gold answer, by what is left of the work that a pair may take.
pub(super) fn compare(
    gold: &Tree,
    answer: &Tree,
    strictness: Strictness,
    fuel: &mut Fuel,
) -> Equivalence {
    if gold == answer {
        return Equivalence::Equal;
    }
    let has_units = [gold, answer].iter().any(|tree| marks::has_units(tree));
    let (forms, gold) = (parameter::forms(gold, answer), expanded(gold, fuel));
    let mut verdict = Equivalence::Different;
    for answer in &forms {
        let answer = expanded(answer, fuel);
        if gold == answer {
            return Equivalence::Equal;
        }
        let fuel_left = std::mem::take(fuel);
        let mut judge =
            Judge { gold: &gold, answer: &answer, strictness, fuel: fuel_left, has_units };
        let found = if judge.units_fit() {
            judge.compare(gold.root().into(), answer.root().into(), 0)
        } else {
            Equivalence::Different
        };
        *fuel = judge.fuel;
        match found {
            Equivalence::Equal => return Equivalence::Equal,
            Equivalence::Different => {}
            undecided => verdict = undecided,
        }
    }
    verdict
}

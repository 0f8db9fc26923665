//! Ratios, and times of day, which look like some of them.

use dashu_ratio::RBig;

use super::{
    super::tree::{Id, Node},
    Judge,
    form::Form,
    scalar::{Scale, same},
    structure::all,
};
use crate::Equivalence;

impl Judge<'_> {
    /// The parts of a gold that may be a time of day, such as `12:30`: of those, none is another
    /// ratio. What follows a name, as in `a:b = 12:30`, is one.
    pub(super) fn clock(&self, gold: Id) -> Option<Vec<Id>> {
        let Node::Ratio(parts) = self.gold.node(gold) else { return None };
        let named = matches!(self.gold.node(self.gold.root()), Node::Relation { .. });
        let below = |id: Id, low: u8, high: u8| match self.gold.node(id) {
            Node::Number { value, places: None } => {
                value.is_int() && (RBig::from(low)..RBig::from(high)).contains(value)
            }
            _ => false,
        };
        (parts.len() == 2 && !named && below(parts[0], 0, 25) && below(parts[1], 10, 60))
            .then(|| parts.clone())
    }

    /// `a : b : c`, up to a factor.
    pub(super) fn proportions(&mut self, gold: &[Id], answer: &[Id]) -> Equivalence {
        if gold.len() != answer.len() {
            return Equivalence::Different;
        }
        let mut verdicts = Vec::with_capacity(gold.len());
        for (&g, &a) in gold.iter().zip(answer) {
            let form = |judge: &mut Self, is_gold: bool, id: Id| {
                let tree = if is_gold { judge.gold } else { judge.answer };
                Form::new(tree, id, None, 0, &mut judge.fuel)
            };
            let forms = [
                form(self, true, g),
                form(self, false, a),
                form(self, true, gold[0]),
                form(self, false, answer[0]),
            ];
            let values = forms.each_ref().map(Form::rational);
            verdicts.push(match values {
                [Some(g), Some(a), Some(g0), Some(a0)] if !g0.is_zero() && !a0.is_zero() => {
                    if g * a0 == a * g0 { Equivalence::Equal } else { Equivalence::Different }
                }
                _ => same(&forms[0], &forms[1], Scale::One, self.strictness, &mut self.fuel),
            });
        }
        all(verdicts)
    }
}

//! Which tokens get which weight, apart from what the weights and the gate are.

use super::super::TokenColumns;
use super::super::select::{budget, largest, largest_with_ties};
use super::operation::Action;
use super::{Gate, Select, Stare, Ties};

impl Stare {
    /// What the operation does to each token while the gate is open.
    pub(super) fn actions(&self, tokens: &TokenColumns<'_>) -> Vec<Action> {
        let table = self.operation.table();
        let mut actions = vec![Action::Keep; tokens.len()];
        let sides = [
            (1.0, table.positive_high, table.positive_low),
            (-1.0, table.negative_high, table.negative_low),
        ];
        for (sign, high, low) in sides {
            if (high, low) == (Action::Keep, Action::Keep) {
                continue;
            }
            let side = side(tokens, sign);
            for &token in &side {
                actions[token] = low;
            }
            for token in self.select.of(tokens, side) {
                actions[token] = high;
            }
        }
        actions
    }

    /// Whether the gate is open at each token, `step` being whether it is for the step.
    pub(super) fn opens(&self, tokens: &TokenColumns<'_>, step: bool) -> Vec<bool> {
        let below = |entropy: f64| entropy < self.target_entropy;
        match self.gate {
            Gate::Batch => vec![step; tokens.len()],
            Gate::Open => vec![true; tokens.len()],
            Gate::Token => tokens.entropies.iter().map(|&entropy| below(entropy.into())).collect(),
            Gate::Sample => {
                let mut open = vec![false; tokens.len()];
                for sample in tokens.samples {
                    let entropies = &tokens.entropies[sample.clone()];
                    let sum: f64 = entropies.iter().map(|&entropy| f64::from(entropy)).sum();
                    open[sample.clone()].fill(below(sum / entropies.len() as f64));
                }
                open
            }
        }
    }
}

/// The tokens whose advantage has this sign.
pub(crate) fn side(tokens: &TokenColumns<'_>, sign: f64) -> Vec<usize> {
    (0..tokens.len()).filter(|&token| tokens.advantages[token] * sign > 0.0).collect()
}

impl Select {
    /// Those of `side` that have high surprisal.
    pub(crate) fn of(self, tokens: &TokenColumns<'_>, side: Vec<usize>) -> Vec<usize> {
        let surprisal = |token: usize| f64::from(tokens.surprisals[token]);
        match self {
            Self::Quantile { share, ties } => {
                let k = budget(side.len(), share);
                match ties {
                    Ties::Exact => largest(side, k, surprisal),
                    Ties::Keep => largest_with_ties(side, k, surprisal),
                }
            }
            Self::Probability { below } => {
                let rare = |token: &usize| (-surprisal(*token)).exp() < below;
                side.into_iter().filter(rare).collect()
            }
        }
    }
}

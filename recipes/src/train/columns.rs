use std::ops::Range;

use evals::attempt::Graded;
use rewards::TokenColumns;

use super::pack::Prompted;

/// All tokens of a step as the token weighting reads them, sample after sample.
#[derive(Debug, Default)]
pub(crate) struct TokenTable {
    surprisals: Vec<f32>,
    pub(crate) entropies: Vec<f32>,
    phi_sums: Vec<f32>,
    pub(crate) advantages: Vec<f64>,
    pub(crate) samples: Vec<Range<usize>>,
}

impl TokenTable {
    /// Scores from the rollout, advantages from `samples`, which are those of `groups` in order.
    pub(crate) fn of(groups: &[Graded], samples: &[Prompted]) -> Self {
        let mut table = Self::default();
        for (group, samples) in groups.iter().zip(samples) {
            for (one, sample) in group.completions.iter().zip(&samples.samples) {
                let start = table.surprisals.len();
                let trajectory = &one.trajectory;
                table.surprisals.extend(trajectory.log_probs.iter().map(|log_prob| -log_prob));
                table.entropies.extend(&trajectory.entropies);
                table.phi_sums.extend(&trajectory.phi_sums);
                let tokens = trajectory.completion.len();
                table.advantages.extend(std::iter::repeat_n(sample.advantage, tokens));
                table.samples.push(start..start + tokens);
            }
        }
        table
    }

    pub(crate) fn borrow(&self) -> TokenColumns<'_> {
        TokenColumns {
            surprisals: &self.surprisals,
            entropies: &self.entropies,
            phi_sums: &self.phi_sums,
            advantages: &self.advantages,
            samples: &self.samples,
            seed: 0,
        }
    }
}

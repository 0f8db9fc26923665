use std::ops::Range;

use rewards::TokenColumns;

use super::pack::Sample;

/// Tokens of a step as the token weighting reads them, sample after sample.
#[derive(Debug, Default)]
pub(crate) struct TokenTable {
    surprisals: Vec<f32>,
    pub(crate) rollout_log_probs: Vec<f32>,
    pub(crate) entropies: Vec<f32>,
    phi_sums: Vec<f32>,
    advantages: Vec<f64>,
    pub(crate) samples: Vec<Range<usize>>,
    /// What is drawn for the step hangs on it.
    pub(crate) seed: u64,
}

impl TokenTable {
    /// The columns of `samples`, one after the other.
    pub(crate) fn of<'a>(samples: impl Iterator<Item = &'a Sample>, seed: u64) -> Self {
        let mut table = Self { seed, ..Self::default() };
        for sample in samples {
            let start = table.surprisals.len();
            table.surprisals.extend(sample.old_log_probs.iter().map(|log_prob| -log_prob));
            table.rollout_log_probs.extend(&sample.rollout_log_probs);
            table.entropies.extend(&sample.entropies);
            table.phi_sums.extend(&sample.phi_sums);
            let tokens = sample.completion.len();
            table.advantages.extend(std::iter::repeat_n(sample.advantage, tokens));
            table.samples.push(start..start + tokens);
        }
        table
    }

    /// Log-probs that the ratio is taken against.
    pub(crate) fn old_log_probs(&self) -> Vec<f32> {
        self.surprisals.iter().map(|surprisal| -surprisal).collect()
    }

    pub(crate) fn borrow(&self) -> TokenColumns<'_> {
        TokenColumns {
            surprisals: &self.surprisals,
            entropies: &self.entropies,
            phi_sums: &self.phi_sums,
            advantages: &self.advantages,
            samples: &self.samples,
            seed: self.seed,
        }
    }
}

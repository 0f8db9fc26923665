//! Tokens whose advantage and log-prob are far from the mean on the same side: what lowers the
//! entropy most, by arXiv 2505.22617.

use rand_philox::Philox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::select::largest;
use super::{
    Scope, TokenColumns, TokenWeighting, TokenWeights, below, selection_statistics, some_share,
};

/// Weight 0 for max(1, floor(share · N)) tokens, or as many as there are, drawn at random among
/// those whose covariance (A - mean A) (ln p - mean ln p) lies between `low` and `high`; 1 for all
/// others.
///
/// ln p is that of the rollout, as in the reference in the first update of a step; where a step has
/// several, the reference computes the covariance again and leaves out tokens that the ratio clips.
///
/// Source: arXiv 2505.22617, section 4.2; the count as in verl, `compute_policy_loss_clip_cov`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClipCov {
    /// Share of the tokens that are left out.
    ///
    /// Names: verl `clip_cov_ratio`.
    pub share: f64,
    /// Lower bound of the covariance of the tokens that may be left out.
    ///
    /// Names: verl `clip_cov_lb`.
    pub low: f64,
    /// Upper bound of the covariance of the tokens that may be left out.
    ///
    /// Names: verl `clip_cov_ub`.
    pub high: f64,
    /// Which tokens make the means, and are drawn from, together.
    pub scope: Scope,
}

impl Default for ClipCov {
    fn default() -> Self {
        Self { share: 2e-4, low: 1.0, high: 5.0, scope: Scope::Batch }
    }
}

impl ClipCov {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            some_share(self.share).into_iter().chain(finite("low", self.low)).collect();
        problems.extend(finite("high", self.high));
        if self.low >= self.high {
            problems
                .push(format!("high: expected more than low = {}, got {}", self.low, self.high));
        }
        problems
    }
}

/// The penalty `coefficient` · |log-prob - old log-prob| for the max(1, floor(share · N)) tokens of
/// largest covariance (A - mean A) (ln p - mean ln p); of equal ones the lower index. All weights
/// are 1.
///
/// ln p is that of the rollout, as in the reference in the first update of a step. The penalty has
/// no gradient where the log-prob is the old one: it takes effect from the second update of a step
/// on. The reference's loss beside it is the surrogate without a clip.
///
/// Source: arXiv 2505.22617, section 4.2; the count as in verl, `compute_policy_loss_kl_cov`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KlCov {
    /// Share of the tokens that are penalised.
    ///
    /// Names: verl `kl_cov_ratio`.
    pub share: f64,
    /// Factor of the penalty.
    ///
    /// Names: verl `ppo_kl_coef`.
    pub coefficient: f64,
    /// Which tokens make the means, and are ranked, together.
    pub scope: Scope,
}

impl Default for KlCov {
    fn default() -> Self {
        Self { share: 2e-3, coefficient: 1.0, scope: Scope::Batch }
    }
}

impl KlCov {
    pub(super) fn problems(&self) -> Vec<String> {
        some_share(self.share)
            .into_iter()
            .chain(below("coefficient", self.coefficient, 0.0))
            .collect()
    }
}

fn finite(key: &str, value: f64) -> Option<String> {
    (!value.is_finite()).then(|| format!("{key}: expected a finite number, got {value}"))
}

/// (A - mean A) (ln p - mean ln p) of each token.
fn covariances(tokens: &TokenColumns<'_>) -> Vec<f64> {
    let n = tokens.len() as f64;
    let advantage = tokens.advantages.iter().sum::<f64>() / n;
    let surprisal = tokens.surprisals.iter().map(|&s| f64::from(s)).sum::<f64>() / n;
    let each = tokens.advantages.iter().zip(tokens.surprisals);
    each.map(|(a, &s)| (a - advantage) * (surprisal - f64::from(s))).collect()
}

// Rounded down, as in verl, and not by the rule of STARE.
fn count(tokens: &TokenColumns<'_>, share: f64) -> usize {
    ((tokens.len() as f64 * share) as usize).max(1)
}

/// `count` of `candidates` at random, a function of `seed` (Fisher and Yates, cut short).
fn draw(mut candidates: Vec<usize>, count: usize, seed: u64) -> Vec<usize> {
    let mut words = Philox::from_u64_seed_stream(seed, u64::from_be_bytes(*b"clip-cov"));
    let count = count.min(candidates.len());
    for i in 0..count {
        let rest = u32::try_from(candidates.len() - i).expect("a step has fewer than 2^32 tokens");
        candidates.swap(i, i + words.bounded(rest) as usize);
    }
    candidates.truncate(count);
    candidates
}

impl TokenWeighting for ClipCov {
    fn weights(&self, tokens: &TokenColumns<'_>) -> TokenWeights {
        let covariances = covariances(tokens).into_iter().enumerate();
        let candidates =
            covariances.filter(|&(_, cov)| cov > self.low && cov < self.high).map(|(at, _)| at);
        let left_out = draw(candidates.collect(), count(tokens, self.share), tokens.seed);
        let mut weights = vec![1.0; tokens.len()];
        for &token in &left_out {
            weights[token] = 0.0;
        }
        let statistics = selection_statistics(left_out.len(), &weights);
        TokenWeights { weights, penalties: Vec::new(), statistics }
    }

    fn scope(&self) -> Scope {
        self.scope
    }
}

impl TokenWeighting for KlCov {
    fn weights(&self, tokens: &TokenColumns<'_>) -> TokenWeights {
        let covariances = covariances(tokens);
        let k = count(tokens, self.share);
        let selected = largest((0..tokens.len()).collect(), k, |token| covariances[token]);
        let mut penalties = vec![0.0; tokens.len()];
        for &token in &selected {
            penalties[token] = self.coefficient;
        }
        let weights = vec![1.0; tokens.len()];
        let statistics = selection_statistics(selected.len(), &weights);
        TokenWeights { weights, penalties, statistics }
    }

    fn scope(&self) -> Scope {
        self.scope
    }
}

//! How much each token of a step counts: a factor of its advantage.

mod covariance;
mod select;
mod stare;
mod top_entropy;

use std::fmt::Debug;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use covariance::{ClipCov, KlCov};
pub use select::budget;
pub(crate) use stare::side;
pub use stare::{
    Action, AdaptiveReweight, AutoReweight, Gate, NamedOperation, Operation, Reweight, Select,
    Stare, Table, Ties,
};
pub use top_entropy::TopEntropy;

use crate::{Error, LossTerms, Result};

/// Tokens that the policy generated, sample by sample: no prompt, no padding, no tool output.
///
/// The columns are equally long, one entry for each token.
#[derive(Debug, Clone, Copy)]
pub struct TokenColumns<'a> {
    /// Surprisal -ln p of the token, in nats.
    pub surprisals: &'a [f32],
    /// Entropy H of the distribution that it was drawn from, in nats.
    pub entropies: &'a [f32],
    /// Sum S over the vocabulary of p² (ln p + H), in nats; see [`phi`].
    pub phi_sums: &'a [f32],
    /// Advantage.
    pub advantages: &'a [f64],
    /// The tokens of each sample.
    pub samples: &'a [Range<usize>],
    /// Random word of the step, for what is drawn.
    pub seed: u64,
}

impl TokenColumns<'_> {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.advantages.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.advantages.is_empty()
    }

    /// [`phi`] of a token, in nats.
    pub fn sensitivity(&self, token: usize) -> f64 {
        let [surprisal, entropy, sum] =
            [self.surprisals, self.entropies, self.phi_sums].map(|column| column[token].into());
        phi(surprisal, entropy, sum)
    }
}

/// Entropy sensitivity Phi = p (ln p + H) - S of a token of probability p, in nats: reinforcing the
/// token changes the entropy by -Phi to first order. Phi is below 0 exactly where the surprisal is
/// above a threshold s*, which is at most H.
///
/// Source: STARE, arXiv 2606.19236, theorem 3.1.
pub fn phi(surprisal: f64, entropy: f64, phi_sum: f64) -> f64 {
    let p = (-surprisal).exp();
    // p ln p goes to 0 with p
    let own = if p > 0.0 { p * (entropy - surprisal) } else { 0.0 };
    own - phi_sum
}

/// What each token counts, and what is worth recording about it.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenWeights {
    /// One factor of the advantage for each token, not negative, in the order of the columns.
    pub weights: Vec<f64>,
    /// None, or for each token the factor of |log-prob - old log-prob| that is added to its loss.
    pub penalties: Vec<f64>,
    /// Metric keys and values.
    pub statistics: Vec<(&'static str, f64)>,
}

/// Which tokens are ranked together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "RankingScope")]
pub enum Scope {
    /// All tokens of the step: the papers' reading; does not depend on micro-batches.
    #[default]
    Batch,
    /// Those of one backward pass: what the reference codes do.
    MicroBatch,
}

/// Gives tokens their weights. `observe` moves its state, once a step; `weights` only reads it, so
/// that it may be asked for a whole step or for each micro-batch.
pub trait TokenWeighting: Debug + Send {
    /// Takes in a step before its weights are asked for: the mean entropy of its tokens in nats,
    /// NaN where it has none, its tokens, and how its loss counts them. Returns metric keys and
    /// values. A mean entropy that is not finite changes nothing.
    fn observe(
        &mut self,
        _mean_entropy: f64,
        _tokens: &TokenColumns<'_>,
        _terms: &LossTerms<'_>,
    ) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// The weights of the tokens that are ranked together: see [`scope`](Self::scope).
    fn weights(&self, tokens: &TokenColumns<'_>) -> TokenWeights;

    /// Which tokens `weights` is asked for at a time.
    fn scope(&self) -> Scope {
        Scope::Batch
    }

    /// All that `observe` has changed since the beginning, for a checkpoint.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    ///
    /// Fails when `state` is not one that this weighting saves.
    fn restore(&mut self, state: &Value) -> Result<()> {
        if state.is_null() {
            return Ok(());
        }
        Err(Error::State { component: "weighting", expected: "none", got: state.to_string() })
    }
}

/// How the recipe weights tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name)]
pub enum WeightingConfig {
    /// All tokens alike.
    Uniform {},
    /// Raises or lowers tokens by their surprisal while the entropy is below its target.
    ///
    /// While the gate is open, tokens that `operation` raises have the weight W, those that it
    /// lowers the weight M, and all others 1. While it is closed, every weight is 1. The high side
    /// are the tokens that `select` picks among those whose advantage has the same sign, the low
    /// side is the rest; a token of advantage 0 is on neither.
    ///
    /// Source: arXiv 2606.19236, algorithm 1.
    Stare(Stare),
    /// Learns from the tokens of highest entropy alone: the 80/20 rule. All others have the weight
    /// 0 and stay in the denominator of the loss.
    ///
    /// Source: arXiv 2506.01939, equation 6.
    TopEntropy(TopEntropy),
    /// Leaves out a few tokens of high covariance, drawn at random. The covariance of a token is
    /// `(A - mean A) (ln p - mean ln p)`.
    ///
    /// Source: arXiv 2505.22617, section 4.2.
    ///
    /// Names: verl `clip_cov`.
    ClipCov(ClipCov),
    /// Holds the tokens of highest covariance near the old policy, by a penalty on the distance of
    /// their log-probs. It has no effect in the first update of a step.
    ///
    /// Source: arXiv 2505.22617, section 4.2.
    ///
    /// Names: verl `kl_cov`.
    KlCov(KlCov),
}

settings::tagged!(WeightingConfig);

impl Default for WeightingConfig {
    fn default() -> Self {
        Self::Uniform {}
    }
}

impl WeightingConfig {
    /// Everything that is wrong, each with its key.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Uniform {} => Vec::new(),
            Self::Stare(stare) => stare.problems(),
            Self::TopEntropy(top) => top.problems(),
            Self::ClipCov(clip) => clip.problems(),
            Self::KlCov(kl) => kl.problems(),
        }
    }

    /// The weighting in its initial state.
    pub fn build(&self) -> Box<dyn TokenWeighting> {
        match self {
            Self::Uniform {} => Box::new(Uniform),
            Self::Stare(stare) => Box::new(stare.build()),
            Self::TopEntropy(top) => Box::new(*top),
            Self::ClipCov(clip) => Box::new(*clip),
            Self::KlCov(kl) => Box::new(*kl),
        }
    }
}

/// All tokens alike: every weight is 1.
#[derive(Debug, Clone, Copy)]
pub struct Uniform;

impl TokenWeighting for Uniform {
    fn weights(&self, tokens: &TokenColumns<'_>) -> TokenWeights {
        TokenWeights {
            weights: vec![1.0; tokens.len()],
            penalties: Vec::new(),
            statistics: Vec::new(),
        }
    }
}

/// One problem, where `value` is not within `low..=high`.
fn outside(key: &str, value: f64, low: f64, high: f64) -> Option<String> {
    (!(low..=high).contains(&value))
        .then(|| format!("{key}: expected {low} to {high}, got {value}"))
}

/// One problem, where `value` is not a finite number of at least `low`.
fn below(key: &str, value: f64, low: f64) -> Option<String> {
    (!(value.is_finite() && value >= low))
        .then(|| format!("{key}: expected {low} or more, got {value}"))
}

/// One problem, where `value` is not a finite number above 0.
fn not_positive(key: &str, value: f64) -> Option<String> {
    (!(value.is_finite() && value > 0.0))
        .then(|| format!("{key}: expected more than 0, got {value}"))
}

/// One problem, where `share` selects nothing or more than there is.
fn some_share(share: f64) -> Option<String> {
    not_positive("share", share).or_else(|| outside("share", share, 0.0, 1.0))
}

/// What a weighting that selects tokens says about itself.
fn selection_statistics(selected: usize, weights: &[f64]) -> Vec<(&'static str, f64)> {
    let n = weights.len().max(1) as f64;
    vec![
        ("weighting/selected", selected as f64 / n),
        ("weighting/mean_weight", weights.iter().sum::<f64>() / n),
    ]
}

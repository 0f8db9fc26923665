//! How much each token of a step counts: a factor of its advantage.

use std::fmt::Debug;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// Tokens that the policy generated, sample by sample: no prompt, no padding, no tool output.
///
/// The columns are equally long, one entry for each token.
#[derive(Debug, Clone, Copy)]
pub struct TokenColumns<'a> {
    /// Surprisal -ln p of the token, in nats.
    pub surprisals: &'a [f32],
    /// Entropy H of the distribution that it was drawn from, in nats.
    pub entropies: &'a [f32],
    /// Sum S over the vocabulary of p² (ln p + H), in nats; see [`sensitivity`](Self::sensitivity).
    pub phi_sums: &'a [f32],
    /// Advantage.
    pub advantages: &'a [f64],
    /// The tokens of each sample.
    pub samples: &'a [Range<usize>],
    /// The samples of each group.
    pub groups: &'a [Range<usize>],
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

    /// Entropy sensitivity Phi = p (ln p + H) - S of a token, in nats: reinforcing the token changes
    /// the entropy by -Phi to first order.
    ///
    /// Source: STARE, arXiv 2606.19236, theorem 3.1.
    pub fn sensitivity(&self, token: usize) -> f64 {
        let log_prob = -f64::from(self.surprisals[token]);
        log_prob.exp() * (log_prob + f64::from(self.entropies[token]))
            - f64::from(self.phi_sums[token])
    }
}

/// One factor for each token, and what is worth recording about them.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenWeights {
    /// Not negative, in the order of the columns.
    pub weights: Vec<f64>,
    /// Metric keys and values.
    pub statistics: Vec<(&'static str, f64)>,
}

/// Gives tokens their weights. `observe` moves its state, once a step; `weights` only reads it, so
/// that it may be asked for a whole step or for each micro-batch.
pub trait TokenWeighting: Debug + Send {
    /// Takes in a step before its weights are asked for: its mean entropy, in nats a token, as the
    /// loss aggregates it, and all its tokens. Returns metric keys and values.
    fn observe(&mut self, mean_entropy: f64, tokens: &TokenColumns<'_>)
    -> Vec<(&'static str, f64)>;

    /// The weights of some tokens of the step.
    fn weights(&self, tokens: &TokenColumns<'_>) -> TokenWeights;

    /// All that `observe` has changed since the beginning, for a checkpoint.
    fn state(&self) -> Value;

    /// Takes up a saved state.
    ///
    /// # Errors
    ///
    /// Fails when `state` is not one that this weighting saves.
    fn restore(&mut self, state: &Value) -> Result<()>;
}

/// How the recipe weights tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum WeightingConfig {
    /// All tokens alike.
    Uniform {},
}

impl Default for WeightingConfig {
    fn default() -> Self {
        Self::Uniform {}
    }
}

impl WeightingConfig {
    /// The weighting in its initial state.
    pub fn build(&self) -> Box<dyn TokenWeighting> {
        match self {
            Self::Uniform {} => Box::new(Uniform),
        }
    }
}

/// All tokens alike: every weight is 1.
#[derive(Debug, Clone, Copy)]
pub struct Uniform;

impl TokenWeighting for Uniform {
    fn observe(&mut self, _: f64, _: &TokenColumns<'_>) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    fn weights(&self, tokens: &TokenColumns<'_>) -> TokenWeights {
        TokenWeights { weights: vec![1.0; tokens.len()], statistics: Vec::new() }
    }

    fn state(&self) -> Value {
        Value::Null
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        if state.is_null() {
            return Ok(());
        }
        Err(Error::State { component: "uniform", expected: "none", got: state.to_string() })
    }
}

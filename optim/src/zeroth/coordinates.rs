use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::{not_negative, positive};
use super::estimator::{descend, means, rate};
use super::{Estimator, Probe, Reduced, Scheme, Scope, Term};
use crate::Result;

/// Settings of [`Coordinates`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CoordinatesConfig")]
pub struct CoordinatesConfig {
    /// How far an element is moved.
    pub epsilon: f64,
    /// Share of the elements that is probed, drawn at random. arXiv 2310.02025: 0.1.
    pub keep: f64,
    /// Steps for which the same elements are probed. arXiv 2310.02025: an epoch.
    pub interval: u32,
    /// The tensors that are trained, by name, with `*` for any text; left out: all. Norms alone:
    /// `["*norm.weight"]`.
    pub tensors: Scope,
    /// Weight decay, multiplied by the learning rate. Norms, biases and adapters have none.
    pub weight_decay: f64,
}

impl Default for CoordinatesConfig {
    fn default() -> Self {
        let tensors = Scope::default();
        Self { epsilon: 1e-3, keep: 1.0, interval: 1, tensors, weight_decay: 0.0 }
    }
}

impl CoordinatesConfig {
    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.tensors.problems();
        problems.extend(positive("epsilon", self.epsilon));
        problems.extend(not_negative("weight_decay", self.weight_decay));
        if !(self.keep > 0.0 && self.keep <= 1.0) {
            problems.push(format!("keep is {}, expected more than 0, at most 1", self.keep));
        }
        if self.interval == 0 {
            problems.push("interval is 0, expected at least 1 step".to_owned());
        }
        problems
    }
}

/// Differences along each coordinate: `g_i = (f(w + e b_i) - f(w)) / e` and `w = w - lr g`, with
/// one forward pass for each element that is trained. For small scopes, and as the oracle of tests.
///
/// Source: arXiv 2310.02025, equation 2 (`CGE`).
#[derive(Debug)]
pub struct Coordinates {
    config: CoordinatesConfig,
    scheme: Scheme,
}

impl Coordinates {
    /// The method, for directions of this scheme.
    pub(super) fn new(config: CoordinatesConfig, scheme: Scheme) -> Self {
        Self { config, scheme }
    }
}

impl Estimator for Coordinates {
    fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The weights as they are, then one probe for each coordinate.
    fn probes(&self, step: u32) -> Vec<Probe> {
        let scale = self.config.epsilon as f32;
        let moved = self.scheme.seeds(step, 0).into_iter().map(|seed| vec![Term { seed, scale }]);
        std::iter::once(Vec::new()).chain(moved).map(|to| self.scheme.probe(step, to)).collect()
    }

    fn reduce(&mut self, step: u32, scores: &[Vec<f64>], lr: f64) -> Result<Reduced> {
        let losses = means(step, scores, self.scheme.seeds(step, 0).len() + 1)?;
        let distance = f64::from(self.config.epsilon as f32);
        let slope = |loss: &f64| ((loss - losses[0]) / distance) as f32;
        let slopes = losses[1..].iter().map(slope).collect();
        let lr = rate(lr)?;
        let rates = (lr, lr, self.config.weight_decay as f32);
        descend(&self.scheme, step, rates, &losses, slopes)
    }
}

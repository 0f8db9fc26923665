use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::{DirectionConfig, not_negative, positive};
use super::estimator::{all_equal, descend, deviation, means, rate};
use super::{Estimator, Probe, Reduced, Scheme, Scope, Term};
use crate::Result;

/// Settings of [`Fzoo`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "FzooConfig")]
pub struct FzooConfig {
    /// How far weights are perturbed.
    ///
    /// Names: FZOO `zo_eps`.
    pub epsilon: f64,
    /// Directions of a step; each takes one forward pass, and the weights as they are another.
    ///
    /// Names: FZOO `N`.
    pub probes: u32,
    /// The form of the directions.
    pub direction: DirectionConfig,
    /// The tensors that are trained, by name, with `*` for any text; left out: all. Norms alone:
    /// `["*norm.weight"]`.
    pub tensors: Scope,
    /// Weight decay, multiplied by the learning rate. Norms, biases and adapters have none.
    pub weight_decay: f64,
}

impl Default for FzooConfig {
    fn default() -> Self {
        let direction = DirectionConfig::default();
        let tensors = Scope::default();
        Self { epsilon: 1e-3, probes: 8, direction, tensors, weight_decay: 0.0 }
    }
}

impl FzooConfig {
    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.direction.problems();
        problems.extend(self.tensors.problems());
        problems.extend(positive("epsilon", self.epsilon));
        problems.extend(not_negative("weight_decay", self.weight_decay));
        if !(2..=u32::from(u16::MAX)).contains(&self.probes) {
            problems.push(format!(
                "probes is {}, expected 2 to {}: steps are divided by the deviation of losses",
                self.probes,
                u16::MAX
            ));
        }
        problems
    }
}

/// One-sided estimates over the deviation of the losses: with `l_i = f(w + e u_i)`, `l_0 = f(w)`
/// and the population standard deviation `s` of the `l_i`,
/// `w = w - lr sum((l_i - l_0) u_i) / (N s)`.
///
/// Equal losses move nothing. The paper's equation divides by `e` too. The authors' code
/// (`DKmiyan/FZOO` on GitHub, `trainer.py`) does not, and its learning rates (1e-5 for all weights)
/// are those of its code. There the deviation is that of the population, a division by `N`
/// (`torch.std(unbiased=False)`), of the losses of the directions without `l_0`, and the sum is
/// divided by `N s`, as here. The abstract has "the standard deviation of batch losses" alone.
///
/// Sources: arXiv 2506.09034, algorithm 1; the code for `e` and for `N`.
#[derive(Debug)]
pub struct Fzoo {
    config: FzooConfig,
    scheme: Scheme,
}

impl Fzoo {
    /// The method, for directions of this scheme.
    pub(super) fn new(config: FzooConfig, scheme: Scheme) -> Self {
        Self { config, scheme }
    }
}

impl Estimator for Fzoo {
    fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The weights as they are, then one probe for each direction.
    fn probes(&self, step: u32) -> Vec<Probe> {
        let scale = self.config.epsilon as f32;
        let seeds = self.scheme.seeds(step, self.config.probes as usize);
        let moved = seeds.into_iter().map(|seed| vec![Term { seed, scale }]);
        std::iter::once(Vec::new()).chain(moved).map(|to| self.scheme.probe(step, to)).collect()
    }

    fn reduce(&mut self, step: u32, scores: &[Vec<f64>], lr: f64) -> Result<Reduced> {
        let losses = means(step, scores, self.config.probes as usize + 1)?;
        let (base, moved) = (losses[0], &losses[1..]);
        let unit = if all_equal(moved) { 0.0 } else { deviation(moved) };
        let slope = |loss: &f64| match unit {
            0.0 => 0.0,
            _ if unit.is_finite() => ((loss - base) / unit) as f32,
            _ => f32::NAN,
        };
        let slopes = moved.iter().map(slope).collect();
        let count = f64::from(self.config.probes);
        let rates = (rate(lr)?, (lr / count) as f32, self.config.weight_decay as f32);
        descend(&self.scheme, step, rates, &losses, slopes)
    }
}

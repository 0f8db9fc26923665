use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::{DirectionConfig, not_negative, positive};
use super::estimator::{descend, means, rate};
use super::{Estimator, Probe, Reduced, Scheme, Scope, Term};
use crate::Result;

/// Settings of [`Spsa`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "SpsaConfig")]
pub struct SpsaConfig {
    /// How far weights are perturbed. arXiv 2305.17333, appendix E: 1e-3 for all weights, 1e-2 for
    /// adapters.
    ///
    /// Names: MeZO `zo_eps`.
    pub epsilon: f64,
    /// Directions of a step; each takes two forward passes.
    pub probes: u32,
    /// The form of the directions.
    pub direction: DirectionConfig,
    /// The tensors that are trained, by name, with `*` for any text; left out: all. Norms alone:
    /// `["*norm.weight"]`.
    pub tensors: Scope,
    /// Weight decay, multiplied by the learning rate. Norms, biases and adapters have none. The
    /// default of ZO2 is 0.1.
    ///
    /// Names: ZO2 `weight_decay`.
    pub weight_decay: f64,
}

impl Default for SpsaConfig {
    fn default() -> Self {
        let direction = DirectionConfig::default();
        let tensors = Scope::default();
        Self { epsilon: 1e-3, probes: 1, direction, tensors, weight_decay: 0.0 }
    }
}

impl SpsaConfig {
    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.direction.problems();
        problems.extend(self.tensors.problems());
        problems.extend(positive("epsilon", self.epsilon));
        problems.extend(not_negative("weight_decay", self.weight_decay));
        if !(1..=u32::from(u16::MAX)).contains(&self.probes) {
            problems.push(format!("probes is {}, expected 1 to {}", self.probes, u16::MAX));
        }
        problems
    }
}

/// Two-point estimates of slopes: along each direction `z`, with the loss `f`,
/// `g = (f(w + e z) - f(w - e z)) / 2e`, and `w = w - lr mean(g z)`.
///
/// Losses and their difference are `f64`; `g` is rounded to `f32` once. With directions of rank `r`
/// this is the estimate of `LOZO`, whose `e` is ours over `sqrt(r)`.
///
/// Sources: Spall 1992; arXiv 2305.17333, algorithm 1; 2410.07698 for directions of low rank.
#[derive(Debug)]
pub struct Spsa {
    config: SpsaConfig,
    scheme: Scheme,
}

impl Spsa {
    /// The method, for directions of this scheme.
    pub(super) fn new(config: SpsaConfig, scheme: Scheme) -> Self {
        Self { config, scheme }
    }
}

impl Estimator for Spsa {
    fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    fn probes(&self, step: u32) -> Vec<Probe> {
        let epsilon = self.config.epsilon as f32;
        let seeds = self.scheme.seeds(step, self.config.probes as usize);
        let both = seeds.into_iter().flat_map(|seed| [(seed, epsilon), (seed, -epsilon)]);
        both.map(|(seed, scale)| self.scheme.probe(step, vec![Term { seed, scale }])).collect()
    }

    fn reduce(&mut self, step: u32, scores: &[Vec<f64>], lr: f64) -> Result<Reduced> {
        let probes = self.config.probes;
        let losses = means(step, scores, 2 * probes as usize)?;
        // Of what was added to the weights.
        let distance = 2.0 * f64::from(self.config.epsilon as f32);
        let (pairs, _) = losses.as_chunks::<2>();
        let slopes = pairs.iter().map(|[up, down]| ((up - down) / distance) as f32).collect();
        let rates = (rate(lr)?, (lr / f64::from(probes)) as f32, self.config.weight_decay as f32);
        descend(&self.scheme, step, rates, &losses, slopes)
    }
}

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::{DirectionConfig, not_negative, positive};
use super::estimator::{all_equal, deviation, mean, means, moved, rate};
use super::{DecayTo, Estimator, Outcome, Probe, Reduced, Scheme, Scope, Skip, Stats, Term};
use crate::Result;

/// Settings of [`Es`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "EsConfig")]
pub struct EsConfig {
    /// How far weights are perturbed. arXiv 2509.24372: 1e-3; 2608.27351: 1.5e-3. The learning rate
    /// of these papers contains `1 / sigma`: half of `sigma`, 5e-4, and 2.5e-4.
    ///
    /// Names: es-fine-tuning-paper `SIGMA`.
    pub sigma: f64,
    /// Perturbed copies of a step; with `antithetic`, both of a pair count. arXiv 2509.24372: 30;
    /// 2608.27351: 32.
    ///
    /// Names: es-fine-tuning-paper `POPULATION_SIZE`.
    pub members: u32,
    /// Members in pairs of opposite directions. Of little use with rewards of sampled text, where
    /// the two scores of a pair are nearly independent (arXiv 2608.27351).
    pub antithetic: bool,
    /// What is subtracted from rewards.
    pub baseline: Baseline,
    /// The form of the directions. Of low rank, noise need not be added to the weights.
    pub direction: DirectionConfig,
    /// The tensors that are trained, by name, with `*` for any text; left out: all. Norms alone:
    /// `["*norm.weight"]`.
    pub tensors: Scope,
    /// Weight decay, multiplied by the learning rate. Norms, biases and adapters have none.
    pub weight_decay: f64,
    /// What weights decay to.
    pub decay_to: DecayTo,
}

/// What is subtracted from rewards, and what they are divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "EsBaseline")]
pub enum Baseline {
    /// The mean over members of their mean rewards; divided by the deviation of these. Source:
    /// arXiv 2509.24372.
    #[default]
    All,
    /// For each prompt the mean over members; divided by the deviation of all that is left. Source:
    /// arXiv 2511.16652.
    Prompt,
}

/// Added to deviations.
const TINY: f64 = 1e-8;

impl Default for EsConfig {
    fn default() -> Self {
        Self {
            sigma: 1e-3,
            members: 32,
            antithetic: false,
            baseline: Baseline::All,
            direction: DirectionConfig::gaussian(),
            tensors: Scope::default(),
            weight_decay: 0.0,
            decay_to: DecayTo::Zero,
        }
    }
}

impl EsConfig {
    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.direction.problems();
        problems.extend(self.tensors.problems());
        problems.extend(positive("sigma", self.sigma));
        problems.extend(not_negative("weight_decay", self.weight_decay));
        if !(2..=u32::from(u16::MAX)).contains(&self.members) {
            problems.push(format!("members is {}, expected 2 to {}", self.members, u16::MAX));
        }
        if self.antithetic && !self.members.is_multiple_of(2) {
            problems.push(format!("members is {}, expected pairs: antithetic", self.members));
        }
        problems
    }
}

/// Evolution strategies with standardised rewards: `w = w + (lr / N) sum(z_n e_n)` with the
/// directions `e_n` of `N` members at `w + sigma e_n`, their rewards `r_n`, and
/// `z_n = (r_n - mean) / (deviation + 1e-8)` with the population standard deviation.
///
/// Equal rewards give coefficients of exactly 0. A member with a reward that is not finite is left
/// out of mean, deviation, `N` and update; with fewer than two others the step is skipped. A pair
/// of opposite members has one direction and one coefficient, the difference of theirs.
///
/// Coefficients are computed in `f64` and rounded to `f32` once. Source: arXiv 2509.24372,
/// algorithm 1, with `1 / sigma` in the learning rate.
#[derive(Debug)]
pub struct Es {
    config: EsConfig,
    scheme: Scheme,
}

impl Es {
    /// The method, for directions of this scheme.
    pub(super) fn new(config: EsConfig, scheme: Scheme) -> Self {
        Self { config, scheme }
    }

    fn directions(&self) -> usize {
        self.config.members as usize / if self.config.antithetic { 2 } else { 1 }
    }

    /// Standardised rewards of the members that are kept.
    fn standardised(&self, rewards: &[&[f64]]) -> Vec<f64> {
        let parts = rewards[0].len();
        let residuals: Vec<Vec<f64>> = match self.config.baseline {
            Baseline::All => {
                let own: Vec<f64> = rewards.iter().map(|list| mean(list)).collect();
                centred(&own).into_iter().map(|residual| vec![residual]).collect()
            }
            Baseline::Prompt => {
                let prompt = |part: usize| -> Vec<f64> {
                    centred(&rewards.iter().map(|list| list[part]).collect::<Vec<_>>())
                };
                let prompts: Vec<Vec<f64>> = (0..parts).map(prompt).collect();
                let of = |member: usize| prompts.iter().map(|prompt| prompt[member]).collect();
                (0..rewards.len()).map(of).collect()
            }
        };
        let all: Vec<f64> = residuals.concat();
        let squares = all.iter().map(|residual| residual * residual).collect::<Vec<_>>();
        let unit = mean(&squares).sqrt() + TINY;
        residuals.iter().map(|residuals| mean(residuals) / unit).collect()
    }

    fn coefficients(&self, z: &[f64], used: usize, lr: f64) -> (Vec<f32>, Vec<f32>) {
        let signals: Vec<f64> = if self.config.antithetic {
            z.as_chunks::<2>().0.iter().map(|[up, down]| up - down).collect()
        } else {
            z.to_vec()
        };
        let coefficients = signals.iter().map(|signal| (lr * signal / used as f64) as f32);
        (coefficients.collect(), signals.iter().map(|signal| *signal as f32).collect())
    }
}

/// What is left of values without their mean: exactly 0 of equal ones.
fn centred(values: &[f64]) -> Vec<f64> {
    if all_equal(values) {
        return vec![0.0; values.len()];
    }
    let center = mean(values);
    values.iter().map(|value| value - center).collect()
}

impl Estimator for Es {
    fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    fn probes(&self, step: u32) -> Vec<Probe> {
        let sigma = self.config.sigma as f32;
        let signs: &[f32] = if self.config.antithetic { &[1.0, -1.0] } else { &[1.0] };
        let seeds = self.scheme.seeds(step, self.directions());
        let members = seeds.iter().flat_map(|seed| signs.iter().map(move |sign| (*seed, *sign)));
        members
            .map(|(seed, sign)| self.scheme.probe(step, vec![Term { seed, scale: sign * sigma }]))
            .collect()
    }

    fn reduce(&mut self, step: u32, scores: &[Vec<f64>], lr: f64) -> Result<Reduced> {
        let own = means(step, scores, self.config.members as usize)?;
        let rounded = rate(lr)?;
        let kept: Vec<usize> = (0..own.len()).filter(|&member| own[member].is_finite()).collect();
        let rewards: Vec<&[f64]> = kept.iter().map(|&member| &scores[member][..]).collect();
        let finite: Vec<f64> = kept.iter().map(|&member| own[member]).collect();
        let mut z = vec![0.0; own.len()];
        if kept.len() >= 2 {
            for (member, standardised) in kept.iter().zip(self.standardised(&rewards)) {
                z[*member] = standardised;
            }
        }
        let (coefficients, signals) = self.coefficients(&z, kept.len().max(1), lr);
        let outcome = if kept.len() < 2 {
            let reason = format!("{} of {} rewards are finite, expected 2", kept.len(), own.len());
            Outcome::Skip(Skip { step, lr: rounded, reason })
        } else {
            let decay = self.config.weight_decay as f32;
            moved(&self.scheme, step, (rounded, decay), &coefficients)?
        };
        let (used, not_finite) = (kept.len(), own.len() - kept.len());
        let (score, deviation) = (mean(&finite), deviation(&finite));
        Ok(Reduced { outcome, stats: Stats { score, deviation, signals, used, not_finite } })
    }
}

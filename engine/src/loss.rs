//! Losses on columns of scores: one number per trained token in, one differentiable scalar out.
//!
//! Reading order: [`LossConfig`], [`LossColumns`], [`PolicyLoss`] and its formulas in
//! `loss/surrogate.rs`, `loss/ratio.rs` and `loss/sequence.rs`, [`Kl`], [`Aggregation`].
//!
//! Everything is composed of Candle ops on f64 tensors of shape (targets) on the host, whatever the
//! model computes in: ratios are differences of nearly equal numbers. What a token weighs in the
//! whole update is in its coefficient, so the losses of micro-batches add up to the loss of the
//! update.

mod aggregation;
mod kl;
mod policy;
mod ratio;
mod sequence;
mod surrogate;
mod tally;

use std::ops::AddAssign;

use candle::{DType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::aggregation::{Aggregation, Counts};
pub use self::kl::Kl;
pub use self::policy::PolicyLoss;
pub use self::surrogate::ClippedSurrogate;
pub use self::tally::Bound;
use self::tally::Tally;
use crate::{Error, Result};

/// The loss: the sum over an update's tokens of `c (i (w L + p D) + k KL - e H)`. A token has the
/// coefficient `c` of the aggregation, the weight `w`, the importance weight `i`, the penalty `p`,
/// its policy loss `L`, `D = |log_prob - old_log_prob|`, its KL to the reference and its entropy
/// `H`; `k` is the coefficient of the KL, `e` that of the entropy bonus. At `D = 0` the penalty has
/// no gradient.
///
/// Source of the penalty: KL-Cov, arXiv 2505.22617, and verl's `kl_cov`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// The policy loss: the loss of one token.
    ///
    /// Names: verl `policy_loss.loss_mode`, TRL `loss_type`, prime-rl `loss.type`.
    pub policy_loss: PolicyLoss,
    /// How the losses of an update's tokens are averaged: what a token counts.
    ///
    /// Names: verl `loss_agg_mode`, TRL `loss_type`.
    pub aggregation: Aggregation,
    /// A penalty on the KL to the reference, which `reference` of the stage chooses.
    ///
    /// Names: verl `use_kl_loss`, TRL `beta`, prime-rl `kl_tau`.
    pub kl: Kl,
    /// Bonus per nat of entropy; 0 = none. Set for each update by whoever controls the entropy.
    #[serde(skip)]
    pub entropy_coefficient: f64,
}

/// What the loss is told about the tokens of a micro-batch, in the order of the targets.
#[derive(Debug, Clone, Copy, Default)]
pub struct LossColumns<'a> {
    /// Log-prob of the token under the policy that sampled it, nats.
    pub old_log_probs: &'a [f32],
    /// How much better than its siblings the token's completion was.
    pub advantages: &'a [f64],
    /// Factor of the token's policy loss.
    pub weights: &'a [f64],
    /// Log-prob under the reference, nats; needed where [`LossConfig::kl`] is on.
    pub ref_log_probs: Option<&'a [f32]>,
    /// A second factor, for rollouts of another age or precision.
    pub importance: Option<&'a [f64]>,
    /// Factor of the distance between the token's log-prob and the old one; none = 0.
    pub penalties: Option<&'a [f64]>,
    /// Tokens of each sequence; together as many as there are targets.
    pub lengths: &'a [usize],
    /// What the token counts in the whole update: [`Aggregation::coefficients`].
    pub coefficients: &'a [f64],
}

/// What a micro-batch adds to the update's metrics: sums, which add up over micro-batches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LossSums {
    /// Tokens.
    pub tokens: u64,
    /// Tokens whose ratio is clipped: without gradient, except in cispo.
    pub clipped: u64,
    /// Tokens at the ceiling of the dual clip.
    pub clipped_lower: u64,
    /// Sum over tokens of the old log-prob less the new one, each within 20 nats.
    pub old_kl: f64,
    /// Sum over tokens of the estimate of the KL to the reference, nats.
    pub ref_kl: f64,
    /// The update's loss before KL and entropy.
    pub policy_loss: f64,
    /// The aggregated KL to the reference, before its coefficient.
    pub kl_loss: f64,
}

impl LossSums {
    /// Share of tokens whose ratio is clipped.
    pub fn pg_clipfrac(&self) -> f64 {
        self.mean(self.clipped as f64)
    }

    /// Share of tokens at the ceiling of the dual clip.
    pub fn pg_clipfrac_lower(&self) -> f64 {
        self.mean(self.clipped_lower as f64)
    }

    /// Mean over tokens of the old log-prob less the new one, nats.
    pub fn ppo_kl(&self) -> f64 {
        self.mean(self.old_kl)
    }

    /// Mean over tokens of the estimate of the KL to the reference, nats.
    pub fn ref_kl_mean(&self) -> f64 {
        self.mean(self.ref_kl)
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.tokens == 0 { 0.0 } else { sum / self.tokens as f64 }
    }
}

impl AddAssign for LossSums {
    fn add_assign(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.clipped += other.clipped;
        self.clipped_lower += other.clipped_lower;
        self.old_kl += other.old_kl;
        self.ref_kl += other.ref_kl;
        self.policy_loss += other.policy_loss;
        self.kl_loss += other.kl_loss;
    }
}

impl LossConfig {
    /// The loss of a micro-batch, differentiable in both tensors, and its share of the metrics.
    ///
    /// Shapes: `log_probs` and `entropies` (targets), nats, f64 on the host; every column has one
    /// entry per target.
    ///
    /// # Errors
    ///
    /// Fails on tensors of another type or place, on a column of another length, on no targets, and
    /// where the KL is on without reference log-probs.
    pub fn loss(
        &self,
        log_probs: &Tensor,
        entropies: &Tensor,
        columns: &LossColumns<'_>,
    ) -> Result<(Tensor, LossSums)> {
        let (loss, sums, _) = self.loss_and_bounds(log_probs, entropies, columns)?;
        Ok((loss, sums))
    }

    /// As [`LossConfig::loss`], and for each target the bound at which its ratio was clipped; an
    /// empty list for a loss without bounds.
    ///
    /// # Errors
    ///
    /// Fails where [`LossConfig::loss`] does.
    pub fn loss_and_bounds(
        &self,
        log_probs: &Tensor,
        entropies: &Tensor,
        columns: &LossColumns<'_>,
    ) -> Result<(Tensor, LossSums, Vec<Bound>)> {
        let targets = log_probs.dims1()?;
        for scores in [log_probs, entropies] {
            if scores.dtype() != DType::F64 || !scores.device().is_cpu() {
                return Err(Error::Input(format!(
                    "loss: expected scores in f64 on the CPU, got {} on {:?}",
                    scores.dtype().as_str(),
                    scores.device().location()
                )));
            }
        }
        check_length("entropies", entropies.dims1()?, targets)?;
        check_length("tokens of `lengths`", columns.lengths.iter().sum(), targets)?;
        if targets == 0 {
            return Err(Error::Input("loss: expected at least one target, got none".into()));
        }
        let mut tally = Tally::default();
        let coefficients = constant(log_probs, "coefficients", columns.coefficients)?;
        let policy = (self.policy_losses(log_probs, columns, &mut tally)? * &coefficients)?;
        let Tally { mut sums, bounds } = tally;
        sums.tokens = targets as u64;
        let mut loss = policy.sum_all()?;
        sums.policy_loss = total(&loss)?;
        if let Some((estimator, coefficient)) = self.kl.parts() {
            let reference = columns.ref_log_probs.ok_or_else(|| {
                Error::Input("loss: kl is on, but there are no reference log-probs".into())
            })?;
            let reference = constant(log_probs, "ref_log_probs", reference)?;
            let estimates = estimator.estimates(log_probs, &reference)?;
            sums.ref_kl = total(&estimates)?;
            let penalty = (estimates * &coefficients)?.sum_all()?;
            sums.kl_loss = total(&penalty)?;
            loss = (loss + (penalty * coefficient)?)?;
        }
        if self.entropy_coefficient != 0.0 {
            let bonus = (entropies * &coefficients)?.sum_all()?;
            loss = (loss - (bonus * self.entropy_coefficient)?)?;
        }
        Ok((loss, sums, bounds))
    }

    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.policy_loss.problems();
        problems.extend(self.aggregation.problems());
        problems.extend(self.kl.problems());
        problems
    }

    /// Policy losses times weight, plus penalties, both times importance weight.
    fn policy_losses(
        &self,
        log_probs: &Tensor,
        columns: &LossColumns<'_>,
        tally: &mut Tally,
    ) -> Result<Tensor> {
        let losses = self.policy_loss.losses(log_probs, columns, tally)?;
        let mut losses = (losses * constant(log_probs, "weights", columns.weights)?)?;
        if let Some(penalties) = columns.penalties {
            let penalties = constant(log_probs, "penalties", penalties)?;
            let old = constant(log_probs, "old_log_probs", columns.old_log_probs)?;
            losses = (losses + (distances(log_probs, &old)? * penalties)?)?;
        }
        Ok(match columns.importance {
            Some(importance) => (losses * constant(log_probs, "importance", importance)?)?,
            None => losses,
        })
    }
}

/// `|log_probs - old|`, with gradient 0 where they are equal; Candle's own has 1 there.
fn distances(log_probs: &Tensor, old: &Tensor) -> candle::Result<Tensor> {
    let difference = (log_probs - old)?;
    let above = difference.gt(0.0)?.to_dtype(difference.dtype())?;
    let below = difference.lt(0.0)?.to_dtype(difference.dtype())?;
    difference * (above - below)?
}

fn check_length(name: &str, got: usize, targets: usize) -> Result<()> {
    if got == targets {
        return Ok(());
    }
    Err(Error::Input(format!("loss: expected {targets} {name}, one per target, got {got}")))
}

/// A column as a constant tensor like the scores.
fn constant<T: Copy + Into<f64>>(log_probs: &Tensor, name: &str, column: &[T]) -> Result<Tensor> {
    check_length(name, column.len(), log_probs.elem_count())?;
    let values = column.iter().map(|&value| value.into());
    Ok(Tensor::from_iter(values, log_probs.device())?)
}

/// The sum of a tensor's entries.
fn total(tensor: &Tensor) -> candle::Result<f64> {
    tensor.detach().sum_all()?.to_scalar()
}

/// `x` within `low..=high`, with gradient 1 there, the bounds included, and 0 outside.
///
/// Candle's own clamp has gradient 1/2 at a bound.
fn clamp(x: &Tensor, low: f64, high: f64) -> candle::Result<Tensor> {
    let outside = (x.lt(low)? + x.gt(high)?)?;
    outside.where_cond(&x.detach().clamp(low, high)?, x)
}

//! From credit to updated parameters: each update sums over its micro-batches.
//!
//! A completion without a gradient counts in the denominator and is not computed.

mod loss;
mod mover;

use engine::loss::{LossConfig, LossSums};
use engine::{Activations, Model};
use optim::Schedule;
use rand_philox::splitmix64;

use super::log_prob_gap::LogProbGap;
use super::pack::parts;
use super::table::Table;
use crate::random::{draws, shuffled};
pub(crate) use loss::UpdateLoss;
pub(crate) use mover::{Estimated, Gradient, Moved, Mover};

/// What does not change between the updates of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UpdatePlan<'a> {
    pub(crate) model: &'a Model,
    pub(crate) loss: &'a LossConfig,
    pub(crate) temperature: f64,
    pub(crate) activations: Activations,
    /// Most rows of one pass.
    pub(crate) budget: usize,
    /// Passes over the groups.
    pub(crate) epochs: usize,
    /// Updates of each.
    pub(crate) updates_per_step: usize,
    /// A random word of the step: it decides the order of every epoch but the first.
    pub(crate) seed: u64,
    pub(crate) schedule: &'a Schedule,
    /// Updates of the whole stage.
    pub(crate) total_updates: u64,
}

/// Statistics of the updates of a step.
#[derive(Debug, Clone, Default)]
pub(crate) struct UpdateReport {
    /// Updates done.
    pub(crate) updates: u64,
    /// Sums of all updates, over the completions with a gradient.
    pub(crate) sums: LossSums,
    /// Tokens of all completions.
    pub(crate) tokens: usize,
    /// Loss, mean over updates.
    pub(crate) loss: f64,
    /// Norm before clipping, mean over updates; none where there is no gradient.
    pub(crate) grad_norm: Option<f64>,
    /// What the probes of each update say; empty where there is a gradient.
    pub(crate) estimated: Vec<Estimated>,
    /// Learning rate of the last update.
    pub(crate) lr: f64,
    /// Difference between the rollout's log-probs and those of the first update.
    pub(crate) gap: LogProbGap,
    /// Log-probs of the tokens that the first update computed, in the order of the table; NaN for
    /// the others.
    pub(crate) train_log_probs: Vec<f32>,
    /// Log-probs of the tokens by the last update that computed them, NaN where none did; empty
    /// after a single update.
    pub(crate) new_log_probs: Vec<f32>,
    /// Where an update clipped a token, in the order of the table: bits of [`evals::run::flag`].
    pub(crate) clips: Vec<u8>,
    /// Rows of all packs.
    pub(crate) rows: usize,
}

impl UpdatePlan<'_> {
    /// The groups of each update of a step that has so many.
    fn updates(&self, groups: usize) -> impl Iterator<Item = Vec<usize>> {
        (0..self.epochs as u64).flat_map(move |epoch| {
            let order = self.order(groups, epoch);
            parts(groups, self.updates_per_step).map(move |part| order[part].to_vec())
        })
    }

    /// The groups of a step in the order in which an epoch, counted from 0, takes them.
    ///
    /// The first takes them as they were drawn, which is a random order already.
    fn order(&self, groups: usize, epoch: u64) -> Vec<usize> {
        match epoch {
            0 => (0..groups).collect(),
            _ => shuffled(groups, &mut draws(splitmix64(self.seed ^ epoch), "epoch")),
        }
    }
}

/// Updates on the groups of `table`, from update number `first` on: in every epoch the groups are
/// split evenly in its order. `after` each update it is told how many the stage has made.
pub(crate) fn update(
    plan: &UpdatePlan<'_>,
    mover: &mut dyn Mover,
    table: &Table,
    first: u64,
    progress: &mut dyn FnMut(usize, usize),
    after: &mut dyn FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<UpdateReport> {
    let mut report = UpdateReport { clips: vec![0; table.num_learnt], ..UpdateReport::default() };
    for groups in plan.updates(table.prompts.len()) {
        let mut update = UpdateLoss::new(plan, table, &groups, progress)?;
        let lr = plan.schedule.lr(first + report.updates, plan.total_updates);
        let moved = mover.step(plan.model, &mut update, first + report.updates, lr)?;
        if report.updates == 0 {
            report.gap = update.stats.gap;
            report.train_log_probs = std::mem::take(&mut update.log_probs);
        } else {
            if report.new_log_probs.is_empty() {
                report.new_log_probs.clone_from(&report.train_log_probs);
            }
            let computed = update.log_probs.iter().zip(&mut report.new_log_probs);
            computed.filter(|(own, _)| !own.is_nan()).for_each(|(own, all)| *all = *own);
        }
        for (all, own) in report.clips.iter_mut().zip(&update.clips) {
            *all |= own;
        }
        report.sums += update.stats.sums;
        report.tokens += update.counts.tokens;
        report.rows += update.rows();
        report.updates += 1;
        after(first + report.updates)?;
        report.loss += moved.loss;
        if let Some(norm) = moved.grad_norm {
            *report.grad_norm.get_or_insert_default() += norm;
        }
        report.estimated.extend(moved.estimated);
        report.lr = lr;
    }
    let updates = report.updates.max(1) as f64;
    report.loss /= updates;
    report.grad_norm = report.grad_norm.map(|sum| sum / updates);
    Ok(report)
}

#[cfg(test)]
mod tests;

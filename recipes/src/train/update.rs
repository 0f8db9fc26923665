//! From credit to updated parameters: each update sums over its micro-batches.
//!
//! A completion without a gradient counts in the denominator and is not computed.

use std::borrow::Cow;

use engine::loss::{Bound, Counts, LossColumns, LossConfig, LossSums};
use engine::{Activations, Model, Scores};
use evals::run::flag;
use optim::{Gradients, Objective, Optimizer, Schedule};
use rand_philox::splitmix64;

use super::log_prob_gap::LogProbGap;
use super::pack::{MicroBatch, pack, parts};
use super::params::params;
use super::table::Table;
use crate::random::{draws, shuffled};

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
    /// The rate of every `B` of an adapter over that of `A`.
    pub(crate) lr_ratio_b: f64,
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
    /// Norm before clipping, mean over updates.
    pub(crate) grad_norm: f64,
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
    optimizer: &mut dyn Optimizer,
    table: &Table,
    first: u64,
    progress: &mut dyn FnMut(usize, usize),
    after: &mut dyn FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<UpdateReport> {
    let mut report = UpdateReport { clips: vec![0; table.num_learnt], ..UpdateReport::default() };
    for groups in plan.updates(table.prompts.len()) {
        let mut update = UpdateLoss::new(plan, table, &groups, progress)?;
        let lr = plan.schedule.lr(first + report.updates, plan.total_updates);
        let step = plan.model.update(|variables| {
            optimizer.step(&params(variables, plan.lr_ratio_b), &mut update, lr)
        })?;
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
        report.loss += step.loss;
        report.grad_norm += step.grad_norm;
        report.lr = lr;
    }
    report.loss /= report.updates.max(1) as f64;
    report.grad_norm /= report.updates.max(1) as f64;
    Ok(report)
}

/// Statistics of one evaluation of the loss.
#[derive(Debug, Clone, Copy, Default)]
struct UpdateStats {
    loss: f64,
    sums: LossSums,
    gap: LogProbGap,
}

/// The loss of one update as a function of the parameters.
struct UpdateLoss<'a> {
    plan: &'a UpdatePlan<'a>,
    packs: Vec<MicroBatch<'a>>,
    counts: Counts,
    stats: UpdateStats,
    /// The log-probs of its tokens, NaN for those of others.
    log_probs: Vec<f32>,
    /// Where its tokens are clipped.
    clips: Vec<u8>,
    progress: &'a mut dyn FnMut(usize, usize),
}

impl<'a> UpdateLoss<'a> {
    fn new(
        plan: &'a UpdatePlan<'a>,
        table: &'a Table,
        groups: &[usize],
        progress: &'a mut dyn FnMut(usize, usize),
    ) -> engine::Result<Self> {
        let samples = groups.iter().flat_map(|&group| table.samples_of(group));
        let counted = samples.filter(|&sample| !table.credit.filtered[sample]);
        let lengths: Vec<_> = counted.map(|one| table.samples[one].entries.len()).collect();
        let packs =
            pack(table, groups.iter().copied(), plan.budget, |sample| !table.credit.idle[sample])?;
        Ok(Self {
            plan,
            packs,
            counts: Counts::of(&lengths),
            stats: UpdateStats::default(),
            log_probs: vec![f32::NAN; table.num_learnt],
            clips: vec![0; table.num_learnt],
            progress,
        })
    }

    fn rows(&self) -> usize {
        self.packs.iter().map(|pack| pack.packed.rows()).sum()
    }

    /// Computes the loss of all micro-batches, and adds their gradients `into`, if given.
    fn run_micro_batches(&mut self, mut into: Option<&mut Gradients>) -> engine::Result<f64> {
        let plan = self.plan;
        let mut stats = UpdateStats::default();
        for (done, pack) in self.packs.iter().enumerate() {
            (self.progress)(done, self.packs.len());
            let (scores, bounds) =
                micro_batch_loss(plan, pack, self.counts, into.as_deref_mut(), &mut stats)?;
            if !bounds.is_empty() {
                let bits: Vec<_> = bounds.into_iter().map(bits).collect();
                pack.part.scatter(&bits, &mut self.clips);
            }
            pack.part.scatter(&scores.log_probs, &mut self.log_probs);
            let Some(rollout) = &pack.part.table.rollout else { continue };
            let rollout = pack.part.column(&rollout.log_probs);
            for (&rollout, &training) in rollout.iter().zip(&scores.log_probs) {
                stats.gap.add(rollout, training);
            }
        }
        self.stats = stats;
        Ok(stats.loss)
    }
}

impl Objective for UpdateLoss<'_> {
    fn value(&mut self) -> optim::Result<f64> {
        self.run_micro_batches(None).map_err(of_objective)
    }

    fn gradient(&mut self, into: &mut Gradients) -> optim::Result<f64> {
        if self.packs.is_empty() {
            // No completion has a gradient: the sum is zero, which is not the same as none.
            for (index, parameter) in self.plan.model.trainable().enumerate() {
                into.add(index, parameter.tensor.zeros_like()?)?;
            }
        }
        self.run_micro_batches(Some(into)).map_err(of_objective)
    }
}

/// An error of the loss as the optimizer reports it.
fn of_objective(error: engine::Error) -> optim::Error {
    match error {
        engine::Error::Loss(loss) => optim::Error::NonFiniteLoss { loss },
        error => optim::Error::Objective(error.into()),
    }
}

/// Computes the loss of one micro-batch, and adds its gradient `into`, if given. Returns the scores
/// of its tokens, and where they are clipped.
fn micro_batch_loss(
    plan: &UpdatePlan<'_>,
    pack: &MicroBatch<'_>,
    counts: Counts,
    into: Option<&mut Gradients>,
    stats: &mut UpdateStats,
) -> engine::Result<(Scores, Vec<Bound>)> {
    let MicroBatch { packed, targets, part } = pack;
    let (model, table, credit) = (plan.model, part.table, &part.table.credit);
    let lengths: Vec<_> = part.lengths().collect();
    let coefficients = plan.loss.aggregation.coefficients(&lengths, counts)?;
    let (advantages, weights) = (part.spread(&credit.advantages), part.column(&credit.weights));
    let old = table.old().map_or(Cow::default(), |old| part.column(&old.log_probs));
    let reference = table.scores.reference.as_ref().map(|column| part.column(column));
    let importance = credit.importance.as_ref().map(|column| part.column(column));
    let penalties = credit.penalties.as_ref().map(|column| part.column(column));
    let columns = LossColumns {
        old_log_probs: &old,
        advantages: &advantages,
        weights: &weights,
        ref_log_probs: reference.as_deref(),
        importance: importance.as_deref(),
        penalties: penalties.as_deref(),
        coefficients: &coefficients,
        lengths: &lengths,
    };
    let mut bounds = Vec::new();
    let mut loss = |scores: &engine::ScoreTensors| {
        let (log_probs, entropies) = (&scores.log_probs, &scores.entropies);
        let (loss, sums, found) = plan.loss.loss_and_bounds(log_probs, entropies, &columns)?;
        stats.sums += sums;
        bounds = found;
        Ok(loss)
    };
    let passed = match into {
        None => engine::forward(model, packed, targets, plan.temperature, &mut loss)?,
        Some(into) => engine::backward(
            model,
            packed,
            targets,
            plan.temperature,
            plan.activations,
            &mut loss,
            &mut |index, gradient| {
                into.add(index, gradient).map_err(|error| engine::Error::Sink(error.into()))
            },
        )?,
    };
    stats.loss += passed.loss;
    Ok((passed.scores, bounds))
}

/// A bound as a bit of the record's flags.
fn bits(bound: Bound) -> u8 {
    match bound {
        Bound::Within => 0,
        Bound::Upper => flag::CLIPPED_ABOVE,
        Bound::Lower => flag::CLIPPED_BELOW,
    }
}

#[cfg(test)]
mod tests;

//! The loss of one update as a function of the parameters: its gradient, or its values at probes.

use std::borrow::Cow;

use engine::lockstep::Probe;
use engine::loss::{Bound, Counts, LossColumns, LossSums};
use engine::stream::Perturbed;
use engine::{ScoreTensors, Scores};
use evals::run::flag;
use optim::{Gradients, Objective};

use super::UpdatePlan;
use crate::train::log_prob_gap::LogProbGap;
use crate::train::pack::{MicroBatch, pack};
use crate::train::table::Table;

/// Statistics of one evaluation of the loss.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UpdateStats {
    pub(super) loss: f64,
    pub(super) sums: LossSums,
    pub(super) gap: LogProbGap,
}

/// The loss of one update as a function of the parameters.
pub(crate) struct UpdateLoss<'a> {
    pub(super) plan: &'a UpdatePlan<'a>,
    packs: Vec<MicroBatch<'a>>,
    pub(super) counts: Counts,
    pub(super) stats: UpdateStats,
    /// The log-probs of its tokens, NaN for those of others.
    pub(super) log_probs: Vec<f32>,
    /// Where its tokens are clipped.
    pub(super) clips: Vec<u8>,
    progress: &'a mut dyn FnMut(usize, usize),
}

impl<'a> UpdateLoss<'a> {
    pub(super) fn new(
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

    pub(super) fn rows(&self) -> usize {
        self.packs.iter().map(|pack| pack.packed.rows()).sum()
    }

    /// Whether the tokens were sampled, so that there is something to compare their log-probs with.
    pub(crate) fn is_of_rollouts(&self) -> bool {
        self.packs.first().is_some_and(|pack| pack.part.table.rollout.is_some())
    }

    /// The loss of the parameters as each of these has them; `None` as they are. A loss that is not
    /// finite is no error. Statistics are those of the parameters as they are, where they are among
    /// them.
    pub(crate) fn values(&mut self, probes: &[Option<&Perturbed<'_>>]) -> engine::Result<Vec<f64>> {
        let mut losses = vec![0.0; probes.len()];
        let mut stats = UpdateStats::default();
        for done in 0..self.packs.len() {
            (self.progress)(done, self.packs.len());
            // As many at a time as a pass may have rows.
            let rows = self.packs[done].packed.rows().max(1);
            let together = (self.plan.budget / rows).max(1);
            let mut first = 0;
            for some in probes.chunks(together) {
                self.values_of(done, some, &mut losses[first..][..some.len()], &mut stats)?;
                first += some.len();
            }
        }
        let as_they_are = probes.iter().zip(&losses).find(|(probe, _)| probe.is_none());
        stats.loss = as_they_are.map_or(f64::NAN, |(_, loss)| *loss);
        self.stats = stats;
        Ok(losses)
    }

    /// Adds the loss of one micro-batch at some probes to `losses`.
    fn values_of(
        &mut self,
        index: usize,
        probes: &[Option<&Perturbed<'_>>],
        losses: &mut [f64],
        stats: &mut UpdateStats,
    ) -> engine::Result<()> {
        let (plan, pack) = (self.plan, &self.packs[index]);
        let (packed, targets) = (&pack.packed, &pack.targets[..]);
        let each = probes.iter().map(|&perturbed| Probe { perturbed, packed, targets });
        let each: Vec<_> = each.collect();
        let mut bounds = Vec::new();
        let outputs = with_columns(plan, pack, self.counts, |columns| {
            plan.model.policy().forward_each(&each, plan.temperature, &mut |member, scores| {
                let ScoreTensors { log_probs, entropies } = scores;
                let (loss, sums, found) =
                    plan.loss.loss_and_bounds(log_probs, entropies, columns)?;
                if probes[member].is_none() {
                    stats.sums += sums;
                    bounds = found;
                }
                Ok(loss)
            })
        })?;
        for ((output, loss), probe) in outputs.into_iter().zip(losses).zip(probes) {
            *loss += output.loss;
            if probe.is_none() {
                self.keep(index, &output.scores, std::mem::take(&mut bounds), stats);
            }
        }
        Ok(())
    }

    /// Computes the loss of all micro-batches, and adds their gradients `into`, if given.
    fn run_micro_batches(&mut self, mut into: Option<&mut Gradients>) -> engine::Result<f64> {
        let mut stats = UpdateStats::default();
        for index in 0..self.packs.len() {
            (self.progress)(index, self.packs.len());
            let pack = &self.packs[index];
            let (scores, bounds) =
                micro_batch_loss(self.plan, pack, self.counts, into.as_deref_mut(), &mut stats)?;
            self.keep(index, &scores, bounds, &mut stats);
        }
        self.stats = stats;
        Ok(stats.loss)
    }

    /// Keeps what a micro-batch says of its tokens.
    fn keep(&mut self, index: usize, scores: &Scores, bounds: Vec<Bound>, stats: &mut UpdateStats) {
        let part = &self.packs[index].part;
        if !bounds.is_empty() {
            let bits: Vec<_> = bounds.into_iter().map(bits).collect();
            part.scatter(&bits, &mut self.clips);
        }
        part.scatter(&scores.log_probs, &mut self.log_probs);
        let Some(rollout) = &part.table.rollout else { return };
        let rollout = part.column(&rollout.log_probs);
        for (&rollout, &training) in rollout.iter().zip(&scores.log_probs) {
            stats.gap.add(rollout, training);
        }
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
    let (packed, targets) = (&pack.packed, &pack.targets);
    let mut bounds = Vec::new();
    let passed = with_columns(plan, pack, counts, |columns| {
        let mut loss = |scores: &ScoreTensors| {
            let (log_probs, entropies) = (&scores.log_probs, &scores.entropies);
            let (loss, sums, found) = plan.loss.loss_and_bounds(log_probs, entropies, columns)?;
            stats.sums += sums;
            bounds = found;
            Ok(loss)
        };
        match into {
            None => engine::forward(plan.model, packed, targets, plan.temperature, &mut loss),
            Some(into) => engine::backward(
                plan.model,
                packed,
                targets,
                plan.temperature,
                plan.activations,
                &mut loss,
                &mut |index, gradient| {
                    into.add(index, gradient).map_err(|error| engine::Error::Sink(error.into()))
                },
            ),
        }
    })?;
    stats.loss += passed.loss;
    Ok((passed.scores, bounds))
}

/// Calls `f` with what the loss of a micro-batch is a function of, besides its scores.
fn with_columns<R>(
    plan: &UpdatePlan<'_>,
    pack: &MicroBatch<'_>,
    counts: Counts,
    f: impl FnOnce(&LossColumns<'_>) -> engine::Result<R>,
) -> engine::Result<R> {
    let part = &pack.part;
    let (table, credit) = (part.table, &part.table.credit);
    let lengths: Vec<_> = part.lengths().collect();
    let coefficients = plan.loss.aggregation.coefficients(&lengths, counts)?;
    let (advantages, weights) = (part.spread(&credit.advantages), part.column(&credit.weights));
    let old = table.old().map_or(Cow::default(), |old| part.column(&old.log_probs));
    let reference = table.scores.reference.as_ref().map(|column| part.column(column));
    let importance = credit.importance.as_ref().map(|column| part.column(column));
    let penalties = credit.penalties.as_ref().map(|column| part.column(column));
    f(&LossColumns {
        old_log_probs: &old,
        advantages: &advantages,
        weights: &weights,
        ref_log_probs: reference.as_deref(),
        importance: importance.as_deref(),
        penalties: penalties.as_deref(),
        coefficients: &coefficients,
        lengths: &lengths,
    })
}

/// A bound as a bit of the record's flags.
fn bits(bound: Bound) -> u8 {
    match bound {
        Bound::Within => 0,
        Bound::Upper => flag::CLIPPED_ABOVE,
        Bound::Lower => flag::CLIPPED_BELOW,
    }
}

//! From credit to moved parameters: updates, each over its micro-batches.
//!
//! A completion without a gradient counts in the denominator and is not computed.

use engine::loss::{Counts, LossColumns, LossConfig, LossSums};
use engine::{Activations, Model, Scores};
use optim::{Gradients, Objective, Optimizer, Schedule};

use super::pack::{MicroBatch, Prompted, Sample, pack};
use super::params::params;

/// What does not change between the updates of a stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) model: &'a Model,
    pub(crate) loss: &'a LossConfig,
    pub(crate) temperature: f64,
    pub(crate) activations: Activations,
    /// Rows that one pass may hold.
    pub(crate) budget: usize,
    pub(crate) updates_per_step: usize,
    pub(crate) schedule: &'a Schedule,
    /// Updates of the whole stage.
    pub(crate) total_updates: u64,
}

/// What the updates of a step saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Descended {
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
    /// Distance of the rollout's log-probs from those of the first update.
    pub(crate) gap: Gap,
    /// Rows of all packs.
    pub(crate) rows: usize,
}

/// Updates on `groups`, split evenly in their order, from update number `first` on.
pub(crate) fn descend(
    plan: &Plan<'_>,
    optimizer: &mut dyn Optimizer,
    groups: &[Prompted],
    first: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> anyhow::Result<Descended> {
    let mut report = Descended::default();
    for part in parts(groups, plan.updates_per_step) {
        let mut update = Update::new(plan, part, progress)?;
        let lr = plan.schedule.lr(first + report.updates, plan.total_updates);
        let step =
            plan.model.update(|variables| optimizer.step(&params(variables), &mut update, lr))?;
        if report.updates == 0 {
            report.gap = update.seen.gap;
        }
        report.sums += update.seen.sums;
        report.tokens += update.counts.tokens;
        report.rows += update.rows();
        report.updates += 1;
        report.loss += step.loss;
        report.grad_norm += step.grad_norm;
        report.lr = lr;
    }
    report.loss /= report.updates.max(1) as f64;
    report.grad_norm /= report.updates.max(1) as f64;
    Ok(report)
}

/// `groups` in `count` runs of nearly equal length; runs without a group are left out.
pub(crate) fn parts(groups: &[Prompted], count: usize) -> impl Iterator<Item = &[Prompted]> {
    let bound = move |part: usize| part * groups.len() / count;
    (0..count)
        .map(move |part| &groups[bound(part)..bound(part + 1)])
        .filter(|part| !part.is_empty())
}

/// The scores of all samples of `groups`, in order, without a graph.
pub(crate) fn score(
    model: &Model,
    groups: &[Prompted],
    temperature: f64,
    budget: usize,
) -> engine::Result<Vec<Scores>> {
    let mut columns = Vec::new();
    for pack in pack(groups, budget, |_| true)? {
        let scores = model.score(&pack.packed, &pack.targets, temperature)?;
        let mut start = 0;
        for sample in &pack.samples {
            let own = start..start + sample.num_learnt();
            columns.push(Scores {
                log_probs: scores.log_probs[own.clone()].to_vec(),
                entropies: scores.entropies[own.clone()].to_vec(),
                phi_sums: scores.phi_sums[own.clone()].to_vec(),
            });
            start = own.end;
        }
    }
    Ok(columns)
}

/// How far the rollout's log-probs are from training's: sums over tokens, in nats.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gap {
    tokens: f64,
    difference: f64,
    distance: f64,
    k3: f64,
    pub(crate) max: f64,
}

impl Gap {
    fn see(&mut self, rollout: f32, training: f32) {
        let ratio = f64::from(training) - f64::from(rollout);
        self.tokens += 1.0;
        self.difference -= ratio;
        self.distance += ratio.abs();
        self.k3 += ratio.exp() - ratio - 1.0;
        self.max = self.max.max(ratio.abs());
    }

    /// Whether anything was seen.
    pub(crate) fn is_known(&self) -> bool {
        self.tokens > 0.0
    }

    /// Mean of rollout minus training log-prob.
    pub(crate) fn kl(&self) -> f64 {
        self.difference / self.tokens
    }

    /// The k3 estimate of the same.
    pub(crate) fn k3(&self) -> f64 {
        self.k3 / self.tokens
    }

    /// Mean distance.
    pub(crate) fn mean(&self) -> f64 {
        self.distance / self.tokens
    }
}

/// What one evaluation of the loss saw.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    loss: f64,
    sums: LossSums,
    gap: Gap,
}

/// The loss of one update as a function of the parameters.
struct Update<'a> {
    plan: &'a Plan<'a>,
    packs: Vec<MicroBatch<'a>>,
    counts: Counts,
    seen: Seen,
    progress: &'a mut dyn FnMut(usize, usize),
}

impl<'a> Update<'a> {
    fn new(
        plan: &'a Plan<'a>,
        groups: &'a [Prompted],
        progress: &'a mut dyn FnMut(usize, usize),
    ) -> engine::Result<Self> {
        let samples = groups.iter().flat_map(|group| &group.samples);
        let counted = samples.filter(|sample| !sample.filtered);
        let lengths: Vec<_> = counted.map(Sample::num_learnt).collect();
        let packs = pack(groups, plan.budget, |sample| !sample.without_gradient)?;
        Ok(Self { plan, packs, counts: Counts::of(&lengths), seen: Seen::default(), progress })
    }

    fn rows(&self) -> usize {
        self.packs.iter().map(|pack| pack.packed.rows()).sum()
    }

    /// Walks all micro-batches; gradients go `into` where there is one.
    fn walk(&mut self, mut into: Option<&mut Gradients>) -> engine::Result<f64> {
        let plan = self.plan;
        let mut seen = Seen::default();
        for (done, pack) in self.packs.iter().enumerate() {
            (self.progress)(done, self.packs.len());
            let columns = Columns::of(plan.loss, pack, self.counts)?;
            let scores = loss_of(plan, pack, &columns, into.as_deref_mut(), &mut seen)?;
            for (&rollout, &training) in columns.rollout.iter().zip(&scores.log_probs) {
                seen.gap.see(rollout, training);
            }
        }
        self.seen = seen;
        Ok(seen.loss)
    }
}

impl Objective for Update<'_> {
    fn value(&mut self) -> optim::Result<f64> {
        self.walk(None).map_err(|error| optim::Error::Objective(error.into()))
    }

    fn gradient(&mut self, into: &mut Gradients) -> optim::Result<f64> {
        if self.packs.is_empty() {
            // No completion has a gradient: the sum is zero, which is not the same as a missing one.
            for (index, parameter) in self.plan.model.trainable().enumerate() {
                into.add(index, parameter.tensor.zeros_like()?)?;
            }
        }
        self.walk(Some(into)).map_err(|error| optim::Error::Objective(error.into()))
    }
}

/// Loss of one micro-batch, its gradient added `into` where there is one.
fn loss_of(
    plan: &Plan<'_>,
    pack: &MicroBatch<'_>,
    columns: &Columns,
    into: Option<&mut Gradients>,
    seen: &mut Seen,
) -> engine::Result<Scores> {
    let (model, packed, targets) = (plan.model, &pack.packed, &pack.targets);
    let mut loss = |scores: &engine::ScoreTensors| {
        let (loss, sums) =
            plan.loss.loss(&scores.log_probs, &scores.entropies, &columns.borrow())?;
        seen.sums += sums;
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
    seen.loss += passed.loss;
    Ok(passed.scores)
}

/// Columns of a micro-batch, sample after sample.
#[derive(Debug, Default)]
struct Columns {
    rollout: Vec<f32>,
    old: Vec<f32>,
    reference: Vec<f32>,
    advantages: Vec<f64>,
    weights: Vec<f64>,
    penalties: Vec<f64>,
    importance: Vec<f64>,
    coefficients: Vec<f64>,
    lengths: Vec<usize>,
}

impl Columns {
    fn of(loss: &LossConfig, pack: &MicroBatch<'_>, counts: Counts) -> engine::Result<Self> {
        let lengths: Vec<_> = lengths(pack).collect();
        let coefficients = loss.aggregation.coefficients(&lengths, counts)?;
        let mut columns = Self { coefficients, lengths, ..Self::default() };
        for sample in &pack.samples {
            columns.rollout.extend(&sample.rollout_log_probs);
            columns.old.extend(&sample.old_log_probs);
            columns.reference.extend(&sample.ref_log_probs);
            columns.weights.extend(&sample.weights);
            columns.penalties.extend(&sample.penalties);
            columns.importance.extend(&sample.importance);
            let tokens = sample.num_learnt();
            columns.advantages.extend(std::iter::repeat_n(sample.advantage, tokens));
        }
        Ok(columns)
    }

    fn borrow(&self) -> LossColumns<'_> {
        LossColumns {
            old_log_probs: &self.old,
            advantages: &self.advantages,
            weights: &self.weights,
            ref_log_probs: (!self.reference.is_empty()).then_some(&self.reference),
            importance: (!self.importance.is_empty()).then_some(&self.importance),
            penalties: (!self.penalties.is_empty()).then_some(&self.penalties),
            coefficients: &self.coefficients,
            lengths: &self.lengths,
        }
    }
}

fn lengths<'a>(pack: &'a MicroBatch<'_>) -> impl Iterator<Item = usize> + 'a {
    pack.samples.iter().map(|sample| sample.num_learnt())
}

#[cfg(test)]
mod tests {
    use candle::DType;

    use super::*;

    #[test]
    fn groups_are_split_evenly_and_none_is_lost() {
        let groups = vec![Prompted::default(); 7];
        let sizes = |count| parts(&groups, count).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(1), [7]);
        assert_eq!(sizes(3), [2, 2, 3]);
        assert_eq!(sizes(9).len(), 7);
    }

    fn sample(advantage: f64, tokens: &[u32]) -> Sample {
        Sample {
            completion: tokens.to_vec(),
            old_log_probs: vec![-4.5; tokens.len()],
            weights: vec![1.0; tokens.len()],
            advantage,
            without_gradient: advantage == 0.0,
            ..Sample::default()
        }
    }

    fn plan<'a>(model: &'a Model, loss: &'a LossConfig, schedule: &'a Schedule) -> Plan<'a> {
        Plan {
            model,
            loss,
            temperature: 1.0,
            activations: Activations::Keep,
            budget: 100,
            updates_per_step: 1,
            schedule,
            total_updates: 1,
        }
    }

    fn model() -> Model {
        let builtin = crate::builtin::Builtin::find("atom").unwrap();
        builtin.make(1, DType::F32, &candle::Device::Cpu).unwrap().0
    }

    /// Parameters after one update on `groups`, and what it saw.
    fn updated(groups: &[Prompted]) -> (Vec<Vec<f32>>, Descended) {
        updated_of(&model(), groups)
    }

    fn updated_of(model: &Model, groups: &[Prompted]) -> (Vec<Vec<f32>>, Descended) {
        let schedule = Schedule::Constant { lr: 1e-3, warmup: 0 };
        let loss = LossConfig::default();
        let plan = plan(model, &loss, &schedule);
        let still = optim::AdamWConfig { weight_decay: 0.0, ..optim::AdamWConfig::default() };
        let still = optim::OptimConfig::AdamW(still);
        let mut optimizer = crate::train::params::optimizer(&still, model).unwrap();
        let seen = descend(&plan, optimizer.as_mut(), groups, 0, &mut |_, _| {}).unwrap();
        let values = |parameter: &engine::Parameter| {
            parameter.tensor.flatten_all().unwrap().to_vec1().unwrap()
        };
        (model.parameters().iter().map(values).collect(), seen)
    }

    #[test]
    fn an_update_moves_the_trainable_parameters_only() {
        let groups = two_groups(sample(0.0, &[8, 9, 10]));
        let mut model = model();
        let (before, _) = updated_of(&model, &[]);
        model.freeze(|name| !name.contains("norm")).unwrap();
        let (after, seen) = updated_of(&model, &groups);
        assert!(seen.grad_norm > 0.0);
        for ((parameter, before), after) in model.parameters().iter().zip(&before).zip(&after) {
            assert_eq!(before != after, parameter.trainable, "{}", parameter.name);
        }
    }

    /// A group with a gradient, and one of `other`.
    fn two_groups(other: Sample) -> [Prompted; 2] {
        let active = vec![sample(1.0, &[3, 4]), sample(-1.0, &[5, 6, 7])];
        [
            Prompted { prompt: vec![1, 2], samples: active },
            Prompted { prompt: vec![2, 2, 2], samples: vec![other; 2] },
        ]
    }

    #[test]
    fn a_completion_without_advantage_costs_nothing_and_counts() {
        let with = |advantage| updated(&two_groups(sample(advantage, &[8, 9, 10])));
        let ((skipped, few), (computed, all)) = (with(0.0), with(1e-30));
        assert_eq!((few.rows, all.rows), (2 + 1 + 2, 2 + 1 + 2 + 3 + 2 + 2));
        assert_eq!((few.tokens, all.tokens), (11, 11));
        assert!((few.grad_norm - all.grad_norm).abs() < 1e-6 * all.grad_norm);
        // A tenth of the learning rate: Adam magnifies the rounding of gradients near its epsilon.
        for (skipped, computed) in skipped.iter().flatten().zip(computed.iter().flatten()) {
            assert!((skipped - computed).abs() < 1e-4, "{skipped} {computed}");
        }
    }

    #[test]
    fn a_filtered_completion_is_in_no_count() {
        let filtered = Sample { filtered: true, ..sample(0.0, &[8, 9, 10]) };
        let (_, without) = updated(&two_groups(filtered));
        let (_, alone) = updated(&two_groups(sample(0.0, &[8, 9, 10]))[..1]);
        assert_eq!(without.tokens, 5);
        assert_eq!((without.loss, without.grad_norm), (alone.loss, alone.grad_norm));
    }

    #[test]
    fn a_step_without_any_gradient_costs_nothing_and_moves_nothing() {
        let samples = vec![sample(0.0, &[3, 4]); 2];
        let (after, seen) = updated(&[Prompted { prompt: vec![1, 2], samples }]);
        assert_eq!((seen.rows, seen.tokens, seen.updates), (0, 4, 1));
        assert_eq!((seen.loss, seen.grad_norm), (0.0, 0.0));
        let (before, _) = updated(&[]);
        assert_eq!(after, before);
    }

    #[test]
    fn the_loss_alone_is_the_loss_of_the_gradient() {
        let builtin = crate::builtin::Builtin::find("atom").unwrap();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let (model, _) = builtin.make(1, dtype, &candle::Device::Cpu).unwrap();
            let loss = LossConfig { entropy_coefficient: 0.1, ..LossConfig::default() };
            let schedule = Schedule::Constant { lr: 1e-3, warmup: 0 };
            let plan = plan(&model, &loss, &schedule);
            let groups = two_groups(sample(0.5, &[8, 9, 10]));
            let mut progress = |_, _| {};
            let mut update = Update::new(&plan, &groups, &mut progress).unwrap();
            let value = update.value().unwrap();
            let alone = update.seen;
            let gradients = model.update(|variables| Gradients::new(&params(variables)));
            let gradient = update.gradient(&mut gradients.unwrap()).unwrap();
            assert_eq!(value.to_bits(), gradient.to_bits(), "{dtype:?}");
            assert_eq!(alone.sums, update.seen.sums, "{dtype:?}");
        }
    }

    #[test]
    fn equal_log_probs_have_no_gap() {
        let mut gap = Gap::default();
        assert!(!gap.is_known());
        gap.see(-1.0, -1.0);
        gap.see(-1.0, -1.5);
        assert_eq!((gap.kl(), gap.mean(), gap.max), (0.25, 0.25, 0.5));
        assert!((gap.k3() - (f64::exp(-0.5) + 0.5 - 1.0) / 2.0).abs() < 1e-12);
    }
}

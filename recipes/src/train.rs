//! The loop: gather, rescore, credit, descend, summarize.
//!
//! Reading order: this file, one step after the other; `train/gather.rs`, `train/credit.rs` and
//! `train/descend.rs` are its parts; `train/life.rs` is the run around the steps: resume,
//! evaluation, checkpoints, the end.

mod clock;
mod columns;
mod credit;
pub(crate) mod descend;
mod gather;
pub(crate) mod life;
pub(crate) mod pack;
mod probe;
mod report;
pub(crate) mod stage;

use anyhow::Result;
use engine::Scores;
use engine::loss::LossConfig;
use evals::attempt::Graded;
use evals::record::Credit;
use evals::{Metrics, Target, Warning};
use rewards::Problem;

pub use life::{Ended, Job, Options, train};

use crate::config::{OldLogProbs, RlStage, SftStage, Stage};
use crate::fit;
use clock::Clock;
use descend::{Descended, descend, score};
use gather::Gathered;
use pack::{Prompted, Sample};
use stage::StageRun;

/// What a step leaves behind.
#[derive(Debug)]
struct Done {
    metrics: Metrics,
    timings: Metrics,
    warnings: Vec<Warning>,
    /// What was sampled and learnt from; none in supervised stages.
    groups: Vec<Graded>,
    credits: Vec<Credit>,
}

impl StageRun<'_> {
    /// One step; `step` counts the steps done before it, over the whole run.
    fn step(&mut self, step: u64) -> Result<Done> {
        match self.stage {
            Stage::Rl(config) => self.reinforce(config, step),
            Stage::Sft(config) => self.imitate(config),
        }
    }

    /// A step of reinforcement learning, in the order the data flows.
    fn reinforce(&mut self, config: &RlStage, step: u64) -> Result<Done> {
        let mut clock = Clock::start();
        let gathered = self.gather(config, step, &mut clock)?;
        let mut samples = rollouts(&gathered.groups);
        self.rescore(config, &mut samples, &mut clock)?;
        let credited = clock
            .time("timing_s/adv", || self.credit(config, step, &gathered.groups, &mut samples))?;
        let probe = self.probe(config, step, &mut clock)?;
        let entropy_coefficient = credited.entropy_coefficient;
        let loss = LossConfig { entropy_coefficient, ..config.loss.clone() };
        let descended = self.descend(&loss, &samples, &mut clock)?;
        let mut metrics = self.summarize(config, &gathered, &samples, &descended)?;
        for (key, value) in credited.said {
            metrics.set(key, value)?;
        }
        if let Some(probe) = probe {
            for (key, value) in self.probed(config, &probe, &samples, &mut clock)? {
                metrics.set(key, value)?;
            }
        }
        let timings = report::timings(clock, &descended, Some(&gathered))?;
        let credits = samples
            .into_iter()
            .flat_map(|group| group.samples)
            .map(|sample| Credit { advantage: sample.advantage, weights: sample.weights });
        let credits = credits.collect();
        let Gathered { groups, warnings, .. } = gathered;
        Ok(Done { metrics, timings, warnings, groups, credits })
    }

    /// A supervised step: the data's own completions, each with credit 1.
    fn imitate(&mut self, config: &SftStage) -> Result<Done> {
        let mut clock = Clock::start();
        let samples = self.solutions(config.batch.get())?;
        let loss = stage::likelihood();
        let descended = self.descend(&loss, &samples, &mut clock)?;
        let metrics = self.summarize_imitation(&samples, &descended)?;
        let timings = report::timings(clock, &descended, None)?;
        let (warnings, groups, credits) = Default::default();
        Ok(Done { metrics, timings, warnings, groups, credits })
    }

    /// Fills in what the loss compares with: log-probs of a reference model, or of this one again.
    fn rescore(&self, config: &RlStage, samples: &mut [Prompted], clock: &mut Clock) -> Result<()> {
        let (temperature, budget) = (config.rollout.temperature, config.micro_batch_tokens.get());
        if config.old_log_probs == OldLogProbs::Rescore {
            let old = clock.time("timing_s/old_log_prob", || -> Result<_> {
                Ok(score(self.run.model, samples, temperature, budget)?)
            })?;
            let each = samples.iter_mut().flat_map(|group| &mut group.samples);
            for (sample, Scores { log_probs, entropies, phi_sums }) in each.zip(old) {
                (sample.old_log_probs, sample.entropies) = (log_probs, entropies);
                sample.phi_sums = phi_sums;
            }
        }
        if let Some(reference) = &self.reference {
            let own = clock.time("timing_s/ref", || -> Result<_> {
                Ok(score(reference, samples, temperature, budget)?)
            })?;
            let each = samples.iter_mut().flat_map(|group| &mut group.samples);
            each.zip(own).for_each(|(sample, own)| sample.ref_log_probs = own.log_probs);
        }
        Ok(())
    }

    /// Moves the parameters.
    fn descend(
        &mut self,
        loss: &LossConfig,
        samples: &[Prompted],
        clock: &mut Clock,
    ) -> Result<Descended> {
        let descent = self.stage.descent();
        let plan = descend::Plan {
            model: self.run.model,
            loss,
            temperature: self.temperature(),
            activations: self.activations,
            budget: descent.micro_batch_tokens,
            updates_per_step: descent.updates_per_step,
            schedule: descent.schedule,
            total_updates: self.stage.total_updates(),
        };
        let console = self.run.console;
        let descended = clock.time("timing_s/update_actor", || {
            descend(&plan, self.optimizer.as_mut(), samples, self.updates, &mut |done, total| {
                console.now("updating", done, total);
            })
        })?;
        self.updates += descended.updates;
        Ok(descended)
    }

    /// The next `count` problems with their solutions as completions.
    fn solutions(&mut self, count: usize) -> Result<Vec<Prompted>> {
        let (text, style) = (self.run.text, &self.run.recipe.prompt);
        let end = style.end(text);
        let prompted = |(_, problem): (u64, &Problem)| -> Result<Prompted> {
            let Target { prompt, completion, learnt } = fit::target(style, text, problem, end)?;
            let mut sample = Sample { completion, learnt, advantage: 1.0, ..Sample::default() };
            sample.weights = vec![1.0; sample.num_learnt()];
            Ok(Prompted { prompt, samples: vec![sample] })
        };
        self.draw(count).into_iter().map(prompted).collect()
    }
}

/// What was sampled, as the loss takes it: the rollout's log-probs are the old ones.
fn rollouts(groups: &[Graded]) -> Vec<Prompted> {
    let prompted = |group: &Graded| Prompted {
        prompt: group.prompt.clone(),
        samples: group
            .completions
            .iter()
            .map(|one| Sample {
                completion: one.trajectory.completion.clone(),
                rollout_log_probs: one.trajectory.log_probs.clone(),
                old_log_probs: one.trajectory.log_probs.clone(),
                entropies: one.trajectory.entropies.clone(),
                phi_sums: one.trajectory.phi_sums.clone(),
                ..Sample::default()
            })
            .collect(),
    };
    groups.iter().map(prompted).collect()
}

/// The mean of `values`, summed in their order; 0 of none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0_u64, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

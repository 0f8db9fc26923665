//! The loop: gather, rescore, credit, descend, summarize.
//!
//! Reading order: this file, one step after the other; `train/descend.rs` moves the parameters;
//! `train/life.rs` is the run around the steps: resume, evaluation, checkpoints, the end.

mod clock;
mod columns;
mod console;
pub(crate) mod descend;
pub(crate) mod life;
pub(crate) mod pack;
mod report;
pub(crate) mod stage;

use anyhow::{Result, bail};
use engine::loss::Counts;
use evals::attempt::{Asked, Graded, Setup};
use evals::record::Credit;
use evals::{Metrics, Warning, health};
use rewards::{GroupRewards, Problem};
use rollout::{Key, Purpose};

pub use console::Console;
pub use life::{Ended, Job, Options, train};

use crate::config::{OldLogProbs, RlStage, SftStage, Stage};
use clock::Clock;
use columns::TokenTable;
use descend::{Descended, descend, score};
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

/// Everything sampled in a step.
struct Gathered {
    /// Judged, and learnt from.
    groups: Vec<Graded>,
    /// Groups whose gold cannot be parsed.
    dropped: usize,
    warnings: Vec<Warning>,
}

impl<'a> StageRun<'a> {
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
        let said =
            clock.time("timing_s/adv", || self.credit(config, &gathered.groups, &mut samples))?;
        let descended = self.descend(&config.loss, &samples, &mut clock)?;
        let mut metrics = self.summarize(config, &gathered, &samples, &descended)?;
        for (key, value) in said {
            metrics.set(key, value)?;
        }
        let timings = report::timings(clock, &descended, Some(&gathered.groups))?;
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

    /// Samples and judges the step's problems; drops the groups that cannot be judged.
    fn gather(&mut self, config: &RlStage, step: u64, clock: &mut Clock) -> Result<Gathered> {
        let drawn = self.draw(config.batch.get());
        let asked: Vec<_> =
            drawn.iter().map(|&(number, problem)| Asked { number, problem }).collect();
        let setup = Setup {
            model: self.run.model,
            text: self.run.text,
            style: &self.run.recipe.prompt,
            sampling: &config.rollout,
            slots: config.slots.get(),
            rubric: self.rubric.as_ref().expect("a stage that samples has a rubric"),
        };
        let key = Key { seed: self.run.recipe.seed, purpose: Purpose::Train, step };
        let console = self.run.console;
        let sampled = clock.time("timing_s/gen", || {
            setup.sample(&asked, config.group_size.get(), key, &mut |progress| {
                console.now("sampling", progress.finished, progress.sequences);
            })
        })?;
        let all = clock.time("timing_s/reward", || setup.judge(&asked, sampled))?;
        let warnings = health::look(&all);
        let sampled = all.len();
        let groups: Vec<_> = all.into_iter().filter(|group| !group.gold_unparseable()).collect();
        if groups.is_empty() {
            bail!(
                "no group of step {} can be judged: the gold answers of all {sampled} problems \
                 cannot be parsed\ncheck `answer` in the data file and the verifier of the stage",
                step + 1
            );
        }
        Ok(Gathered { dropped: sampled - groups.len(), groups, warnings })
    }

    /// Fills in what the loss compares with: log-probs of a reference model, or of this one again.
    fn rescore(&self, config: &RlStage, samples: &mut [Prompted], clock: &mut Clock) -> Result<()> {
        let (temperature, budget) = (config.rollout.temperature, config.micro_batch_tokens.get());
        if config.old_log_probs == OldLogProbs::Rescore {
            let old = clock.time("timing_s/old_log_prob", || -> Result<_> {
                Ok(score(self.run.model, samples, temperature, budget)?)
            })?;
            let each = samples.iter_mut().flat_map(|group| &mut group.samples);
            each.zip(old).for_each(|(sample, old)| sample.old_log_probs = old);
        }
        if let Some(reference) = &self.reference {
            let own = clock.time("timing_s/ref", || -> Result<_> {
                Ok(score(reference, samples, temperature, budget)?)
            })?;
            let each = samples.iter_mut().flat_map(|group| &mut group.samples);
            each.zip(own).for_each(|(sample, own)| sample.ref_log_probs = own);
        }
        Ok(())
    }

    /// Fills in advantages and weights; returns what the weighting says about itself.
    fn credit(
        &mut self,
        config: &RlStage,
        groups: &[Graded],
        samples: &mut [Prompted],
    ) -> Result<Vec<(&'static str, f64)>> {
        let lengths = |group: &Graded| {
            group.completions.iter().map(|one| one.trajectory.completion.len()).collect()
        };
        let columns: Vec<(_, Vec<_>)> =
            groups.iter().map(|group| (group.rewards(), lengths(group))).collect();
        let earned: Vec<_> =
            columns.iter().map(|(rewards, lengths)| GroupRewards { rewards, lengths }).collect();
        let advantages = config.advantage.advantages(&earned);
        let each = samples.iter_mut().flat_map(|group| &mut group.samples);
        for (sample, advantage) in each.zip(advantages.into_iter().flatten()) {
            sample.advantage = advantage;
        }
        let columns = TokenTable::of(groups, samples);
        let lengths: Vec<_> = columns.samples.iter().map(ExactSizeIterator::len).collect();
        let coefficients = config.loss.aggregation.coefficients(&lengths, Counts::of(&lengths))?;
        let entropy = coefficients.iter().zip(&columns.entropies);
        let mean_entropy = entropy.map(|(share, &entropy)| share * f64::from(entropy)).sum();
        let columns = columns.borrow();
        let mut said = self.weighting.observe(mean_entropy, &columns);
        let weighed = self.weighting.weights(&columns);
        said.extend(weighed.statistics);
        let each = samples.iter_mut().flat_map(|group| &mut group.samples);
        for (sample, range) in each.zip(columns.samples) {
            sample.weights = weighed.weights[range.clone()].to_vec();
        }
        Ok(said)
    }

    /// Moves the parameters.
    fn descend(
        &mut self,
        loss: &engine::loss::LossConfig,
        samples: &[Prompted],
        clock: &mut Clock,
    ) -> Result<Descended> {
        let descent = self.stage.descent();
        let plan = descend::Plan {
            model: self.run.model,
            params: &self.params,
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

    /// The next `count` problems of the stage, with their running numbers.
    fn draw(&mut self, count: usize) -> Vec<(u64, &'a Problem)> {
        let first = self.drawn;
        self.drawn += count as u64;
        let (problems, order) = (self.run.problems, &mut self.order);
        (first..self.drawn).map(|number| (number, &problems[order.at(number)])).collect()
    }

    /// The next `count` problems with their solutions as completions.
    fn solutions(&mut self, count: usize) -> Result<Vec<Prompted>> {
        let (text, style) = (self.run.text, &self.run.recipe.prompt);
        let end = text.stop_tokens()[0];
        let prompted = |(_, problem): (u64, &Problem)| -> Result<Prompted> {
            let Some(solution) = &problem.solution else {
                bail!("problem {} has no `solution`, which a supervised stage learns", problem.id);
            };
            let mut completion = text.encode(solution)?;
            completion.push(end);
            let weights = vec![1.0; completion.len()];
            let sample = Sample { completion, advantage: 1.0, weights, ..Sample::default() };
            let prompt = style.tokens(text, &problem.problem)?;
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
                ..Sample::default()
            })
            .collect(),
    };
    groups.iter().map(prompted).collect()
}

//! Gather: sample and judge until the batch is full.

use std::num::NonZeroUsize;
use std::time::Instant;

use anyhow::{Result, anyhow};
use evals::attempt::{Draw, GradedGroup, Sampler};
use evals::run::Phase;
use evals::{Warning, health};
use rollout::{Key, Purpose};

use super::Rl;
use crate::config::{AtCap, DynamicSampling, SampledMetric};
use crate::printable::counted;
use crate::train::recoverable::{Recoverable, VerifierFailed};

/// Everything sampled in a step.
#[derive(Debug, Default)]
pub(super) struct Rollouts {
    /// Judged and learnt from.
    pub(super) groups: Vec<GradedGroup>,
    /// Judged and not learnt from: without spread, or in excess of the batch.
    pub(super) others: Vec<GradedGroup>,
    /// Dropped, since they could not be judged.
    pub(super) dropped: Vec<GradedGroup>,
    /// Rounds of sampling.
    pub(super) rounds: usize,
    pub(super) warnings: Vec<Warning>,
}

impl Rollouts {
    /// All judged groups, those learnt from first.
    pub(super) fn all(&self) -> impl Iterator<Item = &GradedGroup> {
        self.groups.iter().chain(&self.others)
    }

    /// All groups, those that could not be judged last.
    fn into_all(self) -> impl Iterator<Item = GradedGroup> {
        self.groups.into_iter().chain(self.others).chain(self.dropped)
    }
}

impl Rl<'_> {
    /// Samples and judges problems until the step's batch is full; groups that cannot be judged are
    /// dropped.
    ///
    /// Source: dynamic sampling of DAPO, arXiv 2503.14476, section 3.2; the cap as in verl.
    pub(super) fn gather(&mut self, step: u64) -> Result<Rollouts> {
        let mut rollouts = Rollouts::default();
        self.fill(step, &mut rollouts)?;
        match self.checked(&mut rollouts, step) {
            Ok(()) => Ok(rollouts),
            Err(error) => {
                let most = self.run.recipe.record.samples.discarded;
                self.unlearnt = rollouts.into_all().take(most).collect();
                Err(error)
            }
        }
    }

    fn fill(&mut self, step: u64, rollouts: &mut Rollouts) -> Result<()> {
        let config = self.config;
        let batch = config.batch.get();
        let Some(dynamic) = &config.dynamic_sampling else {
            self.round(batch, step, rollouts)?;
            rollouts.groups = std::mem::take(&mut rollouts.others);
            return Ok(());
        };
        let draw = dynamic.gen_batch.unwrap_or(config.batch).get();
        while rollouts.groups.len() < batch && rollouts.rounds < dynamic.max_batches.get() {
            let from = rollouts.others.len();
            self.round(draw, step, rollouts)?;
            let fresh = rollouts.others.split_off(from);
            for group in fresh {
                let room = rollouts.groups.len() < batch;
                if room && passes_filter(&group, dynamic.metric) {
                    rollouts.groups.push(group);
                } else {
                    rollouts.others.push(group);
                }
            }
        }
        Ok(())
    }

    /// One round: samples and judges the next `count` problems, and adds them to `others`.
    fn round(&mut self, count: usize, step: u64, rollouts: &mut Rollouts) -> Result<()> {
        let drawn = self.loader.next_batch(count);
        let draws: Vec<_> =
            drawn.iter().map(|&(number, problem)| Draw { number, problem }).collect();
        let samples = &self.run.recipe.record.samples;
        let sampler = self.sampler(samples.alternatives_of(step + 1));
        let key = Key { seed: self.run.recipe.seed, purpose: Purpose::Train, step };
        let (console, stop) = (self.run.console, self.run.stop);
        let mut began = Instant::now();
        let sampled =
            sampler.sample(&draws, self.config.group_size.get(), key, &mut |progress| {
                console.set_phase(Phase::Gather, progress.finished, progress.sequences);
                stop.flow()
            })?;
        self.clock.add("timing_s/gen", began);
        console.set_phase(Phase::Judge, 0, 1);
        began = Instant::now();
        let all = sampler.judge(&draws, sampled)?;
        self.clock.add("timing_s/reward", began);
        rollouts.rounds += 1;
        let (dropped, judged): (Vec<_>, Vec<_>) = all.into_iter().partition(GradedGroup::unjudged);
        rollouts.dropped.extend(dropped);
        rollouts.others.extend(judged);
        Ok(())
    }

    /// Adds the warnings, and fails where the step cannot learn from what it sampled.
    fn checked(&self, rollouts: &mut Rollouts, step: u64) -> Result<()> {
        let (index, batch) = (self.index, self.config.batch.get());
        if let Some(dynamic) = &self.config.dynamic_sampling
            && rollouts.groups.len() < batch
        {
            let warning = batch_not_full(rollouts, dynamic, Place { index, step, batch })?;
            rollouts.warnings.push(warning);
        }
        let found = health::check_groups(rollouts.all().chain(&rollouts.dropped));
        let partial = partial_rewards(rollouts, self.rubric.judge_name());
        rollouts.warnings.extend(found.into_iter().chain(partial));
        if rollouts.groups.is_empty() { Err(nothing_judged(rollouts, step)) } else { Ok(()) }
    }

    /// The policy of the stage with its sampling settings and rubric; it keeps so many of the
    /// likeliest tokens for each position.
    pub(super) fn sampler(&self, alternatives: usize) -> Sampler<'_> {
        Sampler {
            model: self.run.model,
            text: self.run.text,
            style: &self.run.recipe.prompt,
            sampling: &self.config.rollout,
            slots: self.config.slots.get(),
            alternatives,
            rubric: &self.rubric,
        }
    }
}

/// Whether the completions of a group differ in the metric of the filter.
fn passes_filter(group: &GradedGroup, metric: SampledMetric) -> bool {
    match metric {
        SampledMetric::Reward => group.has_spread(),
        SampledMetric::Accuracy => {
            let correct = group.num_correct();
            0 < correct && correct < group.completions.len()
        }
    }
}

/// A warning where rewards of `judge`, which judges answers, are between 0 and 1 and have to stand
/// for the outcome.
fn partial_rewards(rollouts: &Rollouts, judge: &str) -> Option<Warning> {
    let completions = || rollouts.all().flat_map(|group| &group.completions);
    let without_outcome = completions().filter(|one| one.judged.by_sign);
    let rewards = without_outcome.flat_map(|one| &one.judged.parts);
    let is_partial =
        |(name, reward): &&(String, f64)| name == judge && *reward > 0.0 && *reward < 1.0;
    let (partial, all) = (rewards.filter(is_partial).count(), completions().count());
    (partial > 0).then(|| Warning {
        name: "partial_rewards",
        cause: format!(
            "verifier `{judge}` rewards {partial} of {all} completions between 0 and 1 and gives no \
             `outcome` for them: accuracy counts every positive reward as correct"
        ),
        act: "let the verifier say in `outcome` which answers are `correct` and which `wrong`, or look at the \
              rewards instead of accuracy".into(),
        limit: None,
    })
}

/// Why no group of a step can be learnt from.
fn nothing_judged(rollouts: &Rollouts, step: u64) -> anyhow::Error {
    let unparseable = rollouts.dropped.iter().filter(|group| group.gold_unparseable()).count();
    let (step, all) = (step + 1, rollouts.dropped.len());
    let problems = counted(all, "problem");
    let said = format!("no group of step {step} can be judged: of {problems}");
    if unparseable == all {
        return anyhow!(
            "{said}, all have a gold answer that cannot be parsed\ncheck `answer` in the data file"
        );
    }
    VerifierFailed(if unparseable == 0 {
        format!(
            "{said}, a verifier failed on each\nthe line \"verifier ... failed on\" above (also in \
             log.txt) says why: repair it, or raise its time limit (`deadline_s` of a process, \
             `timeout_s` of a server)"
        )
    } else {
        format!(
            "{said}, {unparseable} have a gold answer that cannot be parsed, and on the others a verifier \
             failed\ncheck `answer` in the data file and the verifiers of the stage"
        )
    })
    .into()
}

/// Handles a step whose batch is not full after the last round: a warning, or an error that ends
/// the run.
fn batch_not_full(rollouts: &Rollouts, dynamic: &DynamicSampling, place: Place) -> Result<Warning> {
    let Place { index, step, batch } = place;
    let kept = rollouts.groups.len();
    let share = |holds: &dyn Fn(&GradedGroup) -> bool| {
        let count = rollouts.all().filter(|group| holds(group)).count();
        format!("{:.0} %", 100.0 * count as f64 / rollouts.all().count().max(1) as f64)
    };
    let solved = share(&|group| group.num_correct() == group.completions.len());
    let unsolved = share(&|group| group.num_correct() == 0);
    let cause = format!(
        "{kept} of {batch} groups have spread after {} of {}; {solved} of the groups are \
         solved by every completion, {unsolved} by none, {} could not be judged",
        counted(rollouts.rounds, "round"),
        counted(dynamic.gen_batch.map_or(batch, NonZeroUsize::get), "problem"),
        rollouts.dropped.len()
    );
    let warning = |act: String| Warning {
        name: "batch_not_full",
        cause: cause.clone(),
        act: act.into(),
        limit: None,
    };
    let raise = "raise `stage.rl.dynamic_sampling.max_batches` or `stage.rl.group_size`";
    let choose = "or choose problems of a fitting difficulty";
    if kept > 0 && dynamic.at_cap == AtCap::GoOn {
        return Ok(warning(format!("the step learns from fewer groups; {raise}, {choose}")));
    }
    let go_on = if kept > 0 {
        ", let the step go on with fewer by `stage.rl.dynamic_sampling.at_cap = \"go-on\"`"
    } else {
        ""
    };
    let Warning { act, .. } = warning(format!("{raise}{go_on}, {choose}")).in_stage(index);
    let problem = format!("dynamic sampling of step {}: {cause}\n{act}", step + 1);
    let rounds = 2 * dynamic.max_batches.get();
    let settings = vec![format!("stage.{index}.dynamic_sampling.max_batches={rounds}")];
    Err(Recoverable { problem, settings }.into())
}

/// The batch that could not be filled.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Index of the stage.
    index: usize,
    /// Steps done before.
    step: u64,
    /// Groups in a full batch.
    batch: usize,
}

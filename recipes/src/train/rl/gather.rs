//! Gather: sample and judge until the batch is full.

use std::time::Instant;

use anyhow::{Result, bail};
use evals::attempt::{Asked, Graded, Setup};
use evals::{Warning, health};
use rollout::{Key, Purpose};

use super::Rl;
use crate::config::{AtCap, DynamicSampling, RlStage, SampledMetric};

/// Everything sampled in a step.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Judged, and learnt from.
    pub(super) groups: Vec<Graded>,
    /// Judged, and not learnt from: without spread, or more than the batch holds.
    pub(super) others: Vec<Graded>,
    /// Groups that could not be judged: dropped.
    pub(super) dropped: Vec<Graded>,
    /// Rounds of sampling.
    pub(super) rounds: usize,
    pub(super) warnings: Vec<Warning>,
}

impl Gathered {
    /// All groups that were judged, those learnt from first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Graded> {
        self.groups.iter().chain(&self.others)
    }
}

impl Rl<'_> {
    /// Samples and judges problems until the step's batch is full; groups that cannot be judged are
    /// dropped.
    ///
    /// Source: dynamic sampling of DAPO, arXiv 2503.14476, section 3.2; the cap as in verl.
    pub(super) fn gather(&mut self, step: u64) -> Result<Gathered> {
        let config = self.config;
        let mut gathered = Gathered::default();
        let batch = config.batch.get();
        let Some(dynamic) = &config.dynamic_sampling else {
            self.round(batch, step, &mut gathered)?;
            gathered.groups = std::mem::take(&mut gathered.others);
            return finished(gathered, step);
        };
        let draw = dynamic.gen_batch.unwrap_or(config.batch).get();
        while gathered.groups.len() < batch && gathered.rounds < dynamic.max_batches.get() {
            let from = gathered.others.len();
            self.round(draw, step, &mut gathered)?;
            let fresh = gathered.others.split_off(from);
            for group in fresh {
                let room = gathered.groups.len() < batch;
                if room && teaches(&group, dynamic.metric) {
                    gathered.groups.push(group);
                } else {
                    gathered.others.push(group);
                }
            }
        }
        if gathered.groups.len() < batch {
            capped(&gathered, config, dynamic, step)?;
        }
        finished(gathered, step)
    }

    /// One round: the next `count` problems, sampled and judged, to the others.
    fn round(&mut self, count: usize, step: u64, gathered: &mut Gathered) -> Result<()> {
        let drawn = self.draws.draw(count);
        let asked: Vec<_> =
            drawn.iter().map(|&(number, problem)| Asked { number, problem }).collect();
        let setup = self.setup();
        let key = Key { seed: self.run.recipe.seed, purpose: Purpose::Train, step };
        let console = self.run.console;
        let mut began = Instant::now();
        let sampled = setup.sample(&asked, self.config.group_size.get(), key, &mut |progress| {
            console.now("sampling", progress.finished, progress.sequences);
        })?;
        self.clock.add("timing_s/gen", began);
        began = Instant::now();
        let all = setup.judge(&asked, sampled)?;
        self.clock.add("timing_s/reward", began);
        gathered.rounds += 1;
        let (dropped, judged): (Vec<_>, Vec<_>) = all.into_iter().partition(Graded::unjudged);
        gathered.dropped.extend(dropped);
        gathered.others.extend(judged);
        Ok(())
    }

    /// The policy as a stage asks it.
    pub(super) fn setup(&self) -> Setup<'_> {
        Setup {
            model: self.run.model,
            text: self.run.text,
            style: &self.run.recipe.prompt,
            sampling: &self.config.rollout,
            slots: self.config.slots.get(),
            rubric: &self.rubric,
        }
    }
}

/// Whether the completions of a group differ in what they are filtered by.
fn teaches(group: &Graded, metric: SampledMetric) -> bool {
    match metric {
        SampledMetric::Reward => group.has_spread(),
        SampledMetric::Accuracy => {
            let correct = group.num_correct();
            0 < correct && correct < group.completions.len()
        }
    }
}

fn finished(mut gathered: Gathered, step: u64) -> Result<Gathered> {
    gathered.warnings = health::look(gathered.all().chain(&gathered.dropped));
    if gathered.groups.is_empty() {
        bail!(
            "no group of step {} can be judged: of {} problems, {} have a gold answer that cannot be \
             parsed, and on the others the verifier failed\ncheck `answer` in the data file and the \
             verifier of the stage",
            step + 1,
            gathered.dropped.len(),
            gathered.dropped.iter().filter(|group| group.gold_unparseable()).count()
        );
    }
    Ok(gathered)
}

/// What becomes of a step whose batch is not full after the last round.
fn capped(
    gathered: &Gathered,
    config: &RlStage,
    dynamic: &DynamicSampling,
    step: u64,
) -> Result<()> {
    let kept = gathered.groups.len();
    if kept > 0 && dynamic.at_cap == AtCap::GoOn {
        return Ok(());
    }
    let share = |holds: &dyn Fn(&Graded) -> bool| {
        let count = gathered.all().filter(|group| holds(group)).count();
        format!("{:.0} %", 100.0 * count as f64 / gathered.all().count().max(1) as f64)
    };
    let solved = share(&|group| group.num_correct() == group.completions.len());
    let unsolved = share(&|group| group.num_correct() == 0);
    let at_cap =
        if kept > 0 { ", or let the step go on with fewer by at_cap = \"go-on\"" } else { "" };
    bail!(
        "dynamic sampling of step {}: {kept} of {} groups have spread after {} rounds of {} problems; \
         {solved} of the groups are solved by every completion, {unsolved} by none, {} could not be \
         judged\nraise dynamic_sampling.max_batches or group_size, or choose problems of a fitting \
         difficulty{at_cap}",
        step + 1,
        config.batch,
        gathered.rounds,
        dynamic.gen_batch.unwrap_or(config.batch),
        gathered.dropped.len()
    )
}

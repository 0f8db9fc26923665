//! The probe: how far an update moves the entropy, on rollouts that it did not learn from.

use anyhow::Result;
use evals::attempt::{Asked, attempt};
use rollout::{Key, Purpose};

use super::{Rl, rollouts};
use crate::config::RlStage;
use crate::random::{draws, shuffled};
use crate::train::clock::Clock;
use crate::train::descend::score;
use crate::train::mean;
use crate::train::pack::{Prompted, Sample};

/// Rollouts of the policy before an update.
#[derive(Debug)]
pub(super) struct Probe {
    fresh: Vec<Prompted>,
}

impl Rl<'_> {
    /// Samples problems of the stage that are drawn for the probe alone, where it is due.
    pub(super) fn probe(
        &self,
        config: &RlStage,
        step: u64,
        clock: &mut Clock,
    ) -> Result<Option<Probe>> {
        let Some(probe) = config.probe.filter(|probe| step.is_multiple_of(probe.every.get()))
        else {
            return Ok(None);
        };
        let problems = self.run.problems;
        let order = shuffled(problems.len(), &mut draws(self.run.seed_of(step), "probe"));
        let asked: Vec<_> = (0..)
            .zip(order.iter().take(probe.problems.get()))
            .map(|(number, &at)| Asked { number, problem: &problems[at] })
            .collect();
        let key = Key { seed: self.run.recipe.seed, purpose: Purpose::Probe, step };
        let groups = clock.time("timing_s/probe", || {
            attempt(&self.setup(config), &asked, probe.group_size.get(), key, &mut |_| {})
        })?;
        Ok(Some(Probe { fresh: rollouts(&groups) }))
    }

    /// Mean entropies of the probe and changes since the update, nats a token: of the probe, and of
    /// the batch that was learnt from.
    pub(super) fn probed(
        &self,
        config: &RlStage,
        probe: &Probe,
        samples: &[Prompted],
        clock: &mut Clock,
    ) -> Result<[(&'static str, f64); 3]> {
        let (temperature, budget) = (config.rollout.temperature, config.micro_batch_tokens.get());
        let mut after = |groups: &[Prompted]| -> Result<f64> {
            let scores = clock
                .time("timing_s/probe", || score(self.run.model, groups, temperature, budget))?;
            Ok(mean(scores.iter().flat_map(|one| &one.entropies).map(|&h| f64::from(h))))
        };
        let (fresh, batch) = (before(&probe.fresh), before(samples));
        let (fresh_after, batch_after) = (after(&probe.fresh)?, after(samples)?);
        Ok([
            ("entropy/probe", fresh),
            ("entropy/probe_delta", fresh_after - fresh),
            ("entropy/batch_delta", batch_after - batch),
        ])
    }
}

fn before(groups: &[Prompted]) -> f64 {
    let samples = groups.iter().flat_map(|group| &group.samples);
    mean(samples.flat_map(|sample: &Sample| &sample.entropies).map(|&h| f64::from(h)))
}

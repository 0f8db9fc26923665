//! The probe: the change of the entropy by an update, measured on rollouts that it did not learn
//! from.

use std::time::Instant;

use anyhow::Result;
use evals::attempt::{Draw, attempt};
use rollout::{Key, Purpose};

use super::Rl;
use crate::random::{draws, shuffled};
use crate::train::mean;
use crate::train::pack::score;
use crate::train::table::Table;

impl Rl<'_> {
    /// Samples problems of the stage for the probe alone, before the update; `None` if no probe is
    /// due.
    pub(super) fn probe(&self, step: u64) -> Result<Option<Table>> {
        let due = self.config.probe.filter(|probe| step.is_multiple_of(probe.every.get()));
        let Some(probe) = due else { return Ok(None) };
        let began = Instant::now();
        let problems = self.run.problems;
        let order = shuffled(problems.len(), &mut draws(self.run.seed_of(step), "probe"));
        let draws: Vec<_> = (0..)
            .zip(order.iter().take(probe.problems.get()))
            .map(|(number, &at)| Draw { number, problem: &problems[at] })
            .collect();
        let key = Key { seed: self.run.recipe.seed, purpose: Purpose::Probe, step };
        let stop = self.run.stop;
        let mut progress = |_| stop.flow();
        let groups = attempt(&self.sampler(0), &draws, probe.group_size.get(), key, &mut progress)?;
        self.clock.add("timing_s/probe", began);
        Ok(Some(Table::of(&groups)))
    }

    /// Metrics after the update, in nats per token: the mean entropy of the probe before it, and
    /// the changes since on the probe and on the batch of the step.
    pub(super) fn probe_metrics(
        &self,
        probe: &Table,
        batch: &Table,
    ) -> Result<[(&'static str, f64); 3]> {
        let (temperature, budget) =
            (self.config.rollout.temperature, self.config.micro_batch_tokens.get());
        let began = Instant::now();
        let before = |table: &Table| table.old().map_or(0.0, |old| entropy(&old.entropies));
        let after = |table: &Table| -> Result<f64> {
            Ok(entropy(&score(self.run.model.policy(), table, temperature, budget)?.entropies))
        };
        let fresh = before(probe);
        let deltas = (after(probe)? - fresh, after(batch)? - before(batch));
        self.clock.add("timing_s/probe", began);
        Ok([
            ("entropy/probe", fresh),
            ("entropy/probe_delta", deltas.0),
            ("entropy/batch_delta", deltas.1),
        ])
    }
}

fn entropy(entropies: &[f32]) -> f64 {
    mean(entropies.iter().map(|&entropy| f64::from(entropy)))
}

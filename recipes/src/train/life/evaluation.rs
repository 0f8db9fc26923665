//! Judging the policy by problems that no step trains on.

use std::time::Instant;

use anyhow::Result;
use evals::attempt::Setup;
use evals::evaluate::{HELD_OUT, HELD_OUT_GREEDY, HeldOut, evaluate};
use evals::{Evaluation, Log, Metrics, Warning};
use rollout::Sampling;

use super::Life;
use crate::train::stage::Shared;

impl Life<'_> {
    /// Judges the policy as the recipe samples, and greedily besides where it asks for that.
    /// Returns metrics and timings.
    pub(super) fn evaluate(&mut self) -> Result<(Metrics, Metrics)> {
        let config = &self.shared.recipe.eval;
        let began = Instant::now();
        let (evaluation, mut warnings) =
            self.judge(HELD_OUT, &config.sampling, config.samples.get())?;
        let greedy = Sampling { temperature: 0.0, ..config.sampling.clone() };
        let greedy = config.greedy.then(|| self.judge(HELD_OUT_GREEDY, &greedy, 1)).transpose()?;
        let seconds = began.elapsed().as_secs_f64();
        self.state.accuracy = Some(evaluation.accuracy);
        let Evaluation { accuracy, low, high, problems, .. } = &evaluation;
        self.shared.console.say(&format!(
            "held-out accuracy {:.1} % ({:.1} to {:.1}) on {problems} problems",
            100.0 * accuracy,
            100.0 * low,
            100.0 * high
        ));
        let mut metrics = evaluation.metrics()?;
        self.record.evaluation(&evaluation)?;
        if let Some((greedy, said)) = greedy {
            metrics.extend(greedy.metrics()?);
            self.record.evaluation(&greedy)?;
            // The problems are the same: what is wrong with them is said once.
            let other = |one: &Warning| warnings.iter().all(|warning| warning.name != one.name);
            let more: Vec<_> = said.into_iter().filter(other).collect();
            warnings.extend(more);
        }
        self.record.warnings(self.state.step, &warnings)?;
        self.warn(&warnings);
        let mut timings = Metrics::new(Log::Timings);
        timings.set("timing_s/testing", seconds)?;
        Ok((metrics, timings))
    }

    fn judge(
        &self,
        set: &str,
        sampling: &Sampling,
        samples: usize,
    ) -> Result<(Evaluation, Vec<Warning>)> {
        let Shared { recipe, model, text, console, .. } = self.shared;
        let config = &recipe.eval;
        let setup = Setup {
            model,
            text,
            style: &recipe.prompt,
            sampling,
            slots: config.slots.get(),
            rubric: &self.rubric,
        };
        let (problems, seed, step) = (&*self.problems.held_out, recipe.seed, self.state.step);
        let held_out = HeldOut { set, problems, samples, seed, step };
        Ok(evaluate(&setup, held_out, &mut |progress| {
            console.now("evaluating", progress.finished, progress.sequences);
            self.shared.stop.flow()
        })?)
    }
}

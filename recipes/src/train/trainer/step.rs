//! One step, its record, and what is due after it.

use anyhow::Result;
use evals::run::State;
use evals::{Log, Metrics, Warning, key};

use super::Trainer;
use crate::console::duration;
use crate::run_dir::Pending;
use crate::train::StepOutput;
use crate::train::stage::StageDriver;

impl Trainer<'_> {
    /// Runs a step of stage `index`, which ends after step `end`.
    pub(super) fn step(
        &mut self,
        stage: &mut dyn StageDriver,
        index: usize,
        end: u64,
    ) -> Result<()> {
        let recipe = self.run.recipe;
        self.run.console.set_steps(self.state.step, recipe.total_steps());
        let before = self.run.model.policy().version();
        let mut output = match stage.step(self.state.step) {
            Ok(output) => output,
            Err(error) => {
                // Nothing has changed: weights, optimizer and `state` are those of the last step.
                self.has_moved = stage.has_moved();
                if self.run.model.policy().version() == before {
                    self.save_after_error(stage);
                }
                self.record_unlearnt(index, &stage.take_unlearnt());
                return Err(error);
            }
        };
        self.accept()?;
        self.state.step += 1;
        let step = self.state.step;
        self.state.stage = index;
        self.state.stage_state = stage.state();
        self.state.score = None;
        let kind = recipe.stages[index].settings().kind();
        self.log_step(kind, &output);
        let numbered = output.warnings.drain(..).map(|warning| warning.in_stage(index));
        output.warnings = numbered.collect();
        self.log_warnings(&output.warnings);
        for warning in self.watch.observe(step, &output.metrics) {
            let warning = warning.in_stage(index);
            output.metrics.set(format!("health/{}", warning.name), 1.0)?;
            self.run.console.warn(&warning.to_string());
            output.warnings.push(warning);
        }
        let evaluate = !self.due_sets().is_empty();
        self.state.pending = Some(self.pending(kind, &output, evaluate)?);
        if let Err(error) = self.record_step(step, &output).and_then(|()| self.finish_step()) {
            // The update is done, so the run resumes from this state.
            self.state.unwritten = self.failed_writes.take();
            self.save_after_error(stage);
            return Err(error);
        }
        if step == end || step % recipe.checkpoint.every == 0 || self.is_best()? {
            self.save(stage)?;
        }
        self.set_status(State::Running)
    }

    /// What a step has yet to record.
    fn pending(&mut self, kind: &str, output: &StepOutput, evaluate: bool) -> Result<Pending> {
        let mut pending = Pending::new(kind, evaluate);
        let mut step = Metrics::new(Log::Metrics);
        step.set("training/global_step", self.state.step as f64)?;
        if self.changed.contains(&(self.state.step - 1)) {
            step.set("training/changed", 1.0)?;
        }
        pending.add(&step);
        pending.add(&output.metrics);
        pending.add(&output.timings);
        if let Some(seconds) = self.saving.take() {
            let mut saving = Metrics::new(Log::Timings);
            saving.set("timing_s/save_checkpoint", seconds)?;
            pending.add(&saving);
        }
        Ok(pending)
    }

    /// Records the warnings, samples and tokens of a step.
    fn record_step(&mut self, step: u64, output: &StepOutput) -> Result<()> {
        let every = self.run.recipe.record.tokens_every;
        self.record.warnings(step, &output.warnings, Some(&output.metrics))?;
        self.record_samples(step, output)?;
        if every > 0 && step.is_multiple_of(every) && !output.groups.is_empty() {
            let credits: Vec<_> = output.table.credits().collect();
            self.record.tokens(step, &output.groups, &credits)?;
        }
        Ok(self.failed_writes.check()?)
    }

    /// Prints a line about a step.
    fn log_step(&self, kind: &str, output: &StepOutput) {
        let console = self.run.console;
        let total = self.run.recipe.total_steps();
        let value = |name: &str, key: &str| {
            output.metrics.get(key).map(|value| format!(", {name} {value:.3}")).unwrap_or_default()
        };
        let seconds = output.timings.get(key!("timing_s/step")).unwrap_or_default();
        console.print(&format!(
            "{kind} step {}/{total}{}{}{}{}, {}",
            self.state.step,
            value("loss", key!("train/loss")),
            value("reward", key!("critic/rewards/mean")),
            value("length", key!("response_length/mean")),
            value("entropy", key!("actor/entropy")),
            duration(seconds)
        ));
        if console.is_verbose() {
            console.detail(&format!("  {}", phases(&output.timings)));
        }
    }

    /// Prints the warnings that are new; the record has all of them.
    pub(super) fn log_warnings(&mut self, warnings: &[Warning]) {
        for warning in warnings {
            if self.watch.is_news(self.state.step, warning.name) {
                self.run.console.warn(&warning.to_string());
            }
        }
    }
}

/// The times of the parts of a step, by their keys.
fn phases(timings: &Metrics) -> String {
    let parts = timings.entries().iter().filter_map(|(key, seconds)| {
        let name = key.strip_prefix("timing_s/").filter(|name| *name != "step")?;
        Some(format!("{name} {}", duration(*seconds)))
    });
    parts.collect::<Vec<_>>().join(", ")
}

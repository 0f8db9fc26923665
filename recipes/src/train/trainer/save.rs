//! Checkpoints, and what a step has yet to record.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use evals::run::{Phase, State};
use evals::{Log, Metrics};

use super::Trainer;
use crate::causes::with_causes;
use crate::machine::now;
use crate::run_dir::{Pending, Unwritten};
use crate::train::context::RunContext;
use crate::train::stage::StageDriver;

impl Trainer<'_> {
    /// Saves a checkpoint of the current step, unless there is one, and removes those that are not
    /// kept. All are kept while the policy fails on a token, as the run then has to go back.
    pub(super) fn save(&mut self, stage: &dyn StageDriver) -> Result<()> {
        self.write_checkpoint(stage)?;
        self.prune()?;
        self.set_status(State::Running)
    }

    /// Removes the checkpoints that are not kept.
    pub(super) fn prune(&self) -> Result<()> {
        let RunContext { recipe, .. } = self.run;
        if !self.is_policy_finite() {
            return Ok(());
        }
        self.run_dir.prune(recipe.checkpoint.keep.get(), recipe.best_by().is_some())
    }

    /// Saves a checkpoint of the current step, unless there is one.
    fn write_checkpoint(&mut self, stage: &dyn StageDriver) -> Result<()> {
        let step = self.state.step;
        if self.saved.as_ref().is_some_and(|saved| saved.state.step == step) {
            return Ok(());
        }
        let run = self.run;
        run.console.set_phase(Phase::Save, 0, 1);
        let began = Instant::now();
        self.record.sync()?;
        self.state.watch = self.watch.state();
        self.state.samples = self.record.thinning().clone();
        let policy = |folder: &Path| run.save_policy(folder);
        self.saved = Some(self.run_dir.save(&self.state, stage.tensors()?, policy)?);
        self.saving = Some(began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Whether the current weights have a better score than every checkpoint.
    pub(super) fn is_best(&self) -> Result<bool> {
        match &self.state.score {
            Some(score) if self.run.recipe.best_by().is_some() => {
                Ok(score.is_best(&self.run_dir.checkpoints()?))
            }
            _ => Ok(false),
        }
    }

    /// Saves the state between two steps of a stage; before the first step there is none to save.
    pub(super) fn save_unfinished(&mut self, stage: &dyn StageDriver) -> Result<()> {
        if self.state.step == 0 { Ok(()) } else { self.save(stage) }
    }

    /// Saves the state after the last update, when an error ends the run. A second error is
    /// printed, and the first one is reported. Older checkpoints stay, as the run may have to go
    /// back to one of them.
    pub(super) fn save_after_error(&mut self, stage: &dyn StageDriver) {
        if self.state.step == 0 {
            return;
        }
        if let Err(error) = self.write_checkpoint(stage) {
            let error = with_causes(&error);
            self.run.console.warn(&format!("the state cannot be saved either: {error}"));
        }
    }

    /// Evaluates if that is due after the last step, and records the values of the step. After an
    /// error the rest stays pending.
    pub(super) fn finish_step(&mut self) -> Result<()> {
        let Some(mut pending) = self.state.pending.take() else { return Ok(()) };
        let finished = self.try_finish_step(&mut pending);
        if finished.is_err() {
            self.state.pending = Some(pending);
        }
        finished
    }

    fn try_finish_step(&mut self, pending: &mut Pending) -> Result<()> {
        if pending.evaluate {
            let (metrics, timings) = self.evaluate()?;
            pending.add(&metrics);
            pending.add(&timings);
            pending.evaluate = false;
        }
        for log in [Log::Metrics, Log::Timings] {
            let mut metrics = Metrics::new(log);
            for (key, value) in pending.values(log).drain(..) {
                metrics.set(key, value.unwrap_or(f64::NAN))?;
            }
            if log == Log::Timings && !metrics.entries().is_empty() {
                metrics.set("time", now())?;
            }
            self.record.values(self.state.step, &pending.stage, &metrics)?;
        }
        Ok(self.failed_writes.check()?)
    }

    /// Finishes what was pending when the run ended.
    pub(super) fn finish_resumed_step(&mut self) -> Result<()> {
        if self.state.pending.is_none() && self.state.unwritten.is_empty() {
            return Ok(());
        }
        self.finish_step()?;
        self.announce();
        self.accept()?;
        self.state.unwritten = Unwritten::default();
        self.record.sync()?;
        self.state.watch = self.watch.state();
        let saved = self.saved.as_mut().expect("a pending step is of a checkpoint");
        saved.state = self.state.clone();
        saved.amend()?;
        self.prune()
    }
}

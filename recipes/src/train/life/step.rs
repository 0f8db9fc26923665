//! One step, what it leaves behind, and what is due after it.

use anyhow::Result;
use evals::{Log, Metrics, Warning};

use super::Life;
use crate::console::duration;
use crate::run_dir::{Pending, State};
use crate::train::Done;
use crate::train::stage::StageDriver;

impl Life<'_> {
    /// A step of stage `index`, whose last one is `end`.
    pub(super) fn step(
        &mut self,
        stage: &mut dyn StageDriver,
        index: usize,
        end: u64,
    ) -> Result<()> {
        let recipe = self.shared.recipe;
        self.shared.console.steps(self.state.step, recipe.total_steps());
        let before = self.shared.model.policy().version();
        let mut done = match stage.step(self.state.step) {
            Ok(done) => done,
            Err(error) => {
                // Nothing has moved: weights, optimizer and `state` are those after the step before.
                if self.shared.model.policy().version() == before {
                    self.save_in_need(stage);
                }
                return Err(error);
            }
        };
        self.state.step += 1;
        let step = self.state.step;
        self.state.stage = index;
        self.state.stage_state = stage.state();
        self.state.score = None;
        let kind = recipe.stages[index].settings().kind();
        self.tell(kind, &done);
        self.warn(&done.warnings);
        for warning in self.watch.observe(step, &done.metrics) {
            done.metrics.set(format!("health/{}", warning.name), 1.0)?;
            self.shared.console.say(&warning.to_string());
            done.warnings.push(warning);
        }
        let evaluate = step == end || recipe.eval.every.is_some_and(|every| step % every == 0);
        self.state.pending = Some(self.pending(kind, &done, evaluate)?);
        if let Err(error) = self.keep(step, &done).and_then(|()| self.settle()) {
            // The update is done, so this state is the one to go on from.
            self.state.unwritten = self.kept.take();
            self.save_in_need(stage);
            return Err(error);
        }
        if step == end || step % recipe.checkpoint.every == 0 || self.is_best()? {
            self.save(stage)?;
        }
        self.set_status(State::Running)
    }

    /// What a step has yet to record.
    fn pending(&mut self, kind: &str, done: &Done, evaluate: bool) -> Result<Pending> {
        let mut pending = Pending::new(kind, evaluate);
        let mut step = Metrics::new(Log::Metrics);
        step.set("training/global_step", self.state.step as f64)?;
        if self.changed.contains(&(self.state.step - 1)) {
            step.set("training/changed", 1.0)?;
        }
        pending.add(&step);
        pending.add(&done.metrics);
        pending.add(&done.timings);
        if let Some(seconds) = self.saving.take() {
            let mut saving = Metrics::new(Log::Timings);
            saving.set("timing_s/save_checkpoint", seconds)?;
            pending.add(&saving);
        }
        Ok(pending)
    }

    /// Records what was sampled, and what looks wrong with it.
    fn keep(&mut self, step: u64, done: &Done) -> Result<()> {
        let config = &self.shared.recipe.record;
        self.record.warnings(step, &done.warnings)?;
        let due = |every: u64| every > 0 && step.is_multiple_of(every) && !done.groups.is_empty();
        if due(config.completions_every) {
            self.record.completions(step, &done.groups)?;
        }
        if due(config.tokens_every) {
            let credits: Vec<_> = done.table.credits().collect();
            self.record.tokens(step, &done.groups, &credits)?;
        }
        Ok(self.kept.check()?)
    }

    /// Says how a step went.
    fn tell(&self, kind: &str, done: &Done) {
        let console = self.shared.console;
        let total = self.shared.recipe.total_steps();
        let value = |name: &str, key: &str| {
            done.metrics.get(key).map(|value| format!(", {name} {value:.3}")).unwrap_or_default()
        };
        let seconds = done.timings.get("timing_s/step").unwrap_or_default();
        console.say(&format!(
            "{kind} step {}/{total}{}{}{}{}, {}",
            self.state.step,
            value("loss", "train/loss"),
            value("reward", "critic/rewards/mean"),
            value("length", "response_length/mean"),
            value("entropy", "actor/entropy"),
            duration(seconds)
        ));
    }

    /// Says the warnings that are news; the record has every one.
    pub(super) fn warn(&mut self, warnings: &[Warning]) {
        for warning in warnings {
            if self.watch.is_news(self.state.step, warning.name) {
                self.shared.console.say(&warning.to_string());
            }
        }
    }
}

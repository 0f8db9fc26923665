//! The optimizer of a stage, and the number of its updates.

use anyhow::Result;
use candle::Tensor;
use engine::loss::LossConfig;
use engine::{Activations, Model};
use evals::run::Phase;
use optim::SavedState;

use super::average::Average;
use super::stage::StageStart;
use super::table::Table;
use super::update::{Gradient, Mover, UpdatePlan, UpdateReport, update};
use super::zeroth::Zeroth;
use crate::config::{self, Descent, StageSettings};
use crate::console::Console;
use crate::machine;
use crate::memory::kept_bytes_a_row;
use crate::run_dir::StageState;

/// Updates the parameters in a stage.
#[derive(Debug)]
pub(super) struct Learner<'a> {
    pub(super) model: &'a Model,
    console: &'a Console,
    settings: Descent<'a>,
    /// Steps of the stage.
    steps: u64,
    /// Updates of the whole stage.
    total: u64,
    activations: Activations,
    mover: Box<dyn Mover>,
    /// Updates done.
    pub(super) done: u64,
    /// Whether an update failed after others of its step, so that the weights are of no step.
    pub(super) has_moved: bool,
}

impl<'a> Learner<'a> {
    pub(super) fn new(stage: &'a dyn StageSettings, start: &StageStart<'a, '_>) -> Result<Self> {
        let (settings, run) = (stage.descent(), &start.run);
        let mover: Box<dyn Mover> = match settings.optim.estimator() {
            Some(method) => Box::new(Zeroth::open(&method, start)?),
            None => Box::new(Gradient::new(settings.optim, run.model)?),
        };
        Ok(Self {
            model: run.model,
            console: run.console,
            settings,
            steps: stage.steps(),
            total: stage.total_updates(),
            activations: activations(&settings, run.model),
            mover,
            done: 0,
            has_moved: false,
        })
    }

    /// Runs the updates of a step, with log-probs at `temperature`; `seed` is a random word of the
    /// step. After each of them the average, where there is one, follows the policy.
    pub(super) fn update(
        &mut self,
        loss: &LossConfig,
        temperature: f64,
        table: &Table,
        seed: u64,
        mut average: Option<&mut Average>,
    ) -> Result<UpdateReport> {
        let plan = UpdatePlan {
            model: self.model,
            loss,
            temperature,
            activations: self.activations,
            budget: self.settings.micro_batch_tokens,
            epochs: self.settings.epochs,
            updates_per_step: self.settings.updates_per_step,
            seed,
            schedule: self.settings.schedule,
            total_updates: self.total,
        };
        let (console, model) = (self.console, self.model);
        let moved = &mut self.has_moved;
        let mut progress = |done, total| console.set_phase(Phase::Update, done, total);
        let mut after = |updates| {
            *moved = true;
            average.as_mut().map_or(Ok(()), |average| average.follow(model, updates))
        };
        let report =
            update(&plan, self.mover.as_mut(), table, self.done, &mut progress, &mut after)?;
        self.done += report.updates;
        self.has_moved = false;
        Ok(report)
    }

    pub(super) fn save(&self, state: &mut StageState) {
        state.set("updates", self.done);
        state.set("updates_per_step", self.settings.updates_per_step);
    }

    pub(super) fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        self.mover.tensors()
    }

    pub(super) fn restore(&mut self, state: &StageState, tensors: &dyn SavedState) -> Result<()> {
        self.mover.restore(tensors)?;
        self.done = state.get("updates")?;
        let (then, now): (u64, _) =
            (state.get("updates_per_step")?, self.settings.updates_per_step as u64);
        if then != now {
            // The schedule ends with the stage, whatever its steps so far were split into.
            let steps_done = self.done / then.max(1);
            self.total = self.done + self.steps.saturating_sub(steps_done) * now;
        }
        Ok(())
    }
}

/// What the forward pass keeps. With `auto`: everything, if that takes at most half of the free
/// memory.
fn activations(settings: &Descent<'_>, model: &Model) -> Activations {
    let rows = settings.micro_batch_tokens as u64;
    let kept = rows.saturating_mul(kept_bytes_a_row(model.config()));
    let is_tight = || machine::memory().is_some_and(|(_, free)| kept > free / 2);
    match settings.activations {
        config::Activations::Auto if is_tight() => Activations::Recompute,
        choice => choice.most(),
    }
}

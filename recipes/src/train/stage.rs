//! The interface of a stage to the trainer, and what all kinds of stages share.

use std::path::Path;

use anyhow::{Context as _, Result};
use candle::Tensor;
use evals::attempt::GradedGroup;
use optim::SavedState;
use rewards::Problem;

use super::StepOutput;
use super::average::Average;
use super::context::RunContext;
use super::reference::Reference;
use crate::config::ReferenceChoice;
use crate::data::Order;
use crate::policy::Policies;
use crate::printable::quoted;
use crate::run_dir::{Damaged, RunDir, Saved, StageState};

/// What the message about a reference that the run has lost begins its advice with.
pub(super) const REMADE: &str = "it is the reference of the stage: ";

/// A running stage. Each kind has a file.
pub(super) trait StageDriver {
    /// Runs one step; `step` is the number of steps done before, over the whole run.
    fn step(&mut self, step: u64) -> Result<StepOutput>;

    /// The groups that a step sampled before it failed because it could learn from none, as many as
    /// the record keeps.
    fn take_unlearnt(&mut self) -> Vec<GradedGroup> {
        Vec::new()
    }

    /// Whether a step failed after some of its updates, so that the weights are of no step.
    fn has_moved(&self) -> bool;

    /// All state that the next step depends on, apart from the weights and
    /// [`StageDriver::tensors`].
    fn state(&self) -> StageState;

    /// The state in tensors: that of the optimizer.
    fn tensors(&self) -> Result<Vec<(String, Tensor)>>;

    /// Restores what [`StageDriver::state`] and [`StageDriver::tensors`] returned.
    fn restore(&mut self, state: &StageState, tensors: &dyn SavedState) -> Result<()>;
}

/// What a stage is built from.
pub(super) struct StageStart<'a, 'b> {
    pub(super) run: RunContext<'a>,
    pub(super) index: usize,
    /// The checkpoint that the stage goes on from; none at its start.
    pub(super) saved: Option<&'b Saved>,
    pub(super) run_dir: &'b RunDir,
    pub(super) policies: &'b Policies<'b>,
}

impl<'a> StageStart<'a, '_> {
    /// The policy that the stage looks back at.
    pub(super) fn reference(&self, choice: &ReferenceChoice) -> Result<Reference<'a>> {
        let run = &self.run;
        match choice {
            ReferenceChoice::Start {} => self.kept(|folder| Reference::save(run, folder)),
            ReferenceChoice::Base {} if run.model.adapter().is_some() => Ok(Reference::Base),
            ReferenceChoice::Base {} => self.kept(|folder| self.save_first(folder)),
            ReferenceChoice::Adapter { name } => {
                let named = run.adapters.get(name);
                named.map(Reference::Named).with_context(|| format!("there is no adapter {name}"))
            }
            ReferenceChoice::Ema { decay, every } => {
                Average::begin(run.model, *decay, every.get()).map(Reference::Average)
            }
        }
    }

    /// Saves the weights that the run began with.
    fn save_first(&self, folder: &Path) -> Result<()> {
        if self.index == 0 {
            return self.run.save_policy(folder);
        }
        // Of another seed than now where that has changed.
        let (model, _) = self.policies.first_of(self.run_dir.facts()?.seed)?;
        Ok(engine::checkpoint::save(&model, self.run.text, folder)?)
    }

    /// The policy that the run directory keeps for the stage; `save` fills its folder when the
    /// stage begins.
    fn kept(&self, save: impl FnOnce(&Path) -> Result<()>) -> Result<Reference<'a>> {
        let name = format!("reference/stage-{}", self.index);
        if self.saved.is_none() {
            self.run_dir.write_folder(&name, save)?;
        }
        let folder = self.run_dir.root().join(name);
        let opened = Reference::open(self.run.model, self.policies, &folder);
        opened.map_err(|error| Damaged(format!("{error:#}\n{}", self.remake())).into())
    }

    /// How the run goes on without the reference: from a checkpoint before it was made, where there
    /// is one.
    fn remake(&self) -> String {
        let before = &self.run.recipe.stages[..self.index];
        let begin: u64 = before.iter().map(|stage| stage.settings().steps()).sum();
        let saved = self.run_dir.checkpoints().unwrap_or_default();
        let (whole, later): (Vec<_>, Vec<_>) =
            saved.iter().partition(|saved| saved.state.step <= begin);
        let Some(newest) = whole.last() else {
            return format!(
                "{REMADE}restore its files from a copy, or start a new run in another --run-dir"
            );
        };
        let remove = later.iter().map(|saved| quoted(&saved.path.display().to_string()));
        format!(
            "{REMADE}restore its files from a copy, or go back to the checkpoint \
              after step {}, after which it is made: remove the later ones, then resume\n  \
             rm -r {}",
            newest.state.step,
            remove.collect::<Vec<_>>().join(" ")
        )
    }
}

/// The problems of a stage, in the order of training.
#[derive(Debug)]
pub(super) struct DataLoader<'a> {
    problems: &'a [Problem],
    order: Order,
    drawn: u64,
}

impl<'a> DataLoader<'a> {
    pub(super) fn new(run: &RunContext<'a>) -> Self {
        let RunContext { recipe, problems, train, .. } = *run;
        let order = Order::new(recipe.seed, problems, &train.weights(), recipe.data.shuffle);
        Self { problems, order, drawn: 0 }
    }

    /// The next `count` problems, with their running numbers.
    pub(super) fn next_batch(&mut self, count: usize) -> Vec<(u64, &'a Problem)> {
        let first = self.drawn;
        self.drawn += count as u64;
        let (problems, order) = (self.problems, &mut self.order);
        (first..self.drawn).map(|number| (number, &problems[order.at(number)])).collect()
    }

    /// Passes over the problems so far.
    pub(super) fn epochs(&self) -> f64 {
        self.drawn as f64 / self.problems.len() as f64
    }

    pub(super) fn save(&self, state: &mut StageState) {
        state.set("drawn", self.drawn);
    }

    pub(super) fn restore(&mut self, state: &StageState) -> Result<()> {
        self.drawn = state.get("drawn")?;
        Ok(())
    }
}

//! Where in a run weights are.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use evals::run::Run;
use optim::zeroth::log::Log;

use crate::config::Recipe;

/// After so many updates of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) stage: usize,
    pub(super) updates: u32,
}

/// A part of a log.
pub(super) struct Place<'a> {
    pub(super) log: &'a Log,
    /// After the last update that is wanted of it.
    pub(super) until: Position,
}

/// Where the weights after a step are. How many updates it made of its stage is in the record.
pub(super) fn place_of(root: &Path, recipe: &Recipe, step: u64) -> Result<Position> {
    let within = step.checked_sub(1).and_then(|last| recipe.stage_at(last));
    let Some((stage, _)) = within else {
        bail!("--step {step}: expected a step of the run, 1 to {}", recipe.total_steps());
    };
    let metrics =
        Run::open(root).and_then(|run| run.metrics()).map_err(|error| anyhow!("{error}"))?;
    let found = metrics.points("training/updates").find(|(at, _)| *at == step);
    let Some((_, updates)) = found else {
        bail!("--step {step}: the run has not done that step");
    };
    Ok(Position { stage, updates: updates as u32 })
}

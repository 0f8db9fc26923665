//! The training loop.
//!
//! Each kind of stage has a file with its step: `train/rl.rs` (gather, rescore, credit, update,
//! summarize) and `train/sft.rs`. `train/stage.rs` is the interface that every kind implements.
//! `train/trainer.rs` runs the steps, and handles resume, evaluation, checkpoints and the end.

mod average;
mod clock;
mod context;
mod learner;
pub(crate) mod log_prob_gap;
mod pack;
pub(crate) mod params;
mod recoverable;
mod reference;
mod report;
mod rl;
pub(crate) mod sft;
mod stage;
pub(crate) mod table;
mod trainer;
pub(crate) mod update;
mod zeroth;

use anyhow::{Context as _, Result};
use evals::attempt::GradedGroup;
use evals::{Metrics, Warning};

pub use trainer::{Ended, Failed, Job, Options, outlook, train};

use crate::causes::with_causes;
use crate::config::Stage;
use crate::policy::Policies;
use crate::run_dir::{Damaged, RunDir, Saved};
use crate::zeroth::remove_from;
use context::RunContext;
use rl::Rl;
use sft::Sft;
use stage::{StageDriver, StageStart};
use table::Table;

/// Stage `index` of the recipe, at its start or restored from `saved`. What cannot be restored is
/// [`Damaged`].
fn begin_stage<'a>(
    run: RunContext<'a>,
    index: usize,
    saved: Option<&Saved>,
    run_dir: &RunDir,
    policies: &Policies<'_>,
) -> Result<Box<dyn StageDriver + 'a>> {
    let start = StageStart { run, index, saved, run_dir, policies };
    // Of stages that the run has gone back from.
    remove_from(run_dir.root(), index + usize::from(saved.is_some()), 0)?;
    let mut driver: Box<dyn StageDriver + 'a> = match &run.recipe.stages[index] {
        Stage::Rl(config) => Box::new(Rl::begin(config, &start)?),
        Stage::Sft(config) => Box::new(Sft::begin(config, &start)?),
    };
    if let Some(saved) = saved {
        let restored = saved
            .optimizer()
            .and_then(|tensors| driver.restore(&saved.state.stage_state, &tensors));
        let restored = restored.with_context(|| format!("reading {}", saved.path.display()));
        restored.map_err(|error| Damaged(with_causes(&error)))?;
    }
    Ok(driver)
}

/// The results of a step.
#[derive(Debug)]
struct StepOutput {
    metrics: Metrics,
    timings: Metrics,
    warnings: Vec<Warning>,
    /// The groups that the step learnt from; none in supervised stages.
    groups: Vec<GradedGroup>,
    /// The groups that it sampled and did not learn from, as many as the record keeps.
    discarded: Vec<GradedGroup>,
    table: Table,
}

/// The mean of `values`, summed in their order; 0 for no values.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0_u64, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

//! The loop.
//!
//! A step is in the file of its kind of stage: `train/rl.rs` (gather, rescore, credit, update,
//! summarize, each in a file of that name) and `train/sft.rs`. `train/stage.rs` has what every kind
//! implements; `train/trainer.rs` is the run around the steps: resume, evaluation, checkpoints, the
//! end.

mod clock;
mod learner;
mod log_prob_gap;
mod pack;
pub(crate) mod params;
mod recoverable;
mod report;
mod rl;
pub(crate) mod sft;
mod stage;
pub(crate) mod table;
mod trainer;
pub(crate) mod update;

use anyhow::{Context as _, Result};
use evals::attempt::GradedGroup;
use evals::{Metrics, Warning};

pub use trainer::{Ended, Failed, Job, Options, train};

use crate::config::Stage;
use crate::run_dir::{RunDir, Saved};
use rl::Rl;
use sft::Sft;
use stage::{OpenModel, RunContext, StageDriver, StageStart};
use table::Table;

/// Stage `index` of the recipe, at its start or where `saved` left it.
fn begin_stage<'a>(
    run: RunContext<'a>,
    index: usize,
    saved: Option<&Saved>,
    run_dir: &RunDir,
    open: OpenModel<'_>,
) -> Result<Box<dyn StageDriver + 'a>> {
    let start = StageStart { run, index, resumed: saved.is_some(), run_dir, open };
    let mut driver: Box<dyn StageDriver + 'a> = match &run.recipe.stages[index] {
        Stage::Rl(config) => Box::new(Rl::begin(config, &start)?),
        Stage::Sft(config) => Box::new(Sft::begin(config, &start)?),
    };
    if let Some(saved) = saved {
        let tensors = saved.optimizer(run.model.device())?;
        driver
            .restore(&saved.state.stage_state, &tensors)
            .with_context(|| format!("reading {}", saved.path.display()))?;
    }
    Ok(driver)
}

/// What a step leaves behind.
#[derive(Debug)]
struct StepOutput {
    metrics: Metrics,
    timings: Metrics,
    warnings: Vec<Warning>,
    /// What was sampled and learnt from; none in supervised stages.
    groups: Vec<GradedGroup>,
    table: Table,
}

/// The mean of `values`, summed in their order; 0 of none.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0_u64, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

//! What the stages of a run share.

use std::path::Path;

use anyhow::Result;
use engine::Model;
use engine::text::Text;
use rand_philox::splitmix64;
use rewards::Problem;

use crate::config::{Recipe, Train};
use crate::console::Console;
use crate::policy::NamedAdapters;
use crate::run_dir::Base;
use crate::signals::Stop;
use crate::verifiers::Verifiers;

/// What the stages of a run share.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunContext<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) model: &'a Model,
    pub(super) text: &'a Text,
    /// The base of the model's adapter; none where all weights are trained.
    pub(super) base: Option<&'a Base>,
    /// The adapters that references name.
    pub(super) adapters: &'a NamedAdapters,
    /// What the stage trains on.
    pub(super) problems: &'a [Problem],
    /// The settings of that data.
    pub(super) train: &'a Train,
    pub(super) console: &'a Console,
    /// The verifiers outside this process.
    pub(super) verifiers: &'a Verifiers,
    /// The request to stop.
    pub(super) stop: &'a Stop,
}

impl RunContext<'_> {
    /// A seed for one step of the run.
    pub(super) fn seed_of(&self, step: u64) -> u64 {
        splitmix64(self.recipe.seed ^ splitmix64(step))
    }

    /// A seed of a stage that draws by the number of its update.
    pub(super) fn seed_of_stage(&self, index: usize) -> u64 {
        splitmix64(self.recipe.seed.wrapping_add(splitmix64(index as u64)))
    }

    /// Saves what is trained: the adapter, where there is one, else the model.
    pub(super) fn save_policy(&self, folder: &Path) -> Result<()> {
        match (self.model.adapter(), self.base) {
            (Some(adapter), Some(base)) => Ok(adapter.save(folder, &base.public_name())?),
            _ => Ok(engine::checkpoint::save(self.model, self.text, folder)?),
        }
    }
}

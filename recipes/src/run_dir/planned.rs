//! What the recipe of a run plans, without reading all of it: it may be of another version.

use std::path::Path;

use anyhow::{Context as _, Result};
use engine::file;
use toml::{Table, Value};

use super::RECIPE;

/// The step after which the run at `root` has a checkpoint for certain.
///
/// # Errors
///
/// Fails when its recipe cannot be read.
pub(crate) fn first_due(root: &Path) -> Result<u64> {
    let recipe = recipe(root)?;
    let every = number(recipe.get("checkpoint").and_then(|table| table.get("every")));
    Ok(every.unwrap_or(u64::MAX).min(stage_end(&recipe, 0).unwrap_or(0)))
}

/// Whether the run at `root` has done the last step of `stage` with step `step`, as its recipe
/// says.
pub(super) fn ends_stage(root: &Path, stage: usize, step: u64) -> bool {
    recipe(root).is_ok_and(|recipe| stage_end(&recipe, stage) == Some(step))
}

/// The recipe of the run at `root`, whatever it says.
fn recipe(root: &Path) -> Result<Table> {
    let path = root.join(RECIPE);
    let text =
        file::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    text.parse().with_context(|| format!("reading {}", path.display()))
}

/// The step after which a stage ends.
fn stage_end(recipe: &Table, stage: usize) -> Option<u64> {
    let stages = recipe.get("stage")?.as_array()?.get(..=stage)?;
    stages
        .iter()
        .map(|stage| number(stage.get("steps")))
        .try_fold(0, |sum: u64, own| sum.checked_add(own?))
}

fn number(value: Option<&Value>) -> Option<u64> {
    u64::try_from(value?.as_integer()?).ok()
}

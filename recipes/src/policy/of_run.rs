//! The checkpoint that a run directory stands for.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::run_dir;

/// Whether a folder is a run's. A model or a project may hold a recipe, too, but not what a run
/// leaves beside its own.
pub(super) fn is_run(path: &Path) -> bool {
    [run_dir::RECIPE, run_dir::FACTS].iter().all(|name| path.join(name).is_file())
}

/// The best checkpoint of a run, or its newest where no accuracy was measured.
///
/// # Errors
///
/// Fails when there is none, or one that cannot be read.
pub(super) fn best_checkpoint(run: &Path) -> Result<PathBuf> {
    let mut saved = run_dir::checkpoints(run)?;
    if let Some(best) = run_dir::best_of(&saved) {
        return Ok(best.path.clone());
    }
    if let Some(newest) = saved.pop() {
        return Ok(newest.path);
    }
    let (done, due) = (run_dir::steps_done(run), run_dir::first_due(run)?);
    bail!(
        "the run {} has no checkpoint yet: it has done {done} steps, and the first is due after step \
         {due}\nwait for it, or stop the run, which saves its state",
        run.display()
    )
}

/// Whether `found` is the checkpoint that a run stands for, which is called `name`, and not a
/// checkpoint of this name.
pub(super) fn stands_for(name: &str, found: &Path) -> bool {
    let is_of_run = found.ancestors().nth(2).is_some_and(is_run);
    is_of_run && Path::new(name).file_name() != found.file_name()
}

/// Says that of the run `name` the checkpoint `found` is taken, and why that one; `None` where the
/// user named the checkpoint itself, or no run.
pub fn taken(name: &str, found: &Path) -> Option<String> {
    let run = found.ancestors().nth(2).filter(|_| stands_for(name, found))?;
    let why = why(run, found).unwrap_or_default();
    Some(format!(
        "of the run {name}, {} is taken{why}; to take another checkpoint, name its path",
        found.display()
    ))
}

/// Whether the checkpoint is the best or the newest of its run.
fn why(run: &Path, found: &Path) -> Option<String> {
    let saved = run_dir::checkpoints(run).ok()?;
    let newest = saved.last()?;
    let best = run_dir::best_of(&saved).filter(|best| best.path == found);
    let score = best.and_then(|best| best.state.score.as_ref());
    Some(match (score, newest.path == found) {
        (Some(score), true) => format!(", the newest and the best by {score}"),
        (Some(score), false) => {
            let newest = newest.path.file_name().unwrap_or_default();
            format!(", the best by {score} (the newest is {})", newest.display())
        }
        (None, true) => ", the newest".to_owned(),
        (None, false) => return None,
    })
}

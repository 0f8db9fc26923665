//! The checkpoints of a run, and how it goes on without the newest.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use evals::run::{State, Status};

use super::checkpoints::{Saved, read_saved, step_of_folder};
use super::planned::first_due;
use super::{RunDir, entries, status};
use crate::printable::quoted;

impl RunDir {
    /// The complete checkpoints, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when one cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<Saved>> {
        checkpoints(&self.root)
    }

    /// The same, for a run that is to be resumed by the command `resume`.
    ///
    /// # Errors
    ///
    /// Fails when one cannot be read, with all that is to be typed to go on without it.
    pub fn checkpoints_to_resume(&self, resume: &str) -> Result<Vec<Saved>> {
        read_checkpoints(&self.root, Some(resume))
    }
}

/// The complete checkpoints of the run at `root`, oldest first.
///
/// # Errors
///
/// Fails when one cannot be read.
pub fn checkpoints(root: &Path) -> Result<Vec<Saved>> {
    read_checkpoints(root, None)
}

fn read_checkpoints(root: &Path, resume: Option<&str>) -> Result<Vec<Saved>> {
    let folder = root.join("checkpoints");
    let paths = entries(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut saved = paths
        .into_iter()
        .filter(|path| step_of_folder(path).is_some())
        .map(|path| {
            let damaged =
                |error: anyhow::Error| anyhow!("{error:#}\n{}", way_back(root, &path, resume));
            read_saved(&path, &damaged)
        })
        .collect::<Result<Vec<_>>>()?;
    saved.sort_by_key(|saved| saved.state.step);
    Ok(saved)
}

/// How the run at `root` goes on without the checkpoint in `folder`, as lines for people. With
/// `resume`, the command that does so, all that is to be typed.
pub(crate) fn way_back(root: &Path, folder: &Path, resume: Option<&str>) -> String {
    let mut others = entries(&root.join("checkpoints")).unwrap_or_default();
    others.retain(|path| path != folder && step_of_folder(path).is_some());
    others.sort_by_key(|path| Reverse(step_of_folder(path)));
    let is_whole = |path: &PathBuf| {
        let saved = read_saved(path, &|error| error);
        saved.is_ok_and(|saved| saved.damage().is_none())
    };
    let whole = others.iter().position(is_whole);
    let begins = match whole.and_then(|at| step_of_folder(&others[at])) {
        Some(step) => format!("the checkpoint after step {step} is whole; to go on from it"),
        None if steps_lost(root).is_ok_and(|steps| steps.is_none()) => {
            "the run has no other whole checkpoint, and none was due before this one; to begin again \
             at step 0"
                .to_owned()
        }
        None => {
            return "the run has no other whole checkpoint: restore the files of this one from a copy, \
                    or start a new run in another --run-dir"
                .to_owned();
        }
    };
    // Those after it are not whole either.
    let unusable = others[..whole.unwrap_or(others.len())].iter().map(PathBuf::as_path);
    let remove = unusable.chain([folder]).map(|path| quoted(&path.display().to_string()));
    let remove = remove.collect::<Vec<_>>().join(" ");
    let resume = resume.map(|command| format!("\n  {command}")).unwrap_or_default();
    format!("{begins}, remove what cannot be used, then resume:\n  rm -r {remove}{resume}")
}

/// The steps of which the run at `root` would lose the record if it began again without a
/// checkpoint, as it had saved its state after them; none where it may begin again.
///
/// # Errors
///
/// Fails when its recipe cannot be read.
pub(crate) fn steps_lost(root: &Path) -> Result<Option<u64>> {
    let Ok(Status { state, step: done, .. }) = status(root) else { return Ok(None) };
    // A run that ends in order saves its state. At the due step itself, a run may have been killed
    // before the checkpoint was whole, or have diverged.
    let in_order = matches!(state, State::Finished | State::Interrupted);
    let may_begin_again = done == 0 || (!in_order && done <= first_due(root)?);
    Ok((!may_begin_again).then_some(done))
}

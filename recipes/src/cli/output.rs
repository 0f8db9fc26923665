//! Where a command may write.

use std::path::Path;

use anyhow::{Result, bail};

use crate::run_dir::FACTS;

/// Fails where `output`, which the argument `name` gives and which is written into `folder`, would
/// be in `run`, where there is one, or in another run directory.
pub(super) fn check_outside(
    name: &str,
    output: &Path,
    folder: &Path,
    run: Option<&Path>,
) -> Result<()> {
    // What does not exist yet is where its nearest folder is.
    let there = folder.ancestors().find(|above| above.exists() || *above == Path::new(""));
    let inside = there.and_then(|there| Path::new(".").join(there).canonicalize().ok());
    let is_run = |folder: &&Path| {
        folder.join(FACTS).exists()
            || run.is_some_and(|run| run.canonicalize().is_ok_and(|run| run == **folder))
    };
    if let Some(run) = inside.as_deref().and_then(|inside| inside.ancestors().find(is_run)) {
        bail!(
            "{name} {}: expected a place outside of the run directory {}: nothing but the run \
             itself writes there",
            output.display(),
            run.display()
        );
    }
    Ok(())
}

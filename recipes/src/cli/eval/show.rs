//! Evaluations that are there already: shown as a table, and compared with others.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::super::print;
use super::Args;
use crate::causes::with_causes;
use crate::console::{Console, Verbosity};
use crate::eval::{self, SetSettings, Settings, Shown, compare};

/// Prints directories as a table or as JSON, and says on stderr which sets cannot be read. Returns
/// whether all can; where none can, that is the error.
pub(super) fn show(roots: &[PathBuf], args: &Args) -> Result<bool> {
    let (mut found, mut broken) = (Vec::new(), Vec::new());
    for root in roots {
        match eval::read_sets(root) {
            Ok((read, problems)) => {
                // One without any set that can be read has nothing to show.
                found.extend((problems.is_empty() || !read.summaries.is_empty()).then_some(read));
                broken.extend(problems);
            }
            Err(error) => broken.push(error),
        }
    }
    if found.is_empty() && !broken.is_empty() {
        return Err(broken.remove(0));
    }
    let against = match &args.against {
        Some(other) => compare(&found, &eval::read(other).context("--against")?)?,
        None => Vec::new(),
    };
    let shown = Shown { found, against };
    print(&if args.json { eval::json(&shown) } else { eval::markdown(&shown) })?;
    let console = Console::stderr(Verbosity::Normal);
    for problem in &broken {
        console.print(&format!("error: not in the table: {}", with_causes(problem)));
    }
    Ok(broken.is_empty())
}

/// Refuses a comparison that cannot be made, before anything is sampled.
pub(super) fn comparable(settings: &Settings, other: &Path) -> Result<()> {
    let other_settings = eval::read(other).context("--against")?.settings;
    let same = |set: &SetSettings| other_settings.sets.iter().find(|one| one.name == set.name);
    let mut common = settings.sets.iter().filter_map(|set| Some((set, same(set)?))).peekable();
    if common.peek().is_none() {
        bail!("--against: {} has no set of this evaluation", other.display());
    }
    match common.find(|(set, theirs)| set.sha256 != theirs.sha256) {
        Some((set, _)) => {
            bail!("--against: the rows of {} in {} are others than here", set.name, other.display())
        }
        None => Ok(()),
    }
}

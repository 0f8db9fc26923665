//! The directory of an evaluation as it is read to be shown.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use evals::run::results::read_without_texts;
use evals::run::{Facts, ProblemLine, Summary, read_json};

use super::{Found, contaminated, results, stored, summary};
use crate::eval::{SetSettings, Settings};
use crate::run_dir::{EVALUATION, FACTS};

/// The build and the machine that began the evaluation at `root`, as far as they can be read.
pub(super) fn facts(root: &Path) -> Option<Facts> {
    read_json(&root.join(FACTS)).ok().flatten()
}

/// Reads the directory of an evaluation, finished or not.
///
/// # Errors
///
/// Fails when it is none, and when a file cannot be read.
pub fn read(root: &Path) -> Result<Found> {
    let (found, broken) = read_sets(root)?;
    broken.into_iter().next().map_or(Ok(found), Err)
}

/// Reads the sets of an evaluation, finished or not, that can be read, and says of each of the
/// others why it cannot.
///
/// # Errors
///
/// Fails when the directory is that of no evaluation.
pub fn read_sets(root: &Path) -> Result<(Found, Vec<anyhow::Error>)> {
    let settings = stored(root)?;
    let (mut lines, mut summaries, mut broken) = (BTreeMap::new(), Vec::new(), Vec::new());
    for set in &settings.sets {
        match read_set(root, &settings, set) {
            Ok((read, summary)) => {
                lines.insert(set.name.clone(), read);
                summaries.push(summary);
            }
            Err(error) => broken.push(error),
        }
    }
    let found = Found { root: root.to_owned(), settings, facts: facts(root), lines, summaries };
    Ok((found, broken))
}

/// What became of the problems of a set, and its figures.
fn read_set(
    root: &Path,
    settings: &Settings,
    set: &SetSettings,
) -> Result<(Vec<ProblemLine>, Summary)> {
    let path = results(root, &set.name);
    let (read, _) = read_without_texts(&path)?;
    let SetSettings { name, asked, samples, .. } = set;
    if read.len() > *asked || read.iter().any(|line| line.n != *samples) {
        bail!(
            "{}: expected up to {asked} problems with {samples} completions each, as {EVALUATION} \
             says of `{name}`, got others\none of the files is damaged: evaluate into another --out",
            path.display()
        );
    }
    let contaminated = contaminated(root, name, read.len())?;
    let summary = summary(settings, set, &read, contaminated);
    Ok((read, summary))
}

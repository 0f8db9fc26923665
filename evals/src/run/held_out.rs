//! `evals/step-*/NAME.json` and `NAME.jsonl`: held-out evaluations and their problems.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::log::read_lines;
use super::problem::read_json;
use super::{Problem, step_of_name};
use crate::{Evaluation, ProblemResult, Result};

/// Reads the problems of an evaluation, in the order of their set; a last line without its end is
/// left out, as while a run is writing it or after a kill. No file is no problems.
///
/// # Errors
///
/// Fails when the file cannot be read or a whole line is no [`ProblemResult`].
pub fn read_results(path: &Path) -> Result<Vec<ProblemResult>> {
    let mut results = read_lines(path, |line| {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        rewards::json::read::<ProblemResult>(&value)
    })?;
    results.sort_by_key(|result| result.number);
    Ok(results)
}

/// The evaluations of the run at `root`, in the order of their steps, then of their names; and what
/// could not be read.
pub fn evaluations(root: &Path) -> (Vec<Evaluation>, Vec<Problem>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let mut steps: Vec<_> = entries(&root.join("evals"), &mut problems)
        .into_iter()
        .filter_map(|path| Some((step_of_name(path.file_name()?.to_str()?)?, path)))
        .collect();
    steps.sort();
    for (_, step) in steps {
        for path in entries(&step, &mut problems) {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read_json(&path) {
                Ok(evaluation) => found.extend(evaluation),
                Err(problem) => problems.push(problem),
            }
        }
    }
    (found, problems)
}

/// Paths in `folder`, in the order of their names; none where there is no such folder.
fn entries(folder: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    if !folder.exists() {
        return Vec::new();
    }
    let read = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>());
    let mut paths = read.unwrap_or_else(|error| {
        problems.push(Problem::of_system(folder, &error));
        Vec::new()
    });
    paths.sort();
    paths
}

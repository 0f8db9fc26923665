//! The evaluations of a run.

use std::path::{Path, PathBuf};

use super::problem::read_json;
use super::{Problem, Summary, step_of_name};
use crate::Result;

/// The evaluations of the run at `root`, in the order of their steps, then of their names; and what
/// could not be read.
pub fn evaluations(root: &Path) -> (Vec<Summary>, Vec<Problem>) {
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

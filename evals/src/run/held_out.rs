//! The evaluations of a run.

use std::path::Path;

use super::problem::read_json;
use super::{Problem, Summary, entries, folder_problem, step_of_name};

/// The evaluations of the run at `root`, in the order of their steps, then of their names; and what
/// could not be read.
pub fn evaluations(root: &Path) -> (Vec<Summary>, Vec<Problem>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let folder = root.join("evals");
    problems.extend(folder_problem(&folder));
    let steps = entries(&folder).into_iter();
    let mut steps: Vec<_> =
        steps.filter_map(|(name, path)| Some((step_of_name(&name)?, path))).collect();
    steps.sort();
    for (_, step) in steps {
        for (_, path) in entries(&step) {
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

//! What is missing in a log.

use super::{MetricTable, Problem};

impl MetricTable {
    /// What the log of a run that has ended lacks, where the run did `done` steps.
    pub fn lacks(&self, done: u64) -> Option<Problem> {
        let path = &self.cursor.path;
        let last = self.steps.last().copied();
        let is_torn = self.cursor.is_torn();
        let has_all = last.is_some_and(|last| last >= done) || done == 0;
        if has_all && !is_torn {
            return None;
        }
        let has = last.map_or_else(|| "no step".to_owned(), |last| format!("steps up to {last}"));
        let reason = if !path.exists() {
            format!("there is no such file, and the run did {done} steps")
        } else if is_torn {
            format!("its last line has no end; it has {has}, and the run did {done}")
        } else {
            format!("it has {has}, and the run did {done}")
        };
        Some(Problem::of(
            path,
            reason,
            "restore the file from a copy; what is missing is not shown",
        ))
    }
}

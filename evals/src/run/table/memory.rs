//! Tables of lines that are in memory.

use std::path::Path;

use super::MetricTable;
use crate::run::lines::Problems;

impl MetricTable {
    /// A table of these lines, as if they stood at `path`.
    pub(in crate::run) fn of_lines(path: &Path, lines: impl Iterator<Item = Vec<u8>>) -> Self {
        let (mut table, mut problems) = (Self::new(path), Problems::default());
        for (number, line) in (1..).zip(lines) {
            if let Err(reason) = table.add(&line) {
                problems.add(path, number, reason);
            }
        }
        table.problems = problems.into_vec();
        table
    }
}

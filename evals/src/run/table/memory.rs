//! Tables of lines that are in memory.

use std::path::Path;

use super::MetricTable;

impl MetricTable {
    /// A table of these lines, as if they stood at `path`.
    pub(in crate::run) fn of_lines(path: &Path, lines: impl Iterator<Item = Vec<u8>>) -> Self {
        let mut table = Self::new(path);
        for (number, line) in (1..).zip(lines) {
            if let Err(reason) = table.add(number, &line) {
                table.problems.add(path, number, reason);
            }
        }
        table
    }
}

//! Steps that a row cannot have, and rows that a later one shows to be damaged.

use super::MetricTable;

/// The largest step: no run has so many.
const LARGEST: u64 = 1_000_000_000;
/// A step that is more than this beyond the row before may be a damaged number.
const JUMP: u64 = 1000;
/// Rows behind such a step that are given up for those that go on before it.
const FEW: usize = 8;

impl MetricTable {
    /// Makes sure that a row of `step` can follow. Where the last few rows are far beyond it and
    /// the rows before them are not, those are the damage: their numbers would keep all that comes
    /// out of the table.
    ///
    /// # Errors
    ///
    /// Fails on a step that cannot follow.
    pub(super) fn make_way(&mut self, step: u64) -> Result<(), String> {
        if step > LARGEST {
            return Err(format!("expected a step of at most {LARGEST}, got {step}"));
        }
        let Some(last) = self.steps.last().copied().filter(|last| step <= *last) else {
            return Ok(());
        };
        let at = self.steps.partition_point(|own| *own < step);
        let beyond = &self.steps[at..];
        let before = at.checked_sub(1).map_or(0, |at| self.steps[at]);
        if beyond.len() > FEW || beyond[0] - before <= JUMP || beyond[0] - step <= JUMP {
            return Err(format!("expected a step after {last}, got {step}"));
        }
        for row in at..self.steps.len() {
            let number = self.recent[row + self.recent.len() - self.steps.len()];
            let reason =
                format!("expected a step near {step}, which follows, got {}", self.steps[row]);
            let path = self.cursor.path.clone();
            self.problems.add(&path, number, reason);
        }
        self.cut(at);
        Ok(())
    }

    /// Keeps the line of a row that is added.
    pub(super) fn note_line(&mut self, number: u64) {
        self.recent.push(number);
        if self.recent.len() > 2 * FEW {
            self.recent.drain(..FEW);
        }
    }

    /// Forgets the rows from this one on.
    fn cut(&mut self, row: usize) {
        let gone = self.steps.len() - row;
        self.recent.truncate(self.recent.len() - gone);
        self.steps.truncate(row);
        self.stages.truncate(row);
        self.columns.iter_mut().for_each(|column| column.cut(row));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn table(steps: &[u64]) -> MetricTable {
        let line = |step: &u64| format!("{{\"step\":{step},\"a\":{step}}}").into_bytes();
        MetricTable::of_lines(Path::new("metrics.jsonl"), steps.iter().map(line))
    }

    #[test]
    fn a_damaged_step_does_not_hide_the_rows_behind_it() {
        let huge = 1_000_000_000_000_000;
        for (steps, kept, line) in [
            (&[1, 2, huge, 3, 4][..], &[1, 2, 3, 4][..], 3),
            // As the last line, where nothing follows yet.
            (&[1, 2, huge], &[1, 2], 3),
            (&[1, 2, 9000, 3, 4], &[1, 2, 3, 4], 3),
            (&[9000, 1, 2], &[1, 2], 1),
            // A step that goes back is damage itself.
            (&[1, 2, 3, 2, 4], &[1, 2, 3, 4], 4),
            (&[1, 2, 5, 3, 6], &[1, 2, 5, 6], 4),
        ] {
            let table = table(steps);
            assert_eq!(table.steps(), kept, "{steps:?}");
            let problems = table.problems();
            assert_eq!((problems.len(), problems[0].line), (1, Some(line)), "{steps:?}");
            let values: Vec<_> =
                table.points("a").map(|(step, value)| (step, value as u64)).collect();
            assert_eq!(values, kept.iter().map(|&step| (step, step)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_run_that_went_on_from_a_late_step_keeps_its_rows() {
        let late: Vec<_> = [1, 2].into_iter().chain(9000..9020).chain([3]).collect();
        let table = table(&late);
        assert_eq!((table.len(), table.problems().len()), (22, 1));
        assert_eq!(table.problems()[0].line, Some(23));
    }
}

//! The values of a key.

/// The values of a key. They take space for the rows that have one, however many rows there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    pub(super) cells: Vec<f64>,
    rows: Rows,
}

/// The rows of a column's cells.
#[derive(Debug, Clone)]
enum Rows {
    /// One after the other, from this one on.
    From(usize),
    /// These, ascending.
    Each(Vec<usize>),
}

impl Default for Rows {
    fn default() -> Self {
        Self::From(0)
    }
}

impl Column {
    /// Sets the value of a row: a new one, or the last again, as where a line has a key twice.
    pub(super) fn set(&mut self, row: usize, value: f64) {
        let count = self.cells.len();
        match &mut self.rows {
            Rows::From(first) if count == 0 => *first = row,
            Rows::From(first) if *first + count == row => {}
            Rows::From(first) if *first + count == row + 1 => drop(self.cells.pop()),
            Rows::From(first) => {
                let rows = (*first..*first + count).chain([row]);
                self.rows = Rows::Each(rows.collect());
            }
            Rows::Each(rows) if rows.last() == Some(&row) => drop(self.cells.pop()),
            Rows::Each(rows) => rows.push(row),
        }
        self.cells.push(value);
    }

    pub(super) fn get(&self, row: usize) -> Option<f64> {
        let at = match &self.rows {
            Rows::From(first) => row.checked_sub(*first)?,
            Rows::Each(rows) => rows.binary_search(&row).ok()?,
        };
        self.cells.get(at).copied()
    }

    /// The row of a cell.
    pub(super) fn row(&self, at: usize) -> usize {
        match &self.rows {
            Rows::From(first) => first + at,
            Rows::Each(rows) => rows[at],
        }
    }

    /// Forgets the values of the rows from this one on.
    pub(super) fn cut(&mut self, row: usize) {
        let count = match &mut self.rows {
            Rows::From(first) => row.saturating_sub(*first).min(self.cells.len()),
            Rows::Each(rows) => {
                rows.truncate(rows.partition_point(|own| *own < row));
                rows.len()
            }
        };
        self.cells.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_can_be_set_again() {
        for rows in [&[2, 3, 4, 5][..], &[2, 4, 7]] {
            let mut column = Column::default();
            for &row in rows {
                column.set(row, row as f64);
            }
            column.cut(4);
            assert_eq!((column.get(2), column.get(4), column.get(5)), (Some(2.0), None, None));
            column.set(4, 0.5);
            assert_eq!((column.get(2), column.get(4)), (Some(2.0), Some(0.5)));
            column.cut(0);
            assert_eq!(column.get(2), None);
        }
    }
}

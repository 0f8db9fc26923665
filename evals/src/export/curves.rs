//! The rows that are exported: the metrics and timings of each step.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::Names;
use crate::metrics::TABLE;
use crate::metrics::{Spec, spec};
use crate::run::{MetricTable, Problem, Run, State};

/// Key of the timings that says when a step was over.
const TIME: &str = "time";

/// Metrics and timings of a run, joined by their steps.
#[derive(Debug)]
pub struct Curves {
    tables: [MetricTable; 2],
    /// For each step its row in either table.
    steps: Vec<(u64, [Option<usize>; 2])>,
    generation: u64,
}

/// A step.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    curves: &'a Curves,
    /// Its number.
    pub step: u64,
    rows: [Option<usize>; 2],
}

impl Curves {
    /// Those of a run, of which nothing is read yet.
    pub fn new(run: &Run) -> Self {
        let tables = ["metrics.jsonl", "timings.jsonl"];
        let tables = tables.map(|name| MetricTable::new(&run.root().join(name)));
        Self { tables, steps: Vec::new(), generation: 0 }
    }

    /// Reads all that is new, where `generation` is that of `status.json`.
    ///
    /// # Errors
    ///
    /// Fails when a log cannot be read.
    pub fn poll(&mut self, generation: u64) -> Result<(), Problem> {
        for table in &mut self.tables {
            while !table.poll(generation)? {}
        }
        self.generation = generation;
        self.steps = join(self.tables.each_ref().map(MetricTable::steps));
        Ok(())
    }

    /// The generation of the files that was read; see [`crate::run::Status`].
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Lines that could not be read; they are left out.
    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        self.tables.iter().flat_map(MetricTable::problems)
    }

    /// What the logs of `run` lack, of which all was read; nothing while it goes on.
    pub fn lacks(&self, run: &Run) -> Vec<Problem> {
        let ended = run.status.as_ref().filter(|status| status.state != State::Running);
        let Some(done) = ended.map(|status| status.step) else { return Vec::new() };
        self.tables.iter().filter_map(|table| table.lacks(done)).collect()
    }

    /// The steps, ascending.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        self.steps.iter().map(|&(step, rows)| Row { curves: self, step, rows })
    }

    /// How many rows are whole while the run goes on: a step's timings are written after its
    /// metrics.
    pub fn whole(&self) -> usize {
        let [metrics, timings] = self.tables.each_ref().map(|table| table.steps().last());
        let (Some(metrics), Some(timings)) = (metrics, timings) else { return self.steps.len() };
        let last = metrics.min(timings);
        self.steps.partition_point(|(step, _)| step <= last)
    }

    /// The keys in the order of the metric table; those that it does not have come last, by their
    /// names.
    pub fn keys(&self) -> Vec<&str> {
        let keys = self.tables.iter().flat_map(MetricTable::keys).map(String::as_str);
        let mut keys: Vec<_> =
            keys.filter(|key| *key != TIME).map(|key| (place(key), key)).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().map(|(_, key)| key).collect()
    }
}

impl<'a> Row<'a> {
    /// When the step was over, in seconds since 1970-01-01 UTC.
    pub fn time(&self) -> Option<f64> {
        self.get(TIME).filter(|time| time.is_finite())
    }

    /// The value of a key; NaN where it was measured and was not finite.
    pub fn get(&self, key: &str) -> Option<f64> {
        let mut tables = self.curves.tables.iter().zip(self.rows);
        tables.find_map(|(table, row)| table.get(row?, key))
    }

    /// The values of the row with their keys, of `keys` and in their order.
    pub fn values<'k: 'a>(
        &self,
        keys: &'a [&'k str],
    ) -> impl Iterator<Item = (&'k str, f64)> + use<'a, 'k> {
        let row = *self;
        keys.iter().filter_map(move |key| Some((*key, row.get(key)?)))
    }

    /// A digest of what is in the row, equal within a process for equal rows.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.step.hash(&mut hasher);
        for (table, row) in self.curves.tables.iter().zip(self.rows) {
            let Some(row) = row else { continue };
            for key in table.keys() {
                if let Some(value) = table.get(row, key) {
                    (key, value.to_bits()).hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }
}

/// The names of keys, each once: two keys of one name are one column.
pub(super) fn columns(keys: &[&str], names: Names) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for key in keys {
        let name = names.name(key);
        if !columns.iter().any(|column| *column == name) {
            columns.push(name.into_owned());
        }
    }
    columns
}

/// Where a key is in the metric table.
fn place(key: &str) -> usize {
    let found = spec(key);
    let place = |own: &Spec| TABLE.iter().position(|other| other.key == own.key);
    found.and_then(place).unwrap_or(TABLE.len())
}

/// The steps of two logs, ascending, with their rows in either.
fn join([left, right]: [&[u64]; 2]) -> Vec<(u64, [Option<usize>; 2])> {
    let mut steps = Vec::with_capacity(left.len().max(right.len()));
    let (mut a, mut b) = (0, 0);
    loop {
        let step = match (left.get(a), right.get(b)) {
            (Some(x), Some(y)) => *x.min(y),
            (Some(x), None) => *x,
            (None, Some(y)) => *y,
            (None, None) => return steps,
        };
        let take = |log: &[u64], at: &mut usize| {
            (log.get(*at) == Some(&step)).then(|| std::mem::replace(at, *at + 1))
        };
        let rows = [take(left, &mut a), take(right, &mut b)];
        steps.push((step, rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_either_log_are_joined() {
        let joined = join([&[0, 2, 3], &[2, 4]]);
        let expected = [
            (0, [Some(0), None]),
            (2, [Some(1), Some(0)]),
            (3, [Some(2), None]),
            (4, [None, Some(1)]),
        ];
        assert_eq!(joined, expected);
        assert!(join([&[], &[]]).is_empty());
    }

    #[test]
    fn keys_are_in_the_order_of_the_table_and_unknown_ones_last() {
        assert!(place("training/global_step") < place("actor/entropy"));
        assert_eq!(place("of/a/later/version"), TABLE.len());
    }
}

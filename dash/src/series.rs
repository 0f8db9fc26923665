//! Metrics as columns.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::binary::encode;
use crate::trouble::Trouble;
use crate::watched::Watched;

/// Values of an answer, at most: 128 MiB.
const MOST: usize = 1 << 24;

/// The steps and the values of some keys from a step on.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    generation: u64,
    /// Rows.
    steps: usize,
    /// The first step.
    from: u64,
    keys: Vec<String>,
    #[serde(skip)]
    columns: Vec<Vec<f64>>,
}

impl Series {
    /// Of those of `keys` that a run has, each once.
    ///
    /// # Errors
    ///
    /// Fails for more values than an answer has.
    pub(crate) fn asked(run: &Watched, keys: &[String], from: u64) -> Result<Self, Trouble> {
        let known: BTreeSet<_> = run.metrics.keys().iter().chain(run.timings.keys()).collect();
        let keys: BTreeSet<_> = keys.iter().filter(|key| known.contains(key)).cloned().collect();
        let steps = run.metrics.steps().len().max(run.timings.steps().len());
        if keys.len().saturating_mul(steps) > MOST {
            let error = format!("{} keys of {steps} steps are too many values", keys.len());
            return Err(Trouble::bad(error).act("ask for fewer keys"));
        }
        Ok(Self::of(run, keys.into_iter().collect(), from))
    }

    /// Of a run's metrics and timings. A value is NaN where it is absent and +∞ where it was not
    /// finite.
    pub(crate) fn of(run: &Watched, keys: Vec<String>, from: u64) -> Self {
        let (metrics, timings) = (run.metrics.steps(), run.timings.steps());
        let mut steps: Vec<_> =
            metrics.iter().chain(timings).copied().filter(|step| *step >= from).collect();
        steps.sort_unstable();
        steps.dedup();
        let mut columns = vec![steps.iter().map(|&step| step as f64).collect()];
        for key in &keys {
            let mut column = vec![f64::NAN; steps.len()];
            for table in [&run.metrics, &run.timings] {
                // The newest first, so that asking for the last step does not read all.
                let points = table.points(key).rev().take_while(|(step, _)| *step >= from);
                for (step, value) in points {
                    if let Ok(row) = steps.binary_search(&step) {
                        column[row] = if value.is_nan() { f64::INFINITY } else { value };
                    }
                }
            }
            columns.push(column);
        }
        let (generation, first) = (run.run.generation(), steps.first().copied().unwrap_or(0));
        Self { generation, steps: steps.len(), from: first, keys, columns }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        encode(self, self.columns.iter().map(Vec::as_slice))
    }

    /// As JSON, for people: null where absent, "null" where it was not finite.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let value = |value: &f64| {
            if value.is_nan() {
                serde_json::Value::Null
            } else if value.is_infinite() {
                "null".into()
            } else {
                (*value).into()
            }
        };
        let columns: Vec<Vec<_>> =
            self.columns.iter().map(|column| column.iter().map(value).collect()).collect();
        let mut json = serde_json::to_value(self).expect("plain fields become JSON");
        json["values"] = columns.into();
        json
    }
}

use std::path::Path;

use evals::run::{cut_evaluations, cut_values};
use evals::{Log, Metrics};
use serde::{Deserialize, Serialize};

/// Values by their keys; nothing for one that is not finite, as JSON has it.
type Values = Vec<(String, Option<f64>)>;

/// What a step has yet to do when its updates are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// Kind of the stage.
    pub stage: String,
    /// Values for `metrics.jsonl`.
    pub metrics: Values,
    /// Values for `timings.jsonl`.
    pub timings: Values,
    /// Whether the policy is to be evaluated first.
    pub evaluate: bool,
}

impl Pending {
    /// Without values yet.
    pub fn new(stage: &str, evaluate: bool) -> Self {
        Self { stage: stage.to_owned(), metrics: Vec::new(), timings: Vec::new(), evaluate }
    }

    /// The values for `log`.
    pub fn values(&mut self, log: Log) -> &mut Values {
        match log {
            Log::Metrics => &mut self.metrics,
            Log::Timings => &mut self.timings,
        }
    }

    /// Adds values for their log.
    pub fn add(&mut self, metrics: &Metrics) {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let entries = metrics.entries().iter().map(|(key, value)| (key.clone(), finite(*value)));
        self.values(metrics.log()).extend(entries);
    }

    /// Removes from the record under `root` the values of `step` that are still to be written, and
    /// what an evaluation that is still to be done has left.
    ///
    /// # Errors
    ///
    /// Fails when a log cannot be read or cut.
    pub fn cut(&self, root: &Path, step: u64) -> evals::Result<()> {
        for (log, values) in [(Log::Metrics, &self.metrics), (Log::Timings, &self.timings)] {
            if !values.is_empty() {
                cut_values(root, log, step)?;
            }
        }
        if self.evaluate {
            cut_evaluations(root, step)?;
        }
        Ok(())
    }
}

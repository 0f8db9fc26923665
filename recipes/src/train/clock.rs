use std::time::Instant;

use evals::{Log, Metrics, Result};

/// Measures the parts of a step.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    timings: Metrics,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), timings: Metrics::new(Log::Timings) }
    }

    /// Runs `work` and keeps its seconds under `key`.
    pub(crate) fn time<T, E: From<evals::Error>>(
        &mut self,
        key: &str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let done = work()?;
        self.timings.set(key, began.elapsed().as_secs_f64())?;
        Ok(done)
    }

    /// Seconds kept under `key`; 0 where there are none.
    pub(crate) fn seconds(&self, key: &str) -> f64 {
        self.timings.get(key).unwrap_or_default()
    }

    pub(crate) fn set(&mut self, key: &str, value: f64) -> Result<()> {
        self.timings.set(key, value)
    }

    /// Ends the step.
    pub(crate) fn stop(mut self) -> Result<Metrics> {
        self.timings.set("timing_s/step", self.began.elapsed().as_secs_f64())?;
        Ok(self.timings)
    }
}

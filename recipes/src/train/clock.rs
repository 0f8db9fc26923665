use std::time::Instant;

use evals::{Log, Metrics, Result};

/// Measures the parts of a step.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    parts: Vec<(&'static str, f64)>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), parts: Vec::new() }
    }

    /// Runs `work` and adds its seconds to those under `key`.
    pub(crate) fn time<T, E>(
        &mut self,
        key: &'static str,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let done = work()?;
        let seconds = self.seconds(key) + began.elapsed().as_secs_f64();
        self.set(key, seconds);
        Ok(done)
    }

    /// Seconds kept under `key`; 0 where there are none.
    pub(crate) fn seconds(&self, key: &str) -> f64 {
        let found = self.parts.iter().find(|(name, _)| *name == key);
        found.map_or(0.0, |(_, seconds)| *seconds)
    }

    pub(crate) fn set(&mut self, key: &'static str, value: f64) {
        match self.parts.iter_mut().find(|(name, _)| *name == key) {
            Some((_, there)) => *there = value,
            None => self.parts.push((key, value)),
        }
    }

    /// Ends the step.
    pub(crate) fn stop(mut self) -> Result<Metrics> {
        self.set("timing_s/step", self.began.elapsed().as_secs_f64());
        let mut timings = Metrics::new(Log::Timings);
        for (key, value) in self.parts {
            timings.set(key, value)?;
        }
        Ok(timings)
    }
}

use std::cell::RefCell;
use std::time::Instant;

use evals::{Log, Metrics, Result};

/// Measures the time of each part of a step. Its methods take `&self`, since a part borrows the
/// rest of its stage mutably.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    parts: RefCell<Vec<(&'static str, f64)>>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), parts: RefCell::default() }
    }

    /// Adds the seconds since `began` to those under `key`.
    pub(super) fn add(&self, key: &'static str, began: Instant) {
        let seconds = began.elapsed().as_secs_f64();
        let mut parts = self.parts.borrow_mut();
        match parts.iter_mut().find(|(name, _)| *name == key) {
            Some((_, sum)) => *sum += seconds,
            None => parts.push((key, seconds)),
        }
    }

    /// The seconds of each part, and of the step so far.
    pub(super) fn timings(&self) -> Result<Metrics> {
        let mut timings = Metrics::new(Log::Timings);
        for &(key, seconds) in self.parts.borrow().iter() {
            timings.set(key, seconds)?;
        }
        timings.set("timing_s/step", self.began.elapsed().as_secs_f64())?;
        Ok(timings)
    }
}

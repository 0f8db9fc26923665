//! A value that starts at a setting and moves from step to step.

use serde::{Deserialize, Serialize};

use crate::exact;

/// The value now, and the setting that it started from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Moving {
    #[serde(with = "exact")]
    start: f64,
    #[serde(with = "exact")]
    pub(crate) now: f64,
}

impl Moving {
    /// The value before the first step.
    pub(crate) fn from(start: f64) -> Self {
        Self { start, now: start }
    }

    /// Takes up a saved value. A value whose setting has changed since, or that does not move, is
    /// its setting.
    pub(crate) fn restore(&mut self, saved: Self, moves: bool) {
        let same = self.start.to_bits() == saved.start.to_bits();
        self.now = if moves && same { saved.now } else { self.start };
    }
}

//! Which units may be read: a unit that is to be read again waits until its last use is over.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// For each unit, how often it was asked for, and how many of these uses are over. A use is over
/// when the unit's slot was let go unchanged, or was written back.
#[derive(Debug)]
pub(super) struct Hazards {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    over: Vec<u64>,
    /// Whether a slot of it is changed and not written back yet.
    dirty: Vec<bool>,
    closed: bool,
}

impl Hazards {
    pub(super) fn new(units: usize) -> Self {
        let state = State { over: vec![0; units], dirty: vec![false; units], closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits until so many uses of a unit are over. Returns whether to go on.
    pub(super) fn wait_over(&self, unit: usize, uses: u64) -> bool {
        let waits = |state: &mut State| state.over[unit] < uses && !state.closed;
        !self.wait(waits).closed
    }

    /// Waits until no changed slot of a unit is left to be written back. Returns whether that is
    /// so: not when a thread has ended before.
    pub(super) fn wait_written(&self, unit: usize) -> bool {
        !self.wait(|state| state.dirty[unit] && !state.closed).dirty[unit]
    }

    fn wait(&self, waits: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.lock(), waits);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot of the unit was changed.
    pub(super) fn dirty(&self, unit: usize) {
        self.lock().dirty[unit] = true;
    }

    /// A use of the unit is over.
    pub(super) fn over(&self, unit: usize) {
        let mut state = self.lock();
        state.over[unit] += 1;
        state.dirty[unit] = false;
        self.changed.notify_all();
    }

    /// Ends all waiting, now and later: a thread has ended.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

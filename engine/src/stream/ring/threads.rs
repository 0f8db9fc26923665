//! The threads of a ring.

use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::Motion;
use crate::stream::hazards::Hazards;
use crate::stream::link::Link;
use crate::stream::master::Handle;
use crate::stream::traffic::Counters;
use crate::stream::units::{Slot, Unit};
use crate::{Error, Result};

/// What the threads share.
#[derive(Debug)]
pub(in crate::stream) struct Shared {
    pub(in crate::stream) units: Vec<Unit>,
    pub(in crate::stream) hazards: Hazards,
    pub(in crate::stream) counters: Counters,
    pub(in crate::stream) link: Arc<dyn Link>,
    failed: Mutex<Failed>,
    #[cfg(test)]
    faults: Faults,
}

/// Whether a write-back has failed, or a thread has panicked.
#[derive(Debug, Default)]
enum Failed {
    #[default]
    No,
    /// Not reported yet.
    Now(Error),
    /// Reported.
    Before,
}

/// A unit that was asked for, and how many uses of it must be over before it is read.
pub(super) type Request = (usize, u64);

/// A slot that may be filled, or nothing once the writer has panicked: no slot comes back then.
pub(super) type Freed = Option<Slot>;

/// Mistakes that tests make on purpose.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::stream) struct Faults {
    /// The reader does not wait until the last use of a unit is over.
    pub(in crate::stream) reads_too_early: bool,
    /// The writer lets a slot go before it writes it back.
    pub(in crate::stream) frees_too_early: bool,
    /// The write-back of this unit fails.
    pub(in crate::stream) fails: Option<usize>,
}

pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = thread::Builder::new().name(format!("stream {name}")).spawn(work);
    spawned.map_err(|error| Error::Input(format!("the {name} of streamed weights: {error}")))
}

/// Notes that a thread has panicked when it is dropped because of that.
struct Guard<'s> {
    shared: &'s Shared,
    name: &'static str,
    /// Where the reader waits for what the writer lets go.
    free: Option<&'s Sender<Freed>>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        self.shared.fail(Error::Input(format!(
            "the {} of streamed weights has panicked, so blocks may be of different steps: go on \
             from a checkpoint",
            self.name
        )));
        self.shared.hazards.close();
        if let Some(free) = self.free {
            let _ = free.send(None);
        }
    }
}

impl Shared {
    pub(super) fn new(units: Vec<Unit>, motion: &Motion) -> Self {
        Self {
            hazards: Hazards::new(units.len()),
            units,
            counters: Counters::default(),
            link: motion.link.clone(),
            failed: Mutex::default(),
            #[cfg(test)]
            faults: motion.faults,
        }
    }

    /// Fails when a write-back has failed or a thread has panicked.
    pub(in crate::stream) fn check(&self) -> Result<()> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*failed, Failed::No) {
            return Ok(());
        }
        match std::mem::replace(&mut *failed, Failed::Before) {
            Failed::Now(error) => Err(error),
            Failed::No | Failed::Before => Err(Error::Input(
                "streamed weights could not be written back before, so blocks are of different \
                 steps: go on from a checkpoint"
                    .into(),
            )),
        }
    }

    /// Notes the first failure.
    fn fail(&self, error: Error) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*failed, Failed::No) {
            *failed = Failed::Now(error);
        }
    }

    pub(super) fn read(
        &self,
        mut handle: Handle,
        requests: &Receiver<Request>,
        free: &Receiver<Freed>,
        full: &Sender<(Slot, Result<()>)>,
    ) {
        let _guard = Guard { shared: self, name: "reader", free: None };
        let mut decoded = Vec::new();
        while let Ok((unit, uses)) = requests.recv() {
            let Ok(Some(mut slot)) = free.recv() else { return };
            if self.waits() && !self.hazards.wait_over(unit, uses) {
                return;
            }
            let (began, bytes) = (Instant::now(), self.units[unit].bytes());
            let filled = self.units[unit].fill(&mut handle, &mut slot, &mut decoded);
            self.link.up(bytes, began.elapsed());
            self.counters.up.since(bytes, began);
            if full.send((slot, filled)).is_err() {
                return;
            }
        }
    }

    pub(super) fn write(
        &self,
        mut handle: Handle,
        changed: &Receiver<(usize, Slot)>,
        free: &Sender<Freed>,
    ) {
        let _guard = Guard { shared: self, name: "writer", free: Some(free) };
        while let Ok((unit, slot)) = changed.recv() {
            #[cfg(test)]
            let slot = if self.faults.frees_too_early { free_early(slot, free) } else { slot };
            let (began, bytes) = (Instant::now(), self.units[unit].bytes());
            let written = self.units[unit].write_back(&mut handle, &slot);
            #[cfg(test)]
            let written = written.and_then(|()| self.faults.of_write(unit));
            self.link.down(bytes, began.elapsed());
            self.counters.down.since(bytes, began);
            if let Err(error) = written {
                self.fail(error);
            }
            self.hazards.over(unit);
            #[cfg(test)]
            if self.faults.frees_too_early {
                continue;
            }
            // The reader may have ended first.
            let _ = free.send(Some(slot));
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests can switch it off")]
    fn waits(&self) -> bool {
        true
    }

    #[cfg(test)]
    fn waits(&self) -> bool {
        !self.faults.reads_too_early
    }
}

/// Lets a slot go, and returns another way to its memory a little later.
#[cfg(test)]
fn free_early(slot: Slot, free: &Sender<Freed>) -> Slot {
    let same = Slot { floats: slot.floats.clone(), bytes: Vec::new() };
    let _ = free.send(Some(slot));
    thread::sleep(std::time::Duration::from_millis(5));
    same
}

#[cfg(test)]
impl Faults {
    fn of_write(self, unit: usize) -> Result<()> {
        if self.fails == Some(unit) {
            return Err(Error::Input("a write-back that fails on purpose".into()));
        }
        Ok(())
    }
}

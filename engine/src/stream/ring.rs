//! A ring of slots: a thread reads units into them, another one writes changed ones back.
//!
//! A slot goes from the reader to the pass, to the writer if it was changed, and back to the
//! reader. Each hands it on when it is done with it, so a slot is never filled while it is in use
//! or not yet written back. What may be read is decided by [`Hazards`].

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use candle::{DType, Device, Tensor};

use super::hazards::Hazards;
use super::link::Link;
use super::master::Handle;
use super::traffic::Counters;
use super::units::{Slot, SlotSize, Unit};
use crate::{Error, Result};

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) units: Vec<Unit>,
    pub(super) hazards: Hazards,
    pub(super) counters: Counters,
    link: Arc<dyn Link>,
    failed: Mutex<Failed>,
    #[cfg(test)]
    faults: Faults,
}

/// Whether the writer has failed.
#[derive(Debug, Default)]
enum Failed {
    #[default]
    No,
    /// Not reported yet.
    Now(Error),
    /// Reported.
    Before,
}

/// Mistakes that tests make on purpose.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// The reader does not wait until the last use of a unit is over.
    pub(super) reads_too_early: bool,
    /// The writer lets a slot go before it writes it back.
    pub(super) frees_too_early: bool,
}

/// How a ring moves.
#[derive(Debug)]
pub(super) struct Motion {
    pub(super) slots: usize,
    /// Whether reading, computing and writing go on at the same time.
    pub(super) overlap: bool,
    pub(super) link: Arc<dyn Link>,
    #[cfg(test)]
    pub(super) faults: Faults,
}

/// A unit that was asked for, and how many uses of it must be over before it is read.
type Request = (usize, u64);

/// The end of the ring that passes use.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) shared: Arc<Shared>,
    requests: Option<Sender<Request>>,
    full: Receiver<(Slot, Result<()>)>,
    changed: Option<Sender<(usize, Slot)>>,
    free: Option<Sender<Slot>>,
    threads: Vec<JoinHandle<()>>,
    /// Uses of each unit that were asked for.
    asked: Vec<u64>,
    /// Units that were asked for and not received yet.
    ahead: VecDeque<usize>,
    /// Most units that are asked for ahead of a pass.
    most_ahead: usize,
    overlap: bool,
    current: Option<Current>,
}

/// The unit that the pass uses.
#[derive(Debug)]
struct Current {
    unit: usize,
    slot: Slot,
    changed: bool,
    began: Instant,
}

impl Ring {
    /// Makes the slots and starts the threads; `buffers` are the sizes of those of a slot.
    pub(super) fn new(
        units: Vec<Unit>,
        (size, buffers): &(SlotSize, Vec<usize>),
        handles: [Handle; 2],
        motion: Motion,
    ) -> Result<Self> {
        let count = units.len();
        let shared = Arc::new(Shared {
            units,
            hazards: Hazards::new(count),
            counters: Counters::default(),
            link: motion.link,
            failed: Mutex::default(),
            #[cfg(test)]
            faults: motion.faults,
        });
        let ((requests, asked), (free, freed)) = (channel(), channel());
        let ((filled, full), (changed, changes)) = (channel(), channel());
        for _ in 0..motion.slots {
            let floats = Tensor::zeros(size.floats, DType::F32, &Device::Cpu)?;
            let bytes = buffers.iter().map(|&len| Arc::new(vec![0; len])).collect();
            // The other end lives until the reader ends.
            let _ = free.send(Slot { floats, bytes });
        }
        let [up, down] = handles;
        let (reader, writer, back) = (shared.clone(), shared.clone(), free.clone());
        let threads = vec![
            spawn("reader", move || reader.read(up, &asked, &freed, &filled))?,
            spawn("writer", move || writer.write(down, &changes, &back))?,
        ];
        Ok(Self {
            shared,
            requests: Some(requests),
            full,
            changed: Some(changed),
            free: Some(free),
            threads,
            asked: vec![0; count],
            ahead: VecDeque::new(),
            most_ahead: if motion.overlap { motion.slots - 1 } else { 0 },
            overlap: motion.overlap,
            current: None,
        })
    }

    /// Lets the unit in use go and waits for another. `next` says what follows a unit, which is
    /// read ahead.
    pub(super) fn take(&mut self, unit: usize, next: impl Fn(usize) -> usize) -> Result<&Slot> {
        self.let_go()?;
        while let Some(&first) = self.ahead.front() {
            if first == unit {
                break;
            }
            self.skip()?;
        }
        if self.ahead.is_empty() {
            self.ask(unit);
        }
        let began = Instant::now();
        let slot = self.receive();
        self.shared.counters.wait.since(0, began);
        let slot = slot?;
        let mut last = self.ahead.back().copied().unwrap_or(unit);
        while self.ahead.len() < self.most_ahead {
            last = next(last);
            self.ask(last);
        }
        let current = Current { unit, slot, changed: false, began: Instant::now() };
        Ok(&self.current.insert(current).slot)
    }

    /// The slot of the unit in use.
    pub(super) fn current(&self) -> Option<&Slot> {
        self.current.as_ref().map(|current| &current.slot)
    }

    /// Says that the slot of the unit in use was changed.
    pub(super) fn set_changed(&mut self) {
        if let Some(current) = &mut self.current {
            current.changed = true;
        }
    }

    /// Ends the use of the unit in use.
    pub(super) fn let_go(&mut self) -> Result<()> {
        let Some(Current { unit, slot, changed, began }) = self.current.take() else {
            return self.check();
        };
        self.shared.counters.compute.since(0, began);
        if !changed {
            self.give_back(unit, slot);
            return self.check();
        }
        self.shared.hazards.dirty(unit);
        if let Some(to) = &self.changed {
            to.send((unit, slot)).map_err(|_| ended("writer"))?;
        }
        if !self.overlap {
            self.shared.hazards.wait_written(unit);
        }
        self.check()
    }

    /// Waits until everything that was changed is written back.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.let_go()?;
        for unit in 0..self.shared.units.len() {
            self.shared.hazards.wait_written(unit);
        }
        self.check()
    }

    fn ask(&mut self, unit: usize) {
        if let Some(requests) = &self.requests {
            // A reader that has ended is noticed by whoever receives.
            let _ = requests.send((unit, self.asked[unit]));
        }
        self.asked[unit] += 1;
        self.ahead.push_back(unit);
    }

    /// Receives what was read ahead for a pass that does not use it.
    fn skip(&mut self) -> Result<()> {
        let unit = self.ahead[0];
        let slot = self.receive()?;
        self.shared.counters.unused.since(self.shared.units[unit].bytes(), Instant::now());
        self.give_back(unit, slot);
        Ok(())
    }

    fn receive(&mut self) -> Result<Slot> {
        let (slot, filled) = self.full.recv().map_err(|_| ended("reader"))?;
        let unit = self.ahead.pop_front().expect("what is received was asked for");
        match filled {
            Ok(()) => Ok(slot),
            Err(error) => {
                self.give_back(unit, slot);
                Err(error)
            }
        }
    }

    fn give_back(&self, unit: usize, slot: Slot) {
        self.shared.hazards.over(unit);
        if let Some(free) = &self.free {
            let _ = free.send(slot);
        }
    }

    /// Whether the writer has failed.
    fn check(&self) -> Result<()> {
        let mut failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner);
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
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Without their channels the threads end.
        (self.requests, self.changed, self.free) = (None, None, None);
        self.shared.hazards.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = thread::Builder::new().name(format!("stream {name}")).spawn(work);
    spawned.map_err(|error| Error::Input(format!("the {name} of streamed weights: {error}")))
}

fn ended(what: &str) -> Error {
    Error::Input(format!("the {what} of streamed weights has ended: see its message above"))
}

impl Shared {
    fn read(
        &self,
        mut handle: Handle,
        requests: &Receiver<Request>,
        free: &Receiver<Slot>,
        full: &Sender<(Slot, Result<()>)>,
    ) {
        let mut decoded = Vec::new();
        while let Ok((unit, uses)) = requests.recv() {
            let Ok(mut slot) = free.recv() else { return };
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

    fn write(&self, mut handle: Handle, changed: &Receiver<(usize, Slot)>, free: &Sender<Slot>) {
        while let Ok((unit, slot)) = changed.recv() {
            #[cfg(test)]
            let slot = if self.faults.frees_too_early { free_early(slot, free) } else { slot };
            let (began, bytes) = (Instant::now(), self.units[unit].bytes());
            let written = self.units[unit].write_back(&mut handle, &slot);
            self.link.down(bytes, began.elapsed());
            self.counters.down.since(bytes, began);
            if let Err(error) = written {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                if matches!(*failed, Failed::No) {
                    *failed = Failed::Now(error);
                }
            }
            self.hazards.over(unit);
            #[cfg(test)]
            if self.faults.frees_too_early {
                continue;
            }
            // The reader may have ended first.
            let _ = free.send(slot);
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
fn free_early(slot: Slot, free: &Sender<Slot>) -> Slot {
    let same = Slot { floats: slot.floats.clone(), bytes: Vec::new() };
    let _ = free.send(slot);
    thread::sleep(std::time::Duration::from_millis(5));
    same
}

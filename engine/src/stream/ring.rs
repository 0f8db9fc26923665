//! A ring of slots: a thread reads units into them, another one writes changed ones back.
//!
//! A slot goes from the reader to the pass, to the writer if it was changed, and back to the
//! reader. Each hands it on when it is done with it, so a slot is never filled while it is in use
//! or not yet written back. What may be read is decided by `hazards.rs`.
//!
//! A write-back that fails is noted before its unit may be read again, so no pass goes on with a
//! unit that was read after it. A thread that panics notes that, and wakes all that wait for it.

mod threads;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use candle::{DType, Device, Tensor};

use super::link::Link;
use super::master::Handle;
use super::units::{Slot, SlotSize, Unit};
use crate::{Error, Result};
#[cfg(test)]
pub(super) use threads::Faults;
pub(super) use threads::Shared;
use threads::{Freed, Request, spawn};

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

/// The end of the ring that passes use.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) shared: Arc<Shared>,
    requests: Option<Sender<Request>>,
    full: Receiver<(Slot, Result<()>)>,
    changed: Option<Sender<(usize, Slot)>>,
    free: Option<Sender<Freed>>,
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
        motion: &Motion,
    ) -> Result<Self> {
        let count = units.len();
        let shared = Arc::new(Shared::new(units, motion));
        let ((requests, asked), (free, freed)) = (channel(), channel());
        let ((filled, full), (changed, changes)) = (channel(), channel());
        for _ in 0..motion.slots {
            let floats = Tensor::zeros(size.floats, DType::F32, &Device::Cpu)?;
            let bytes = buffers.iter().map(|&len| Arc::new(vec![0; len])).collect();
            // The other end lives until the reader ends.
            let _ = free.send(Some(Slot { floats, bytes }));
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
        // What was read after a failed write-back is of an earlier step.
        if let Err(error) = self.check() {
            self.give_back(unit, slot);
            return Err(error);
        }
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
            to.send((unit, slot)).map_err(|_| self.ended("writer"))?;
        }
        if !self.overlap {
            self.wait_written(unit)?;
        }
        self.check()
    }

    /// Waits until everything that was changed is written back.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.let_go()?;
        (0..self.shared.units.len()).try_for_each(|unit| self.wait_written(unit))
    }

    /// Waits until what was changed of a unit is written back.
    pub(super) fn wait_written(&self, unit: usize) -> Result<()> {
        if self.shared.hazards.wait_written(unit) {
            self.check()
        } else {
            Err(self.ended("writer"))
        }
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
        let (slot, filled) = self.full.recv().map_err(|_| self.ended("reader"))?;
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
            let _ = free.send(Some(slot));
        }
    }

    /// Fails when a write-back has failed or a thread has panicked.
    pub(super) fn check(&self) -> Result<()> {
        self.shared.check()
    }

    /// Why a thread has ended.
    fn ended(&self, name: &str) -> Error {
        let unknown = || Error::Input(format!("the {name} of streamed weights has ended"));
        self.check().err().unwrap_or_else(unknown)
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

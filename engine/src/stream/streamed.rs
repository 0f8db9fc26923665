//! A policy whose blocks are fetched one at a time.

mod resident;
mod saved;
mod source;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread::{self, ThreadId};

use candle::{DType, Device};

use super::master::{Handle, Master};
use super::ring::{Motion, Ring, Shared};
use super::setting::{of_adapter, places, reserve, trained};
use super::units::{slot_size, units};
use super::{Arena, Ends, Options, Share, Terms, Traffic, Transform, in_place};
use crate::adapter::Adapter;
use crate::backend::Backend;
use crate::rope::Rope;
use crate::weights::{Spec, Version, Weights};
use crate::{Error, Policy, Result};
use kernels::logits::CHUNK;
use resident::Resident;

/// Weights of which a few blocks are in memory at a time: a ring of slots, into which one thread
/// reads ahead of the pass, and from which another thread writes back what was changed.
///
/// An update is [deferred](Self::defer): it is applied to a block when that is fetched next, before
/// any pass uses it. So every pass, also one of an evaluation, sees updated weights. What has not
/// been fetched since is updated by [`Self::flush`], which whatever reads the weights by another
/// way calls itself.
///
/// It computes on a CPU in `f32`, one pass at a time. Passes at the same time are refused; several
/// run in [lockstep](crate::lockstep).
#[derive(Debug)]
pub struct Streamed {
    master: Master,
    rope: Rope,
    adapter: Option<Adapter>,
    /// The place of each weight among the trainable ones, with the adapter.
    trainable: Weights<Option<usize>>,
    /// The places of the parts of each unit.
    places: Vec<Vec<Option<usize>>>,
    resident: Resident,
    terms: Terms,
    backend: Backend,
    version: AtomicU64,
    /// What the threads share, to be read during a pass, too.
    shared: Arc<Shared>,
    /// What counts its memory, and that of passes.
    arena: Arena,
    state: Mutex<State>,
    _share: Share,
}

/// What one pass at a time uses.
#[derive(Debug)]
struct State {
    ring: Ring,
    handle: Handle,
    /// The thread of the pass that began last.
    pass: Option<ThreadId>,
    update: Option<Arc<dyn Transform>>,
    /// Number of updates so far, and how many of them each unit has.
    updates: u64,
    applied: Vec<u64>,
    /// Whether resident weights have changed since they were written.
    resident_changed: bool,
}

const AT_THE_SAME_TIME: &str = "two passes ask for streamed weights at the same time: run them one \
                                after another, or in lockstep";

impl Streamed {
    /// Streams the weights of a master. The parameters whose name `frozen` picks are not trained;
    /// with an adapter its parameters alone are.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Budget`] when slots, scratch memory and what is resident do not fit the
    /// arena, and with [`Error::ReadOnly`] when weights of a file are to be trained that was
    /// opened to be read. Fails when there are no slots, when the adapter was made for another
    /// model, when weights in the format of a file are to be trained, and when the master cannot be
    /// read.
    pub fn new(
        master: Master,
        frozen: impl Fn(&str) -> bool,
        adapter: Option<Adapter>,
        options: &Options,
    ) -> Result<Self> {
        let base = trained(&master, &frozen, adapter.is_some())?;
        let trainable = match &adapter {
            None => base.clone(),
            Some(adapter) => {
                adapter.fits(&master.specs)?;
                of_adapter(adapter)
            }
        };
        if options.slots == 0 {
            return Err(Error::Input("streamed weights need at least one slot".into()));
        }
        let mut writes = false;
        base.visit(|place| writes |= place.is_some());
        if writes {
            master.check_writable()?;
        }
        let streams_ends = options.ends == Ends::Streamed;
        let units = units(&master.table, streams_ends, options.as_stored);
        let (size, mut handle) = (slot_size(&units), master.handle(writes)?);
        let terms = Terms::new(&master.table, options, &size.0, 3 * handle.bytes());
        let terms = match &adapter {
            Some(adapter) => terms.with_adapter(adapter)?,
            None => terms.with_scratch(&master.specs, &trainable).checked()?,
        };
        let share = reserve(&options.arena, &terms)?;
        let resident = Resident::read(&master, streams_ends, &mut handle)?;
        let handles = [master.handle(false)?, master.handle(writes)?];
        let places = places(&base, master.config.vocab_size, units.len());
        let backend = Backend::of(DType::F32, &Device::Cpu).with_precision(options.precision)?;
        let (applied, motion) = (vec![0; units.len()], Motion::of(options));
        let ring = Ring::new(units, &size, handles, &motion)?;
        let state = State {
            ring,
            handle,
            pass: None,
            update: None,
            updates: 0,
            applied,
            resident_changed: false,
        };
        Ok(Self {
            rope: Rope::new(&master.config),
            master,
            adapter,
            trainable,
            places,
            resident,
            terms,
            backend,
            version: AtomicU64::new(Version::unique().weights),
            shared: state.ring.shared.clone(),
            arena: options.arena.clone(),
            state: Mutex::new(state),
            _share: share,
        })
    }

    /// The policy with these weights, and the adapter where there is one.
    pub fn policy(&self) -> Policy<'_> {
        Policy {
            config: &self.master.config,
            rope: &self.rope,
            specs: &self.master.specs,
            weights: self,
            adapter: self.adapter.as_ref(),
            trainable: &self.trainable,
            perturbed: None,
            backend: self.backend,
            dtype: DType::F32,
            device: &Device::Cpu,
        }
    }

    /// Names and shapes of the parameters that are trained, in checkpoint order.
    pub fn trainable(&self) -> Vec<&Spec> {
        let specs = self.adapter.as_ref().map_or(&self.master.specs, Adapter::specs);
        let (mut own, mut places) = (Vec::new(), Vec::new());
        specs.visit(|spec| own.push(spec));
        self.trainable.visit(|place| places.push(*place));
        let all = own.into_iter().zip(places);
        all.filter_map(|(spec, place)| place.map(|_| spec)).collect()
    }

    /// The adapter, with the values as they are.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// Where the weights are kept.
    pub fn master(&self) -> &Master {
        &self.master
    }

    /// The memory that it takes, with that of [`super::Scratch`].
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What was moved so far. Any thread may ask, also during a pass.
    pub fn traffic(&self) -> Traffic {
        self.shared.counters.read()
    }

    /// Applies an update to every trainable parameter, to each before its next use. Caches and
    /// prefixes made before are refused. What an earlier update has not reached yet gets that one
    /// first.
    ///
    /// # Errors
    ///
    /// Fails when a block cannot be read or written.
    pub fn defer(&self, update: Arc<dyn Transform>) -> Result<()> {
        let mut state = self.state()?;
        self.finish(&mut state)?;
        self.version.store(Version::unique().weights, Ordering::Release);
        if let Some(adapter) = &self.adapter {
            adapter.renew();
            for (i, (_, tensor)) in adapter.parameters().into_iter().enumerate() {
                in_place::write(tensor, |to| {
                    update.apply_in_place(i, 0, to);
                    Ok(())
                })?;
            }
            return Ok(());
        }
        self.resident.update(&self.trainable, &*update)?;
        state.resident_changed = true;
        state.updates += 1;
        state.update = Some(update);
        Ok(())
    }

    /// Applies what is left of an update, and writes all weights back.
    ///
    /// # Errors
    ///
    /// Fails when a block cannot be read or written.
    pub fn flush(&self) -> Result<()> {
        drop(self.flushed()?);
        Ok(())
    }

    fn flushed(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state()?;
        self.finish(&mut state)?;
        state.ring.settle()?;
        if state.resident_changed {
            self.resident.write(&self.master, &mut state.handle)?;
            state.resident_changed = false;
        }
        Ok(state)
    }

    /// The state, unless a pass uses it.
    fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.state.try_lock().map_err(|error| {
            Error::Input(match error {
                TryLockError::WouldBlock => AT_THE_SAME_TIME.into(),
                TryLockError::Poisoned(_) => "an update of streamed weights has panicked: go on \
                                              from a checkpoint"
                    .into(),
            })
        })
    }

    /// The state for the next part of the pass that began last.
    fn pass(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state()?;
        if state.pass == Some(thread::current().id()) {
            return Ok(state);
        }
        Err(Error::Input(AT_THE_SAME_TIME.into()))
    }

    /// Number of blocks, and of chunks of the head.
    fn counts(&self) -> (usize, usize) {
        let (blocks, rows) = (self.master.config.num_layers, self.master.config.vocab_size);
        (blocks, if self.resident.ends.is_some() { 0 } else { rows.div_ceil(CHUNK) })
    }

    /// Fetches a unit, updated.
    fn take(&self, state: &mut State, unit: usize) -> Result<()> {
        let ((blocks, chunks), embed) = (self.counts(), self.places.len());
        // Of an embedding that is not tied, a pass fetches only rows.
        let sweeps = (blocks + chunks < embed) && self.is_behind(state, embed - 1);
        let next = |unit: usize| {
            let next = unit + 1;
            let ends = next == embed || (next == blocks + chunks && !sweeps);
            if ends { 0 } else { next }
        };
        state.ring.take(unit, next)?;
        if self.is_behind(state, unit) {
            self.apply(state, unit)?;
        }
        Ok(())
    }

    /// Whether a unit is trained and the last update has not reached it.
    fn is_behind(&self, state: &State, unit: usize) -> bool {
        state.applied[unit] < state.updates && self.places[unit].iter().any(Option::is_some)
    }

    /// Applies the last update to the unit in use.
    fn apply(&self, state: &mut State, unit: usize) -> Result<()> {
        let (Some(update), Some(slot)) = (&state.update, state.ring.current()) else {
            return Ok(());
        };
        let began = std::time::Instant::now();
        let shared = &state.ring.shared;
        shared.units[unit].each(slot, |i, first, values| {
            if let Some(index) = self.places[unit][i] {
                update.apply_in_place(index, first, values);
            }
        })?;
        shared.counters.update.since(0, began);
        state.ring.set_changed();
        state.applied[unit] = state.updates;
        Ok(())
    }

    /// Applies the last update to all that it has not reached.
    fn finish(&self, state: &mut State) -> Result<()> {
        // A pass that has not ended has lost its block.
        state.pass = None;
        for unit in 0..self.places.len() {
            if self.is_behind(state, unit) {
                self.take(state, unit)?;
            }
        }
        state.ring.let_go()
    }
}

//! How much memory and time streaming takes, before it begins.

use std::fmt;

use super::disk::Disk;
use super::perturbed::Scratch;
use super::table::Table;
use super::units::{SlotSize, slot_size, units};
use super::{Ends, Options};
use crate::adapter::Adapter;
use crate::weights::{Spec, Weights};
use crate::{Error, ModelConfig, Result};

/// The memory that streaming takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Number of slots.
    pub slots: usize,
    /// A slot: the largest unit.
    pub slot: usize,
    /// The changed block of a probe, or the changed chunk of the head.
    pub scratch: usize,
    /// What is not streamed: the final norm and, unless they are streamed, embedding and head.
    pub resident: usize,
    /// Buffers of the threads that read and write, and lists of the tensors.
    pub staging: usize,
    /// The largest weight, which [`Streamed::visit`](super::Streamed::visit) lends whole. It is
    /// taken between passes, so it is no part of [`Self::total`].
    pub visited: usize,
}

impl Terms {
    /// What a model in `f32` takes, in memory or in a file; with `trained` for all parameters.
    ///
    /// # Errors
    ///
    /// Fails on a configuration that [`ModelConfig::validate`] refuses.
    pub fn predict(
        config: &ModelConfig,
        options: &Options,
        in_file: bool,
        trained: bool,
    ) -> Result<Self> {
        config.validate()?;
        let (specs, mut count) = (Weights::of(config), 0);
        let table = Table::of_f32(&specs)?;
        let trainable = specs.as_ref().map(|_| {
            count += 1;
            trained.then(|| count - 1)
        });
        let units = units(&table, options.ends == Ends::Streamed, options.as_stored);
        let buffer = if in_file { Disk::BUFFER } else { 0 };
        Self::new(&table, options, &slot_size(&units).0, 3 * buffer)
            .with_scratch(&specs, &trainable)
            .checked()
    }

    /// With an adapter, whose parameters alone are trained, over a base that was predicted without
    /// training.
    ///
    /// # Errors
    ///
    /// Fails when the bytes cannot be counted.
    pub fn with_adapter(self, adapter: &Adapter) -> Result<Self> {
        let terms = self.with_scratch(adapter.specs(), &super::setting::of_adapter(adapter));
        let own = adapter.parameters().iter().map(|(_, tensor)| tensor.elem_count()).sum::<usize>();
        Self { resident: terms.resident.saturating_add(bytes_of(own)), ..terms }.checked()
    }

    /// Without scratch memory.
    pub(super) fn new(table: &Table, options: &Options, size: &SlotSize, buffers: usize) -> Self {
        let ends = match options.ends {
            Ends::Resident => {
                table.embed.len.saturating_add(table.head.as_ref().map_or(0, |head| head.len))
            }
            Ends::Streamed => 0,
        };
        let lists = LISTS.saturating_add(table.tensors().count().saturating_mul(LISTED));
        Self {
            slots: options.slots,
            slot: bytes_of(size.floats).saturating_add(size.stored),
            scratch: 0,
            resident: table.norm.len.saturating_add(ends),
            staging: buffers.saturating_add(size.decoded).saturating_add(lists),
            visited: table.tensors().map(|(_, place)| place.bytes.len()).max().unwrap_or(0),
        }
    }

    pub(super) fn with_scratch(
        self,
        specs: &Weights<Spec>,
        trainable: &Weights<Option<usize>>,
    ) -> Self {
        Self { scratch: Scratch::bytes(specs, trainable), ..self }
    }

    /// Bytes of all terms: the peak of the arena without passes. The most that can be counted where
    /// that is not enough, which no budget has room for.
    pub fn total(&self) -> usize {
        self.sum().unwrap_or(usize::MAX)
    }

    fn sum(&self) -> Option<usize> {
        let Self { slots, slot, scratch, resident, staging, .. } = *self;
        let parts = [slots.checked_mul(slot)?, scratch, resident, staging];
        parts.into_iter().try_fold(0_usize, usize::checked_add)
    }

    /// Itself, if its bytes can be counted. What saturated on the way is not less than that.
    pub(super) fn checked(self) -> Result<Self> {
        match self.sum() {
            Some(total) if total < usize::MAX => Ok(self),
            _ => Err(uncountable(&self)),
        }
    }
}

/// Bytes of lists: for each tensor its name, shape and places, and channels.
const LISTED: usize = 1 << 10;
const LISTS: usize = 32 << 10;

/// Bytes of so many numbers.
pub(super) fn bytes_of(floats: usize) -> usize {
    floats.saturating_mul(size_of::<f32>())
}

pub(super) fn uncountable(terms: &impl fmt::Display) -> Error {
    Error::Input(format!("more bytes than can be counted: {terms}"))
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slots, slot, scratch, resident, staging, .. } = self;
        write!(
            f,
            "{slots} slots of {slot} bytes, the largest block, + {scratch} bytes of scratch + \
             {resident} bytes of resident weights + {staging} bytes of buffers"
        )
    }
}

/// The times of one unit on its way through a slot, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// Reading it.
    pub up: f64,
    /// The deferred update and all passes.
    pub compute: f64,
    /// Writing it back.
    pub down: f64,
}

impl Times {
    /// Seconds of a pass over so many units. A slot is read, computed with and written back before
    /// it is read again, and each of the three is done for one unit at a time.
    pub fn pass(&self, units: usize, slots: usize, overlap: bool) -> f64 {
        let Self { up, compute, down } = *self;
        let through = up + compute + down;
        if units == 0 {
            return 0.0;
        }
        let period = if overlap && slots > 1 {
            up.max(compute).max(down).max(through / slots as f64)
        } else {
            through
        };
        through + (units - 1) as f64 * period
    }
}

//! How much memory and time streaming takes, before it begins.

use std::fmt;

use super::disk::Disk;
use super::perturbed::Scratch;
use super::table::Table;
use super::units::{SlotSize, slot_size, units};
use super::{Ends, Options};
use crate::weights::{Spec, Weights};
use crate::{ModelConfig, Result};
use kernels::logits::CHUNK;

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
    /// Buffers of the threads that read and write.
    pub staging: usize,
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
        Ok(Self::new(&table, options, &slot_size(&units).0, 3 * buffer)
            .with_scratch(&specs, &trainable))
    }

    /// Without scratch memory.
    pub(super) fn new(table: &Table, options: &Options, size: &SlotSize, buffers: usize) -> Self {
        let ends = match options.ends {
            Ends::Resident => table.embed.len + table.head.as_ref().map_or(0, |head| head.len),
            Ends::Streamed => 0,
        };
        Self {
            slots: options.slots,
            slot: size_of::<f32>() * size.floats + size.stored,
            scratch: 0,
            resident: table.norm.len + ends,
            staging: buffers + size.decoded,
        }
    }

    pub(super) fn with_scratch(
        self,
        specs: &Weights<Spec>,
        trainable: &Weights<Option<usize>>,
    ) -> Self {
        Self { scratch: Scratch::bytes(specs, trainable), ..self }
    }

    /// Bytes of all terms: the peak of the arena.
    pub fn total(&self) -> usize {
        self.slots * self.slot + self.scratch + self.resident + self.staging
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slots, slot, scratch, resident, staging } = self;
        write!(
            f,
            "{slots} slots of {slot} bytes, the largest block, + {scratch} bytes of scratch + \
             {resident} bytes of resident weights + {staging} bytes of buffers"
        )
    }
}

/// The passes that run in lockstep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Number of passes.
    pub probes: usize,
    /// Rows of each.
    pub rows: usize,
    /// Rows of each that have targets.
    pub scored: usize,
}

/// The memory of passes on a CPU besides that of [`Terms`], in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassTerms {
    /// What each pass carries from block to block.
    pub activations: usize,
    /// The largest operation within a block, of one pass.
    pub work: usize,
    /// Logits of one chunk of the vocabulary, of one pass.
    pub logits: usize,
}

impl PassTerms {
    /// Upper bounds for passes of a model in `f32`.
    pub fn predict(config: &ModelConfig, load: &Load) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let [heads, kv] = [config.num_heads, config.num_kv_heads].map(|n| n * config.head_dim);
        // Norms, queries before and after theirs, keys and values, attention; gate, up and product.
        let row = 6 * width + 3 * heads + 3 * kv + 3 * inner;
        let float = size_of::<f32>();
        Self {
            activations: load.probes * load.rows * width * float,
            work: load.rows * row * float,
            logits: load.scored * CHUNK.min(config.vocab_size) * float,
        }
    }

    /// Bytes of all terms.
    pub fn total(&self) -> usize {
        self.activations + self.work + self.logits
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

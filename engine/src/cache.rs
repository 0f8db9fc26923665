//! Storage of keys and values: a prompt's once for its group, own rows for every slot.
//!
//! The CPU form keeps blocks of sixteen positions, taken from a pool as a completion grows; the
//! reference form keeps one tensor a layer. Both carry the version of the weights that they
//! were made from, and are refused after a change.

use std::ops::Range;
use std::sync::Arc;

use candle::Tensor;

use crate::backend::cpu::{self, KvBlock};
use crate::stream::Share;
use crate::weights::Version;
use crate::{Error, Result};
use kernels::attention::POSITIONS;

/// A prompt's keys and values at every layer, rotated, and the logits after its last row. Shared by
/// all that continue the prompt.
#[derive(Debug)]
pub struct Prefix {
    pub(crate) len: usize,
    pub(crate) logits: Vec<f32>,
    pub(crate) rows: PrefixRows,
    /// Of the weights that it was made from.
    pub(crate) version: Version,
    pub(crate) _share: Option<Share>,
}

impl Prefix {
    /// Number of tokens in the prompt.
    pub fn num_tokens(&self) -> usize {
        self.len
    }

    /// Logits of the first token after the prompt: (vocabulary).
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }
}

/// A prompt's rows in the form that will read them.
#[derive(Debug)]
pub(crate) enum PrefixRows {
    /// Blocks of plain numbers.
    Cpu(Vec<KvBlock>),
    /// Keys (kv heads, head width, rows) and values (kv heads, rows, head width) of every layer.
    Reference(Vec<[Tensor; 2]>),
}

/// The rows that decoding adds, by slot.
#[derive(Debug)]
pub struct Cache {
    pub(crate) slots: Vec<Slot>,
    /// Rows that a slot may hold.
    pub(crate) capacity: usize,
    pub(crate) store: Store,
    /// Of the weights that it was made for.
    pub(crate) version: Version,
    pub(crate) _share: Option<Share>,
}

/// Where one sequence stands.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) prefix: Option<Arc<Prefix>>,
    /// Own rows.
    pub(crate) len: usize,
    /// The CPU form's own rows.
    pub(crate) kv_blocks: Vec<KvBlock>,
}

impl Slot {
    /// Position of the next row.
    pub(crate) fn position(&self) -> usize {
        self.len + self.prefix_len()
    }

    fn prefix_len(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.len)
    }

    /// Which of its own blocks the next row goes to. A position's lane is the same in every block,
    /// so the first own block starts with the lane after the prefix.
    pub(crate) fn block(&self) -> usize {
        self.position() / POSITIONS - self.prefix_len() / POSITIONS
    }

    /// The blocks of the prefix and its own, each with the positions that it holds, the next row's
    /// included.
    pub(crate) fn held(&self) -> impl Iterator<Item = (&KvBlock, Range<usize>)> {
        let (middle, end) = (self.prefix_len(), self.position() + 1);
        let prefix: &[KvBlock] = match self.prefix.as_ref().map(|prefix| &prefix.rows) {
            Some(PrefixRows::Cpu(blocks)) => blocks,
            Some(PrefixRows::Reference(_)) => {
                unreachable!("a cache holds prefixes of its own form")
            }
            None => &[],
        };
        positions(prefix, 0..middle).chain(positions(&self.kv_blocks, middle..end))
    }
}

/// Blocks that hold consecutive positions, each with its own.
fn positions(
    blocks: &[KvBlock],
    all: Range<usize>,
) -> impl Iterator<Item = (&KvBlock, Range<usize>)> {
    let first = all.start / POSITIONS;
    blocks.iter().zip(first..).map(move |(block, i)| {
        (block, all.start.max(i * POSITIONS)..all.end.min((i + 1) * POSITIONS))
    })
}

/// What a form keeps besides the slots.
#[derive(Debug)]
pub(crate) enum Store {
    /// Free blocks, and buffers that last from step to step.
    Cpu(Box<cpu::decode::Buffers>),
    /// Keys and values of every layer, each (slots * capacity, kv heads * head width).
    Reference(Vec<[Tensor; 2]>),
}

impl Cache {
    /// Starts a sequence: the slot's rows now follow `prefix`.
    ///
    /// # Errors
    ///
    /// Fails, and changes nothing, when there is no such slot, when it is in use, and when the
    /// prefix was made from other weights than the cache was made for.
    pub fn attach(&mut self, slot: usize, prefix: Arc<Prefix>) -> Result<()> {
        let input = |problem: String| Err(Error::Input(format!("slot {slot}: {problem}")));
        if self.version != prefix.version {
            return input(
                "the prefix was made from other weights than the cache, or from these before they \
                 were updated: prefill the prompt again"
                    .into(),
            );
        }
        let slots = self.slots.len();
        let Some(entry) = self.slots.get_mut(slot) else {
            return input(format!("the cache has {slots} slots"));
        };
        if entry.prefix.is_some() {
            return input("a prompt is attached already: release the slot first".into());
        }
        entry.prefix = Some(prefix);
        Ok(())
    }

    /// Ends a sequence: the slot is empty, its rows can be used again, its prefix is let go.
    ///
    /// # Panics
    ///
    /// Panics when there is no such slot.
    pub fn release(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        slot.prefix = None;
        slot.len = 0;
        if let Store::Cpu(buffers) = &mut self.store {
            buffers.free.append(&mut slot.kv_blocks);
        }
    }
}

//! Storage of keys and values: a prompt's once for its group, own rows for every slot.
//!
//! The CPU form keeps pages of sixteen positions, taken from a pool as a completion grows; the
//! reference form keeps one tensor a layer. No cache may outlive a change of the weights.

use std::sync::Arc;

use candle::Tensor;

use crate::ModelConfig;
use kernels::attention::{Block, POSITIONS};

/// A prompt's keys and values at every layer, rotated, and the logits after its last row. Shared by
/// all that continue the prompt.
#[derive(Debug)]
pub struct Prefix {
    pub(crate) len: usize,
    pub(crate) logits: Vec<f32>,
    pub(crate) rows: PrefixRows,
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
    /// Pages of plain numbers.
    Cpu(Vec<Page>),
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
}

/// Where one sequence stands.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) prefix: Option<Arc<Prefix>>,
    /// Own rows.
    pub(crate) len: usize,
    /// The CPU form's own rows.
    pub(crate) pages: Vec<Page>,
}

impl Slot {
    /// Position of the next row.
    pub(crate) fn position(&self) -> usize {
        self.len + self.prefix.as_ref().map_or(0, |prefix| prefix.len)
    }
}

/// What a form keeps besides the slots.
#[derive(Debug)]
pub(crate) enum Store {
    /// Free pages, and buffers that last from step to step.
    Cpu(Box<crate::backend::cpu::decode::Buffers>),
    /// Keys and values of every layer, each (slots * capacity, kv heads * head width).
    Reference(Vec<[Tensor; 2]>),
}

impl Cache {
    /// Number of slots.
    pub fn num_slots(&self) -> usize {
        self.slots.len()
    }

    /// Starts a sequence: the slot's rows now follow `prefix`.
    ///
    /// # Panics
    ///
    /// Panics when there is no such slot, when it is in use, or when the prefix was made for another
    /// device or type.
    pub fn attach(&mut self, slot: usize, prefix: Arc<Prefix>) {
        let cpu = matches!(self.store, Store::Cpu(_));
        assert_eq!(
            cpu,
            matches!(prefix.rows, PrefixRows::Cpu(_)),
            "prefix and cache are of one model"
        );
        let slot = &mut self.slots[slot];
        assert!(slot.prefix.is_none(), "a slot is released before it is used again");
        slot.prefix = Some(prefix);
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
            buffers.free.append(&mut slot.pages);
        }
    }
}

/// Keys and values of sixteen positions at every layer, laid out by [`Paging`].
pub(crate) type Page = Box<[f32]>;

/// How a page is laid out: by layer, then by key head; first the keys (head width, 16), then the
/// values (16, padded head width), which is what the attention kernel reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paging {
    layers: usize,
    heads: usize,
    head_dim: usize,
}

impl Paging {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        Self { layers: config.num_layers, heads: config.num_kv_heads, head_dim: config.head_dim }
    }

    /// Whole vectors a row of values.
    fn padded(self) -> usize {
        self.head_dim.next_multiple_of(POSITIONS)
    }

    fn keys_len(self) -> usize {
        self.head_dim * POSITIONS
    }

    fn head_len(self) -> usize {
        self.keys_len() + POSITIONS * self.padded()
    }

    /// An empty page.
    pub(crate) fn page(self) -> Page {
        vec![0.0; self.layers * self.heads * self.head_len()].into()
    }

    /// Writes one position's keys and values of a layer, each (kv heads, head width).
    pub(crate) fn write(self, page: &mut Page, layer: usize, at: usize, k: &[f32], v: &[f32]) {
        let heads = k.chunks_exact(self.head_dim).zip(v.chunks_exact(self.head_dim));
        for (head, (k, v)) in heads.enumerate() {
            let start = (layer * self.heads + head) * self.head_len();
            let (keys, values) = page[start..start + self.head_len()].split_at_mut(self.keys_len());
            for (to, &k) in keys[at..].iter_mut().step_by(POSITIONS).zip(k) {
                *to = k;
            }
            values[at * self.padded()..][..self.head_dim].copy_from_slice(v);
        }
    }

    /// The first `len` positions of a page, as one layer's key head sees them.
    pub(crate) fn read(self, page: &Page, layer: usize, head: usize, len: usize) -> Block<'_> {
        let start = (layer * self.heads + head) * self.head_len();
        let (keys, values) = page[start..start + self.head_len()].split_at(self.keys_len());
        Block { keys, values, len }
    }
}

//! Storage of keys and values in blocks of sixteen positions.

use crate::ModelConfig;
use kernels::attention::{Block as KvHead, POSITIONS};

/// Keys and values of sixteen positions at every layer, laid out by [`KvLayout`].
pub(crate) type KvBlock = Box<[f32]>;

/// How a block is laid out: by layer, then by key head; first the keys (head width, 16), then the
/// values (16, padded head width), which is what the attention kernel reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KvLayout {
    layers: usize,
    heads: usize,
    head_dim: usize,
}

impl KvLayout {
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

    /// An empty block.
    pub(crate) fn block(self) -> KvBlock {
        vec![0.0; self.layers * self.heads * self.head_len()].into()
    }

    /// Writes one position's keys and values of a layer, each (kv heads, head width).
    pub(crate) fn write(self, block: &mut KvBlock, layer: usize, at: usize, k: &[f32], v: &[f32]) {
        let heads = k.chunks_exact(self.head_dim).zip(v.chunks_exact(self.head_dim));
        for (head, (k, v)) in heads.enumerate() {
            let start = (layer * self.heads + head) * self.head_len();
            let (keys, values) =
                block[start..start + self.head_len()].split_at_mut(self.keys_len());
            for (to, &k) in keys[at..].iter_mut().step_by(POSITIONS).zip(k) {
                *to = k;
            }
            values[at * self.padded()..][..self.head_dim].copy_from_slice(v);
        }
    }

    /// The first `len` positions of a block, as one layer's key head sees them.
    pub(crate) fn read(self, block: &KvBlock, layer: usize, head: usize, len: usize) -> KvHead<'_> {
        let start = (layer * self.heads + head) * self.head_len();
        let (keys, values) = block[start..start + self.head_len()].split_at(self.keys_len());
        KvHead { keys, values, len }
    }
}

//! Storage of keys and values in blocks of sixteen positions.

use std::ops::Range;

use crate::ModelConfig;
use kernels::attention::{Heads, KvBlock as KvHead};

/// Keys and values of sixteen positions at every layer, laid out by [`KvLayout`].
pub(crate) type KvBlock = Box<[f32]>;

/// How a block is laid out: by layer; each layer's part as [`Heads::block_len`] says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KvLayout {
    layers: usize,
    heads: Heads,
}

impl KvLayout {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        Self { layers: config.num_layers, heads: heads(config) }
    }

    /// Numbers in the keys, or the values, of one position at one layer.
    pub(crate) fn width(self) -> usize {
        self.heads.key * self.heads.width
    }

    /// An empty block.
    pub(crate) fn block(self) -> KvBlock {
        vec![0.0; self.layers * self.heads.block_len()].into()
    }

    /// Writes the keys and values of one absolute position at one layer, each (kv heads, head
    /// width).
    pub(crate) fn write(
        self,
        block: &mut KvBlock,
        layer: usize,
        position: usize,
        k: &[f32],
        v: &[f32],
    ) {
        let len = self.heads.block_len();
        self.heads.write(&mut block[layer * len..][..len], position, k, v);
    }

    /// One layer's key head of a block that holds the absolute positions `held`.
    pub(crate) fn read(
        self,
        block: &KvBlock,
        layer: usize,
        head: usize,
        held: Range<usize>,
    ) -> KvHead<'_> {
        let len = self.heads.block_len();
        self.heads.read(&block[layer * len..][..len], head, held)
    }
}

/// The heads of a model's attention.
pub(crate) fn heads(config: &ModelConfig) -> Heads {
    Heads { query: config.num_heads, key: config.num_kv_heads, width: config.head_dim }
}

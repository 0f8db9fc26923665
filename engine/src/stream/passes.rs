//! How much memory passes take besides the weights, before they begin.

use std::fmt;

use super::terms::{bytes_of, uncountable};
use crate::{MatmulPrecision, ModelConfig, Packed, Result};
use kernels::attention::{Heads, POSITIONS};
use kernels::logits::CHUNK;

/// Rows that are scored in lockstep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Number of passes.
    pub probes: usize,
    /// Rows of each.
    pub rows: usize,
    /// Segments of each: prompts and completions.
    pub segments: usize,
    /// Tokens of the longest sequence, with its prompt.
    pub longest: usize,
    /// Targets of each.
    pub scored: usize,
}

/// Sequences that are sampled in lockstep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Number of members.
    pub members: usize,
    /// Sequences of each at a time.
    pub slots: usize,
    /// Prompts of each at a time.
    pub prompts: usize,
    /// Tokens of the longest prompt.
    pub prompt_tokens: usize,
    /// Tokens of the longest completion.
    pub new_tokens: usize,
}

/// The memory of passes on a CPU besides that of [`Terms`](super::Terms), in bytes. What a
/// transform takes for itself is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassTerms {
    /// Keys and values, and the logits after each prompt, of all members.
    pub cache: usize,
    /// What all passes carry from block to block.
    pub activations: usize,
    /// The largest operation within a block, of one pass.
    pub work: usize,
    /// What all passes carry from chunk to chunk of the head: rows, and logits that are kept.
    pub hidden: usize,
    /// Logits of one chunk of the vocabulary, of one pass.
    pub logits: usize,
    /// What kernels keep from product to product: operands that are packed, scores of attention.
    pub kernels: usize,
}

/// Rows of prompts in one pass over weights that are streamed.
pub(crate) const STREAMED_ROWS: usize = 4096;

/// Bytes of a scored row and its targets beside its hidden state: sums, places and scores.
const SCORED: usize = 192;

/// Bytes of operands that a product packs at once, and panels of sixteen items at least.
const PACKED_BYTES: usize = 16 << 20;
const PANELS: usize = 4;

/// Queries whose scores are there at a time.
const TILE: usize = 8;

/// Sizes that passes depend on.
struct Sizes {
    width: usize,
    inner: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    /// Width of a head, and how many of the queries share one of the keys.
    head: usize,
    group: usize,
    vocab: usize,
    layers: usize,
    normed: bool,
    rounds: bool,
    /// Numbers of sixteen positions at one layer.
    kv: usize,
}

/// A sum that saturates, so that what is too large stays so.
pub(super) fn sum(parts: &[usize]) -> usize {
    parts.iter().fold(0_usize, |sum, part| sum.saturating_add(*part))
}

fn product(parts: &[usize]) -> usize {
    parts.iter().fold(1_usize, |product, part| product.saturating_mul(*part))
}

impl Sizes {
    fn of(config: &ModelConfig, precision: MatmulPrecision) -> Self {
        let heads =
            Heads { query: config.num_heads, key: config.num_kv_heads, width: config.head_dim };
        Self {
            width: config.hidden_size,
            inner: config.intermediate_size,
            queries: product(&[config.num_heads, config.head_dim]),
            keys: product(&[config.num_kv_heads, config.head_dim]),
            heads: config.num_heads,
            head: config.head_dim,
            group: heads.group(),
            vocab: config.vocab_size,
            layers: config.num_layers,
            normed: config.qk_norm,
            rounds: precision == MatmulPrecision::Bf16,
            kv: heads.block_len(),
        }
    }

    /// Numbers of a row from block to block: the row, and its angles.
    fn row(&self) -> usize {
        sum(&[self.width, self.head])
    }

    /// Numbers of the largest operation within a block on so many rows.
    fn work(&self, rows: usize, segments: usize) -> usize {
        let Self { width, inner, queries, keys, .. } = *self;
        let qkv = sum(&[queries, 2 * keys, if self.normed { queries + keys } else { 0 }]);
        // Blocks of positions, one of them cut at each end of a segment.
        let blocks = sum(&[rows / POSITIONS, 2 * segments.min(rows)]);
        let attention = sum(&[
            product(&[rows, sum(&[qkv, queries, 2 * self.heads])]),
            product(&[blocks, self.kv]),
        ]);
        let mlp = product(&[rows, sum(&[qkv, queries, 2 * self.heads, 3 * width, 3 * inner])]);
        // Copies of the weights that share an input, in two bytes each.
        let copies = [(width, queries + 2 * keys), (width, 2 * inner), (queries, width)];
        let copies = copies.into_iter().chain([(inner, width)]);
        let rounded = copies.map(|(from, to)| product(&[from, to.next_multiple_of(16)]) / 2).max();
        let rounded = if self.rounds { rounded.unwrap_or(0) } else { 0 };
        sum(&[attention.max(mlp), rounded])
    }

    /// Numbers of the logits of one chunk of the head for so many rows.
    fn chunk(&self, rows: usize) -> usize {
        product(&[rows, CHUNK.min(self.vocab)])
    }

    /// Bytes of operands that are packed, and stay with the thread: rows in the order of a block,
    /// then a chunk of the head or rows under it.
    fn packed(&self, rows: usize, scored: usize) -> usize {
        let Self { width, inner, queries, .. } = *self;
        let chunk = CHUNK.min(self.vocab);
        let lines = |items: usize, terms: usize| {
            let items = items.div_ceil(16).saturating_mul(16);
            if self.rounds {
                return product(&[items, terms.next_multiple_of(32), 2]);
            }
            // As many items at once as take this.
            let most = PACKED_BYTES.max(product(&[4 * 16 * PANELS, terms])).saturating_add(4096);
            bytes_of(product(&[items, terms])).min(most)
        };
        // A vector that grows has twice the room at least.
        let grown = |room: usize, needed: usize| {
            if needed > room { needed.max(room.saturating_mul(2)) } else { room }
        };
        let block = [width, queries, width, inner].map(|terms| lines(rows, terms));
        let block = block.into_iter().fold(0, grown);
        let head = lines(chunk, width);
        if self.rounds {
            return sum(&[grown(block, lines(scored, width)), head]);
        }
        grown(block, if rows > 4 || scored > 4 { head.max(lines(scored, width)) } else { 0 })
    }

    /// Bytes of a chunk of the head that is rounded for each product.
    fn rounded_chunk(&self) -> usize {
        let tokens = CHUNK.min(self.vocab).next_multiple_of(16);
        if self.rounds { product(&[tokens, self.width, 2]) } else { 0 }
    }

    /// Bytes of keys and values in so many blocks of positions.
    fn blocks(&self, blocks: usize) -> usize {
        bytes_of(product(&[blocks, self.layers, self.kv]))
    }
}

/// Bytes of the scores of some queries' attention to so many positions.
fn scores(positions: usize, queries: usize) -> usize {
    let blocks = positions.div_ceil(POSITIONS).saturating_add(2);
    let block = POSITIONS * size_of::<f32>() * queries + size_of::<[usize; 6]>();
    product(&[blocks, block])
}

impl Load {
    /// One pass over a pack, with so many targets.
    pub fn of(packed: &Packed, targets: usize) -> Self {
        Self {
            probes: 1,
            rows: packed.rows(),
            segments: packed.segments().len(),
            longest: packed.positions().iter().max().map_or(0, |&last| last as usize + 1),
            scored: targets,
        }
    }

    /// The passes of both, with the most of each.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            probes: self.probes + other.probes,
            rows: self.rows.max(other.rows),
            segments: self.segments.max(other.segments),
            longest: self.longest.max(other.longest),
            scored: self.scored.max(other.scored),
        }
    }
}

impl PassTerms {
    /// Upper bounds for passes that are scored.
    ///
    /// # Errors
    ///
    /// Fails when the bytes cannot be counted.
    pub fn predict(config: &ModelConfig, precision: MatmulPrecision, load: &Load) -> Result<Self> {
        Self::scored(config, precision, product(&[load.probes, load.rows]), load)
    }

    /// As [`Self::predict`], for passes that have `all` rows together and differ in them.
    pub(crate) fn scored(
        config: &ModelConfig,
        precision: MatmulPrecision,
        all: usize,
        load: &Load,
    ) -> Result<Self> {
        let Load { probes, rows, segments, longest, scored } = *load;
        let of = Sizes::of(config, precision);
        let scores = product(&[rayon::current_num_threads(), scores(longest, TILE)]);
        // The rows that are fetched are there until each pass has its own.
        let fetched =
            sum(&[product(&[all.min(of.vocab), of.width]), product(&[4, rows, of.width])]);
        let kept = sum(&[bytes_of(of.width), SCORED]);
        Self {
            cache: 0,
            activations: bytes_of(product(&[all, of.row()])),
            work: bytes_of(of.work(rows, segments).max(fetched)),
            hidden: product(&[probes, scored, kept]),
            logits: bytes_of(of.chunk(scored.min(rows))),
            kernels: sum(&[of.packed(rows, scored.min(rows)), scores]),
        }
        .checked()
    }

    /// Upper bounds for members that sample: their prompts are prefilled, then decoded.
    ///
    /// # Errors
    ///
    /// Fails when the bytes cannot be counted.
    pub fn of_sampling(
        config: &ModelConfig,
        precision: MatmulPrecision,
        load: &Sampling,
    ) -> Result<Self> {
        let Sampling { members, slots, prompts, prompt_tokens, new_tokens } = *load;
        let most = STREAMED_ROWS.max(prompt_tokens);
        let rows = product(&[prompts, prompt_tokens]).min(most);
        let load =
            Load { probes: members, rows, segments: prompts, longest: prompt_tokens, scored: 0 };
        let prefill = Self::prefill(config, precision, &load)?;
        let positions = prompt_tokens.saturating_add(new_tokens);
        let scores = product(&[slots, Self::scores(config, positions)]);
        let kept = product(&[members, sum(&[Self::angles(config, positions), scores])]);
        let decode = Self::decode(config, precision, [product(&[members, slots]), slots], kept)?;
        let cache = Self::cache(config, slots, new_tokens);
        let prefixes = product(&[prompts, Self::prefix(config, prompt_tokens)]);
        let larger = if prefill.total() > decode.total() { prefill } else { decode };
        Self {
            cache: product(&[members, sum(&[cache, prefixes])]),
            kernels: prefill.kernels.max(decode.kernels),
            ..larger
        }
        .checked()
    }

    /// One pass of so many members over some rows of prompts. Keys, values and logits that stay are
    /// not counted.
    pub(crate) fn prefill(
        config: &ModelConfig,
        precision: MatmulPrecision,
        load: &Load,
    ) -> Result<Self> {
        let Load { probes: members, rows, segments: prompts, longest, .. } = *load;
        let of = Sizes::of(config, precision);
        let scores = product(&[rayon::current_num_threads(), scores(longest, TILE)]);
        let fetched =
            sum(&[product(&[rows.min(of.vocab), of.width]), product(&[4, rows, of.width])]);
        // The logits of one member are copied.
        let last = sum(&[of.width, of.vocab.div_ceil(members.max(1))]);
        Self {
            cache: 0,
            activations: bytes_of(product(&[members, rows, of.row()])),
            work: bytes_of(of.work(rows, prompts).max(fetched)),
            hidden: bytes_of(product(&[members, prompts, last])),
            logits: sum(&[bytes_of(of.chunk(prompts)), of.rounded_chunk()]),
            kernels: sum(&[of.packed(rows, prompts), scores]),
        }
        .checked()
    }

    /// Bytes of the angles of so many positions, which a cache keeps.
    pub(crate) fn angles(config: &ModelConfig, positions: usize) -> usize {
        product(&[positions, bytes_of(config.head_dim)])
    }

    /// Bytes of the scores of one row's attention to so many positions, which a cache keeps.
    pub(crate) fn scores(config: &ModelConfig, positions: usize) -> usize {
        let of = Sizes::of(config, MatmulPrecision::F32);
        product(&[config.num_kv_heads, scores(positions, of.group.min(TILE))])
    }

    /// A step of decoding: the rows of all members, and the most of one.
    pub(crate) fn decode(
        config: &ModelConfig,
        precision: MatmulPrecision,
        [all, rows]: [usize; 2],
        kept: usize,
    ) -> Result<Self> {
        let of = Sizes::of(config, precision);
        let logits = bytes_of(product(&[all, of.vocab]));
        let fetched =
            sum(&[product(&[all.min(of.vocab), of.width]), product(&[4, rows, of.width])]);
        let kept = sum(&[logits, kept]);
        Self {
            cache: 0,
            activations: sum(&[kept, bytes_of(product(&[all, of.row()]))]),
            work: bytes_of(of.work(rows, 0).max(fetched)),
            hidden: sum(&[kept, bytes_of(product(&[all, sum(&[of.width, of.row()])]))]),
            logits: sum(&[bytes_of(of.chunk(rows)), of.rounded_chunk()]),
            kernels: of.packed(rows, rows),
        }
        .checked()
    }

    /// Bytes of a cache of so many sequences, each of at most `new_tokens` rows of its own.
    pub(crate) fn cache(config: &ModelConfig, slots: usize, new_tokens: usize) -> usize {
        let of = Sizes::of(config, MatmulPrecision::F32);
        // Rows begin at any position of a block.
        let blocks = (new_tokens.saturating_add(POSITIONS - 1)).div_ceil(POSITIONS);
        product(&[slots, of.blocks(blocks)])
    }

    /// Bytes of a prefilled prompt: keys and values, and logits.
    pub(crate) fn prefix(config: &ModelConfig, tokens: usize) -> usize {
        let of = Sizes::of(config, MatmulPrecision::F32);
        sum(&[of.blocks(tokens.div_ceil(POSITIONS)), bytes_of(of.vocab)])
    }

    /// Bytes at most: those of blocks and those of the head are not there at a time.
    pub fn total(&self) -> usize {
        let Self { cache, activations, work, hidden, logits, kernels } = *self;
        sum(&[cache, kernels, sum(&[activations, work]).max(sum(&[hidden, logits]))])
    }

    fn checked(self) -> Result<Self> {
        if self.total() < usize::MAX { Ok(self) } else { Err(uncountable(&self)) }
    }
}

impl fmt::Display for PassTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, activations, work, hidden, logits, kernels } = self;
        write!(
            f,
            "{cache} bytes of keys, values and logits of prompts + {kernels} of kernels + the larger of {activations} bytes \
             of activations with {work} of one block, and {hidden} bytes of rows under the head with \
             {logits} of one chunk"
        )
    }
}

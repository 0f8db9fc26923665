//! Prefill and step-by-step decoding.
//!
//! In the CPU form a sequence's numbers do not depend on what else is decoded.

use std::sync::Arc;

use candle::Tensor;

use crate::backend::{Backend, cpu, reference};
use crate::cache::{Cache, Prefix, PrefixRows, Slot, Store};
use crate::stream::{Load, PassTerms, Share};
use crate::{Error, Packed, Policy, Result};

pub use kernels::likeliest::Likeliest;
pub use kernels::logits::Distribution;

/// Rows of the prompts that one pass computes together. The matrix products of few rows wait for
/// the weights, those of this many do not; more rows would only take more memory.
const PREFILL_ROWS: usize = 256;

impl Policy<'_> {
    /// Runs a prompt once, for all that will continue it.
    ///
    /// # Errors
    ///
    /// Fails when the prompt is empty or longer than the context, when a token is outside the
    /// vocabulary, and when the weights make numbers that are not finite.
    pub fn prefill(self, prompt: &[u32]) -> Result<Arc<Prefix>> {
        Ok(self.prefill_all(&[prompt])?.swap_remove(0))
    }

    /// [`Self::prefill`] of each prompt, in order. On a CPU short prompts are computed together, up
    /// to 256 tokens in a pass, which changes no result.
    ///
    /// # Errors
    ///
    /// As [`Self::prefill`].
    pub fn prefill_all(self, prompts: &[&[u32]]) -> Result<Vec<Arc<Prefix>>> {
        let mut prefixes = Vec::with_capacity(prompts.len());
        for together in self.prompts_of_a_pass(prompts) {
            prefixes.extend(self.prefill_pass(together)?);
        }
        Ok(prefixes)
    }

    /// The prompts in groups, each of which one pass computes.
    pub(crate) fn prompts_of_a_pass<'p>(self, prompts: &'p [&'p [u32]]) -> Vec<&'p [&'p [u32]]> {
        let (mut groups, mut rest, most) = (Vec::new(), prompts, self.prefill_rows(PREFILL_ROWS));
        while !rest.is_empty() {
            let mut rows = 0;
            let fits = |prompt: &&&[u32]| {
                rows += prompt.len();
                rows <= most
            };
            let count = match self.backend() {
                Backend::Cpu { .. } => rest.iter().take_while(fits).count().max(1),
                Backend::Reference => 1,
            };
            let (together, later) = rest.split_at(count);
            groups.push(together);
            rest = later;
        }
        groups
    }

    /// Prefills prompts in one pass; the reference backend takes one.
    fn prefill_pass(self, prompts: &[&[u32]]) -> Result<Vec<Arc<Prefix>>> {
        let mut packed = Packed::default();
        for prompt in prompts {
            packed.push(prompt, None)?;
        }
        let shares = self.hold_prefixes(prompts)?;
        let load = Load::of(&packed, 0);
        let _held = self.hold(|| PassTerms::prefill(self.config(), self.precision(), &load))?;
        let prefilled: Vec<_> = match self.backend() {
            Backend::Cpu { .. } => cpu::prefill::prefill(self, &packed)?
                .into_iter()
                .map(|(logits, kv_blocks)| (logits, PrefixRows::Cpu(kv_blocks)))
                .collect(),
            Backend::Reference => {
                let (logits, layers) = reference::decode::prefill(self, &packed)?;
                vec![(logits, PrefixRows::Reference(layers))]
            }
        };
        self.weights.end_pass()?;
        self.prefixes(prompts, prefilled, shares)
    }

    /// The memory of the prefixes of prompts, where the weights count it.
    pub(crate) fn hold_prefixes(self, prompts: &[&[u32]]) -> Result<Vec<Option<Share>>> {
        let hold = |prompt: &&[u32]| {
            let bytes = || PassTerms::prefix(self.config(), prompt.len());
            self.hold_bytes(bytes, "a prefilled prompt")
        };
        prompts.iter().map(hold).collect()
    }

    /// Prompts with their logits and rows.
    pub(crate) fn prefixes(
        self,
        prompts: &[&[u32]],
        prefilled: Vec<(Vec<f32>, PrefixRows)>,
        shares: Vec<Option<Share>>,
    ) -> Result<Vec<Arc<Prefix>>> {
        let version = self.version();
        let prefix = |((prompt, (logits, rows)), share): ((&&[u32], _), _)| {
            let logits: Vec<f32> = logits;
            if logits.iter().any(|logit| !logit.is_finite()) {
                return Err(not_finite(prompt.len() - 1));
            }
            Ok(Arc::new(Prefix { len: prompt.len(), logits, rows, version, _share: share }))
        };
        prompts.iter().zip(prefilled).zip(shares).map(prefix).collect()
    }

    /// An empty cache for `slots` sequences of at most `new_tokens` rows each beyond their prompts.
    ///
    /// # Errors
    ///
    /// Fails when the device refuses the storage.
    pub fn cache(self, slots: usize, new_tokens: usize) -> Result<Cache> {
        let (config, version) = (self.config(), self.version());
        let bytes = || PassTerms::cache(config, slots, new_tokens);
        let share = self.hold_bytes(bytes, "a cache of keys and values")?;
        let store = match self.backend() {
            Backend::Cpu { .. } => Store::Cpu(Box::new(cpu::decode::Buffers::new(self)?)),
            Backend::Reference => {
                let shape = (slots * new_tokens.max(1), config.num_kv_heads * config.head_dim);
                let zeros = || Tensor::zeros(shape, self.dtype(), self.device());
                let layers = (0..config.num_layers).map(|_| Ok([zeros()?, zeros()?]));
                Store::Reference(layers.collect::<Result<_>>()?)
            }
        };
        let slots = std::iter::repeat_with(Slot::default).take(slots).collect();
        Ok(Cache { slots, capacity: new_tokens, store, version, _share: share })
    }

    /// Adds one token to each slot named in `feed`; `logits` becomes what follows each.
    ///
    /// Shapes: `feed` pairs of slot and token, no slot twice; `logits` (feed, vocabulary).
    ///
    /// # Errors
    ///
    /// Fails, and changes nothing, when a slot is empty or full or named twice, when a token is
    /// outside the vocabulary, when the context is used up, and when the cache was made for other
    /// weights, or for these before [`crate::Model::update`]. Fails when the weights make numbers
    /// that are not finite.
    pub fn decode(
        self,
        cache: &mut Cache,
        feed: &[(usize, u32)],
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        self.check_feed(cache, feed)?;
        if feed.is_empty() {
            logits.clear();
            return Ok(());
        }
        match &mut cache.store {
            Store::Cpu(buffers) => cpu::decode::step(self, buffers, &mut cache.slots, feed, logits),
            Store::Reference(layers) => {
                reference::decode::step(self, layers, cache.capacity, &cache.slots, feed, logits)?;
                for &(slot, _) in feed {
                    cache.slots[slot].len += 1;
                }
                Ok(())
            }
        }
    }

    pub(crate) fn check_feed(self, cache: &Cache, feed: &[(usize, u32)]) -> Result<()> {
        if cache.version != self.version() {
            return Err(Error::Input(
                "the cache was made for other weights, or for these before they were updated: make \
                 a new cache, and prefill the prompts again"
                    .into(),
            ));
        }
        let config = self.config();
        for (i, &(index, token)) in feed.iter().enumerate() {
            let input = |problem: String| Err(Error::Input(format!("slot {index}: {problem}")));
            let Some(slot) = cache.slots.get(index) else {
                return input(format!("the cache has {} slots", cache.slots.len()));
            };
            if slot.prefix.is_none() {
                return input("no prompt is attached".into());
            }
            if feed[..i].iter().any(|&(other, _)| other == index) {
                return input("named twice in one step".into());
            }
            if token as usize >= config.vocab_size {
                return input(format!(
                    "token {token} is outside the vocabulary of {} tokens",
                    config.vocab_size
                ));
            }
            if slot.len == cache.capacity {
                return input(format!("all {} rows of the cache are used", cache.capacity));
            }
            if slot.position() >= config.context {
                return input(format!("the context of {} tokens is used up", config.context));
            }
        }
        Ok(())
    }
}

pub(crate) fn not_finite(position: usize) -> Error {
    Error::Input(format!(
        "the logits after position {position} are not finite: the weights have diverged"
    ))
}

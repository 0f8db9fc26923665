//! Where the weights of a forward or backward pass come from.

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use candle::{DType, Device, Tensor};

use super::{BlockWeights, Value};
use crate::stream::Arena;
use crate::{Error, Result};

/// Hands out the weights of a policy, a block at a time.
///
/// A source may hold all blocks, or compute or load each when it is asked for: a borrowed block
/// stays where it is, an owned one lives until the caller is done with it, which is before it asks
/// for the next. Threads may ask at the same time. Only a reference backward pass that keeps
/// activations holds on to all blocks.
///
/// Only matrices may be in the format of a file.
///
/// Shapes: as [`crate::weights::Weights::of`] says; they are checked on use.
pub trait WeightSource: Debug + Sync {
    /// Identifies the values: it changes whenever one of them does.
    fn version(&self) -> Version;

    /// Embedding: (vocabulary, width).
    ///
    /// # Errors
    ///
    /// Fails when it is not available.
    fn embed(&self) -> Result<Value>;

    /// The weights of a block.
    ///
    /// # Errors
    ///
    /// Fails when they are not available.
    fn block(&self, layer: usize) -> Result<Cow<'_, BlockWeights<Value>>>;

    /// Final norm: (width).
    ///
    /// # Errors
    ///
    /// Fails when it is not available.
    fn norm(&self) -> Result<Tensor>;

    /// Output head: (vocabulary, width). Not asked for where it is tied to the embedding.
    ///
    /// # Errors
    ///
    /// Fails when it is not available.
    fn head(&self) -> Result<Value>;

    /// Whether it lends one part at a time: then one pass runs at a time, one thread of it asks,
    /// and embedding and head are asked for by rows.
    fn streams(&self) -> bool {
        false
    }

    /// Rows of the embedding. Of a source that [streams](Self::streams), a pass asks for all of its
    /// rows at once.
    ///
    /// Shapes: result (tokens, width).
    ///
    /// # Errors
    ///
    /// Fails when they are not available, and when a token is outside the vocabulary.
    fn embed_rows(&self, tokens: &[u32], dtype: DType, device: &Device) -> Result<Tensor> {
        self.embed()?.gather(tokens, dtype, device)
    }

    /// Consecutive rows of the output head, or of the embedding where the two are tied. Only a
    /// source that [streams](Self::streams) is asked, for the chunks of [`CHUNK`] rows of the
    /// vocabulary in ascending order.
    ///
    /// Shapes: result (rows, width).
    ///
    /// [`CHUNK`]: kernels::logits::CHUNK
    ///
    /// # Errors
    ///
    /// Fails when they are not available.
    fn head_rows(&self, rows: Range<usize>) -> Result<Value> {
        Err(Error::Input(format!("rows {rows:?} of the head: this source lends it as a whole")))
    }

    /// What counts the memory of passes over it, and refuses those that do not fit.
    fn arena(&self) -> Option<&Arena> {
        None
    }

    /// Says that a pass has got all that it asks for.
    ///
    /// # Errors
    ///
    /// Fails when what it got may be of different times.
    fn end_pass(&self) -> Result<()> {
        Ok(())
    }
}

/// Identifies the values of a set of weights, unlike those of every other set and of every other
/// time, within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub(crate) weights: u64,
    /// That of an adapter, where there is one.
    adapter: Option<u64>,
    /// That of what changes them on their way to a pass, where there is something.
    perturbed: Option<u64>,
}

impl Version {
    /// A version that nothing else has.
    #[must_use]
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::of(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn of(weights: u64) -> Self {
        Self { weights, adapter: None, perturbed: None }
    }

    /// Of these weights with an adapter.
    pub(crate) fn with_adapter(self, adapter: Self) -> Self {
        Self { adapter: Some(adapter.weights), ..self }
    }

    /// Of these weights as they are changed on their way to a pass.
    pub(crate) fn with_perturbed(self, perturbed: Self) -> Self {
        Self { perturbed: Some(perturbed.weights), ..self }
    }
}

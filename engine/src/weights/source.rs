//! Where the weights of a forward or backward pass come from.

use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

use candle::Tensor;

use super::{BlockWeights, Value};
use crate::Result;

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
}

/// Identifies the values of a set of weights, unlike those of every other set and of every other
/// time, within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub(crate) weights: u64,
    /// That of an adapter, where there is one.
    adapter: Option<u64>,
}

impl Version {
    /// A version that nothing else has.
    #[must_use]
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::of(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn of(weights: u64) -> Self {
        Self { weights, adapter: None }
    }

    /// Of these weights with an adapter.
    pub(crate) fn with_adapter(self, adapter: Self) -> Self {
        Self { adapter: Some(adapter.weights), ..self }
    }
}

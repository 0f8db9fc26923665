//! How weights are streamed, and which of them are trained.

use std::sync::Arc;

use super::link::{Link, Unlimited};
use super::master::Master;
use super::ring::Motion;
use super::{Arena, Share, Terms};
use crate::adapter::Adapter;
use crate::weights::Weights;
use crate::{Error, MatmulPrecision, Result};
use kernels::logits::CHUNK;

/// Whether embedding and head are streamed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ends {
    /// They stay in memory.
    #[default]
    Resident,
    /// Rows of the embedding are read when a pass begins, the head in chunks of the vocabulary.
    Streamed,
}

/// How weights are streamed.
#[derive(Debug, Clone)]
pub struct Options {
    /// Blocks in memory: 3 are enough to read, compute and write at the same time.
    pub slots: usize,
    /// Whether these three go on at the same time.
    pub overlap: bool,
    /// Whether embedding and head are streamed.
    pub ends: Ends,
    /// Whether matrices in the format of a file are kept so in the slots, else decoded.
    pub as_stored: bool,
    /// The precision of matrix products.
    pub precision: MatmulPrecision,
    /// What is told of every transfer.
    pub link: Arc<dyn Link>,
    /// What counts the memory of slots, scratch and resident weights.
    pub arena: Arena,
    #[cfg(test)]
    pub(super) faults: super::ring::Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slots: 3,
            overlap: true,
            ends: Ends::Resident,
            as_stored: false,
            precision: MatmulPrecision::F32,
            link: Arc::new(Unlimited),
            arena: Arena::default(),
            #[cfg(test)]
            faults: super::ring::Faults::default(),
        }
    }
}

impl Motion {
    pub(super) fn of(options: &Options) -> Self {
        Self {
            slots: options.slots,
            overlap: options.overlap,
            link: options.link.clone(),
            #[cfg(test)]
            faults: options.faults,
        }
    }
}

/// For each weight of the base, its place among the trainable ones; none with an adapter.
pub(super) fn trained(
    master: &Master,
    frozen: &impl Fn(&str) -> bool,
    adapted: bool,
) -> Result<Weights<Option<usize>>> {
    let mut count = 0;
    let base = master.specs.as_ref().map(|spec| {
        let trained = !adapted && !frozen(&spec.name);
        count += usize::from(trained);
        trained.then(|| count - 1)
    });
    if count > 0 && !master.is_f32() {
        return Err(Error::Input(
            "weights in the format of a file cannot be trained: freeze them all, or train an \
             adapter"
                .into(),
        ));
    }
    Ok(base)
}

/// The places of an adapter's parameters.
pub(super) fn of_adapter(adapter: &Adapter) -> Weights<Option<usize>> {
    let own: Vec<_> = adapter.parameters().into_iter().map(|(name, _)| name).collect();
    let mut count = 0;
    adapter.specs().as_ref().map(|spec| {
        let trained = own.get(count).is_some_and(|name| *name == spec.name);
        count += usize::from(trained);
        trained.then(|| count - 1)
    })
}

/// The places of the parts of each unit: blocks, chunks of the head, chunks of an embedding that is
/// not tied.
pub(super) fn places(
    base: &Weights<Option<usize>>,
    vocab: usize,
    units: usize,
) -> Vec<Vec<Option<usize>>> {
    let mut places: Vec<Vec<_>> = Vec::with_capacity(units);
    for block in &base.blocks {
        let mut own = Vec::new();
        block.visit(|place| own.push(*place));
        places.push(own);
    }
    let chunks = vocab.div_ceil(CHUNK);
    let head = places.len() + chunks;
    while places.len() < units {
        let place = if places.len() < head { *base.head() } else { base.embed };
        places.push(vec![place]);
    }
    places
}

/// Takes the memory of all terms but the scratch, if there is room for that, too.
pub(super) fn reserve(arena: &Arena, terms: &Terms) -> Result<Share> {
    let budget = arena.budget().unwrap_or(usize::MAX);
    let needed = arena.now().saturating_add(terms.total());
    if needed > budget {
        return Err(Error::Budget { needed, budget, terms: terms.to_string() });
    }
    arena.take(terms.total() - terms.scratch, "streamed weights")
}

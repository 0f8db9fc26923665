//! Random words by seed and purpose, and permutations.

use rand_philox::{Philox, splitmix64};

/// Random words for one purpose of one seed.
pub(crate) fn draws(seed: u64, purpose: &str) -> Philox {
    let stream = purpose.bytes().fold(0, |hash, byte| splitmix64(hash ^ u64::from(byte)));
    Philox::from_u64_seed_stream(splitmix64(seed), stream)
}

/// The numbers below `len` in random order (Fisher and Yates).
pub(crate) fn shuffled(len: usize, words: &mut Philox) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for i in (1..len).rev() {
        order.swap(i, words.bounded(i as u32 + 1) as usize);
    }
    order
}

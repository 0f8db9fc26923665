//! Random weights as a function of a seed.

use rand_philox::{Philox, splitmix64, u32_to_unit_f64};

/// `len` standard normal values: a function of `seed` and `stream` alone.
///
/// Source: Box and Muller 1958, on the Philox words of (seed, stream) in order.
pub(crate) fn normal(seed: u64, stream: u64, len: usize) -> Vec<f32> {
    let mut words = Philox::from_u64_seed_stream(splitmix64(seed ^ WEIGHTS), stream);
    let mut values = Vec::with_capacity(len + 1);
    while values.len() < len {
        let radius = (-2.0 * u32_to_unit_f64(words.next_u32()).ln()).sqrt();
        let angle = std::f64::consts::TAU * u32_to_unit_f64(words.next_u32());
        values.push((radius * angle.cos()) as f32);
        values.push((radius * angle.sin()) as f32);
    }
    values.truncate(len);
    values
}

/// Sets the weights' draws apart from every other use of the same seed.
const WEIGHTS: u64 = 0x7765_6967_6874_7300;

/// `len` values uniform on (-1, 1): a function of `seed` and `stream` alone.
pub(crate) fn uniform(seed: u64, stream: u64, len: usize) -> Vec<f64> {
    let mut words = Philox::from_u64_seed_stream(splitmix64(seed ^ ADAPTER), stream);
    // The middle of each of 2^24 parts: never 0, 1 or -1.
    let value = |word: u32| f64::from(2 * (word >> 8) + 1) / f64::from(1 << 24) - 1.0;
    (0..len).map(|_| value(words.next_u32())).collect()
}

/// Sets an adapter's draws apart, likewise.
const ADAPTER: u64 = 0x6164_6170_7465_7200;

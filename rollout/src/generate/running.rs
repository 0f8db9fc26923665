//! What a slot holds while its sequence runs.

use crate::sampling::{Sampled, TokenSampler};

/// A running completion.
#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) completion: Vec<u32>,
    pub(super) log_probs: Vec<f32>,
    pub(super) entropies: Vec<f32>,
    pub(super) phi_sums: Vec<f32>,
    pub(super) alternatives: Vec<(u32, f32)>,
}

/// One sampled token, with its buffers.
#[derive(Debug, Default)]
pub(super) struct SampleSlot {
    pub(super) sampler: TokenSampler,
    pub(super) sampled: Option<Sampled>,
}

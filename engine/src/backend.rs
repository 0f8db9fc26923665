//! The forms in which the model computes, a folder each. They have the same pieces: the operations,
//! a decoder block, the trunk of the backward pass, the chunked head, and decoding.
//!
//! [`reference`] is the definition: Candle tensors, any device and float type, differentiable. It is
//! the oracle of every other form and is not tuned. [`cpu`] computes the same on plain slices, for
//! `f32` weights on a CPU, each piece with its own backward.

pub mod cpu;
pub mod reference;

use candle::{DType, Device};

/// The form in which a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Candle tensors: any device and float type.
    Reference,
    /// Slices: `f32` on a CPU.
    Cpu,
}

impl Backend {
    /// The fastest form for weights of this type on this device.
    pub fn of(dtype: DType, device: &Device) -> Self {
        if device.is_cpu() && dtype == DType::F32 { Self::Cpu } else { Self::Reference }
    }
}

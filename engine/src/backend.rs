//! The forms in which the model computes, a folder each. They have the same pieces: the operations,
//! a decoder block, the trunk of the backward pass, the chunked head, and decoding.
//!
//! [`mod@reference`] is the definition: Candle tensors, any device and float type, differentiable.
//! It is the oracle of every other form and is not tuned. [`cpu`] computes the same on plain
//! slices, for `f32` weights on a CPU, each piece with its own backward.

pub mod cpu;
pub mod reference;

use candle::{DType, Device};

pub use kernels::MatmulPrecision;

use crate::{Error, Result};

/// The form in which a model computes; chosen once, when it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Candle tensors: any device and float type.
    Reference,
    /// Slices: `f32` on a CPU.
    Cpu {
        /// The precision of matrix products.
        precision: MatmulPrecision,
    },
}

/// Name of the kernel that multiplies in bf16 on this machine's CPU. Each has its own order of
/// sums, so results of two of them differ in the last bits.
pub fn bf16_kernel() -> &'static str {
    kernels::matmul::bf16::instruction().name()
}

impl Backend {
    /// The fastest form for weights of this type on this device.
    pub fn of(dtype: DType, device: &Device) -> Self {
        if device.is_cpu() && dtype == DType::F32 {
            Self::Cpu { precision: MatmulPrecision::F32 }
        } else {
            Self::Reference
        }
    }

    /// The precision of its matrix products.
    pub fn precision(self) -> MatmulPrecision {
        match self {
            Self::Reference => MatmulPrecision::F32,
            Self::Cpu { precision } => precision,
        }
    }

    /// The same backend with another precision.
    ///
    /// # Errors
    ///
    /// Fails when it has no products of that precision.
    pub fn with_precision(self, precision: MatmulPrecision) -> Result<Self> {
        match self {
            Self::Cpu { .. } => Ok(Self::Cpu { precision }),
            Self::Reference if precision == MatmulPrecision::F32 => Ok(self),
            Self::Reference => Err(Error::Input(
                "matrix products in bf16 need f32 weights on a CPU: the reference backend multiplies \
                 in the type of the weights; load the model as f32, or leave the precision as it is"
                    .into(),
            )),
        }
    }
}

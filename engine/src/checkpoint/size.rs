//! What the weights of a checkpoint take in memory in the types of its files.

use std::collections::BTreeMap;

use candle::DType;
use candle::quantized::GgmlDType;

use super::Checkpoint;
use crate::Result;
use crate::weights::{Spec, Weights};

impl Checkpoint {
    /// Bytes of the weights with matrices as the files have them and vectors in f32, by the name of
    /// the type in lower case. No weight is read.
    ///
    /// # Errors
    ///
    /// Fails when a weight is missing, and on a type whose numbers are not read.
    pub fn bytes_by_type(&self) -> Result<BTreeMap<&'static str, u64>> {
        let (mut bytes, mut failed) = (BTreeMap::new(), Ok(()));
        Weights::of(&self.config).visit(|spec| match self.stored_type(spec) {
            Ok(StoredType { name, numbers, bytes: size }) => {
                let count = spec.elem_count() as u64;
                *bytes.entry(name).or_default() += count / numbers * size;
            }
            Err(error) => failed = Err(error),
        });
        failed.map(|()| bytes)
    }

    fn stored_type(&self, Spec { name, shape }: &Spec) -> Result<StoredType> {
        if self.zeros.contains(name) || shape.len() < 2 {
            return Ok(StoredType::F32);
        }
        self.weights.stored_type(name)
    }
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredType {
    name: &'static str,
    /// Numbers of a block.
    numbers: u64,
    /// Bytes of a block.
    bytes: u64,
}

impl StoredType {
    const F32: Self = Self { name: "f32", numbers: 1, bytes: 4 };

    /// Of a tensor in a folder: 64 bits become 32.
    pub(super) fn of_dtype(dtype: DType) -> Self {
        match dtype {
            DType::BF16 => Self { name: "bf16", numbers: 1, bytes: 2 },
            DType::F16 => Self { name: "f16", numbers: 1, bytes: 2 },
            _ => Self::F32,
        }
    }

    /// Of a tensor in a GGUF file.
    pub(crate) fn of_ggml(kind: GgmlDType) -> Self {
        let name = match kind {
            GgmlDType::F32 => "f32",
            GgmlDType::F16 => "f16",
            GgmlDType::BF16 => "bf16",
            GgmlDType::Q4_0 => "q4_0",
            GgmlDType::Q4_1 => "q4_1",
            GgmlDType::Q5_0 => "q5_0",
            GgmlDType::Q5_1 => "q5_1",
            GgmlDType::Q8_0 => "q8_0",
            GgmlDType::Q8_1 => "q8_1",
            GgmlDType::Q2K => "q2_k",
            GgmlDType::Q3K => "q3_k",
            GgmlDType::Q4K => "q4_k",
            GgmlDType::Q5K => "q5_k",
            GgmlDType::Q6K => "q6_k",
            GgmlDType::Q8K => "q8_k",
        };
        Self { name, numbers: kind.block_size() as u64, bytes: kind.type_size() as u64 }
    }
}

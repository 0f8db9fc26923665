//! The weights of a checkpoint, wherever they lie, under Hugging Face names.

use candle::{DType, Device, Tensor};

use super::shards::Shards;
use super::size::StoredType;
use crate::gguf::Gguf;
use crate::weights::StoredMatrix;
use crate::{ModelConfig, Result};

#[derive(Debug)]
pub(super) enum Stored {
    Folder(Shards),
    Gguf(Gguf),
}

impl Stored {
    /// Names of all weights; a tensor of a GGUF file without a Hugging Face name has its own.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Folder(shards) => shards.names().map(str::to_owned).collect(),
            Self::Gguf(gguf) => gguf.names(),
        }
    }

    /// What the files call a weight.
    pub(super) fn own_name(&self, name: &str) -> String {
        let own = match self {
            Self::Folder(_) => None,
            Self::Gguf(gguf) => gguf.own_name(name),
        };
        own.unwrap_or_else(|| name.to_owned())
    }

    /// Outermost dimension first.
    pub(super) fn shape(&self, name: &str) -> Result<&[usize]> {
        match self {
            Self::Folder(shards) => shards.shape(name),
            Self::Gguf(gguf) => gguf.shape(name),
        }
    }

    pub(super) fn get(
        &self,
        name: &str,
        shape: &[usize],
        config: &ModelConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        match self {
            Self::Folder(shards) => shards.get(name, shape, dtype, device),
            Self::Gguf(gguf) => gguf.get(name, shape, config, dtype, device),
        }
    }

    /// A matrix in the format of its file; `None` where it is a tensor in f32 or f64.
    pub(super) fn matrix(
        &self,
        name: &str,
        shape: [usize; 2],
        config: &ModelConfig,
    ) -> Result<Option<StoredMatrix>> {
        match self {
            Self::Folder(shards) => shards.matrix(name, shape),
            Self::Gguf(gguf) => gguf.matrix(name, shape, config),
        }
    }

    /// How the numbers of a weight are stored.
    pub(super) fn stored_type(&self, name: &str) -> Result<StoredType> {
        match self {
            Self::Folder(shards) => shards.dtype(name).map(StoredType::of_dtype),
            Self::Gguf(gguf) => gguf.kind(name).map(StoredType::of_ggml),
        }
    }

    /// All numbers of a weight that exists, and the type that they are stored in; meant for small
    /// ones.
    pub(super) fn values(&self, name: &str) -> Result<(Vec<f64>, DType)> {
        let (tensor, stored) = match self {
            Self::Folder(shards) => shards.whole(name)?,
            Self::Gguf(gguf) => (gguf.whole(name)?, DType::F32),
        };
        Ok((tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?, stored))
    }
}

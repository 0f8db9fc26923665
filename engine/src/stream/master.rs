//! Where the weights that are streamed are kept.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use candle::{DType, Device};
use sha2::{Digest as _, Sha256};

use super::disk::{Access, Disk, PIECE};
use super::file::File;
use super::table::{Region, Table};
use crate::weights::{Spec, Value, Weights};
use crate::{ModelConfig, Result};
use kernels::blocks::Format;

/// The weights of a model outside the slots: in the memory of the host, or in a file.
///
/// Matrices may be in the format of another file; then the model is frozen. All others are in
/// `f32`, which is what an update is added to.
pub struct Master {
    pub(super) config: ModelConfig,
    pub(super) specs: Weights<Spec>,
    pub(super) table: Table,
    medium: Medium,
}

enum Medium {
    /// Each region, with its first byte.
    Memory(Arc<Vec<Held>>),
    File(File),
}

type Held = (usize, RwLock<Vec<u8>>);

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.medium {
            Medium::Memory(_) => "memory".to_owned(),
            Medium::File(file) => file.path().display().to_string(),
        };
        f.debug_struct("Master").field("place", &place).finish_non_exhaustive()
    }
}

impl Master {
    /// Keeps weights in memory, asking `get` for each by name and shape, in checkpoint order.
    ///
    /// # Errors
    ///
    /// Fails on a configuration that [`ModelConfig::validate`] refuses, and when `get` fails.
    pub fn in_memory(
        config: ModelConfig,
        get: &mut dyn FnMut(&str, &[usize]) -> Result<Value>,
    ) -> Result<Self> {
        config.validate()?;
        let (specs, mut parts) = (Weights::of(&config), Vec::new());
        let table = Table::new(0, &specs, &mut |spec, at| {
            let (format, bytes) = bytes(&get(&spec.name, &spec.shape)?)?;
            parts.push((at, bytes));
            Ok(format)
        })?;
        let mut parts = parts.into_iter().peekable();
        let held = table.regions().map(|region| {
            let mut held = vec![0; region.padded()];
            let end = region.start + region.len;
            while let Some((at, bytes)) = parts.next_if(|(at, _)| *at < end) {
                held[at - region.start..][..bytes.len()].copy_from_slice(&bytes);
            }
            (region.start, RwLock::new(held))
        });
        let medium = Medium::Memory(Arc::new(held.collect()));
        Ok(Self { config, specs, table, medium })
    }

    /// Writes weights to a new file, asking `get` as [`Self::in_memory`] does. One tensor is in
    /// memory at a time. The file replaces another one of its name when it is complete.
    ///
    /// # Errors
    ///
    /// As [`Self::in_memory`], and when the file cannot be written.
    pub fn write(
        path: &Path,
        config: &ModelConfig,
        get: &mut dyn FnMut(&str, &[usize]) -> Result<Value>,
    ) -> Result<()> {
        config.validate()?;
        File::create(path, &Weights::of(config), &mut |spec| bytes(&get(&spec.name, &spec.shape)?))
    }

    /// Opens a file that [`Self::write`] wrote. With `trained` its weights may be updated: it is
    /// marked as in use from the first write to [`super::Streamed::seal`], because an update that
    /// is broken off leaves blocks of two steps. Without, it is only read.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, or written where it is trained, is of another kind or of
    /// another model, is cut short, or was in use when its process ended.
    pub fn open(path: &Path, config: ModelConfig, access: Access, trained: bool) -> Result<Self> {
        config.validate()?;
        let specs = Weights::of(&config);
        let (file, table) = File::open(path, &specs, access, trained)?;
        Ok(Self { config, specs, table, medium: Medium::File(file) })
    }

    /// What a user should know of how the file is read; `None` where it is as was asked.
    pub fn note(&self) -> Option<&str> {
        match &self.medium {
            Medium::Memory(_) => None,
            Medium::File(file) => file.note(),
        }
    }

    /// Sizes and switches.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes of all weights.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Whether every weight is in `f32`, so that the model can be trained.
    pub fn is_f32(&self) -> bool {
        self.table.regions().all(Region::is_f32)
    }

    /// Fails when the weights may only be read.
    pub(super) fn check_writable(&self) -> Result<()> {
        match &self.medium {
            Medium::Memory(_) => Ok(()),
            Medium::File(file) => file.check_writable(),
        }
    }

    /// Reads it from one thread, and writes it where `writes`.
    pub(super) fn handle(&self, writes: bool) -> Result<Handle> {
        Ok(match &self.medium {
            Medium::Memory(held) => Handle::Memory(held.clone()),
            Medium::File(file) => Handle::Disk(file.disk(writes)?),
        })
    }

    /// SHA-256 of the tensors, in the order of the parameters, in hexadecimal digits.
    pub(super) fn digest(&self, handle: &mut Handle) -> Result<String> {
        Ok(hex(&self.hash(handle)?))
    }

    /// Marks the file as complete.
    pub(super) fn seal(&self, handle: &mut Handle) -> Result<()> {
        match &self.medium {
            Medium::Memory(_) => Ok(()),
            Medium::File(file) => file.seal(|| self.hash(handle)),
        }
    }

    /// Compares the tensors of a file with the digest in it.
    ///
    /// # Errors
    ///
    /// Fails when they differ.
    pub fn verify(&self) -> Result<()> {
        match &self.medium {
            Medium::Memory(_) => Ok(()),
            Medium::File(file) => file.compare(&self.hash(&mut self.handle(false)?)?),
        }
    }

    fn hash(&self, handle: &mut Handle) -> Result<[u8; 32]> {
        let mut digest = Sha256::new();
        for region in self.table.regions() {
            for place in &region.tensors {
                handle.read(region, place.bytes.clone(), &mut |_, bytes| digest.update(bytes))?;
            }
        }
        Ok(digest.finalize().into())
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// The bytes of a weight as a master keeps them.
fn bytes(value: &Value) -> Result<(Format, Vec<u8>)> {
    match value {
        Value::Stored(matrix) => Ok((matrix.format(), matrix.bytes().to_vec())),
        Value::Tensor(tensor) => {
            let tensor = tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
            let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            let mut bytes = Vec::with_capacity(size_of_val(values.as_slice()));
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            Ok((Format::F32, bytes))
        }
    }
}

/// One thread's way to a master.
#[derive(Debug)]
pub(super) enum Handle {
    Memory(Arc<Vec<Held>>),
    Disk(Disk),
}

impl Handle {
    /// Bytes that it needs for itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Memory(_) => 0,
            Self::Disk(_) => Disk::BUFFER,
        }
    }

    /// Lends some bytes of a region to `f`, piece by piece: where the piece begins in what was
    /// asked for, and its bytes.
    pub(super) fn read(
        &mut self,
        region: &Region,
        bytes: std::ops::Range<usize>,
        f: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        match self {
            Self::Memory(held) => {
                let held = of(held, region).read().unwrap_or_else(PoisonError::into_inner);
                for (i, piece) in held[bytes].chunks(PIECE).enumerate() {
                    f(i * PIECE, piece);
                }
                Ok(())
            }
            Self::Disk(disk) => disk.read(region.start + bytes.start, bytes.len(), f),
        }
    }

    /// Reads numbers from a byte of a region on.
    pub(super) fn read_f32(&mut self, region: &Region, first: usize, to: &mut [f32]) -> Result<()> {
        let len = size_of_val(to);
        self.read(region, first..first + len, &mut |at, bytes| {
            let to = &mut to[at / size_of::<f32>()..];
            for (to, bytes) in to.iter_mut().zip(bytes.as_chunks().0) {
                *to = f32::from_le_bytes(*bytes);
            }
        })
    }

    /// Writes numbers from a byte of a region on, which is at a page. What is left of the last page
    /// becomes zero.
    pub(super) fn write_f32(&mut self, region: &Region, first: usize, from: &[f32]) -> Result<()> {
        match self {
            Self::Memory(held) => {
                let mut held = of(held, region).write().unwrap_or_else(PoisonError::into_inner);
                let to = &mut held[first..][..size_of_val(from)];
                for (to, from) in to.as_chunks_mut().0.iter_mut().zip(from) {
                    *to = from.to_le_bytes();
                }
                Ok(())
            }
            Self::Disk(disk) => disk.write(region.start + first, from),
        }
    }

    /// Waits until what was written is on the medium.
    pub(super) fn sync(&mut self) -> Result<()> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Disk(disk) => disk.sync(),
        }
    }
}

fn of<'a>(held: &'a [Held], region: &Region) -> &'a RwLock<Vec<u8>> {
    let at = held.partition_point(|(start, _)| *start <= region.start);
    &held[at - 1].1
}

/// Writes bytes to a file, so that the error names it.
pub(super) fn put(file: &mut std::fs::File, path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source| crate::Error::Io { path: path.to_owned(), source };
    std::io::Write::write_all(file, bytes).map_err(failed)
}

//! Tensors of one or many safetensors files, read one at a time.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use candle::{DType, Device, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;

use super::place;
use crate::weights::StoredMatrix;
use crate::{Error, Result, file};
use kernels::blocks::Format;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The bound of the safetensors crate itself.
const MAX_HEADER: u64 = 100_000_000;

/// Bytes of two tensors that are compared at a time.
const COMPARED: u64 = 1 << 24;

#[derive(Debug)]
pub(crate) struct Shards {
    /// What is named in messages: the folder, or the only file.
    path: PathBuf,
    /// By their names in the class with an output head.
    tensors: BTreeMap<String, Place>,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    info: TensorInfo,
    /// From the start of the file.
    start: u64,
}

impl Shards {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for path in files(folder)? {
            for (name, place) in header(&path)? {
                let name = full_name(&name).into_owned();
                if let Some(other) = tensors.insert(name.clone(), place) {
                    let problem = format!("tensor {name} is in {} as well", other.path.display());
                    return Err(Error::File { path, problem });
                }
            }
        }
        Ok(Self { path: folder.to_owned(), tensors })
    }

    /// One file, whose names are taken as they are.
    pub(crate) fn file(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), tensors: header(path)?.into_iter().collect() })
    }

    pub(crate) fn get(
        &self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let place = self.of_shape(name, shape)?;
        let stored = place.dtype(name)?;
        let bytes = place.bytes(0, place.len())?;
        Ok(Tensor::from_raw_buffer(&bytes, stored, shape, device)?.to_dtype(dtype)?)
    }

    /// A matrix in the format of its file, where that has 16 bits.
    pub(super) fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<Option<StoredMatrix>> {
        let place = self.of_shape(name, &shape)?;
        let format = match place.dtype(name)? {
            DType::BF16 => Format::Bf16,
            DType::F16 => Format::F16,
            _ => return Ok(None),
        };
        Ok(StoredMatrix::new(format, shape, place.bytes(0, place.len())?))
    }

    /// Where a tensor lies that must have this shape.
    fn of_shape(&self, name: &str, shape: &[usize]) -> Result<&Place> {
        let place = self.place(name)?;
        if place.info.shape == shape {
            return Ok(place);
        }
        Err(Error::Weight {
            name: name.to_owned(),
            problem: format!(
                "expected shape {shape:?}, {} has {:?}",
                place.path.display(),
                place.info.shape
            ),
        })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub(crate) fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.place(name)?.info.shape)
    }

    /// Gives a tensor that exists another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(place) = self.tensors.remove(from) {
            self.tensors.insert(to.to_owned(), place);
        }
    }

    /// The type that a tensor is stored in.
    pub(super) fn dtype(&self, name: &str) -> Result<DType> {
        self.place(name)?.dtype(name)
    }

    /// A tensor as it is stored, and its type.
    pub(super) fn whole(&self, name: &str) -> Result<(Tensor, DType)> {
        let dtype = self.place(name)?.dtype(name)?;
        let shape = self.place(name)?.info.shape.clone();
        Ok((self.get(name, &shape, dtype, &Device::Cpu)?, dtype))
    }

    /// Whether two tensors have equal shapes and values, read piece by piece.
    pub(super) fn equal(&self, a: &str, b: &str) -> Result<bool> {
        let (a, b) = ((self.place(a)?, a), (self.place(b)?, b));
        if a.0.info.shape != b.0.info.shape {
            return Ok(false);
        }
        let (a_type, b_type) = (a.0.dtype(a.1)?, b.0.dtype(b.1)?);
        let total: usize = a.0.info.shape.iter().product();
        let piece = COMPARED / 8;
        let mut from = 0;
        while from < total as u64 {
            let count = piece.min(total as u64 - from);
            let read = |place: &Place, dtype: DType| {
                let size = dtype.size_in_bytes() as u64;
                place.bytes(from * size, (count * size) as usize)
            };
            let (x, y) = (read(a.0, a_type)?, read(b.0, b_type)?);
            if a_type != b_type || x != y {
                let values = |bytes: &[u8], dtype| -> Result<Vec<f64>> {
                    let tensor =
                        Tensor::from_raw_buffer(bytes, dtype, &[count as usize], &Device::Cpu)?;
                    Ok(tensor.to_dtype(DType::F64)?.to_vec1()?)
                };
                if values(&x, a_type)? != values(&y, b_type)? {
                    return Ok(false);
                }
            }
            from += count;
        }
        Ok(true)
    }

    fn place(&self, name: &str) -> Result<&Place> {
        self.tensors.get(name).ok_or_else(|| Error::Weight {
            name: name.to_owned(),
            problem: format!("missing in {}", self.path.display()),
        })
    }
}

impl Place {
    fn len(&self) -> usize {
        self.info.data_offsets.1 - self.info.data_offsets.0
    }

    /// Bytes of the tensor from its byte `from` on.
    fn bytes(&self, from: u64, len: usize) -> Result<Vec<u8>> {
        read_at(&self.path, self.start + from, len)
    }

    fn dtype(&self, name: &str) -> Result<DType> {
        match DType::try_from(self.info.dtype) {
            Ok(dtype @ (DType::BF16 | DType::F16 | DType::F32 | DType::F64)) => Ok(dtype),
            _ => Err(Error::Weight {
                name: name.to_owned(),
                problem: format!(
                    "{} has type {:?}, supported: BF16, F16, F32, F64",
                    self.path.display(),
                    self.info.dtype
                ),
            }),
        }
    }
}

/// A tensor's name in the class with an output head: files of the decoder alone lack `model.`, and
/// some wrappers repeat it.
///
/// Source: `rename_source_key` in `core_model_loading.py` of transformers 5.
fn full_name(name: &str) -> Cow<'_, str> {
    let inner = name.strip_prefix("model.");
    if let Some(inner) = inner.filter(|x| x.starts_with("model.") || x.starts_with("lm_head.")) {
        return inner.into();
    }
    match name.split('.').next() {
        Some("embed_tokens" | "layers" | "norm" | "rotary_emb") => format!("model.{name}").into(),
        _ => name.into(),
    }
}

/// The files of a folder: the single one, or those that the index names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let single = folder.join(SINGLE);
    if single.exists() {
        return Ok(vec![single]);
    }
    let path = folder.join(INDEX);
    if !path.exists() {
        return Err(place::no_weights(folder, &format!("{SINGLE} and no {INDEX}")));
    }
    let bytes = file::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
    let names = shard_names(&bytes).map_err(|problem| Error::File { path, problem })?;
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

/// File names in an index, each once.
pub(crate) fn shard_names(index: &[u8]) -> Result<BTreeSet<String>, String> {
    let index: Value = serde_json::from_slice(index).map_err(|e| format!("not JSON: {e}"))?;
    let map = index["weight_map"].as_object().ok_or("has no weight_map")?;
    let mut names = BTreeSet::new();
    for file in map.values() {
        let name = file.as_str().ok_or_else(|| format!("weight_map has {file}"))?;
        // An index must not reach outside its folder.
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(format!("weight_map has \"{name}\", expected a file name"));
        }
        names.insert(name.to_owned());
    }
    Ok(names)
}

/// Names and places of the tensors in a file, which must be of the length that its head says.
fn header(path: &Path) -> Result<Vec<(String, Place)>> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let problem = |problem: String| Error::File { path: path.to_owned(), problem };
    let len = file::open(path).and_then(|file| file.metadata()).map_err(io)?.len();
    let cut_short = |problem| Error::CutShort { path: path.to_owned(), problem };
    let in_head = || cut_short(format!("ends after {len} bytes"));
    if len < 8 {
        return Err(in_head());
    }
    let size: [u8; 8] = read_at(path, 0, 8)?.try_into().expect("eight bytes were read");
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER {
        return Err(problem(format!("not a safetensors file: its head would be {size} bytes")));
    }
    if size > len - 8 {
        return Err(in_head());
    }
    let metadata: Metadata = serde_json::from_slice(&read_at(path, 8, size as usize)?)
        .map_err(|e| problem(format!("not a safetensors file: {e}")))?;
    let data = 8 + size;
    let expected = data.saturating_add(metadata.data_len() as u64);
    if len < expected {
        return Err(cut_short(format!("has {len} bytes, expected {expected}")));
    }
    if len > expected {
        return Err(problem(format!("has {len} bytes, its head says {expected}")));
    }
    let place = |name: String| {
        let info = metadata.info(&name).expect("the name is the metadata's own").clone();
        let start = data + info.data_offsets.0 as u64;
        (name, Place { path: path.to_owned(), info, start })
    };
    Ok(metadata.offset_keys().into_iter().map(place).collect())
}

fn read_at(path: &Path, start: u64, len: usize) -> Result<Vec<u8>> {
    let read = || {
        let mut file = file::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| Error::Io { path: path.to_owned(), source })
}

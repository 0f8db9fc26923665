//! Tensors of one or many safetensors files, read one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use candle::{DType, Device, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;

use crate::{Error, ModelConfig, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The bound of the safetensors crate itself.
const MAX_HEADER: u64 = 100_000_000;

#[derive(Debug)]
pub(super) struct Shards {
    folder: PathBuf,
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
                if let Some(other) = tensors.insert(name.clone(), place) {
                    let problem = format!("tensor {name} is in {} as well", other.path.display());
                    return Err(Error::File { path, problem });
                }
            }
        }
        Ok(Self { folder: folder.to_owned(), tensors })
    }

    pub(super) fn get(
        &self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let weight = |problem: String| Error::Weight { name: name.to_owned(), problem };
        let place = self
            .tensors
            .get(name)
            .ok_or_else(|| weight(format!("missing in {}", self.folder.display())))?;
        let Place { path, info, start } = place;
        if info.shape != shape {
            return Err(weight(format!(
                "expected shape {shape:?}, {} has {:?}",
                path.display(),
                info.shape
            )));
        }
        let Ok(stored @ (DType::BF16 | DType::F16 | DType::F32 | DType::F64)) =
            DType::try_from(info.dtype)
        else {
            return Err(weight(format!(
                "{} has type {:?}, supported: BF16, F16, F32, F64",
                path.display(),
                info.dtype
            )));
        };
        let bytes = read_at(path, *start, info.data_offsets.1 - info.data_offsets.0)?;
        Ok(Tensor::from_raw_buffer(&bytes, stored, shape, device)?.to_dtype(dtype)?)
    }

    /// Weights that are not among `read`, less those that are known to say nothing.
    pub(super) fn unused(&self, config: &ModelConfig, read: &BTreeSet<String>) -> Vec<&str> {
        let says_nothing = |name: &str| {
            // Old checkpoints hold the rotary frequencies; tied ones may hold the head twice.
            name.ends_with("rotary_emb.inv_freq")
                || (config.tie_embeddings && name == "lm_head.weight")
        };
        let names = self.tensors.keys().map(String::as_str);
        names.filter(|&name| !read.contains(name) && !says_nothing(name)).collect()
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
        return Err(Error::File {
            path: folder.to_owned(),
            problem: format!(
                "has neither {SINGLE} nor {INDEX}\nother weight files have to be converted first"
            ),
        });
    }
    let bytes = std::fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
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
    let len = File::open(path).and_then(|file| file.metadata()).map_err(io)?.len();
    let cut_short = || problem(format!("ends after {len} bytes: it was cut short; fetch it again"));
    if len < 8 {
        return Err(cut_short());
    }
    let size: [u8; 8] = read_at(path, 0, 8)?.try_into().expect("eight bytes were read");
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER {
        return Err(problem(format!("not a safetensors file: its head would be {size} bytes")));
    }
    if size > len - 8 {
        return Err(cut_short());
    }
    let metadata: Metadata = serde_json::from_slice(&read_at(path, 8, size as usize)?)
        .map_err(|e| problem(format!("not a safetensors file: {e}")))?;
    let data = 8 + size;
    let expected = data.saturating_add(metadata.data_len() as u64);
    if len < expected {
        return Err(problem(format!(
            "has {len} bytes, expected {expected}: it was cut short; fetch it again"
        )));
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
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| Error::Io { path: path.to_owned(), source })
}

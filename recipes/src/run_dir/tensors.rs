//! The tensors of a file, read one at a time, and the state of a run that they are a part of.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use candle::{DType, Device, Shape, Tensor};
use engine::file;
use optim::SavedState;
use safetensors::tensor::{Metadata, serialize_to_file};
use serde::{Deserialize, Serialize};

/// The bound of the safetensors crate itself on the head of a file.
const MAX_HEAD: u64 = 100_000_000;

/// The key of a file's metadata under which [`PartOf`] is, as JSON. There is one key: the order of
/// several would differ from file to file.
const PART_OF: &str = "trainer";

/// The state of a run that the tensors in a file are a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartOf {
    /// Steps done, over all stages.
    pub step: u64,
    /// Updates of the stage; none where it does not count them.
    pub updates: Option<u64>,
}

impl fmt::Display for PartOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.step)?;
        self.updates.map_or(Ok(()), |updates| write!(f, " and update {updates} of its stage"))
    }
}

/// Writes tensors, with the state that they are a part of.
///
/// # Errors
///
/// Fails when the file cannot be written.
pub(super) fn save_tensors(path: &Path, tensors: Vec<(String, Tensor)>, of: &PartOf) -> Result<()> {
    let text = serde_json::to_string(of).expect("plain fields become JSON");
    let metadata = HashMap::from([(PART_OF.to_owned(), text)]);
    Ok(serialize_to_file(tensors, Some(metadata), path)?)
}

/// A safetensors file, of which only the head is in memory.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    tensors: BTreeMap<String, Place>,
    part_of: Option<PartOf>,
}

#[derive(Debug)]
struct Place {
    shape: Vec<usize>,
    dtype: DType,
    /// From the start of the file, in bytes.
    start: u64,
    len: usize,
}

impl TensorFile {
    /// Reads the head of a file.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, and when it is not whole or not of this format.
    pub fn open(path: &Path) -> Result<Self> {
        let (tensors, part_of) =
            places(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { path: path.to_owned(), tensors, part_of })
    }

    /// The state that they are a part of; none where the file does not say, as one of an earlier
    /// version.
    pub fn part_of(&self) -> Option<PartOf> {
        self.part_of
    }
}

impl SavedState for TensorFile {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn layout(&self, name: &str) -> Option<(Shape, DType)> {
        self.tensors.get(name).map(|place| (place.shape.as_slice().into(), place.dtype))
    }

    fn tensor(&self, name: &str) -> candle::Result<Tensor> {
        let Place { shape, dtype, start, len } = &self.tensors[name];
        let read = || {
            let mut file = file::open(&self.path)?;
            file.seek(SeekFrom::Start(*start))?;
            let mut bytes = vec![0; *len];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        let with_path = |error: std::io::Error| candle::Error::from(error).with_path(&self.path);
        Tensor::from_raw_buffer(&read().map_err(with_path)?, *dtype, shape, &Device::Cpu)
    }
}

fn places(path: &Path) -> Result<(BTreeMap<String, Place>, Option<PartOf>)> {
    let mut file = file::open(path)?;
    let len = file.metadata()?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    ensure!(
        size <= MAX_HEAD.min(len - 8),
        "expected a safetensors file, got a head of {size} bytes"
    );
    let mut head = vec![0; size as usize];
    file.read_exact(&mut head)?;
    let metadata: Metadata = serde_json::from_slice(&head).context("the head")?;
    let data = 8 + size;
    let expected = data.saturating_add(metadata.data_len() as u64);
    ensure!(len == expected, "expected {expected} bytes, got {len}");
    let place = |name: String| {
        let info = metadata.info(&name).expect("the name is the metadata's own");
        let (from, to) = info.data_offsets;
        let dtype = DType::try_from(info.dtype).with_context(|| name.clone())?;
        let place =
            Place { shape: info.shape.clone(), dtype, start: data + from as u64, len: to - from };
        Ok((name, place))
    };
    let part_of = metadata.metadata().as_ref().and_then(|all| all.get(PART_OF));
    let part_of = part_of.map(|text| serde_json::from_str(text)).transpose();
    let part_of = part_of.with_context(|| format!("the metadata {PART_OF}"))?;
    Ok((metadata.offset_keys().into_iter().map(place).collect::<Result<_>>()?, part_of))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;

    use super::*;

    #[test]
    fn tensors_are_read_by_name_as_they_were_saved() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.safetensors");
        let moment = Tensor::new(&[[1.0_f32, -2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).unwrap();
        let count = Tensor::new(&[7_i64], &Device::Cpu).unwrap();
        let saved = HashMap::from([("moment", moment.clone()), ("count", count)]);
        candle::safetensors::save(&saved, &path).unwrap();
        let file = TensorFile::open(&path).unwrap();
        assert_eq!(file.names(), ["count", "moment"]);
        assert_eq!(file.layout("moment"), Some(((2, 3).into(), DType::F32)));
        assert_eq!(file.layout("other"), None);
        assert_eq!(file.tensor("count").unwrap().to_vec1::<i64>().unwrap(), [7]);
        let read = file.tensor("moment").unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(read, moment.to_vec2::<f32>().unwrap());
    }

    #[test]
    fn a_file_that_is_not_whole_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.safetensors");
        let saved = HashMap::from([("a", Tensor::new(&[7_i64; 4], &Device::Cpu).unwrap())]);
        candle::safetensors::save(&saved, &path).unwrap();
        let whole = fs::read(&path).unwrap();
        for len in [0, 5, 8, 20, whole.len() - 1] {
            fs::write(&path, &whole[..len]).unwrap();
            let error = format!("{:#}", TensorFile::open(&path).unwrap_err());
            assert!(error.starts_with("reading ") && error.contains("a.safetensors: "), "{error}");
        }
        fs::write(&path, [u8::MAX; 64]).unwrap();
        assert!(TensorFile::open(&path).is_err());
        // Cut short after the head was read.
        fs::write(&path, &whole).unwrap();
        let file = TensorFile::open(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(file.tensor("a").is_err());
    }
}

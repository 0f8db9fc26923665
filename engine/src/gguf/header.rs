//! The head of a GGUF file: metadata and where each tensor lies.
//!
//! Source: the GGUF specification of ggml, versions 2 and 3, little-endian, and
//! `gguf_init_from_file_impl` of llama.cpp. What that refuses is refused: a key or a name that is
//! there twice, rows that are no whole blocks, tensors that do not follow each other. Every length
//! is compared with what is left of the file before anything of that size is made, so that a file
//! cut short is an error and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::ops::Range;
use std::path::Path;

use candle::quantized::GgmlDType;

use super::write::ALIGNMENT;
use crate::{Error, Result, file};
use kernels::blocks::Format;

/// The key of the bytes that tensors begin at a multiple of.
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";
/// The type of values that are whole numbers of 32 bits without a sign.
const U32: u32 = 4;

/// A value of the metadata; integers of every width are one, floats likewise.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Int(i64),
    Float(f64),
    Bool(bool),
    String(String),
    Numbers(Vec<i64>),
    Strings(Vec<String>),
    /// An array of a kind that no key of ours has.
    Other,
}

/// As JSON would write it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Bool(flag) => flag.fmt(f),
            Self::String(text) => write!(f, "\"{text}\""),
            Self::Numbers(numbers) => {
                let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
                write!(f, "[{}]", numbers.join(", "))
            }
            Self::Strings(list) => write!(f, "a list of {} strings", list.len()),
            Self::Other => f.write_str("an array"),
        }
    }
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) kind: GgmlDType,
    /// Outermost dimension first.
    pub(super) shape: Vec<usize>,
    /// From the start of the file.
    pub(super) start: u64,
}

impl Entry {
    /// Size in the file, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let blocks = self.shape.iter().product::<usize>() / self.kind.block_size();
        blocks as u64 * self.kind.type_size() as u64
    }

    /// How a row is stored; `None` where that is in f32.
    pub(super) fn format(&self) -> Option<Format> {
        Some(match self.kind {
            GgmlDType::F16 => Format::F16,
            GgmlDType::BF16 => Format::Bf16,
            GgmlDType::Q4_0 => Format::Q4_0,
            GgmlDType::Q4_1 => Format::Q4_1,
            GgmlDType::Q5_0 => Format::Q5_0,
            GgmlDType::Q5_1 => Format::Q5_1,
            GgmlDType::Q8_0 => Format::Q8_0,
            GgmlDType::Q2K => Format::Q2K,
            GgmlDType::Q3K => Format::Q3K,
            GgmlDType::Q4K => Format::Q4K,
            GgmlDType::Q5K => Format::Q5K,
            GgmlDType::Q6K => Format::Q6K,
            // Of the other types there is no tensor: [`ggml_type`] has none of them.
            GgmlDType::F32 | GgmlDType::Q8_1 | GgmlDType::Q8K => return None,
        })
    }
}

#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, Value>,
    /// The bytes of each value of the metadata in the file, its type before it.
    pub(super) spans: BTreeMap<String, Range<u64>>,
    pub(super) tensors: BTreeMap<String, Entry>,
}

impl Header {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = file::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut cursor = Cursor { path, file: BufReader::new(file), at: 0, len };
        cursor.header()
    }
}

struct Cursor<'a> {
    path: &'a Path,
    file: BufReader<File>,
    at: u64,
    len: u64,
}

impl Cursor<'_> {
    fn header(&mut self) -> Result<Header> {
        if &self.array::<4>("the magic number")? != b"GGUF" {
            return Err(self.problem("not a GGUF file: it does not begin with \"GGUF\""));
        }
        let version = self.u32("the version")?;
        if version != 2 && version != 3 {
            return Err(self.problem(format!("GGUF version {version}, expected 2 or 3")));
        }
        let num_tensors = self.count(8 + 4 + 4 + 8, "tensors")?;
        let num_keys = self.count(8 + 4 + 1, "metadata keys")?;
        let (mut metadata, mut spans) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..num_keys {
            let key = self.string("a metadata key")?;
            let start = self.at;
            let kind = self.u32(&key)?;
            let value = self.value(kind, &key)?;
            spans.insert(key.clone(), start..self.at);
            // Which of two values counts would depend on the reader.
            if metadata.contains_key(&key) {
                return Err(self.damaged(format!("metadata key {key} is there twice")));
            }
            if key == ALIGNMENT_KEY && kind != U32 {
                let problem = format!("{key} has the value type {kind}, expected {U32}, 32 bits");
                return Err(self.damaged(problem));
            }
            metadata.insert(key, value);
        }
        let alignment = match metadata.get(ALIGNMENT_KEY) {
            None => ALIGNMENT,
            Some(Value::Int(bytes)) if (1..=1 << 16).contains(bytes) && is_power(*bytes) => {
                *bytes as u64
            }
            Some(other) => {
                return Err(self.problem(format!(
                    "{ALIGNMENT_KEY} is {other}, expected a power of two from 1 to 65536"
                )));
            }
        };
        let entries = (0..num_tensors).map(|_| self.entry()).collect::<Result<Vec<_>>>()?;
        let tensors = self.placed(entries, alignment)?;
        Ok(Header { metadata, spans, tensors })
    }

    /// The tensors by their names. Each begins where the one before it ends, at a multiple of
    /// `alignment`, and the last one ends the file but for padding, which some writers leave out.
    fn placed(
        &self,
        entries: Vec<(String, Entry)>,
        alignment: u64,
    ) -> Result<BTreeMap<String, Entry>> {
        let data = self.at.next_multiple_of(alignment);
        let (mut tensors, mut next, mut last) = (BTreeMap::new(), 0_u64, None);
        for (name, mut entry) in entries {
            if tensors.contains_key(&name) {
                return Err(self.damaged(format!("tensor {name} is there twice")));
            }
            if entry.start != next {
                return Err(self.damaged(format!(
                    "tensor {name} has the offset {}, expected {next}, where the data of the \
                     tensors before it end",
                    entry.start
                )));
            }
            entry.start = data.saturating_add(next);
            let end = entry.start.saturating_add(entry.bytes());
            if end > self.len {
                return Err(self.problem(format!(
                    "tensor {name} ends at byte {end}, but the file has {} bytes\n\
                     it was cut short; fetch or convert it again",
                    self.len
                )));
            }
            // The file has that many bytes, but for the padding.
            next += entry.bytes().next_multiple_of(alignment);
            last = Some(name.clone());
            tensors.insert(name, entry);
        }
        let end = data.saturating_add(next);
        if self.len > end {
            let last = last.map_or("its head".into(), |name| format!("its last tensor, {name},"));
            return Err(self.damaged(format!(
                "{last} ends at byte {end} with its padding, but the file has {} bytes",
                self.len
            )));
        }
        Ok(tensors)
    }

    fn entry(&mut self) -> Result<(String, Entry)> {
        let name = self.string("a tensor's name")?;
        let num_dims = self.u32(&name)?;
        if num_dims > 4 {
            return Err(self.problem(format!("tensor {name} has {num_dims} dimensions")));
        }
        let mut shape =
            (0..num_dims).map(|_| Ok(self.u64(&name)? as usize)).collect::<Result<Vec<_>>>()?;
        shape.reverse();
        let code = self.u32(&name)?;
        let kind = ggml_type(code).ok_or_else(|| {
            self.problem(format!(
                "tensor {name} has the quantisation type {code}, which cannot be dequantised\n\
                 supported: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K"
            ))
        })?;
        let start = self.u64(&name)?;
        let elements = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
        // A bound that no model reaches keeps sizes in bytes within 64 bits.
        if elements.is_none_or(|n| n >= 1 << 48) {
            let problem = format!("tensor {name} has shape {shape:?}, expected fewer numbers");
            return Err(self.damaged(problem));
        }
        // A block never reaches into the next row.
        let (row, block) = (shape.last().copied().unwrap_or(1), kind.block_size());
        if !row.is_multiple_of(block) {
            return Err(self.damaged(format!(
                "tensor {name} of type {kind:?} has rows of {row} numbers, expected a multiple of \
                 its block of {block}"
            )));
        }
        Ok((name, Entry { kind, shape, start }))
    }

    fn value(&mut self, kind: u32, key: &str) -> Result<Value> {
        Ok(match kind {
            0 | 2 | 4 | 10 | 1 | 3 | 5 | 11 => Value::Int(self.integer(kind, key)?),
            6 => Value::Float(decimal(f32::from_le_bytes(self.array(key)?))),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            7 => Value::Bool(self.array::<1>(key)? != [0]),
            8 => Value::String(self.string(key)?),
            9 => {
                let kind = self.u32(key)?;
                self.values(kind, key)?
            }
            _ => return Err(self.problem(format!("{key} has the unknown value type {kind}"))),
        })
    }

    fn values(&mut self, kind: u32, key: &str) -> Result<Value> {
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            _ => return Err(self.problem(format!("{key} is an array of value type {kind}"))),
        };
        let count = self.count(size, key)?;
        match kind {
            8 => (0..count).map(|_| self.string(key)).collect::<Result<_>>().map(Value::Strings),
            6 | 7 | 12 => {
                self.skip(count * size, key)?;
                Ok(Value::Other)
            }
            _ => (0..count)
                .map(|_| self.integer(kind, key))
                .collect::<Result<_>>()
                .map(Value::Numbers),
        }
    }

    fn integer(&mut self, kind: u32, what: &str) -> Result<i64> {
        Ok(match kind {
            0 => self.array::<1>(what)?[0].into(),
            1 => i8::from_le_bytes(self.array(what)?).into(),
            2 => u16::from_le_bytes(self.array(what)?).into(),
            3 => i16::from_le_bytes(self.array(what)?).into(),
            4 => self.u32(what)?.into(),
            5 => i32::from_le_bytes(self.array(what)?).into(),
            10 => i64::try_from(self.u64(what)?)
                .map_err(|_| self.problem(format!("{what} does not fit 63 bits")))?,
            _ => i64::from_le_bytes(self.array(what)?),
        })
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A number of things of at least `size` bytes each, all of which the file must still hold.
    fn count(&mut self, size: u64, what: &str) -> Result<u64> {
        let count = self.u64(what)?;
        if count.saturating_mul(size) > self.len - self.at {
            return Err(self.cut_short(what));
        }
        Ok(count)
    }

    fn string(&mut self, what: &str) -> Result<String> {
        let len = self.count(1, what)?;
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes, what)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    fn skip(&mut self, count: u64, what: &str) -> Result<()> {
        let io = |source| Error::Io { path: self.path.to_owned(), source };
        let skipped =
            std::io::copy(&mut (&mut self.file).take(count), &mut std::io::sink()).map_err(io)?;
        self.at += skipped;
        if skipped == count { Ok(()) } else { Err(self.cut_short(what)) }
    }

    fn fill(&mut self, bytes: &mut [u8], what: &str) -> Result<()> {
        if bytes.len() as u64 > self.len - self.at {
            return Err(self.cut_short(what));
        }
        self.file
            .read_exact(bytes)
            .map_err(|source| Error::Io { path: self.path.to_owned(), source })?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn cut_short(&self, what: &str) -> Error {
        self.problem(format!(
            "ends after {} bytes, in the middle of {what}\nit was cut short; fetch or convert it again",
            self.len
        ))
    }

    /// What no writer of ggml writes.
    fn damaged(&self, problem: String) -> Error {
        self.problem(problem + "\nit is damaged; fetch or convert it again")
    }

    fn problem(&self, problem: impl Into<String>) -> Error {
        Error::File { path: self.path.to_owned(), problem: problem.into() }
    }
}

fn is_power(bytes: i64) -> bool {
    bytes.cast_unsigned().is_power_of_two()
}

/// The double whose decimal is that of `x`: 1e-5 stays 1e-5.
fn decimal(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| x.into())
}

/// Source: `enum ggml_type` in ggml.h, less what Candle does not dequantise.
fn ggml_type(code: u32) -> Option<GgmlDType> {
    Some(match code {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

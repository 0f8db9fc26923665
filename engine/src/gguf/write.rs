//! Writes GGUF files: the head, then one tensor after another.
//!
//! Source: the GGUF specification of ggml, version 3, little-endian.

use std::path::Path;

use candle::Tensor;

use crate::checkpoint::staged::{Out, Staged};
use crate::weight_type::WeightType;
use crate::{Error, Result};

/// A value of the metadata.
#[derive(Debug, Clone)]
pub(crate) enum Field {
    Size(usize),
    Float(f64),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<i32>),
    /// As another file has it, its type before it.
    Copied(Vec<u8>),
}

/// The metadata, in the order of the file.
pub(crate) type Fields = Vec<(String, Field)>;

/// What the head says of a tensor.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) name: String,
    /// Outermost dimension first.
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: WeightType,
}

/// Bytes that tensors begin at a multiple of, where the metadata do not say.
pub(crate) const ALIGNMENT: u64 = 32;

/// Writes a file at `path`; `data` writes the values of the tensor of a number. Gives its size. The
/// file has another name until it is complete.
///
/// # Errors
///
/// Fails when the file cannot be written, and when `data` fails; then nothing is left behind.
pub(crate) fn write(
    path: &Path,
    fields: &[(String, Field)],
    alignment: u64,
    tensors: &[Declared],
    mut data: impl FnMut(&mut Out, usize) -> Result<()>,
) -> Result<u64> {
    let file = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| Error::File {
        path: path.to_owned(),
        problem: "expected the name of a file to write".into(),
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut staged = Staged::new(folder.unwrap_or(Path::new(".")))?;
    staged.write(file, |out| {
        out.bytes(&head(fields, alignment, tensors))?;
        for (index, tensor) in tensors.iter().enumerate() {
            data(out, index)?;
            out.bytes(&padding(tensor.bytes(), alignment))?;
        }
        Ok(())
    })?;
    let bytes = staged.bytes()?;
    staged.commit()?;
    Ok(bytes)
}

fn head(fields: &[(String, Field)], alignment: u64, tensors: &[Declared]) -> Vec<u8> {
    let mut head = Vec::from(b"GGUF");
    head.extend(3u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((fields.len() as u64).to_le_bytes());
    for (key, field) in fields {
        text(&mut head, key);
        field.write(&mut head);
    }
    let mut start = 0u64;
    for Declared { name, shape, kind } in tensors {
        text(&mut head, name);
        head.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|&size| head.extend((size as u64).to_le_bytes()));
        head.extend(kind.ggml_code().to_le_bytes());
        head.extend(start.to_le_bytes());
        start = (start + kind.bytes(shape.iter().product())).next_multiple_of(alignment);
    }
    head.extend(padding(head.len() as u64, alignment));
    head
}

fn padding(len: u64, alignment: u64) -> Vec<u8> {
    vec![0; (len.next_multiple_of(alignment) - len) as usize]
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl Declared {
    fn bytes(&self) -> u64 {
        self.kind.bytes(self.shape.iter().product())
    }
}

impl Field {
    /// Its type and its value. Source: `enum gguf_metadata_value_type` of the specification.
    fn write(&self, out: &mut Vec<u8>) {
        let array = |out: &mut Vec<u8>, kind: u32, len: usize| {
            out.extend(9u32.to_le_bytes());
            out.extend(kind.to_le_bytes());
            out.extend((len as u64).to_le_bytes());
        };
        match self {
            Self::Size(size) => {
                out.extend(4u32.to_le_bytes());
                // Sizes of a model are bounded by `ModelConfig::validate`.
                out.extend((*size as u32).to_le_bytes());
            }
            Self::Float(number) => {
                out.extend(6u32.to_le_bytes());
                out.extend((*number as f32).to_le_bytes());
            }
            Self::Flag(flag) => {
                out.extend(7u32.to_le_bytes());
                out.push(u8::from(*flag));
            }
            Self::Text(value) => {
                out.extend(8u32.to_le_bytes());
                text(out, value);
            }
            Self::Texts(list) => {
                array(out, 8, list.len());
                for value in list {
                    text(out, value);
                }
            }
            Self::Numbers(numbers) => {
                array(out, 5, numbers.len());
                out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            }
            Self::Copied(bytes) => out.extend(bytes),
        }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Rows of queries or keys from halves to pairs side by side, which llama.cpp rotates.
///
/// Shapes: `weight` and the result (heads * head width, width), or (heads * head width) of a bias.
///
/// Source: `LlamaModel.permute` in llama.cpp's `convert_hf_to_gguf.py`.
pub(crate) fn pair_layout(weight: &Tensor, heads: usize) -> Result<Tensor> {
    let rows = weight.dim(0)?;
    let (half, width) = (rows / heads / 2, weight.elem_count() / rows);
    let pairs = weight.reshape((heads, 2, half, width))?.transpose(1, 2)?.contiguous()?;
    Ok(pairs.reshape(weight.dims())?)
}

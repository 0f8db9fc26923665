//! GGUF files: configuration, tokenizer and weights under Hugging Face names, dequantised or in the
//! format of the file.
//!
//! `gguf/header.rs` reads the file's head, `gguf/settings.rs` and `gguf/rope.rs` make the
//! configuration of it, `gguf/tokenizer.rs` builds the tokenizer, `gguf/adapter.rs` reads and
//! writes adapters. `gguf/save.rs` and `gguf/vocabulary.rs` say what a file of a model holds,
//! `gguf/write.rs` writes it.

mod adapter;
mod header;
mod pre_tokenizer;
mod rope;
pub(crate) mod save;
mod settings;
mod tokenizer;
mod vocabulary;
pub(crate) mod write;

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle::quantized::GgmlDType;
use candle::quantized::gguf_file::TensorInfo;
use candle::{DType, Device, Tensor};

use crate::weights::StoredMatrix;
use crate::{Error, Family, ModelConfig, Result, file};
use header::{Header, Value};

/// An open GGUF file; its tensors are read when they are asked for.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    header: Header,
}

impl Gguf {
    /// Reads the file's head and makes sure that the tensors follow each other and end the file.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, is no GGUF, is cut short or longer than its tensors, has
    /// a key or a tensor twice, tensors that lie elsewhere than one after the other, or a tensor of
    /// a type that cannot be dequantised.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), header: Header::read(path)? })
    }

    /// Whether it is an adapter, and no model.
    pub fn is_adapter(&self) -> bool {
        self.string("general.type") == Some("adapter")
    }

    /// One weight by its Hugging Face name, dequantised and in its Hugging Face layout.
    ///
    /// # Errors
    ///
    /// Fails when the weight is missing or has another shape.
    pub fn get(
        &self,
        name: &str,
        shape: &[usize],
        config: &ModelConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let (stored, _) = self.of_shape(name, shape)?;
        let tensor = self.dequantise(&stored)?;
        let tensor = match rotated_heads(config, name) {
            Some(heads) => rotate_half_layout(&tensor, heads)?,
            None => tensor,
        };
        Ok(tensor.to_dtype(dtype)?.to_device(device)?)
    }

    /// A matrix in the format that the file has it in, with its rows in the order of Hugging Face;
    /// `None` where that is f32.
    pub(crate) fn matrix(
        &self,
        name: &str,
        shape: [usize; 2],
        config: &ModelConfig,
    ) -> Result<Option<StoredMatrix>> {
        let (_, entry) = self.of_shape(name, &shape)?;
        let Some(format) = entry.format() else { return Ok(None) };
        let read = || {
            let mut file = file::open(&self.path)?;
            file.seek(SeekFrom::Start(entry.start))?;
            let mut bytes = vec![0; entry.bytes() as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| Error::Io { path: self.path.clone(), source })?;
        let matrix = StoredMatrix::new(format, shape, bytes);
        Ok(match (matrix, rotated_heads(config, name)) {
            (Some(matrix), Some(heads)) => {
                let width = shape[0] / heads;
                Some(matrix.with_rows(|row| row / width * width + paired(row % width, width)))
            }
            (matrix, _) => matrix,
        })
    }

    /// What the file calls a weight, which must have this shape.
    fn of_shape(&self, name: &str, shape: &[usize]) -> Result<(String, &header::Entry)> {
        let weight = |problem: String| Error::Weight { name: name.to_owned(), problem };
        let stored = stored_name(name)
            .ok_or_else(|| weight("has no counterpart in GGUF files".to_owned()))?;
        let entry =
            self.header.tensors.get(&stored).ok_or_else(|| {
                weight(format!("missing: {} has no {stored}", self.path.display()))
            })?;
        if entry.shape == shape {
            return Ok((stored, entry));
        }
        Err(weight(format!(
            "expected shape {shape:?}, {stored} in {} has {:?}",
            self.path.display(),
            entry.shape
        )))
    }

    /// Names of all weights: Hugging Face names, and the file's own where there is none. What the
    /// configuration is read from is not among them.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.header.tensors.keys().filter(|name| *name != rope::FREQUENCIES);
        names.map(|name| hugging_face_name(name).unwrap_or_else(|| name.clone())).collect()
    }

    /// All numbers of one of [`Self::names`], in the order of the file.
    pub(crate) fn whole(&self, name: &str) -> Result<Tensor> {
        self.dequantise(&self.own_name(name).unwrap_or_else(|| name.to_owned()))
    }

    /// What the file calls one of [`Self::names`], where it is another name.
    pub(crate) fn own_name(&self, name: &str) -> Option<String> {
        stored_name(name).filter(|own| self.header.tensors.contains_key(own))
    }

    /// Outermost dimension first, of one of [`Self::names`].
    pub(crate) fn shape(&self, name: &str) -> Result<&[usize]> {
        let own = self.own_name(name);
        Ok(&self.entry(own.as_deref().unwrap_or(name))?.shape)
    }

    /// How the numbers of one of [`Self::names`] are stored.
    pub(crate) fn kind(&self, name: &str) -> Result<GgmlDType> {
        let own = self.own_name(name);
        Ok(self.entry(own.as_deref().unwrap_or(name))?.kind)
    }

    fn entry(&self, stored: &str) -> Result<&header::Entry> {
        let missing = || self.problem(format!("has no tensor {stored}"));
        self.header.tensors.get(stored).ok_or_else(missing)
    }

    fn dequantise(&self, stored: &str) -> Result<Tensor> {
        let entry = self.entry(stored)?;
        let io = |source| Error::Io { path: self.path.clone(), source };
        let mut file = file::open(&self.path).map_err(io)?;
        let info = TensorInfo {
            ggml_dtype: entry.kind,
            shape: entry.shape.as_slice().into(),
            offset: entry.start,
        };
        info.read(&mut file, 0, &Device::Cpu)
            .and_then(|quantised| quantised.dequantize(&Device::Cpu))
            .map_err(|e| self.problem(format!("tensor {stored}: {e}")))
    }

    fn metadata(&self, key: &str) -> Option<&Value> {
        self.header.metadata.get(key)
    }

    /// A key of the architecture's own.
    fn key(&self, key: &str) -> Option<&Value> {
        let architecture = self.string("general.architecture")?;
        self.metadata(&format!("{architecture}.{key}"))
    }

    /// A key of the architecture's own that is one whole number, if it is there.
    fn size(&self, key: &str) -> Result<Option<usize>> {
        let problem = |value| self.problem(format!("{key} is {value:?}, expected one size"));
        let size = |value: &Value| match value {
            Value::Int(number) => usize::try_from(*number).map_err(|_| problem(value.clone())),
            _ => Err(problem(value.clone())),
        };
        self.key(key).map(size).transpose()
    }

    fn size_of(&self, key: &str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| self.problem(format!("metadata has no {key}")))
    }

    /// A key of the architecture's own that is a number, if it is there.
    fn number(&self, key: &str) -> Result<Option<f64>> {
        let number = |value: &Value| match value {
            Value::Int(number) => Ok(*number as f64),
            Value::Float(number) => Ok(*number),
            _ => Err(self.problem(format!("{key} is {value:?}, expected a number"))),
        };
        self.key(key).map(number).transpose()
    }

    fn string(&self, key: &str) -> Option<&str> {
        match self.metadata(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    fn int(&self, key: &str) -> Option<i64> {
        match self.metadata(key) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    fn flag(&self, key: &str) -> Option<bool> {
        match self.metadata(key) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    fn problem(&self, problem: impl Into<String>) -> Error {
        Error::File { path: self.path.clone(), problem: problem.into() }
    }
}

/// Modules by their names in Hugging Face's layout and in the file.
const OUTER: [(&str, &str); 3] =
    [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];
/// Modules of a layer, likewise.
const INNER: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The name in the file of the weight that Hugging Face calls `name`.
fn stored_name(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    if let Some((_, outer)) = OUTER.iter().find(|(outer, _)| *outer == module) {
        return Some(format!("{outer}.{kind}"));
    }
    let (layer, module) = module.strip_prefix("model.layers.")?.split_once('.')?;
    let (_, inner) = INNER.iter().find(|(inner, _)| *inner == module)?;
    Some(format!("blk.{layer}.{inner}.{kind}"))
}

/// The name that Hugging Face has for the weight `name` of a file.
fn hugging_face_name(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    if let Some((outer, _)) = OUTER.iter().find(|(_, outer)| *outer == module) {
        return Some(format!("{outer}.{kind}"));
    }
    let (layer, module) = module.strip_prefix("blk.")?.split_once('.')?;
    let (inner, _) = INNER.iter().find(|(_, inner)| *inner == module)?;
    Some(format!("model.layers.{layer}.{inner}.{kind}"))
}

/// Heads of a weight or a bias whose rows llama.cpp has in another order.
pub(crate) fn rotated_heads(config: &ModelConfig, name: &str) -> Option<usize> {
    match (config.family, name.rsplit('.').nth(1)) {
        (Family::Llama, Some("q_proj")) => Some(config.num_heads),
        (Family::Llama, Some("k_proj")) => Some(config.num_kv_heads),
        _ => None,
    }
}

/// Which row of a head of `width` rows in the layout of llama.cpp is row `row` of the same head in
/// that of Hugging Face. [`rotate_half_layout`] does the same to numbers.
fn paired(row: usize, width: usize) -> usize {
    let half = width / 2;
    2 * (row % half) + row / half
}

/// Rows of queries or keys from pairs side by side, which llama.cpp rotates, back to halves.
///
/// Shapes: `weight` and the result (heads * head width, width), or (heads * head width) of a bias.
///
/// Source: `LlamaModel.permute` in llama.cpp's `convert_hf_to_gguf.py`, undone.
fn rotate_half_layout(weight: &Tensor, heads: usize) -> Result<Tensor> {
    let rows = weight.dim(0)?;
    let (half, width) = (rows / heads / 2, weight.elem_count() / rows);
    let halves = weight.reshape((heads, half, 2, width))?.transpose(1, 2)?.contiguous()?;
    Ok(halves.reshape(weight.dims())?)
}

//! GGUF files: configuration, tokenizer and dequantised weights under Hugging Face names.
//!
//! `gguf/header.rs` reads the file's head, `gguf/tokenizer.rs` builds the tokenizer.

mod header;
mod pre_tokenizer;
mod rope;
mod tokenizer;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use candle::quantized::gguf_file::TensorInfo;
use candle::{DType, Device, Tensor};

use crate::{Biases, Error, Family, ModelConfig, Result};
use header::{Header, Value};

/// An open GGUF file; its tensors are read when they are asked for.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    header: Header,
}

impl Gguf {
    /// Reads the file's head and makes sure that all tensors lie within the file.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, is no GGUF, is cut short, or has a tensor of a type that
    /// cannot be dequantised.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), header: Header::read(path)? })
    }

    /// The model's configuration.
    ///
    /// # Errors
    ///
    /// Fails on an unknown architecture, a missing size, and settings that the model code does not
    /// implement.
    pub fn config(&self) -> Result<ModelConfig> {
        let name = self.string("general.architecture").unwrap_or("(not given)");
        let family = Family::from_name(name)?;
        self.refuse_unsupported()?;
        let hidden_size = self.size_of("embedding_length")?;
        let num_heads = self.size_of("attention.head_count")?;
        let embedding = self.header.tensors.get("token_embd.weight");
        let head_dim = match self.key("attention.key_length").and_then(as_size) {
            Some(width) => width,
            None => hidden_size.checked_div(num_heads).unwrap_or(0),
        };
        let rope_theta = self.key("rope.freq_base").and_then(as_number).unwrap_or(10_000.0);
        let config = ModelConfig {
            family,
            vocab_size: embedding
                .and_then(|entry| entry.shape.first().copied())
                .ok_or_else(|| self.problem("has no token_embd.weight"))?,
            hidden_size,
            intermediate_size: self.size_of("feed_forward_length")?,
            num_layers: self.size_of("block_count")?,
            num_heads,
            num_kv_heads: match self.key("attention.head_count_kv") {
                Some(_) => self.size_of("attention.head_count_kv")?,
                None => num_heads,
            },
            head_dim,
            context: self.size_of("context_length")?,
            rope_theta,
            rope_scaling: self.rope_scaling(head_dim, rope_theta)?,
            rms_norm_eps: self
                .key("attention.layer_norm_rms_epsilon")
                .and_then(as_number)
                .ok_or_else(|| self.problem("has no attention.layer_norm_rms_epsilon"))?,
            tie_embeddings: !self.header.tensors.contains_key("output.weight"),
            biases: if family == Family::Qwen2 { Biases::QKV } else { Biases::NONE },
            qk_norm: family == Family::Qwen3,
        };
        config.validate()?;
        Ok(config)
    }

    fn refuse_unsupported(&self) -> Result<()> {
        if self.key("expert_count").and_then(as_size).is_some_and(|experts| experts > 0) {
            return Err(self.problem("is a mixture of experts, only dense models are supported"));
        }
        if self.key("attention.sliding_window").and_then(as_size).is_some_and(|rows| rows > 0) {
            return Err(self.problem("has a sliding window, only full attention is supported"));
        }
        if self.int("split.count").is_some_and(|parts| parts > 1) {
            return Err(
                self.problem("is one part of several; join them with llama-gguf-split first")
            );
        }
        for key in ["attention.value_length", "rope.dimension_count"] {
            let heads = self.key("attention.head_count").and_then(as_size);
            let width = self.key("embedding_length").and_then(as_size);
            let key_length = self.key("attention.key_length").and_then(as_size);
            let expected = key_length.or_else(|| width?.checked_div(heads?));
            if let Some(found) = self.key(key).and_then(as_size)
                && Some(found) != expected
            {
                return Err(self.problem(format!(
                    "{key} is {found}, but a head is {} wide: only whole heads are rotated, and \
                     values are as wide as keys",
                    expected.unwrap_or(0)
                )));
            }
        }
        Ok(())
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
        let weight = |problem: String| Error::Weight { name: name.to_owned(), problem };
        let stored = stored_name(name)
            .ok_or_else(|| weight("has no counterpart in GGUF files".to_owned()))?;
        let entry =
            self.header.tensors.get(&stored).ok_or_else(|| {
                weight(format!("missing: {} has no {stored}", self.path.display()))
            })?;
        if entry.shape != shape {
            return Err(weight(format!(
                "expected shape {shape:?}, {stored} in {} has {:?}",
                self.path.display(),
                entry.shape
            )));
        }
        let tensor = self.dequantise(&stored)?;
        let heads = match (config.family, name.rsplit('.').nth(1)) {
            (Family::Llama, Some("q_proj")) => Some(config.num_heads),
            (Family::Llama, Some("k_proj")) => Some(config.num_kv_heads),
            _ => None,
        };
        let tensor = match heads {
            Some(heads) => rotate_half_layout(&tensor, heads)?,
            None => tensor,
        };
        Ok(tensor.to_dtype(dtype)?.to_device(device)?)
    }

    /// Tensors of the file other than the weights with the Hugging Face names `read`, by their names
    /// in the file.
    pub fn unused<'a>(&self, read: impl IntoIterator<Item = &'a str>) -> Vec<&str> {
        let read: BTreeSet<_> = read.into_iter().filter_map(stored_name).collect();
        let names = self.header.tensors.keys().map(String::as_str);
        names.filter(|&name| !read.contains(name) && name != rope::FREQUENCIES).collect()
    }

    fn dequantise(&self, stored: &str) -> Result<Tensor> {
        let entry = self
            .header
            .tensors
            .get(stored)
            .ok_or_else(|| self.problem(format!("has no tensor {stored}")))?;
        let io = |source| Error::Io { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(io)?;
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

    fn size_of(&self, key: &str) -> Result<usize> {
        match self.key(key) {
            None => Err(self.problem(format!("metadata has no {key}"))),
            Some(value) => as_size(value)
                .ok_or_else(|| self.problem(format!("{key} is {value:?}, expected one size"))),
        }
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

fn as_size(value: &Value) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// The name in the file of the weight that Hugging Face calls `name`.
fn stored_name(name: &str) -> Option<String> {
    let outer = match name {
        "model.embed_tokens.weight" => Some("token_embd.weight"),
        "model.norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(outer) = outer {
        return Some(outer.to_owned());
    }
    let (layer, inner) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (inner, kind) = inner.rsplit_once('.')?;
    let stored = match inner {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "self_attn.o_proj" => "attn_output",
        "post_attention_layernorm" => "ffn_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{stored}.{kind}"))
}

/// Rows of queries or keys from pairs side by side, which llama.cpp rotates, back to halves.
///
/// Shapes: `weight` and the result (heads * head width, width).
///
/// Source: `LlamaModel.permute` in llama.cpp's `convert_hf_to_gguf.py`, undone.
fn rotate_half_layout(weight: &Tensor, heads: usize) -> Result<Tensor> {
    let (rows, width) = weight.dims2()?;
    let half = rows / heads / 2;
    let halves = weight.reshape((heads, half, 2, width))?.transpose(1, 2)?.contiguous()?;
    Ok(halves.reshape((rows, width))?)
}

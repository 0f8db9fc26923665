//! Checkpoints: a folder in Hugging Face layout or a GGUF file in, a folder out.
//!
//! `checkpoint/shards.rs` reads tensors one at a time, `checkpoint/staged.rs` writes so that nothing
//! half-written ever has a name that counts.

mod shards;
mod staged;

use std::collections::BTreeSet;
use std::path::Path;

use candle::{DType, Device, Tensor};
use serde_json::Value;

use crate::gguf::Gguf;
use crate::text::pretty;
use crate::{Error, Model, ModelConfig, Result, Text};
use shards::Shards;
#[cfg(feature = "hub")]
pub(crate) use shards::shard_names;
use staged::Staged;

/// An open checkpoint; its tensors are read when they are asked for.
#[derive(Debug)]
pub struct Checkpoint {
    /// Sizes and switches.
    pub config: ModelConfig,
    /// Tokenizer, chat template and end-of-turn tokens.
    pub text: Text,
    /// What a user should know about how the files were read, one line each: what was left out, what
    /// goes another way than a file says.
    pub notes: Vec<String>,
    weights: Stored,
    read: BTreeSet<String>,
}

#[derive(Debug)]
enum Stored {
    Folder(Shards),
    Gguf(Gguf),
}

impl Checkpoint {
    /// Opens a folder in Hugging Face layout or a GGUF file.
    ///
    /// # Errors
    ///
    /// Fails when a file is missing, damaged or cut short, when the architecture is unknown, and
    /// when the tokenizer does not fit the vocabulary.
    pub fn open(path: &Path) -> Result<Self> {
        let (config, text, weights) = if path.is_dir() {
            let (config, json) = read_config(path)?;
            (config, Text::from_folder(path, &json)?, Stored::Folder(Shards::open(path)?))
        } else {
            let gguf = Gguf::open(path)?;
            (gguf.config()?, gguf.text()?, Stored::Gguf(gguf))
        };
        let mut notes = text.notes().to_vec();
        notes.extend(text.check_vocabulary(config.vocab_size)?);
        Ok(Self { config, text, notes, weights, read: BTreeSet::new() })
    }

    /// The model and the text.
    ///
    /// # Errors
    ///
    /// Fails when a weight is missing, left over, of another shape or not finite.
    pub fn load(mut self, device: &Device, dtype: DType) -> Result<(Model, Text)> {
        let config = self.config.clone();
        let mut get = |name: &str, shape: &[usize]| self.get(name, shape, dtype, device);
        let model = Model::new(config, &mut get, dtype, device)?;
        self.check_all_read()?;
        Ok((model, self.text))
    }

    /// One weight by its Hugging Face name.
    ///
    /// # Errors
    ///
    /// Fails when the weight is missing or has another shape.
    pub fn get(
        &mut self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        self.read.insert(name.to_owned());
        match &self.weights {
            Stored::Folder(shards) => shards.get(name, shape, dtype, device),
            Stored::Gguf(gguf) => gguf.get(name, shape, &self.config, dtype, device),
        }
    }

    /// Makes sure that every weight of the file was asked for: one left over means that the model
    /// computes something else than the file was made for.
    ///
    /// # Errors
    ///
    /// Names the weights left over.
    pub fn check_all_read(&self) -> Result<()> {
        let read = self.read.iter().map(String::as_str);
        let unused = match &self.weights {
            Stored::Folder(shards) => shards.unused(&self.config, &self.read),
            Stored::Gguf(gguf) => gguf.unused(read),
        };
        let Some(first) = unused.first() else {
            return Ok(());
        };
        Err(Error::Weight {
            name: (*first).to_owned(),
            problem: format!(
                "is in the checkpoint, but {} as configured has no such weight ({} in all)\n\
                 the configuration and the weights are of different models",
                self.config.family,
                unused.len()
            ),
        })
    }
}

/// Loads a model and its text from a folder in Hugging Face layout or a GGUF file; the notes of
/// [`Checkpoint::notes`] are left out.
///
/// # Errors
///
/// As [`Checkpoint::open`] and [`Checkpoint::load`].
pub fn load(path: &Path, device: &Device, dtype: DType) -> Result<(Model, Text)> {
    Checkpoint::open(path)?.load(device, dtype)
}

/// Saves a checkpoint in Hugging Face layout, which `transformers` opens and [`load`] reads back
/// equal.
///
/// Every file is written under a name that does not count and renamed once all are complete,
/// `config.json` last.
///
/// # Errors
///
/// Fails when a file cannot be written; then nothing is left behind.
pub fn save(model: &Model, text: &Text, folder: &Path) -> Result<()> {
    let mut staged = Staged::new(folder)?;
    let tensors = model.parameters().iter().map(|p| (p.name.as_str(), p.var.as_detached_tensor()));
    staged.tensors("model.safetensors", &tensors.collect::<Vec<_>>())?;
    for (name, contents) in text.to_files()? {
        staged.file(name, contents.as_bytes())?;
    }
    let mut config = model.config().to_json();
    config["dtype"] = torch_dtype(model.dtype()).into();
    config["eos_token_id"] = text.stop_ids_json();
    if let Some(bos) = text.generation().get("bos_token_id") {
        config["bos_token_id"] = bos.clone();
    }
    staged.file("config.json", pretty(&config).as_bytes())?;
    staged.commit()
}

/// The name that `transformers` has for a type.
fn torch_dtype(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 => "bfloat16",
        DType::F16 => "float16",
        DType::F64 => "float64",
        _ => "float32",
    }
}

fn read_config(folder: &Path) -> Result<(ModelConfig, Value)> {
    let path = folder.join("config.json");
    let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::File {
            path: folder.to_owned(),
            problem: "has no config.json, so it is no checkpoint in Hugging Face layout".into(),
        },
        _ => Error::Io { path: path.clone(), source },
    })?;
    let file = |problem| Error::File { path: path.clone(), problem };
    let json: Value =
        serde_json::from_slice(&bytes).map_err(|e| file(format!("not a JSON object: {e}")))?;
    let config = ModelConfig::from_json(&json).map_err(|e| match e {
        Error::Config(problem) => file(problem),
        other => other,
    })?;
    Ok((config, json))
}

//! Checkpoints: a folder in Hugging Face layout or a GGUF file in, a folder out.
//!
//! `checkpoint/shards.rs` reads tensors one at a time, `checkpoint/reconcile.rs` compares what is
//! stored with what the configuration asks for, `checkpoint/place.rs` tells what a path is instead
//! of a checkpoint, `checkpoint/size.rs` how large its weights are, `checkpoint/staged.rs` writes
//! so that nothing half-written ever has a name that counts.

mod place;
mod reconcile;
pub(crate) mod shards;
pub(crate) mod size;
pub(crate) mod staged;
mod stored;

use std::collections::BTreeSet;
use std::path::Path;

use candle::{DType, Device, Tensor};
use serde_json::{Map, Value};

use crate::gguf::Gguf;
use crate::text::pretty;
use crate::weights::StoredMatrix;
use crate::{Error, Model, ModelConfig, Result, Text, file};
pub(crate) use place::not_gguf;
use reconcile::{Decided, reconcile};
use shards::Shards;
#[cfg(feature = "hub")]
pub(crate) use shards::shard_names;
use staged::Staged;
use stored::Stored;

/// The file of the weights in a folder that is written.
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// An open checkpoint; its tensors are read when they are asked for.
#[derive(Debug)]
pub struct Checkpoint {
    /// Sizes and switches.
    pub config: ModelConfig,
    /// Tokenizer, chat template and end-of-turn tokens.
    pub text: Text,
    /// What a user should know about how the files were read, one line each: what was left out,
    /// what goes another way than a file says.
    pub notes: Vec<String>,
    weights: Stored,
    /// Weights that are not stored and begin at zero.
    zeros: BTreeSet<String>,
    /// What `config.json` says; empty for a GGUF file.
    keys: Map<String, Value>,
}

impl Checkpoint {
    /// Opens a folder in Hugging Face layout or a GGUF file.
    ///
    /// Where the stored weights and the configuration differ, the weights go first, as in
    /// transformers: an output head with other values than the embedding unties the model. A stored
    /// weight is left out only if it is proved to say nothing, or if it belongs to another task.
    ///
    /// # Errors
    ///
    /// Fails when a file is missing, damaged or cut short, when the architecture is unknown, when a
    /// weight is left over, and when the tokenizer does not fit the vocabulary.
    pub fn open(path: &Path) -> Result<Self> {
        let (mut config, mut notes, keys, text, mut weights) = if path.is_dir() {
            let (config, notes, keys) = read_config(path)?;
            let text = Text::from_folder(path, &Value::Object(keys.clone()))?;
            (config, notes, keys, text, Stored::Folder(Shards::open(path)?))
        } else {
            if let Some(problem) = not_gguf(path) {
                return Err(problem);
            }
            let gguf = Gguf::open(path)?;
            if gguf.is_adapter() {
                let problem = place::an_adapter(None);
                return Err(Error::File { path: path.to_owned(), problem });
            }
            (gguf.config()?, Vec::new(), Map::new(), gguf.text()?, Stored::Gguf(gguf))
        };
        notes.extend_from_slice(text.notes());
        notes.extend(text.check_vocabulary(config.vocab_size)?);
        let Decided { notes: decided, zeros } = reconcile(&mut config, &mut weights)?;
        notes.extend(decided);
        Ok(Self { config, text, notes, weights, zeros, keys })
    }

    /// The model and the text.
    ///
    /// # Errors
    ///
    /// Fails when a weight is missing, of another shape or not finite.
    pub fn load(self, device: &Device, dtype: DType) -> Result<(Model, Text)> {
        let mut get = |name: &str, shape: &[usize]| self.get(name, shape, dtype, device);
        let model = Model::new(self.config.clone(), &mut get, dtype, device)?;
        Ok((model.with_config_keys(self.keys), self.text))
    }

    /// The model with matrices as the files have them, and the text. A row that is not in f32 is
    /// decoded when it is needed. The model is frozen ([`Model::of_values`]) unless all is in f32.
    /// On another device than a CPU this is [`Self::load`].
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn load_as_stored(self, device: &Device, dtype: DType) -> Result<(Model, Text)> {
        if !device.is_cpu() {
            return self.load(device, dtype);
        }
        let mut get = |name: &str, shape: &[usize]| self.get_as_stored(name, shape, dtype, device);
        let model = Model::of_values(self.config.clone(), &mut get, dtype, device)?;
        Ok((model.with_config_keys(self.keys), self.text))
    }

    /// A matrix in the format of its file; `None` where that is f32, or where the weight is a
    /// vector or not stored.
    fn stored_matrix(&self, name: &str, shape: &[usize]) -> Result<Option<StoredMatrix>> {
        match *shape {
            [rows, width] if !self.zeros.contains(name) => {
                self.weights.matrix(name, [rows, width], &self.config)
            }
            _ => Ok(None),
        }
    }

    /// One weight by its Hugging Face name.
    ///
    /// # Errors
    ///
    /// Fails when the weight is missing or has another shape.
    pub fn get(
        &self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if self.zeros.contains(name) {
            return Ok(Tensor::zeros(shape, dtype, device)?);
        }
        self.weights.get(name, shape, &self.config, dtype, device)
    }

    /// [`Self::get`], but a matrix in another format than f32 as the file has it.
    ///
    /// # Errors
    ///
    /// As [`Self::get`].
    pub fn get_as_stored(
        &self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<crate::Value> {
        match self.stored_matrix(name, shape)? {
            Some(matrix) => Ok(matrix.into()),
            None => Ok(self.get(name, shape, dtype, device)?.into()),
        }
    }

    /// The file, where it is a GGUF file.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.weights {
            Stored::Folder(_) => None,
            Stored::Gguf(gguf) => Some(gguf),
        }
    }

    /// What `config.json` says; empty for a GGUF file.
    pub(crate) fn config_keys(&self) -> &Map<String, Value> {
        &self.keys
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
/// Fails when a file cannot be written; then nothing is left behind. Fails when the model has an
/// adapter, which is saved by itself ([`crate::Adapter::save`]), and when its matrices are in the
/// format of a file.
pub fn save(model: &Model, text: &Text, folder: &Path) -> Result<()> {
    if model.adapter().is_some() {
        return Err(Error::Input(
            "the model has an adapter, which a folder in Hugging Face layout cannot hold: save the \
             adapter"
                .into(),
        ));
    }
    if model.is_stored() {
        return Err(Error::Input(
            "the model's matrices are in the format of the file that they were read from: load it as \
             f32 to save it"
                .into(),
        ));
    }
    let mut staged = Staged::new(folder)?;
    let tensors = model.parameters().iter().map(|p| (p.name.clone(), p.tensor.clone()));
    staged.whole_tensors(WEIGHTS, &tensors.collect::<Vec<_>>())?;
    save_settings(&mut staged, model.config(), model.config_keys(), model.dtype(), text)?;
    staged.commit()
}

/// Writes the files of a folder besides the weights, which are of type `dtype`; `keys` are those of
/// the `config.json` that the model was read with, or none. `config.json` comes last.
pub(crate) fn save_settings(
    staged: &mut Staged,
    config: &ModelConfig,
    keys: &Map<String, Value>,
    dtype: DType,
    text: &Text,
) -> Result<()> {
    for (name, contents) in text.to_files()? {
        staged.file(name, contents.as_bytes())?;
    }
    let config = Value::Object(saved_config(config, keys, dtype, text));
    staged.file("config.json", pretty(&config).as_bytes())
}

/// The `config.json` of a model: what it was read with, less what does not hold any more.
fn saved_config(
    config: &ModelConfig,
    keys: &Map<String, Value>,
    dtype: DType,
    text: &Text,
) -> Map<String, Value> {
    let mut keys = config.to_json_over(keys);
    let dtype = torch_dtype(dtype);
    match keys.get_mut("torch_dtype") {
        Some(old) => *old = dtype.into(),
        None => drop(keys.insert("dtype".into(), dtype.into())),
    }
    if let Some(new) = keys.get_mut("dtype") {
        *new = dtype.into();
    }
    // Ids that the text does not stop at are of another text.
    let stops = |id: &Value| id.as_u64().is_some_and(|id| text.stops_at(id));
    let known = match keys.get("eos_token_id") {
        Some(Value::Array(ids)) => ids.iter().all(stops),
        Some(id) => stops(id),
        None => false,
    };
    if !known {
        keys.insert("eos_token_id".into(), text.stop_ids_json());
    }
    for name in ["bos_token_id", "pad_token_id"] {
        if let (None, Some(id)) = (keys.get(name), text.generation().get(name)) {
            keys.insert(name.into(), id.clone());
        }
    }
    keys
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

fn read_config(folder: &Path) -> Result<(ModelConfig, Vec<String>, Map<String, Value>)> {
    let path = folder.join("config.json");
    let bytes = file::read(&path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => place::no_config(folder),
        _ => Error::Io { path: path.clone(), source },
    })?;
    let file = |problem| Error::File { path: path.clone(), problem };
    let keys: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|e| file(format!("not a JSON object: {e}")))?;
    let (config, mut notes) = ModelConfig::read(&keys).map_err(|e| match e {
        Error::Config(problem) => file(problem),
        other => other,
    })?;
    if folder.join("adapter_config.json").is_file() {
        notes.push("the adapter beside the weights (adapter_config.json) is not applied".into());
    }
    Ok((config, notes, keys))
}

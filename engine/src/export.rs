//! Models for other programs: with an adapter merged in, in another type, as a folder in Hugging
//! Face layout or as a GGUF file.
//!
//! One weight is held at a time, so that a checkpoint of any size can be written. `export/merge.rs`
//! adds an adapter; `gguf/save.rs` says what a GGUF file holds.

mod merge;

use std::collections::BTreeMap;
use std::path::Path;

use candle::{DType, Device, Tensor};
use serde_json::{Map, Value};

use crate::checkpoint::staged::{Out, Staged};
use crate::checkpoint::{WEIGHTS, save_settings};
use crate::gguf::{Gguf, rotated_heads, save, write};
use crate::weight_type::WeightType;
use crate::weights::{Lora, Spec, Weights};
use crate::{Adapter, Checkpoint, Error, Model, ModelConfig, Result, Text};

/// Values that are encoded at a time.
const AT_A_TIME: usize = 1 << 20;

/// A model that is to be written.
#[derive(Debug)]
pub struct Export<'a> {
    source: Source<'a>,
    text: &'a Text,
    /// What is added to which weight.
    added: BTreeMap<&'a str, &'a Lora<Tensor>>,
    /// The file whose metadata are copied.
    metadata: Option<&'a Gguf>,
}

/// Where the weights of the base are.
#[derive(Debug)]
enum Source<'a> {
    Checkpoint(&'a Checkpoint),
    Model(&'a Model),
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Number of weights.
    pub weights: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// What the format could not say, one line each.
    pub notes: Vec<String>,
}

impl<'a> Export<'a> {
    /// A checkpoint as it is on disk. A GGUF file gives its metadata to a GGUF file.
    pub fn of(checkpoint: &'a Checkpoint) -> Self {
        let source = Source::Checkpoint(checkpoint);
        let metadata = checkpoint.gguf();
        Self { source, text: &checkpoint.text, added: BTreeMap::new(), metadata }
    }

    /// The base of a model.
    pub fn of_model(model: &'a Model, text: &'a Text) -> Self {
        Self { source: Source::Model(model), text, added: BTreeMap::new(), metadata: None }
    }

    /// The same with an adapter added to the weights: `W + s B A`.
    ///
    /// # Errors
    ///
    /// Fails when the adapter was made for another base.
    pub fn merged(self, adapter: &'a Adapter) -> Result<Self> {
        adapter.fits(&Weights::of(self.config()))?;
        Ok(Self { added: merge::by_weight(adapter), ..self })
    }

    /// The same, whose GGUF file gets the metadata of `gguf` where they are those of this model
    /// ([`Gguf::describes`]).
    ///
    /// # Errors
    ///
    /// Fails when the metadata cannot be read.
    pub fn like(self, gguf: &'a Gguf) -> Result<Self> {
        let describes = gguf.describes(self.config(), self.text)?;
        Ok(Self { metadata: describes.then_some(gguf).or(self.metadata), ..self })
    }

    /// Whether its GGUF file gets the metadata of another.
    pub fn copies_metadata(&self) -> bool {
        self.metadata.is_some()
    }

    /// Writes a folder in Hugging Face layout. Every file has another name until all are complete.
    ///
    /// # Errors
    ///
    /// Fails when the type is one of blocks, when a weight cannot be read, is not finite or does
    /// not fit the type, and when a file cannot be written; then nothing is left behind.
    pub fn save(&self, folder: &Path, kind: WeightType) -> Result<Written> {
        let dtype = kind.dtype().ok_or_else(|| {
            Error::Input(format!(
                "a folder in Hugging Face layout does not hold {kind}: write f32, f16 or bf16, or \
                 a GGUF file"
            ))
        })?;
        let specs = Weights::of(self.config()).into_values();
        let declared: Vec<_> =
            specs.iter().map(|spec| (spec.name.clone(), spec.shape.clone(), dtype)).collect();
        let mut staged = Staged::new(folder)?;
        staged.tensors(WEIGHTS, &declared, |out, index| {
            encode(out, &specs[index].name, &self.weight(&specs[index])?, kind)
        })?;
        save_settings(&mut staged, self.config(), self.config_keys(), dtype, self.text)?;
        let bytes = staged.bytes()?;
        staged.commit()?;
        Ok(Written { weights: count(&specs), bytes, notes: Vec::new() })
    }

    /// Writes a GGUF file that llama.cpp loads. `name` is what it says that it is called, where no
    /// metadata are copied. The file has another name until it is complete.
    ///
    /// Tensors with one dimension and norms are f32 in every type. Of `Q8_0`, matrices whose width
    /// is no multiple of 32 are f16.
    ///
    /// # Errors
    ///
    /// Fails when GGUF metadata cannot hold the tokenizer, when a weight cannot be read, is not
    /// finite or does not fit the type, and when the file cannot be written; then nothing is left
    /// behind.
    pub fn save_gguf(&self, path: &Path, kind: WeightType, name: &str) -> Result<Written> {
        let config = self.config();
        let (fields, notes) = match self.metadata {
            Some(gguf) => gguf.fields(kind, self.text)?,
            None => save::fields(config, self.text, name, kind)?,
        };
        let alignment = self.metadata.map_or(write::ALIGNMENT, Gguf::alignment);
        let specs = Weights::of(config).into_values();
        let mut declared: Vec<_> = specs.iter().map(|spec| save::declared(spec, kind)).collect();
        let frequencies = match self.metadata {
            Some(gguf) => gguf.frequencies()?,
            None => save::frequencies(config),
        };
        declared.extend(frequencies.as_ref().map(|(declared, _)| declared.clone()));
        let bytes = write::write(path, &fields, alignment, &declared, |out, index| {
            let Some(spec) = specs.get(index) else {
                let (_, values) = frequencies.as_ref().expect("what follows the weights");
                return chunk(out, &declared[index].name, values, WeightType::F32);
            };
            let weight = self.weight(spec)?;
            let weight = match rotated_heads(config, &spec.name) {
                Some(heads) => write::pair_layout(&weight, heads)?,
                None => weight,
            };
            encode(out, &declared[index].name, &weight, declared[index].kind)
        })?;
        Ok(Written { weights: count(&specs), bytes, notes })
    }

    fn config(&self) -> &'a ModelConfig {
        match self.source {
            Source::Checkpoint(checkpoint) => &checkpoint.config,
            Source::Model(model) => model.config(),
        }
    }

    fn config_keys(&self) -> &'a Map<String, Value> {
        match self.source {
            Source::Checkpoint(checkpoint) => checkpoint.config_keys(),
            Source::Model(model) => model.config_keys(),
        }
    }

    /// A weight with what is added to it, f32 on the CPU.
    fn weight(&self, Spec { name, shape }: &Spec) -> Result<Tensor> {
        let weight = match self.source {
            Source::Checkpoint(checkpoint) => {
                checkpoint.get(name, shape, DType::F32, &Device::Cpu)?
            }
            Source::Model(model) => {
                let own = model.weight(name);
                let own = own.expect("a model has every weight of its configuration");
                let own = own.tensor(DType::F32, &Device::Cpu)?;
                own.to_device(&Device::Cpu)?.to_dtype(DType::F32)?
            }
        };
        match self.added.get(name.as_str()) {
            Some(lora) => merge::merged(&weight, lora),
            None => Ok(weight),
        }
    }
}

fn count(specs: &[Spec]) -> usize {
    specs.iter().map(Spec::elem_count).sum()
}

/// Writes the values of a tensor, some rows at a time.
fn encode(out: &mut Out, name: &str, tensor: &Tensor, kind: WeightType) -> Result<()> {
    let rows = tensor.dim(0)?;
    let at_a_time = (AT_A_TIME / (tensor.elem_count() / rows)).max(1);
    for start in (0..rows).step_by(at_a_time) {
        let part = tensor.narrow(0, start, at_a_time.min(rows - start))?;
        chunk(out, name, &part.flatten_all()?.to_vec1()?, kind)?;
    }
    Ok(())
}

fn chunk(out: &mut Out, name: &str, values: &[f32], kind: WeightType) -> Result<()> {
    let weight = |problem| Error::Weight { name: name.to_owned(), problem };
    out.bytes(&kind.encode(values).map_err(weight)?)
}

//! What a GGUF file of a model holds: its tensors and their types, and its metadata, written from a
//! configuration and a tokenizer or copied from another file.
//!
//! Source: `convert_hf_to_gguf.py` of llama.cpp.

use std::io::{Read as _, Seek as _, SeekFrom};

use super::header::Value;
use super::vocabulary::{no_key_left, vocabulary};
use super::write::{ALIGNMENT, Declared, Field, Fields};
use super::{Gguf, rope, stored_name};
use crate::rope::Rope;
use crate::weight_type::WeightType;
use crate::{Error, ModelConfig, Result, RopeScaling, Spec, Text, file};

/// What ggml's blocks of today are called.
const QUANTIZATION_VERSION: usize = 2;

/// A weight and what a file calls it.
///
/// Tensors with one dimension and norms are always f32; blocks are of whole rows.
pub(crate) fn declared(spec: &Spec, kind: WeightType) -> Declared {
    let name = stored_name(&spec.name).expect("every weight of a model has a name in GGUF files");
    let kind = match *spec.shape {
        [_, width] if !name.ends_with("_norm.weight") => kind.of_width(width),
        _ => WeightType::F32,
    };
    Declared { name, shape: spec.shape.clone(), kind }
}

/// What each frequency is divided by, where a file has to say it by a tensor.
pub(crate) fn frequencies(config: &ModelConfig) -> Option<(Declared, Vec<f32>)> {
    if !matches!(config.rope_scaling, RopeScaling::Llama3 { .. }) {
        return None;
    }
    let plain = ModelConfig { rope_scaling: RopeScaling::None, ..config.clone() };
    let (plain, stretched) = (Rope::new(&plain), Rope::new(config));
    let pairs = plain.inverse_frequencies().iter().zip(stretched.inverse_frequencies());
    Some(divisors(pairs.map(|(plain, stretched)| (plain / stretched) as f32).collect()))
}

fn divisors(values: Vec<f32>) -> (Declared, Vec<f32>) {
    let shape = vec![values.len()];
    (Declared { name: rope::FREQUENCIES.into(), shape, kind: WeightType::F32 }, values)
}

/// The metadata of a model that is called `name`, and what they cannot say, one line each.
///
/// # Errors
///
/// Fails when the format has no name for the tokenizer.
pub(crate) fn fields(
    config: &ModelConfig,
    text: &Text,
    name: &str,
    kind: WeightType,
) -> Result<(Fields, Vec<String>)> {
    let architecture = config.family.model_type();
    let mut fields: Fields = vec![
        ("general.architecture".into(), architecture.into()),
        ("general.type".into(), "model".into()),
        ("general.name".into(), name.into()),
        ("general.file_type".into(), Field::Size(kind.file_type() as usize)),
        ("general.quantization_version".into(), Field::Size(QUANTIZATION_VERSION)),
    ];
    let mut own = |key: &str, field: Field| fields.push((format!("{architecture}.{key}"), field));
    for (key, size) in [
        ("vocab_size", config.vocab_size),
        ("context_length", config.context),
        ("embedding_length", config.hidden_size),
        ("block_count", config.num_layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_heads),
        ("attention.head_count_kv", config.num_kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.head_dim),
    ] {
        own(key, Field::Size(size));
    }
    own("attention.layer_norm_rms_epsilon", Field::Float(config.rms_norm_eps));
    own("rope.freq_base", Field::Float(config.rope_theta));
    if let RopeScaling::Linear { factor } = config.rope_scaling {
        own("rope.scaling.type", "linear".into());
        own("rope.scaling.factor", Field::Float(factor));
    }
    let (vocabulary, notes) = vocabulary(text, config.vocab_size)?;
    fields.extend(vocabulary);
    Ok((fields, notes))
}

impl Gguf {
    /// The metadata of this file, for another whose weights are of another type, with the ends of a
    /// turn that `text` has besides; and what they cannot say, one line each.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub(crate) fn fields(&self, kind: WeightType, text: &Text) -> Result<(Fields, Vec<String>)> {
        const KIND: &str = "general.file_type";
        const VERSION: &str = "general.quantization_version";
        let read = || -> std::io::Result<Fields> {
            let mut file = file::open(&self.path)?;
            let mut fields = Vec::new();
            for (key, span) in &self.header.spans {
                let mut bytes = vec![0; (span.end - span.start) as usize];
                file.seek(SeekFrom::Start(span.start))?;
                file.read_exact(&mut bytes)?;
                fields.push((key.clone(), Field::Copied(bytes)));
            }
            Ok(fields)
        };
        let mut fields = read().map_err(|source| Error::Io { path: self.path.clone(), source })?;
        fields.retain(|(key, _)| key != KIND && key != VERSION);
        fields.push((KIND.into(), Field::Size(kind.file_type() as usize)));
        fields.push((VERSION.into(), Field::Size(QUANTIZATION_VERSION)));
        let (ends, notes) = self.further_ends(text)?;
        fields.extend(ends);
        Ok((fields, notes))
    }

    /// The keys of the tokens at which `text` stops and the text of this file does not.
    fn further_ends(&self, text: &Text) -> Result<(Fields, Vec<String>)> {
        let own = self.text()?;
        let further = text.stop_tokens().iter().filter(|id| !own.stop_tokens().contains(id));
        let keys = ["eot", "eom"].map(|key| format!("tokenizer.ggml.{key}_token_id"));
        let mut keys = keys.into_iter().filter(|key| self.metadata(key).is_none());
        let (mut fields, mut notes) = (Fields::new(), Vec::new());
        for &id in further {
            match keys.next() {
                Some(key) => fields.push((key, Field::Size(id as usize))),
                None => notes.push(no_key_left(text, id)),
            }
        }
        Ok((fields, notes))
    }

    /// Bytes that its tensors begin at a multiple of.
    pub(crate) fn alignment(&self) -> u64 {
        match self.metadata("general.alignment") {
            Some(Value::Int(bytes)) => *bytes as u64,
            _ => ALIGNMENT,
        }
    }

    /// [`frequencies`] as this file has them.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub(crate) fn frequencies(&self) -> Result<Option<(Declared, Vec<f32>)>> {
        if !self.header.tensors.contains_key(rope::FREQUENCIES) {
            return Ok(None);
        }
        let values = self.dequantise(rope::FREQUENCIES)?.flatten_all()?.to_vec1()?;
        Ok(Some(divisors(values)))
    }

    /// Whether its metadata are those of a model with this configuration and this text.
    ///
    /// # Errors
    ///
    /// Fails when the metadata cannot be read as a model's, or a tokenizer not be written.
    pub fn describes(&self, config: &ModelConfig, text: &Text) -> Result<bool> {
        let own = self.text()?;
        let json =
            |text: &Text| text.tokenizer().to_string(false).map_err(|e| Error::Text(e.to_string()));
        let stops = |text: &Text| {
            let mut stops = text.stop_tokens().to_vec();
            stops.sort_unstable();
            stops
        };
        Ok(self.config()? == *config
            && own.template() == text.template()
            && stops(&own) == stops(text)
            && json(&own)? == json(text)?)
    }
}

//! Adapters as llama.cpp has them, in and out.
//!
//! Source: `convert_lora_to_gguf.py` and `llama-adapter.cpp` of llama.cpp.

use std::collections::BTreeMap;
use std::path::Path;

use candle::{DType, Device};

use super::write::{ALIGNMENT, Declared, Field, Fields, pair_layout, write};
use super::{Gguf, Value, hugging_face_name, rotate_half_layout, rotated_heads, stored_name};
use crate::adapter::names::{OTHER_BASE, misfit, targets};
use crate::adapter::{Adapter, AdapterConfig, Scaling};
use crate::weight_type::WeightType;
use crate::{ModelConfig, Result};

/// What a key begins with that says what an adapter computes.
const OF_ADAPTER: &str = "adapter.";
/// The keys among them that are read, or say what the adapter is for and change no number.
const PLAIN: [&str; 4] =
    ["adapter.type", "adapter.lora.alpha", "adapter.lora.task_name", "adapter.lora.prompt_prefix"];
/// Activated `LoRA`, which adds its product only after these tokens: PEFT's
/// `alora_invocation_tokens`.
const INVOCATION: &str = "adapter.alora.invocation_tokens";

/// What a file puts behind the name of the weight that a half is added to.
const HALVES: [(&str, &str); 2] = [("lora_a", "lora_A"), ("lora_b", "lora_B")];

impl Adapter {
    /// Reads an adapter of a model from a file of llama.cpp's.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and when the file is a model, was made for another architecture, or has
    /// a key of an adapter that is not computed here.
    pub(crate) fn open_gguf(
        path: &Path,
        model: &ModelConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        let expect = |key: &str, expected: &str, act: &str| match gguf.string(key) {
            Some(got) if got == expected => Ok(()),
            got => Err(gguf.problem(format!(
                "{key} is {}, expected \"{expected}\": {act}",
                got.map_or("missing".into(), |got| format!("\"{got}\""))
            ))),
        };
        expect("general.type", "adapter", "name an adapter; a model is no part of another")?;
        expect("adapter.type", "lora", "no other kind is computed here")?;
        let family = model.family.model_type();
        expect("general.architecture", family, OTHER_BASE)?;
        check_keys(&gguf)?;
        let stored: BTreeMap<String, String> = gguf
            .header
            .tensors
            .keys()
            .map(|name| (half_name(name).unwrap_or_else(|| name.clone()), name.clone()))
            .collect();
        if stored.len() < gguf.header.tensors.len() {
            return Err(gguf.problem(
                "has a tensor twice, by the names of llama.cpp and of Hugging Face: convert the \
                 adapter again",
            ));
        }
        let targets = targets(&stored, model).map_err(|problem| gguf.problem(problem))?;
        let rank = stored.iter().find(|(name, _)| name.ends_with("lora_A.weight"));
        let rank = rank.and_then(|(_, own)| gguf.header.tensors[own].shape.first().copied());
        let rank = rank.unwrap_or(0);
        let alpha = match gguf.metadata("adapter.lora.alpha") {
            // So llama.cpp reads it: a scale of one.
            None | Some(Value::Float(0.0)) => rank as f64,
            Some(Value::Float(alpha)) => *alpha,
            Some(other) => {
                return Err(
                    gguf.problem(format!("adapter.lora.alpha is {other}, expected a number"))
                );
            }
        };
        let config = AdapterConfig { rank, alpha, scaling: Scaling::Rank, targets };
        let mut get = |name: &str, shape: &[usize]| {
            let own = &stored[name];
            let entry = gguf.entry(own)?;
            if entry.shape != shape {
                return Err(misfit(name, shape, path, &entry.shape));
            }
            let tensor = gguf.dequantise(own)?;
            match rotated(model, name) {
                Some(heads) => rotate_half_layout(&tensor, heads),
                None => Ok(tensor),
            }
        };
        Self::new(config, model, &mut get, dtype, device)
    }

    /// Writes a file that llama.cpp loads, in f32. `name` is what it says that it is called.
    ///
    /// The file is written under another name and renamed once it is complete.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written; then nothing is left behind.
    pub fn save_gguf(&self, path: &Path, model: &ModelConfig, name: &str) -> Result<()> {
        let config = self.config();
        let alpha = config.scale() * config.rank as f64;
        let fields: [(&str, Field); 6] = [
            ("general.architecture", model.family.model_type().into()),
            ("general.type", "adapter".into()),
            ("general.name", name.into()),
            ("adapter.type", "lora".into()),
            // There is no key for another scaling than by the rank.
            ("adapter.lora.alpha", Field::Float(alpha)),
            ("general.quantization_version", Field::Size(2)),
        ];
        let fields: Fields = fields.map(|(key, field)| (key.to_owned(), field)).into();
        let parameters = self.parameters();
        let declared = parameters.iter().map(|(name, tensor)| Declared {
            name: stored_half(name).expect("an adapter's parameters have names in the format"),
            shape: tensor.dims().to_vec(),
            kind: WeightType::F32,
        });
        write(path, &fields, ALIGNMENT, &declared.collect::<Vec<_>>(), |out, index| {
            let (name, tensor) = parameters[index];
            let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
            out.tensor(&match rotated(model, name) {
                Some(heads) => pair_layout(&tensor, heads)?,
                None => tensor,
            })
        })?;
        Ok(())
    }
}

/// Fails on a key of an adapter that changes what it computes, or may do so: it is not known here.
fn check_keys(gguf: &Gguf) -> Result<()> {
    let keys = gguf.header.metadata.iter().filter(|(key, _)| key.starts_with(OF_ADAPTER));
    for (key, value) in keys {
        let is_empty = matches!(value, Value::Numbers(tokens) if tokens.is_empty());
        if key == INVOCATION && !is_empty {
            return Err(gguf.problem(format!(
                "{key} is {value}, so it is activated LoRA, which is not computed here: expected \
                 an adapter of plain LoRA"
            )));
        }
        if key != INVOCATION && !PLAIN.contains(&key.as_str()) {
            return Err(gguf.problem(format!(
                "{key} is {value}, which is not known here and may change what the adapter \
                 computes: expected an adapter of plain LoRA, with no keys but {}",
                PLAIN.join(", ")
            )));
        }
    }
    Ok(())
}

/// The name that a parameter of an adapter has here, by a file's.
fn half_name(stored: &str) -> Option<String> {
    let (weight, half) = stored.rsplit_once('.')?;
    let (_, own) = HALVES.iter().find(|(theirs, _)| *theirs == half)?;
    let module = hugging_face_name(weight)?;
    Some(format!("{}.{own}.weight", module.strip_suffix(".weight")?))
}

/// The other way.
fn stored_half(name: &str) -> Option<String> {
    let (module, half) = name.strip_suffix(".weight")?.rsplit_once('.')?;
    let (theirs, _) = HALVES.iter().find(|(_, own)| *own == half)?;
    Some(format!("{}.{theirs}", stored_name(&format!("{module}.weight"))?))
}

/// Heads of a `B` whose rows llama.cpp has in another order: those of the weight that it adds to.
fn rotated(model: &ModelConfig, name: &str) -> Option<usize> {
    let module = name.strip_suffix(".lora_B.weight")?;
    rotated_heads(model, &format!("{module}.weight"))
}

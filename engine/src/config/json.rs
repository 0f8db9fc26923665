//! `config.json` of a Hugging Face checkpoint.
//!
//! `json/rope.rs` reads the rope settings, `json/window.rs` and `json/neutral.rs` refuse what the
//! block function does not do.

mod keys;
mod neutral;
mod rope;
mod window;

use serde_json::{Map, Value, json};

use super::{Biases, Family, ModelConfig, RopeScaling};
use crate::{Error, Result};
use keys::Keys;

impl ModelConfig {
    /// Reads a `config.json`. Keys that are not known do not change the forward pass and are not
    /// looked at; inside the rope settings they are errors.
    ///
    /// Source: the defaults of `transformers` for keys that are absent.
    ///
    /// # Errors
    ///
    /// Fails on an unknown architecture, a missing size, a setting that the model code does not
    /// implement, and sizes that contradict each other.
    pub fn from_json(json: &Value) -> Result<Self> {
        Self::read(object(json)?).map(|(config, _)| config)
    }

    /// [`Self::from_json`], and what a user should know about how the keys were taken.
    pub(crate) fn read(json: &Map<String, Value>) -> Result<(Self, Vec<String>)> {
        let keys = Keys(json);
        let mut notes = Vec::new();
        let family = family(keys)?;
        let hidden_size = keys.size("hidden_size")?;
        let num_layers = keys.size("num_hidden_layers")?;
        let num_heads = keys.size("num_attention_heads")?;
        let context = keys.size_or("max_position_embeddings", default_context(family))?;
        let (rope_theta, rope_scaling) = rope::read(keys, family, context, &mut notes)?;
        let config = Self {
            family,
            vocab_size: keys.size("vocab_size")?,
            hidden_size,
            intermediate_size: keys.size("intermediate_size")?,
            num_layers,
            num_heads,
            num_kv_heads: keys.size_or("num_key_value_heads", num_heads)?,
            head_dim: head_dim(keys, family, hidden_size, num_heads)?,
            context,
            rope_theta,
            rope_scaling,
            rms_norm_eps: keys.number_or("rms_norm_eps", 1e-6)?,
            tie_embeddings: keys.flag_or("tie_word_embeddings", false)?,
            biases: biases(keys, family)?,
            qk_norm: family == Family::Qwen3,
        };
        config.validate()?;
        window::refuse(keys, family, num_layers, context, &mut notes)?;
        neutral::refuse(keys, &config)?;
        Ok((config, notes))
    }

    /// The keys of `original`, which may be empty, with those changed that describe another model,
    /// so that the result reads back as this one.
    pub(crate) fn to_json_over(&self, original: &Map<String, Value>) -> Map<String, Value> {
        let Value::Object(own) = self.to_json() else { unreachable!("an object is written") };
        let mut merged = original.clone();
        for key in ["architectures", "model_type", "tie_word_embeddings"] {
            merged.insert(key.into(), own[key].clone());
        }
        let same = Self::read(&merged).is_ok_and(|(config, _)| config == *self);
        // transformers opens no tables by layer type for these families.
        if !same || rope::by_layer_type(Keys(&merged)) {
            merged.extend(own);
        }
        merged
    }

    /// The `config.json` that `transformers` reads, with the rope settings in both spellings.
    pub fn to_json(&self) -> Value {
        let scaling = match self.rope_scaling {
            RopeScaling::None => Value::Null,
            RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                json!({
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low_freq_factor,
                    "high_freq_factor": high_freq_factor,
                    "original_max_position_embeddings": original_context,
                })
            }
        };
        let mut parameters = match &scaling {
            Value::Object(map) => map.clone(),
            _ => Map::from_iter([("rope_type".to_owned(), json!("default"))]),
        };
        parameters.insert("rope_theta".into(), json!(self.rope_theta));
        let mut json = json!({
            "architectures": [self.family.architecture()],
            "model_type": self.family.model_type(),
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.context,
            "rope_theta": self.rope_theta,
            "rope_scaling": scaling,
            "rope_parameters": parameters,
            "rms_norm_eps": self.rms_norm_eps,
            "tie_word_embeddings": self.tie_embeddings,
            "attention_dropout": 0.0,
            "use_cache": true,
        });
        match self.family {
            Family::Llama => {
                json["attention_bias"] = json!(self.biases.o);
                json["mlp_bias"] = json!(self.biases.mlp);
            }
            Family::Qwen2 => json["use_sliding_window"] = json!(false),
            Family::Qwen3 => {
                json["attention_bias"] = json!(self.biases.o);
                json["use_sliding_window"] = json!(false);
            }
        }
        json
    }
}

/// The family by `model_type` and the class in `architectures`, which must not contradict it.
fn family(keys: Keys<'_>) -> Result<Family> {
    let class = keys.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    let kind = keys.get("model_type").and_then(Value::as_str);
    let Some(name) = kind.or(class) else {
        return Err(Error::Config(
            "neither model_type nor architectures says which architecture this is".into(),
        ));
    };
    let Some(class) = class else { return Family::from_name(name) };
    // Early conversions of llama wrote its class with other capitals.
    let is_class = |family: &Family| {
        let (causal, base) = (family.architecture(), family.base_class());
        class.eq_ignore_ascii_case(causal) || class == base
    };
    let of_class = Family::ALL.into_iter().find(is_class);
    let family = match kind {
        Some(kind) => Family::from_name(kind)?,
        None => of_class.map_or_else(|| Family::from_name(class), Ok)?,
    };
    match of_class {
        Some(other) if other == family => Ok(family),
        Some(_) => Err(Error::Config(format!(
            "model_type is \"{family}\" and architectures has {class}: correct the one that does not \
             hold"
        ))),
        None => Err(Error::Config(format!(
            "architectures has {class}, expected {} for model_type \"{family}\": other classes have \
             another head or another block",
            family.architecture()
        ))),
    }
}

fn object(json: &Value) -> Result<&Map<String, Value>> {
    json.as_object().ok_or_else(|| Error::Config("expected a JSON object".to_owned()))
}

/// Qwen2 has biases without a key; `mlp_bias` is llama's only.
fn biases(keys: Keys<'_>, family: Family) -> Result<Biases> {
    if family == Family::Qwen2 {
        return Ok(Biases::QKV);
    }
    let attention = keys.flag_or("attention_bias", false)?;
    let mlp = family == Family::Llama && keys.flag_or("mlp_bias", false)?;
    Ok(Biases { mlp, ..if attention { Biases::ATTENTION } else { Biases::NONE } })
}

fn default_context(family: Family) -> usize {
    match family {
        Family::Llama => 2048,
        Family::Qwen2 | Family::Qwen3 => 32768,
    }
}

fn head_dim(keys: Keys<'_>, family: Family, width: usize, heads: usize) -> Result<usize> {
    if keys.get("head_dim").is_some() || family == Family::Qwen3 {
        return keys.size_or("head_dim", 128);
    }
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(Error::Config(format!(
            "hidden_size {width} is not a multiple of num_attention_heads {heads}, and no head_dim \
             is given"
        )));
    }
    Ok(width / heads)
}

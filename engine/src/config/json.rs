//! `config.json` of a Hugging Face checkpoint.

use serde_json::{Map, Value, json};

use super::{Biases, Family, ModelConfig, RopeScaling};
use crate::{Error, Result};

impl ModelConfig {
    /// Reads a `config.json`; keys that do not change the forward pass are not looked at.
    ///
    /// Source: the defaults of `transformers` for keys that are absent; rope settings in the old
    /// spelling (`rope_theta`, `rope_scaling`) and the new (`rope_parameters`).
    ///
    /// # Errors
    ///
    /// Fails on an unknown architecture, a missing size, a setting that the model code does not
    /// implement, and sizes that contradict each other.
    pub fn from_json(json: &Value) -> Result<Self> {
        let keys = Keys(
            json.as_object().ok_or_else(|| Error::Config("expected a JSON object".to_owned()))?,
        );
        let family = family(&keys)?;
        refuse_unsupported(&keys)?;
        let hidden_size = keys.size("hidden_size")?;
        let num_heads = keys.size("num_attention_heads")?;
        let context = keys.size_or("max_position_embeddings", default_context(family))?;
        let (rope_theta, rope_scaling) = rope(&keys)?;
        let config = Self {
            family,
            vocab_size: keys.size("vocab_size")?,
            hidden_size,
            intermediate_size: keys.size("intermediate_size")?,
            num_layers: keys.size("num_hidden_layers")?,
            num_heads,
            num_kv_heads: keys.size_or("num_key_value_heads", num_heads)?,
            head_dim: head_dim(&keys, family, hidden_size, num_heads)?,
            context,
            rope_theta,
            rope_scaling,
            rms_norm_eps: keys.number_or("rms_norm_eps", 1e-6)?,
            tie_embeddings: keys.flag_or("tie_word_embeddings", false)?,
            biases: biases(&keys, family)?,
            qk_norm: family == Family::Qwen3,
        };
        config.validate()?;
        Ok(config)
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

fn family(keys: &Keys<'_>) -> Result<Family> {
    let class = keys.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    match (keys.get("model_type").and_then(Value::as_str), class) {
        // A class that is not a causal language model has another head.
        (Some(kind), Some(class)) => {
            let family = Family::from_name(kind)?;
            if class == family.architecture() { Ok(family) } else { Family::from_name(class) }
        }
        (Some(name), None) | (None, Some(name)) => Family::from_name(name),
        (None, None) => Err(Error::Config(
            "neither model_type nor architectures says which architecture this is".into(),
        )),
    }
}

fn refuse_unsupported(keys: &Keys<'_>) -> Result<()> {
    let mut problems = Vec::new();
    if let Some(act) = keys.get("hidden_act")
        && act != "silu"
    {
        problems.push(format!("hidden_act is {act}, only \"silu\" is supported"));
    }
    if keys.flag_or("use_sliding_window", false)? {
        problems.push("use_sliding_window is true, only full attention is supported".into());
    }
    if let Some(Value::Array(layers)) = keys.get("layer_types")
        && let Some(other) = layers.iter().find(|&layer| layer != "full_attention")
    {
        problems.push(format!("layer_types has {other}, only \"full_attention\" is supported"));
    }
    if keys.get("quantization_config").is_some() {
        problems.push(
            "quantization_config: weights are quantised; take the unquantised checkpoint or a GGUF"
                .into(),
        );
    }
    if (keys.number_or("partial_rotary_factor", 1.0)? - 1.0).abs() > f64::EPSILON {
        problems.push("partial_rotary_factor is not 1, only whole heads are rotated".into());
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Config(problems.join("; "))) }
}

/// Qwen2 has biases without a key; `mlp_bias` is llama's only.
fn biases(keys: &Keys<'_>, family: Family) -> Result<Biases> {
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

fn head_dim(keys: &Keys<'_>, family: Family, width: usize, heads: usize) -> Result<usize> {
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

/// Base and scaling; where both spellings are there, they must agree.
fn rope(keys: &Keys<'_>) -> Result<(f64, RopeScaling)> {
    const DEFAULT_THETA: f64 = 10_000.0;
    let section = |name: &str| match keys.get(name) {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(Keys(map))),
        Some(other) => Err(Error::Config(format!("{name} is {other}, expected an object or null"))),
    };
    let old = match section("rope_scaling")? {
        Some(inner) => Some(scaling("rope_scaling", &inner)?),
        None => None,
    };
    let theta = keys.number("rope_theta")?;
    let Some(inner) = section("rope_parameters")? else {
        return Ok((theta.unwrap_or(DEFAULT_THETA), old.unwrap_or(RopeScaling::None)));
    };
    let new = scaling("rope_parameters", &inner)?;
    let new_theta = inner.number("rope_theta")?;
    if old.is_some_and(|old| old != new) {
        return Err(Error::Config(format!(
            "rope_scaling says {old:?} and rope_parameters says {new:?}",
            old = old.unwrap_or(RopeScaling::None)
        )));
    }
    match (theta, new_theta) {
        (Some(a), Some(b)) if (a - b).abs() > 1e-9 * a.abs() => {
            Err(Error::Config(format!("rope_theta is {a} and in rope_parameters {b}")))
        }
        (a, b) => Ok((b.or(a).unwrap_or(DEFAULT_THETA), new)),
    }
}

fn scaling(section: &str, keys: &Keys<'_>) -> Result<RopeScaling> {
    let kind = keys.get("rope_type").or_else(|| keys.get("type"));
    let need = |name: &str| {
        keys.number(name)?.ok_or_else(|| Error::Config(format!("{section} has no {name}")))
    };
    match kind.and_then(Value::as_str) {
        None if kind.is_none() && section == "rope_parameters" => Ok(RopeScaling::None),
        Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: need("factor")? }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_context: keys.size("original_max_position_embeddings").map_err(|_| {
                Error::Config(format!("{section} has no original_max_position_embeddings"))
            })?,
        }),
        _ => Err(Error::Config(format!(
            "{section} has rope_type {}, supported: default, linear, llama3",
            kind.map_or_else(|| "none".to_owned(), Value::to_string)
        ))),
    }
}

/// An object whose nulls count as absent, as in `transformers`.
struct Keys<'a>(&'a Map<String, Value>);

impl<'a> Keys<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn size(&self, name: &str) -> Result<usize> {
        let value = self
            .get(name)
            .ok_or_else(|| Error::Config(format!("{name} is missing in config.json")))?;
        // Some writers put whole numbers as 8192.0.
        value
            .as_u64()
            .or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64))
            .map(|size| size as usize)
            .ok_or_else(|| Error::Config(format!("{name} is {value}, expected a whole number")))
    }

    fn size_or(&self, name: &str, default: usize) -> Result<usize> {
        if self.get(name).is_some() { self.size(name) } else { Ok(default) }
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        self.get(name)
            .map(|value| {
                value
                    .as_f64()
                    .ok_or_else(|| Error::Config(format!("{name} is {value}, expected a number")))
            })
            .transpose()
    }

    fn number_or(&self, name: &str, default: f64) -> Result<f64> {
        Ok(self.number(name)?.unwrap_or(default))
    }

    fn flag_or(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(Error::Config(format!("{name} is {other}, expected true or false"))),
        }
    }
}

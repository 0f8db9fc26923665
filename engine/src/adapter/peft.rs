//! The folder of an adapter as PEFT has it: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::path::Path;

use candle::{DType, Device};
use serde_json::{Map, Value, json};

use super::names::{misfit, targets};
use super::{Adapter, AdapterConfig, Scaling, said};
use crate::checkpoint::not_gguf;
use crate::checkpoint::shards::Shards;
use crate::checkpoint::staged::Staged;
use crate::text::pretty;
use crate::weights::Module;
use crate::{Error, ModelConfig, Result, file};

/// The file of a folder of PEFT with its settings.
pub const CONFIG: &str = "adapter_config.json";
/// The file with its tensors.
pub const TENSORS: &str = "adapter_model.safetensors";

/// The same in a format of Python's own, which is not read.
const PICKLED: &str = "adapter_model.bin";

/// What PEFT puts before the names of the model's weights.
const PREFIX: &str = "base_model.model.";

/// Keys that change what an adapter computes, or what is in its file, with the values that change
/// nothing besides null, false and empty ones. Any other is refused.
const PLAIN: [(&str, &[&str]); 17] = [
    ("task_type", &["CAUSAL_LM"]),
    ("bias", &["none"]),
    ("use_dora", &[]),
    ("lora_bias", &[]),
    ("fan_in_fan_out", &[]),
    ("rank_pattern", &[]),
    ("alpha_pattern", &[]),
    ("modules_to_save", &[]),
    ("trainable_token_indices", &[]),
    ("target_parameters", &[]),
    ("layer_replication", &[]),
    ("use_qalora", &[]),
    ("use_bdlora", &[]),
    ("alora_invocation_tokens", &[]),
    ("arrow_config", &[]),
    ("kasa_config", &[]),
    ("velora_config", &[]),
];

/// Initial values that leave the base as it is.
const KEEPS_BASE: [&str; 4] = ["gaussian", "eva", "orthogonal", ""];
/// Initial values after which the base is another one than the named, unless PEFT converted the
/// adapter when it saved it.
const CHANGES_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

impl Adapter {
    /// Reads an adapter of a model: a folder that PEFT wrote, or [`Self::save`]; or a GGUF file of
    /// llama.cpp's, or of [`Self::save_gguf`].
    ///
    /// # Errors
    ///
    /// Fails when a file is missing or damaged, when the adapter has a part that is not computed
    /// here (the key or the tensor is named), when a map has only one of `A` and `B` or is adapted
    /// in some blocks only, when the settings name other maps than there are tensors of, when
    /// shapes do not fit the model, and when a value is not finite.
    pub fn open(path: &Path, model: &ModelConfig, dtype: DType, device: &Device) -> Result<Self> {
        // Sizes that were read are the file's fault, not the caller's.
        let of_file = |error, path: &Path| match error {
            Error::Input(problem) => Error::File { path: path.to_owned(), problem },
            other => other,
        };
        if !path.is_dir() {
            if let Some(problem) = not_gguf(path) {
                return Err(problem);
            }
            let adapter = Self::open_gguf(path, model, dtype, device);
            return adapter.map_err(|error| of_file(error, path));
        }
        let folder = path;
        let path = folder.join(CONFIG);
        let bytes = file::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let file = |problem| Error::File { path: path.clone(), problem };
        let keys: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|e| file(format!("not a JSON object: {e}")))?;
        let read = Keys { keys: &keys, path: &path };
        if !folder.join(TENSORS).exists() && folder.join(PICKLED).exists() {
            return read.problem(format!(
                "there is no {TENSORS} beside it, but {PICKLED}: PyTorch's own files are not read; \
                 load the adapter in PEFT and write it by save_pretrained"
            ));
        }
        let stored = Shards::file(&folder.join(TENSORS))?;
        let own = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let names: BTreeMap<_, _> =
            stored.names().map(|name| (own(name), name.to_owned())).collect();
        let problem = |problem| Error::File { path: folder.join(TENSORS), problem };
        if names.len() < stored.names().count() {
            return Err(problem(format!("has a tensor twice, with and without \"{PREFIX}\"")));
        }
        // By the tensors: `target_modules` may be a pattern that only Python reads.
        let targets = targets(&names, model).map_err(problem)?;
        let config = read.config(targets)?;
        said::check(&keys, &config.targets, model).map_err(file)?;
        let mut get = |name: &str, shape: &[usize]| {
            let own = &names[name];
            match stored.shape(own)? {
                got if got == shape => stored.get(own, shape, dtype, device),
                got => Err(misfit(own, shape, &folder.join(TENSORS), got)),
            }
        };
        let adapter = Self::new(config, model, &mut get, dtype, device);
        adapter.map_err(|error| of_file(error, &path))
    }

    /// Writes a folder that PEFT and vLLM load, and [`Self::open`]. `base` is what the base is
    /// called there: a name on the hub, or of a folder.
    ///
    /// Every file is written under a name that does not count and renamed once both are complete.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be written; then nothing is left behind.
    pub fn save(&self, folder: &Path, base: &str) -> Result<()> {
        let tensors = self
            .parameters()
            .into_iter()
            .map(|(name, tensor)| Ok((format!("{PREFIX}{name}"), tensor.to_dtype(DType::F32)?)));
        let tensors: Vec<_> = tensors.collect::<Result<_>>()?;
        let mut staged = Staged::new(folder)?;
        staged.whole_tensors(TENSORS, &tensors)?;
        staged.file(CONFIG, pretty(&self.config().to_json(base)).as_bytes())?;
        staged.commit()
    }
}

impl AdapterConfig {
    fn to_json(&self, base: &str) -> Value {
        let mut names: Vec<_> = self.targets.iter().map(|module| module.name()).collect();
        names.sort_unstable();
        // vLLM reads a whole number only.
        let alpha = match self.alpha {
            whole if whole.fract() == 0.0 && whole < 1e15 => json!(whole as u64),
            other => json!(other),
        };
        json!({
            "alpha_pattern": {},
            "base_model_name_or_path": base,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "rank_pattern": {},
            "target_modules": names,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": self.scaling == Scaling::SqrtRank,
        })
    }
}

/// The keys of an `adapter_config.json`.
struct Keys<'a> {
    keys: &'a Map<String, Value>,
    path: &'a Path,
}

impl Keys<'_> {
    fn config(&self, targets: Vec<Module>) -> Result<AdapterConfig> {
        match self.keys.get("peft_type") {
            Some(Value::String(kind)) if kind == "LORA" => {}
            other => {
                let got = other.map_or("is missing".to_owned(), |got| format!("is {got}"));
                return self.problem(format!("peft_type {got}, expected \"LORA\""));
            }
        }
        for (key, plain) in PLAIN {
            let value = self.keys.get(key).unwrap_or(&Value::Null);
            if !is_empty(value) && !value.as_str().is_some_and(|text| plain.contains(&text)) {
                return self.problem(format!(
                    "{key} is {value}, which is not computed here: expected an adapter of {}",
                    plain.first().map_or("plain LoRA".into(), |plain| format!("{key} \"{plain}\""))
                ));
            }
        }
        self.check_init()?;
        let scaling = match self.keys.get("use_rslora") {
            Some(Value::Bool(true)) => Scaling::SqrtRank,
            None | Some(Value::Null | Value::Bool(false)) => Scaling::Rank,
            Some(other) => {
                return self.problem(format!("use_rslora is {other}, expected a boolean"));
            }
        };
        let rank = match self.keys.get("r").and_then(Value::as_u64).map(usize::try_from) {
            Some(Ok(rank)) if rank > 0 => rank,
            _ => {
                return self
                    .problem(format!("r is {}, expected a positive number", self.shown("r")));
            }
        };
        let alpha = match self.keys.get("lora_alpha").and_then(Value::as_f64) {
            Some(alpha) if alpha.is_finite() && alpha > 0.0 => alpha,
            _ => {
                let got = self.shown("lora_alpha");
                return self.problem(format!("lora_alpha is {got}, expected a positive number"));
            }
        };
        Ok(AdapterConfig { rank, alpha, scaling, targets })
    }

    /// Fails where the adapter belongs to another base than the named one, or may do so.
    fn check_init(&self) -> Result<()> {
        const KEY: &str = "init_lora_weights";
        let init = match self.keys.get(KEY) {
            None | Some(Value::Null | Value::Bool(_)) => return Ok(()),
            Some(Value::String(init)) => init.to_lowercase(),
            Some(other) => other.to_string(),
        };
        if KEEPS_BASE.contains(&init.as_str()) {
            return Ok(());
        }
        let got = self.shown(KEY);
        self.problem(if CHANGES_BASE.iter().any(|other| init.starts_with(other)) {
            format!(
                "{KEY} is {got}: such an adapter belongs to a changed base; save it with \
                 path_initial_model_for_weight_conversion in PEFT"
            )
        } else {
            format!(
                "{KEY} is {got}, expected true, false, \"{}\", \"{}\" or \"{}\": with another one \
                 the adapter may belong to a changed base; write true if it does not",
                KEEPS_BASE[0], KEEPS_BASE[1], KEEPS_BASE[2]
            )
        })
    }

    fn shown(&self, key: &str) -> String {
        self.keys.get(key).map_or("missing".into(), Value::to_string)
    }

    fn problem<T>(&self, problem: String) -> Result<T> {
        Err(Error::File { path: self.path.to_owned(), problem })
    }
}

/// Whether a value stands for nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

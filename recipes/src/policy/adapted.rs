//! A model with an adapter: found by the names of both, or by a checkpoint that says which base it
//! belongs to.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use candle::{DType, Device};
use engine::text::Text;
use engine::{Adapter, Model, ModelConfig, adapter};
use evals::run::Files;

use super::{Compute, ModelRef, best_checkpoint, is_run, locate_alone, replacing};
use crate::identity::adapter_files;
use crate::run_dir::{Base, base_of, is_checkpoint};
use crate::search_path::SearchPath;

/// A model with an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapted {
    /// The model without it.
    pub(super) base: ModelRef,
    /// The adapter: a folder of PEFT or a file of llama.cpp's.
    pub(super) adapter: PathBuf,
    /// What the adapter was trained on, if that is known.
    trained_on: Option<Base>,
    /// Whether the user named the base. Else it is the one that the adapter was trained on.
    pub(super) is_given: bool,
}

/// Whether a folder holds an adapter and no model.
pub(super) fn is_adapter(folder: &Path) -> bool {
    folder.join(adapter::CONFIG).is_file() && !folder.join("config.json").exists()
}

/// The adapter in the file or folder `path`, for `model`.
pub(super) fn open_adapter(path: &Path, model: &Model) -> engine::Result<Adapter> {
    Adapter::open(path, model.config(), model.dtype(), model.device())
}

/// Finds the adapter `name`: a folder as PEFT has it, a `.gguf` adapter, or a run or a checkpoint
/// that trained one.
///
/// # Errors
///
/// Fails when there is none.
pub fn locate_adapter(name: &str, search_path: &SearchPath) -> Result<PathBuf> {
    const EXPECTED: &str =
        "expected a folder as PEFT has it, a .gguf adapter, or a run that trains an adapter";
    let Some(path) = search_path.find(name) else {
        bail!("there is no adapter {name} in {}\n{EXPECTED}", search_path.describe());
    };
    let path = if is_run(&path) { best_checkpoint(&path)? } else { path };
    if !path.is_file() && !path.join(adapter::CONFIG).is_file() {
        bail!("{} is no adapter: it has no {}\n{EXPECTED}", path.display(), adapter::CONFIG);
    }
    Ok(path)
}

impl Adapted {
    /// The checkpoint in `folder` on its own base.
    pub(super) fn of_checkpoint(folder: PathBuf, search_path: &SearchPath) -> Result<Self> {
        let known = if is_checkpoint(&folder) { base_of(&folder)? } else { None };
        let Some(trained_on) = known else {
            bail!(
                "{} is an adapter, not a model\nname its base as the model, and this by --adapter; \
                 in a recipe, by model.adapter.from",
                folder.display()
            );
        };
        let place = trained_on.path.clone().filter(|path| path.exists()).map(ModelRef::Path);
        let base = place.map_or_else(|| locate_alone(&trained_on.name, search_path), Ok);
        let base = base.with_context(|| {
            format!(
                "{} is an adapter, and its base is not here; name a copy of the base by --model and \
                 the checkpoint by --adapter",
                folder.display()
            )
        })?;
        if let ModelRef::Path(path) = &base
            && is_adapter(path)
        {
            bail!(
                "{} is an adapter, and its base {} is one, too\nname a base without an adapter by \
                 --model, and the checkpoint by --adapter",
                folder.display(),
                path.display()
            );
        }
        let trained_on = Some(trained_on);
        Ok(Self { base, adapter: folder, trained_on, is_given: false })
    }

    /// The adapter `name` on `base`.
    pub(super) fn of_name(base: ModelRef, name: &str, search_path: &SearchPath) -> Result<Self> {
        let path = locate_adapter(name, search_path)?;
        let trained_on = if is_checkpoint(&path) { base_of(&path)? } else { None };
        Ok(Self { base, adapter: path, trained_on, is_given: true })
    }

    /// Its base, for a message.
    pub(super) fn base_name(&self) -> String {
        match (&self.trained_on, &self.base) {
            (Some(base), _) if !self.is_given => base.name.clone(),
            (_, ModelRef::Builtin(builtin)) => format!("builtin:{}", builtin.name),
            (_, ModelRef::Path(path)) => path.display().to_string(),
            (_, ModelRef::Hub(address)) => address.clone(),
            (_, ModelRef::Adapted(other)) => other.base_name(),
        }
    }

    /// Refuses it as the model of a recipe, which calls it `name`.
    pub fn is_no_base(&self, name: &str) -> anyhow::Error {
        let base = self.base_name();
        anyhow!(
            "model.path: {name} is an adapter on {base}\nset model.path to {base} and \
             model.adapter.from to {name}"
        )
    }

    /// Opens the base, as it is stored unless `compute` says otherwise, and then the adapter.
    /// Weights of a builtin base are drawn by the seed that the adapter was trained with, or by
    /// `seed` if the user named the base.
    pub(super) fn open(&self, seed: u64, compute: &Compute) -> Result<(Model, Text)> {
        let own = self.trained_on.as_ref().filter(|_| !self.is_given);
        let seed = own.and_then(|base| base.seed).unwrap_or(seed);
        let (model, text) = self.base.open(seed, &compute.below_adapter())?;
        let adapter = self.open_for(&model, seed, compute)?;
        Ok((model.with_adapter(adapter)?, text))
    }

    /// The adapter alone, for `model`, which is its base; a builtin one has the weights of `seed`.
    pub(super) fn open_for(&self, model: &Model, seed: u64, compute: &Compute) -> Result<Adapter> {
        self.check(seed, compute)?;
        let adapter = open_adapter(&self.adapter, model);
        let adapter = adapter.map_err(|error| replacing(error.into(), &self.adapter));
        adapter.with_context(|| format!("opening the adapter {}", self.adapter.display()))
    }

    /// The adapter for a base of this configuration that is open and not loaded.
    pub(super) fn open_on(&self, base: &ModelConfig, compute: &Compute) -> Result<Adapter> {
        self.check(0, compute)?;
        let opened = Adapter::open(&self.adapter, base, DType::F32, &Device::Cpu);
        let opened = opened.map_err(|error| replacing(error.into(), &self.adapter));
        opened.with_context(|| format!("opening {}", self.adapter.display()))
    }

    /// What other programs are told that its base is called: what the adapter says, or else the
    /// base's own name.
    pub(super) fn public_name(&self) -> String {
        let said = std::fs::read(self.adapter.join(adapter::CONFIG)).ok();
        let said = said.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
        let said = said.as_ref().and_then(|json| json["base_model_name_or_path"].as_str());
        match said.filter(|name| !name.is_empty()) {
            Some(name) if Path::new(name).is_absolute() => Base::public(name, None),
            Some(name) => name.to_owned(),
            None => self.base.public_name(),
        }
    }

    /// Refuses a base of other contents than the adapter was trained on. One that the user named is
    /// noted.
    fn check(&self, seed: u64, compute: &Compute) -> Result<()> {
        let Some(trained_on) = &self.trained_on else { return Ok(()) };
        let is_same = match &self.base {
            ModelRef::Builtin(builtin) => {
                trained_on.name == format!("builtin:{}", builtin.name)
                    && trained_on.seed == Some(seed)
            }
            other => other.files()?.is_none_or(|files| trained_on.has_files(&files)),
        };
        if is_same {
            return Ok(());
        }
        let (adapter, name) = (self.adapter.display(), self.base_name());
        if self.is_given {
            compute.console.print(&format!(
                "note: {adapter} was trained on {}, which has other weights than {name}",
                trained_on.name
            ));
            return Ok(());
        }
        Err(anyhow!(
            "{name} is not the base that {adapter} was trained on: expected {} bytes of sha256 {}\n\
             restore it; or, to put the adapter on this one, name {name} by --model and the \
             checkpoint by --adapter",
            trained_on.bytes,
            trained_on.sha256
        ))
    }

    /// The files of both; `None` if the base is on a hub and not in the cache.
    pub(super) fn files(&self) -> Result<Option<Files>> {
        let Some(mut files) = self.base.files()? else { return Ok(None) };
        files.extend(adapter_files(&self.adapter)?);
        Ok(Some(files))
    }
}

//! From the name of a model to its weights and its text.
//!
//! `policy/adapted.rs` has models with an adapter, `policy/policies.rs` those of a run,
//! `policy/of_run.rs` the checkpoint that a run stands for, `policy/unloaded.rs` models whose
//! weights stay on disk.

mod adapted;
mod of_run;
mod policies;
mod unloaded;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use candle::{DType, Device};
use engine::hub::Hub;
use engine::text::Text;
use engine::{Checkpoint, MatmulPrecision, Model, ModelConfig, file, hub};
use evals::PromptStyle;
use evals::run::Files;

use crate::builtin::Builtin;
use crate::config::{BaseChoice, DTypeChoice, DeviceChoice, Recipe};
use crate::console::Console;
use crate::identity::model_files;
use crate::run_dir;
use crate::search_path::SearchPath;
pub use adapted::{Adapted, FROM, KnownFiles, locate_adapter};
pub use of_run::taken;
use of_run::{best_checkpoint, is_run, stands_for};
pub use policies::{NamedAdapters, Policies};
pub use unloaded::Unloaded;

/// What a model's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelRef {
    /// A policy made on the spot.
    Builtin(Builtin),
    /// A folder in Hugging Face layout or a `.gguf` file.
    Path(PathBuf),
    /// An address `hf://org/name`.
    Hub(String),
    /// One of these with an adapter.
    Adapted(Box<Adapted>),
}

/// Finds what `name` stands for: a folder in Hugging Face layout, a `.gguf` file, `hf://org/name`,
/// a run directory (its best checkpoint, or its newest where no accuracy was measured), or
/// `builtin:NAME`. A checkpoint of an adapter stands for its base with it.
///
/// # Errors
///
/// Fails when there is no such builtin or path, on a run without a checkpoint, and on an adapter
/// whose base is not known or not here.
pub fn locate(name: &str, search_path: &SearchPath) -> Result<ModelRef> {
    match locate_alone(name, search_path)? {
        ModelRef::Path(path) => at(path, search_path),
        other => Ok(other),
    }
}

/// The same, but a checkpoint of an adapter is only its folder.
fn locate_alone(name: &str, search_path: &SearchPath) -> Result<ModelRef> {
    if let Some(name) = name.strip_prefix("builtin:") {
        return Ok(ModelRef::Builtin(Builtin::find(name)?));
    }
    if name.starts_with("hf://") {
        return Ok(ModelRef::Hub(name.to_owned()));
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        bail!(
            "{name}: the model of a server is not supported yet\nexpected a folder, a .gguf file, a \
             run directory, hf://org/name or builtin:NAME"
        );
    }
    let Some(path) = search_path.find(name) else {
        let hub = if search_path.may_be_on_hub(name) {
            format!("\nfor the model of that name on Hugging Face: hf://{name}")
        } else {
            String::new()
        };
        bail!(
            "there is no model {name} in {}\nexpected a folder, a .gguf file, a run directory, \
             hf://org/name or builtin:NAME{hub}",
            search_path.describe()
        );
    };
    Ok(ModelRef::Path(if is_run(&path) { best_checkpoint(&path)? } else { path }))
}

/// The model in the folder or file `path`. That of a checkpoint of an adapter has its base, which
/// may be in `search_path`.
///
/// # Errors
///
/// Fails on an adapter whose base is not known or not here.
pub fn at(path: PathBuf, search_path: &SearchPath) -> Result<ModelRef> {
    if !adapted::is_adapter(&path) {
        return Ok(ModelRef::Path(path));
    }
    let adapted = Adapted::of_checkpoint(path, search_path)?;
    Ok(ModelRef::Adapted(Box::new(adapted)))
}

/// What the names of a model and of an adapter on it stand for, as a command has them. Which
/// checkpoint a run stands for is printed to `console`.
///
/// # Errors
///
/// Fails where [`locate`] and [`ModelRef::with_adapter`] do.
pub fn locate_with(
    name: &str,
    adapter: Option<&str>,
    search_path: &SearchPath,
    console: &Console,
) -> Result<ModelRef> {
    let found = locate(name, search_path)?;
    let say = |note: String| console.print(&format!("note: {note}"));
    found.taken(name).into_iter().for_each(say);
    let Some(adapter) = adapter else { return Ok(found) };
    let found = found.with_adapter(adapter, search_path, "--adapter")?;
    found.adapter().and_then(|found| taken(adapter, found)).into_iter().for_each(say);
    Ok(found)
}

impl ModelRef {
    /// This model with the adapter `name`: a folder of PEFT, a `.gguf` adapter, or a run or a
    /// checkpoint that trained one. The user names it by the setting `given_by`.
    ///
    /// # Errors
    ///
    /// Fails when there is no such adapter, and when the model has one already.
    pub fn with_adapter(
        self,
        name: &str,
        search_path: &SearchPath,
        given_by: &str,
    ) -> Result<Self> {
        if let Self::Adapted(own) = &self {
            bail!(
                "{given_by}: the model has an adapter of its own, {}\nleave this one out, or name the base as the \
                 model: {}",
                own.adapter.display(),
                own.base_name()
            );
        }
        let adapted = Adapted::of_name(self, name, search_path, given_by)?;
        Ok(Self::Adapted(Box::new(adapted)))
    }

    /// Where its adapter is; none of a model without one.
    pub fn adapter(&self) -> Option<&Path> {
        match self {
            Self::Adapted(adapted) => Some(&adapted.adapter),
            _ => None,
        }
    }

    /// The model without an adapter.
    pub fn base(&self) -> &Self {
        match self {
            Self::Adapted(adapted) => &adapted.base,
            other => other,
        }
    }

    /// Opens it, as what the command calls `name`; a builtin policy draws its weights by `seed`.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be fetched or read, or does not fit together; the error leads with the
    /// model or with its adapter, whichever is at fault.
    pub fn open(&self, name: &str, seed: u64, compute: &Compute) -> Result<(Model, Text)> {
        let opened = match self {
            Self::Adapted(adapted) => return adapted.open(name, seed, compute),
            Self::Builtin(builtin) => builtin
                .make(seed, compute.dtype, &compute.device)
                .and_then(|(model, text)| Ok((model.with_precision(compute.precision)?, text))),
            Self::Path(path) => compute.load(path).map_err(|error| replacing(error, path)),
            Self::Hub(address) => hub::resolve(address)
                .map_err(Into::into)
                .and_then(|path| compute.load(&path).map_err(|error| replacing(error, &path))),
        };
        opened.with_context(|| format!("opening {name}"))
    }

    /// The file or folder that it is found by: of a model with an adapter, that of the adapter.
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Adapted(adapted) => Some(&adapted.adapter),
            Self::Builtin(_) | Self::Hub(_) => None,
        }
    }

    /// Where it is read from: of a run the path of the checkpoint, else what the command calls it.
    pub fn place(&self, name: &str) -> String {
        let path = match self {
            Self::Adapted(adapted) if adapted.is_given() => return adapted.base.place(name),
            other => other.path(),
        };
        let path = path.filter(|path| stands_for(name, path));
        path.map_or_else(|| name.to_owned(), |path| path.display().to_string())
    }

    /// Says which checkpoint it is, where the command calls it by the `name` of a run.
    pub fn taken(&self, name: &str) -> Option<String> {
        taken(name, self.path()?)
    }

    /// The files that it is read from; none of a builtin policy, `None` of a model on a hub that is
    /// not in the cache.
    ///
    /// # Errors
    ///
    /// Fails when one cannot be read.
    pub fn files(&self) -> Result<Option<Files>> {
        match self {
            Self::Builtin(_) => Ok(Some(Files::default())),
            Self::Path(path) => model_files(path).map(Some),
            Self::Hub(address) => {
                let cached = Hub::from_env()?.find(address)?;
                cached.map(|folder| model_files(&folder)).transpose()
            }
            Self::Adapted(adapted) => adapted.files(),
        }
    }

    /// Its sizes, without its weights; `None` of a model on a hub that is not in the cache.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be read.
    pub fn config(&self) -> Result<Option<ModelConfig>> {
        let path = match self {
            Self::Builtin(builtin) => return Ok(Some(builtin.config())),
            Self::Adapted(adapted) => return adapted.base.config(),
            Self::Path(path) => Some(path.clone()),
            Self::Hub(address) => Hub::from_env()?.find(address)?,
        };
        Ok(path.map(|path| Checkpoint::open(&path)).transpose()?.map(|read| read.config))
    }

    /// How the run that made this checkpoint, or else its base, puts problems to its policy; `None`
    /// for other models.
    ///
    /// # Errors
    ///
    /// Fails when the run's recipe cannot be read.
    pub fn style(&self) -> Result<Option<PromptStyle>> {
        let of_run = self.path().and_then(|path| path.ancestors().nth(2));
        let Some(run) = of_run.filter(|run| is_run(run)) else {
            return if let Self::Adapted(adapted) = self { adapted.base.style() } else { Ok(None) };
        };
        let path = run.join(run_dir::RECIPE);
        let text =
            file::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Some(Recipe::parse(&path.display().to_string(), &text)?.prompt))
    }
}

/// The error of the model at `path`, with how to replace a file that was cut short.
fn replacing(error: anyhow::Error, path: &Path) -> anyhow::Error {
    if !matches!(error.downcast_ref(), Some(engine::Error::CutShort { .. })) {
        return error;
    }
    let act = match path.parent().filter(|_| run_dir::is_checkpoint(path)) {
        Some(folder) => {
            format!("a run saved it: name another checkpoint of the run, in {}", folder.display())
        }
        None => "fetch or save it again".to_owned(),
    };
    anyhow!("{error:#}\n{act}")
}

/// Where a model computes, and in what.
#[derive(Debug, Clone)]
pub struct Compute {
    device: Device,
    dtype: DType,
    precision: MatmulPrecision,
    /// In what format weights are held; `None`: as it suits whoever opens them.
    base: Option<BaseChoice>,
    console: Console,
}

impl Compute {
    /// What the choices stand for: bf16 on a CPU is matrix products in bf16 on `f32` weights.
    ///
    /// # Errors
    ///
    /// Fails when the machine does not have the device.
    pub fn new(device: DeviceChoice, dtype: DTypeChoice) -> Result<Self> {
        let (dtype, precision) = match (device, dtype) {
            (DeviceChoice::Cpu, DTypeChoice::Bf16) => (DType::F32, MatmulPrecision::Bf16),
            (DeviceChoice::Cuda, DTypeChoice::Bf16) => (DType::BF16, MatmulPrecision::F32),
            (_, DTypeChoice::F32) => (DType::F32, MatmulPrecision::F32),
        };
        let device = match device {
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Cuda => {
                Device::new_cuda_with_stream(0).context("opening the first CUDA device")?
            }
        };
        Ok(Self { device, dtype, precision, base: None, console: Console::silent() })
    }

    /// The same, with weights in this format.
    #[must_use]
    pub fn holding(self, base: BaseChoice) -> Self {
        Self { base: Some(base), ..self }
    }

    /// The same for weights that only an adapter changes: they stay as they are stored, unless they
    /// are to be in another format.
    fn below_adapter(&self) -> Self {
        let base = self.base.unwrap_or(BaseChoice::AsStored);
        self.clone().holding(base)
    }

    /// The same, with the notes of the checkpoints that it loads written to `console`.
    #[must_use]
    pub fn with_notes_on(self, console: Console) -> Self {
        Self { console, ..self }
    }

    /// A folder in Hugging Face layout or a `.gguf` file, open.
    fn checkpoint(&self, path: &Path) -> Result<Checkpoint> {
        let checkpoint = Checkpoint::open(path)?;
        for note in &checkpoint.notes {
            self.console.print(&format!("note: {}: {note}", path.display()));
        }
        Ok(checkpoint)
    }

    /// The model and the text of a folder in Hugging Face layout or of a `.gguf` file.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read or does not fit together.
    pub fn load(&self, path: &Path) -> Result<(Model, Text)> {
        let checkpoint = self.checkpoint(path)?;
        let (model, text) = match self.base {
            Some(BaseChoice::AsStored) => checkpoint.load_as_stored(&self.device, self.dtype)?,
            Some(BaseChoice::F32) | None => checkpoint.load(&self.device, self.dtype)?,
        };
        Ok((model.with_precision(self.precision)?, text))
    }
}

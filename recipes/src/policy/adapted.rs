//! A model with an adapter: found by the names of both, or by a checkpoint that says which base it
//! belongs to.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, anyhow, bail};
use candle::{DType, Device};
use engine::text::Text;
use engine::{Adapter, Model, ModelConfig, adapter, file, hub};
use evals::run::Files;

use super::of_run::{best_checkpoint, is_run, taken};
use super::{Compute, ModelRef, locate_alone, replacing};
use crate::identity::adapter_files;
use crate::run_dir::{Base, base_of, is_checkpoint};
use crate::search_path::SearchPath;

/// The setting of a recipe that names an adapter to start from.
pub const FROM: &str = "model.adapter.from";

/// A model with an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapted {
    /// The model without it.
    pub(super) base: ModelRef,
    /// The adapter: a folder of PEFT or a file of llama.cpp's.
    pub(super) adapter: PathBuf,
    /// What the adapter was trained on, if that is known.
    trained_on: Option<Base>,
    /// By which setting the user put it on the base. Without one, the base is the one that the
    /// adapter was trained on.
    given_by: Option<String>,
    /// Says which checkpoint it is, where the user named a run.
    taken: Option<String>,
    base_files: KnownFiles,
}

/// The files of a model, once they were read. Clones share them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFiles(Arc<OnceLock<Files>>);

impl KnownFiles {
    /// Those of `model`, which are read the first time; `None` if it is on a hub and not in the
    /// cache.
    ///
    /// # Errors
    ///
    /// Fails when one cannot be read.
    pub(super) fn of(&self, model: &ModelRef) -> Result<Option<&Files>> {
        let Self(known) = self;
        if known.get().is_none() {
            let Some(files) = model.files()? else { return Ok(None) };
            return Ok(Some(known.get_or_init(|| files)));
        }
        Ok(known.get())
    }
}

/// Whether a folder holds an adapter and no model.
pub(super) fn is_adapter(folder: &Path) -> bool {
    folder.join(adapter::CONFIG).is_file() && !folder.join("config.json").exists()
}

/// What a folder of PEFT calls the base of its adapter.
fn said_base(folder: &Path) -> Option<String> {
    let bytes = file::read(&folder.join(adapter::CONFIG)).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    let name = json["base_model_name_or_path"].as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Whether two names may be those of one model: a file is named after its type, too.
fn is_named_alike(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|name| {
        let last = name.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or(name);
        last.to_lowercase().trim_end_matches(".gguf").replace([':', '.', '_'], "-")
    });
    one.contains(&other) || other.contains(&one)
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
    if name.starts_with(hub::SCHEME) {
        bail!("{name}: adapters are not fetched from a hub\nfetch it, and name its folder");
    }
    let Some(path) = search_path.find(name) else {
        bail!("there is no adapter {name} in {}\n{EXPECTED}", search_path.describe());
    };
    let path = if is_run(&path) { best_checkpoint(&path)? } else { path };
    // What else is wrong with a file is said when it is opened.
    let is_there = path.join(adapter::CONFIG).symlink_metadata();
    let lacks_config = is_there.is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if path.is_dir() && lacks_config {
        bail!("{} is no adapter: it has no {}\n{EXPECTED}", path.display(), adapter::CONFIG);
    }
    Ok(path)
}

impl Adapted {
    /// The checkpoint in `folder` on its own base.
    pub(super) fn of_checkpoint(folder: PathBuf, search_path: &SearchPath) -> Result<Self> {
        let known = if is_checkpoint(&folder) { base_of(&folder)? } else { None };
        let Some(trained_on) = known else {
            let base = said_base(&folder).map_or_else(String::new, |base| format!(", {base},"));
            bail!(
                "{} is an adapter, not a model\nname its base{base} as the model, and this by \
                 --adapter; in a recipe, by model.adapter.from",
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
        let (trained_on, base_files) = (Some(trained_on), KnownFiles::default());
        Ok(Self { base, adapter: folder, trained_on, given_by: None, taken: None, base_files })
    }

    /// The adapter `name` on `base`, as the setting `given_by` says.
    ///
    /// # Errors
    ///
    /// Fails when there is no such adapter.
    pub fn of_name(
        base: ModelRef,
        name: &str,
        search_path: &SearchPath,
        given_by: &str,
    ) -> Result<Self> {
        let adapter = locate_adapter(name, search_path).with_context(|| given_by.to_owned())?;
        let trained_on = if is_checkpoint(&adapter) { base_of(&adapter)? } else { None };
        let (taken, base_files) = (taken(name, &adapter), KnownFiles::default());
        let given_by = Some(given_by.to_owned());
        Ok(Self { base, adapter, trained_on, given_by, taken, base_files })
    }

    /// The same, with the files of the base known where they are in `base_files`.
    #[must_use]
    pub fn sharing(self, base_files: &KnownFiles) -> Self {
        Self { base_files: base_files.clone(), ..self }
    }

    /// Where the adapter is.
    pub fn path(&self) -> &Path {
        &self.adapter
    }

    /// Says which checkpoint it is, where the user named a run.
    pub fn taken(&self) -> Option<&str> {
        self.taken.as_deref()
    }

    /// Whether the user named the base.
    pub(super) fn is_given(&self) -> bool {
        self.given_by.is_some()
    }

    /// Its base, for a message.
    pub(super) fn base_name(&self) -> String {
        match (&self.trained_on, &self.base) {
            (Some(base), _) if !self.is_given() => base.name.clone(),
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
    /// `seed` if the user named the base; the command calls the model `name`.
    pub(super) fn open(&self, name: &str, seed: u64, compute: &Compute) -> Result<(Model, Text)> {
        let own = self.trained_on.as_ref().filter(|_| !self.is_given());
        let seed = own.and_then(|base| base.seed).unwrap_or(seed);
        let (model, text) = self.base.open(name, seed, &compute.below_adapter())?;
        let adapter = self.open_for(&model, seed, compute)?;
        let whole = model.with_adapter(adapter).map_err(|error| self.failed(error.into()))?;
        Ok((whole, text))
    }

    /// The adapter alone, for `model`, which is its base; a builtin one has the weights of `seed`.
    pub(super) fn open_for(&self, model: &Model, seed: u64, compute: &Compute) -> Result<Adapter> {
        self.check(seed, compute)?;
        open_adapter(&self.adapter, model).map_err(|error| self.failed(error.into()))
    }

    /// The adapter for a base of this configuration that is open and not loaded.
    pub(super) fn open_on(&self, base: &ModelConfig, compute: &Compute) -> Result<Adapter> {
        self.check(0, compute)?;
        let opened = Adapter::open(&self.adapter, base, DType::F32, &Device::Cpu);
        opened.map_err(|error| self.failed(error.into()))
    }

    /// The error of opening the adapter: it leads with the adapter, not with its base.
    fn failed(&self, error: anyhow::Error) -> anyhow::Error {
        let key = self.given_by.as_ref().map(|key| format!("{key}: ")).unwrap_or_default();
        let place = self.adapter.display();
        replacing(error, &self.adapter).context(format!("{key}opening the adapter {place}"))
    }

    /// What other programs are told that its base is called: what the adapter says, or else the
    /// base's own name.
    pub(super) fn public_name(&self) -> String {
        match said_base(&self.adapter) {
            Some(name) if Path::new(&name).is_absolute() => Base::public(&name, None),
            Some(name) => name,
            None => self.base.public_name(),
        }
    }

    /// Refuses a base of other contents than the adapter was trained on. Of one that the user named
    /// it is noted.
    fn check(&self, seed: u64, compute: &Compute) -> Result<()> {
        if self.is_given() {
            let note = self.note(seed)?;
            if let Some(note) = note {
                compute.console.print(&format!("note: {note}"));
            }
            return Ok(());
        }
        let Some(trained_on) = self.trained_on.as_ref() else { return Ok(()) };
        if self.is_trained_on(trained_on, seed)? {
            return Ok(());
        }
        let (adapter, name) = (self.adapter.display(), self.base_name());
        Err(anyhow!(
            "{name} is not the base that {adapter} was trained on: expected {} bytes of sha256 {}\n\
             restore it; or, to put the adapter on this one, name {name} by --model and the \
             checkpoint by --adapter",
            trained_on.bytes,
            trained_on.sha256
        ))
    }

    /// That the adapter was trained on another base than it is put on: by the digest in a
    /// checkpoint, else by the names. Weights of a builtin base are drawn by `seed`.
    ///
    /// # Errors
    ///
    /// Fails when the files of the base cannot be read.
    pub fn note(&self, seed: u64) -> Result<Option<String>> {
        let (adapter, name) = (self.adapter.display(), self.base_name());
        let Some(trained_on) = &self.trained_on else {
            let said = said_base(&self.adapter);
            let other = said.filter(|said| !is_named_alike(said, &self.base.public_name()));
            return Ok(other.map(|said| {
                format!("{adapter} says that its base is {said}, and is put on {name}")
            }));
        };
        if self.is_trained_on(trained_on, seed)? {
            return Ok(None);
        }
        let other = if trained_on.name == name {
            match trained_on.seed {
                // Its weights are a function of the seed.
                Some(first) => format!("{name} with another seed: {first} there, {seed} here"),
                None => format!("{name}, which has other weights since"),
            }
        } else {
            format!("{}, which has other weights than {name}", trained_on.name)
        };
        Ok(Some(format!("{adapter} was trained on {other}")))
    }

    /// Whether the base is the one that the adapter was trained on. One that is on a hub and not in
    /// the cache is taken for it.
    fn is_trained_on(&self, trained_on: &Base, seed: u64) -> Result<bool> {
        Ok(match &self.base {
            ModelRef::Builtin(builtin) => {
                trained_on.name == format!("builtin:{}", builtin.name)
                    && trained_on.seed == Some(seed)
            }
            base => self.base_files.of(base)?.is_none_or(|files| trained_on.has_files(files)),
        })
    }

    /// The files of both; `None` if the base is on a hub and not in the cache.
    pub(super) fn files(&self) -> Result<Option<Files>> {
        let Some(mut files) = self.base_files.of(&self.base)?.cloned() else { return Ok(None) };
        files.extend(adapter_files(Files::ADAPTER, &self.adapter)?);
        Ok(Some(files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DTypeChoice, DeviceChoice};

    #[test]
    fn the_files_of_a_base_are_read_once() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata/lora/llama");
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().join("base.gguf");
        std::fs::copy(golden.join("base-blocks.gguf"), &base).unwrap();
        let (adapter, search_path) = (golden.join("adapter"), SearchPath::of_command());
        let adapter = adapter.display().to_string();
        let model = ModelRef::Path(base.clone()).with_adapter(&adapter, &search_path, "--adapter");
        let model = model.unwrap();
        let first = model.files().unwrap().unwrap();
        // It is not opened again: a second reading would fail.
        std::fs::remove_file(&base).unwrap();
        assert_eq!(model.files().unwrap(), Some(first));
        let compute = Compute::new(DeviceChoice::Cpu, DTypeChoice::F32).unwrap();
        let error = format!("{:#}", model.open("mine", 1, &compute).unwrap_err());
        assert!(error.starts_with("opening mine: "), "{error}");
    }

    #[test]
    fn names_of_one_model_are_alike() {
        for (one, other) in [
            ("Qwen/Qwen2.5-0.5B", "qwen2.5-0.5b"),
            ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2-135m-instruct.gguf"),
            ("/models/SmolLM2-135M", "SmolLM2-135M-Q4_1.gguf"),
            ("builtin:atom", "builtin:atom"),
            ("atom", "builtin:atom"),
        ] {
            assert!(is_named_alike(one, other) && is_named_alike(other, one), "{one}, {other}");
        }
        assert!(!is_named_alike("meta-llama/Llama-3.1-8B", "qwen2.5-0.5b"));
    }
}

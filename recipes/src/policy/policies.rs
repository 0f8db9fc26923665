//! The policies of a run: that of its start, and those of its checkpoints.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail};
use engine::text::Text;
use engine::{Adapter, Model, hub};
use evals::run::Files;

use super::adapted::{Adapted, FROM, KnownFiles, open_adapter};
use super::{Compute, ModelRef, locate};
use crate::causes::with_causes;
use crate::config::Recipe;
use crate::console::Console;
use crate::identity::adapter_files;
use crate::run_dir::Saved;
use crate::search_path::SearchPath;

/// Adapters that do not change, by their names in the recipe.
pub type NamedAdapters = BTreeMap<String, Adapter>;

/// The key that says where the adapter `name` is.
fn key_of(name: &str) -> String {
    format!("model.adapters.{name}.from")
}

/// Opens the policies of a run.
#[derive(Debug)]
pub struct Policies<'a> {
    recipe: &'a Recipe,
    base: ModelRef,
    /// What the run starts from, once it was asked for.
    start: OnceLock<ModelRef>,
    /// The adapters that references look back at, once they were asked for. A run that is named
    /// may go on and save a better checkpoint, so they are located once.
    referred: OnceLock<Vec<(String, Adapted)>>,
    base_files: KnownFiles,
    search_path: SearchPath,
    compute: Compute,
}

impl<'a> Policies<'a> {
    /// Finds the model of a recipe. Notes of the files go to `console`.
    ///
    /// # Errors
    ///
    /// Fails when there is no such model, when it is an adapter, and when the machine does not have
    /// the device.
    pub fn of(recipe: &'a Recipe, search_path: &SearchPath, console: Console) -> Result<Self> {
        let choice = &recipe.model;
        let base = locate(&choice.path, search_path)?;
        if let ModelRef::Adapted(own) = &base {
            return Err(own.is_no_base(&choice.path));
        }
        if let Some(taken) = base.taken(&choice.path) {
            console.print(&format!("note: model.path: {taken}"));
        }
        let compute = Compute::new(choice.device, choice.dtype)?;
        let compute = compute.holding(choice.base()).with_notes_on(console);
        let (start, referred, base_files) = Default::default();
        let search_path = search_path.clone();
        Ok(Self { recipe, base, start, referred, base_files, search_path, compute })
    }

    /// What the run starts from: the model, with the adapter that the recipe names, if any. A run
    /// that has a checkpoint goes on without it.
    ///
    /// # Errors
    ///
    /// Fails when there is no such adapter.
    pub fn start(&self) -> Result<&ModelRef> {
        if let Some(start) = self.start.get() {
            return Ok(start);
        }
        let mut start = self.base.clone();
        if let Some(from) = self.recipe.model.adapter.as_ref().and_then(|adapter| adapter.from()) {
            start = ModelRef::Adapted(Box::new(self.adapted(from, FROM)?));
        }
        Ok(self.start.get_or_init(|| start))
    }

    /// The adapter `name` on the model, as the setting `key` says.
    fn adapted(&self, name: &str, key: &str) -> Result<Adapted> {
        let adapted = Adapted::of_name(self.base.clone(), name, &self.search_path, key)?;
        if let Some(taken) = adapted.taken() {
            self.compute.console.print(&format!("note: {key}: {taken}"));
        }
        Ok(adapted.sharing(&self.base_files))
    }

    /// The files of what the run starts from, those of the model read once; `None` if that is on a
    /// hub and not in the cache.
    ///
    /// # Errors
    ///
    /// Fails when there is no such adapter, and when a file cannot be read.
    pub fn start_files(&self) -> Result<Option<Files>> {
        match self.start()? {
            ModelRef::Adapted(adapted) => adapted.files(),
            _ => self.files(),
        }
    }

    /// The files of the model without an adapter, likewise.
    ///
    /// # Errors
    ///
    /// Fails when one cannot be read.
    pub fn files(&self) -> Result<Option<Files>> {
        Ok(self.base_files.of(&self.base)?.cloned())
    }

    /// The model without an adapter.
    pub fn base_ref(&self) -> &ModelRef {
        &self.base
    }

    /// Fetches the model, where it is on a hub and not in the cache.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be fetched.
    pub fn fetch(&self) -> Result<()> {
        if let ModelRef::Hub(address) = &self.base {
            hub::resolve(address).with_context(|| format!("fetching {address}"))?;
        }
        Ok(())
    }

    /// Checks that the adapter to start from is there, or that one of the recipe's rank fits the
    /// model, where its sizes are on this machine, and that those that references look back at are
    /// there. No weights are read.
    ///
    /// # Errors
    ///
    /// Fails when it is not, and when the sizes of the model cannot be read.
    pub fn check_adapter(&self) -> Result<()> {
        let Some(adapter) = &self.recipe.model.adapter else { return Ok(()) };
        self.start()?;
        self.referred()?;
        let config = if adapter.from().is_none() { self.base.config() } else { Ok(None) };
        let config = config.with_context(|| format!("opening {}", self.recipe.model.path))?;
        let misfits = config.map(|config| adapter.misfits(&config)).unwrap_or_default();
        if misfits.is_empty() { Ok(()) } else { bail!("{}", misfits.join("\n")) }
    }

    /// The policy that the run starts from.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be fetched or read, or does not fit together.
    pub fn first(&self) -> Result<(Model, Text)> {
        self.first_of(self.recipe.seed)
    }

    /// The same for a run that began with this seed, whatever that of the recipe is now.
    ///
    /// # Errors
    ///
    /// Fails where [`Self::first`] does.
    pub fn first_of(&self, seed: u64) -> Result<(Model, Text)> {
        let choice = &self.recipe.model;
        let (model, text) = self.start()?.open(&choice.path, seed, &self.compute)?;
        let Some(adapter) = choice.adapter.as_ref().filter(|one| one.from().is_none()) else {
            return Ok((model, text));
        };
        let (dtype, device) = (model.dtype(), model.device());
        let fresh = Adapter::fresh(adapter.config(), model.config(), seed, dtype, device);
        Ok((model.with_adapter(fresh.context("model.adapter")?)?, text))
    }

    /// The policy in a checkpoint of the run. One with an adapter has no base, which is opened
    /// again. Weights of a builtin base are drawn by the seed that the run began with: its adapter
    /// fits no others.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read or does not fit together. Errors of the checkpoint are those of
    /// the engine.
    pub fn saved(&self, saved: &Saved) -> Result<(Model, Text)> {
        let Saved { path, state } = saved;
        if self.recipe.model.adapter.is_none() {
            return self.compute.load(path);
        }
        let seed = state.base.as_ref().and_then(|base| base.seed).unwrap_or(self.recipe.seed);
        let opened = self.base_ref().open(&self.recipe.model.path, seed, &self.compute);
        // As text: another checkpoint would not help.
        let (model, text) = opened.map_err(|error| anyhow!(with_causes(&error)))?;
        let adapter = open_adapter(path, &model)?;
        Ok((model.with_adapter(adapter)?, text))
    }

    /// The adapters that references look back at, located.
    fn referred(&self) -> Result<&[(String, Adapted)]> {
        if let Some(referred) = self.referred.get() {
            return Ok(referred);
        }
        let find =
            |(name, from): (&str, &str)| Ok((name.to_owned(), self.adapted(from, &key_of(name))?));
        let all = self.recipe.referred_adapters().into_iter();
        let found = all.map(find).collect::<Result<Vec<_>>>()?;
        Ok(self.referred.get_or_init(|| found))
    }

    /// The adapters that references look back at, for `model`; weights of a builtin base are those
    /// of `seed`.
    ///
    /// # Errors
    ///
    /// Fails when one is missing, cannot be read, or is of a model of other sizes.
    pub fn named(&self, model: &Model, seed: u64) -> Result<NamedAdapters> {
        let open = |(name, found): &(String, Adapted)| {
            Ok((name.clone(), found.open_for(model, seed, &self.compute)?))
        };
        self.referred()?.iter().map(open).collect()
    }

    /// The files of these adapters, each by the key of its adapter.
    ///
    /// # Errors
    ///
    /// Fails when one is missing or cannot be read.
    pub fn named_files(&self) -> Result<Files> {
        let mut files = Files::default();
        for (name, found) in self.referred()? {
            files.extend(adapter_files(&format!("model.adapters.{name}"), &found.adapter)?);
        }
        Ok(files)
    }

    /// The weights of a stage's start that the run has kept in `path`.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be read.
    pub fn kept(&self, path: &Path) -> Result<Model> {
        Ok(self.compute.load(path)?.0)
    }
}

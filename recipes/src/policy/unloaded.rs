//! Models that are open and not loaded: what is asked for is read from disk.

use std::path::PathBuf;

use anyhow::Result;
use engine::text::Text;
use engine::{Adapter, Checkpoint, Export, Model, ModelConfig, file, hub};

use super::{Compute, ModelRef, is_run, locate, replacing};
use crate::config::Recipe;
use crate::run_dir::{Base, RECIPE};
use crate::search_path::SearchPath;

/// A model that is open. The weights of one on disk stay there.
#[derive(Debug)]
pub struct Unloaded {
    base: Weights,
    adapter: Option<Adapter>,
}

#[derive(Debug)]
enum Weights {
    Checkpoint(Box<Checkpoint>),
    Model(Box<(Model, Text)>),
}

impl Unloaded {
    /// Opens the model, and its adapter where it has one. The text of a run's is as the run used
    /// it: with the token that ends a turn in its prompts.
    ///
    /// # Errors
    ///
    /// Fails where [`ModelRef::open`] does, but for values.
    pub fn open(model: &ModelRef, compute: &Compute) -> Result<Self> {
        let path = match model.base() {
            ModelRef::Path(path) => path.clone(),
            ModelRef::Hub(address) => hub::resolve(address)?,
            ModelRef::Builtin(_) | ModelRef::Adapted(_) => {
                let (opened, mut text) = model.open(&model.public_name(), 1, compute)?;
                if let Some(style) = model.style()? {
                    text = style.prepare(text)?;
                }
                return Ok(Self { base: Weights::Model(Box::new((opened, text))), adapter: None });
            }
        };
        let mut opened = compute.checkpoint(&path).map_err(|error| replacing(error, &path))?;
        if let Some(style) = model.style()? {
            opened.text = style.prepare(opened.text)?;
        }
        let adapter = match model {
            ModelRef::Adapted(adapted) => Some(adapted.open_on(&opened.config, compute)?),
            _ => None,
        };
        Ok(Self { base: Weights::Checkpoint(Box::new(opened)), adapter })
    }

    /// Its adapter.
    pub fn adapter(&self) -> Option<&Adapter> {
        match &self.base {
            Weights::Checkpoint(_) => self.adapter.as_ref(),
            Weights::Model(whole) => whole.0.adapter(),
        }
    }

    /// Sizes and switches.
    pub fn config(&self) -> &ModelConfig {
        match &self.base {
            Weights::Checkpoint(checkpoint) => &checkpoint.config,
            Weights::Model(whole) => whole.0.config(),
        }
    }

    /// The model without its adapter, to be written.
    pub fn export(&self) -> Export<'_> {
        match &self.base {
            Weights::Checkpoint(checkpoint) => Export::of(checkpoint),
            Weights::Model(whole) => Export::of_model(&whole.0, &whole.1),
        }
    }
}

impl ModelRef {
    /// What other programs are told that the base is called: never where it is on this machine.
    pub fn public_name(&self) -> String {
        match self {
            Self::Adapted(adapted) => adapted.public_name(),
            Self::Builtin(builtin) => format!("builtin:{}", builtin.name),
            Self::Hub(address) => Base::public(address, None),
            Self::Path(path) => Base::public(&path.display().to_string(), Some(path)),
        }
    }

    /// Bytes of its weights in the types of its files; `None` of a builtin policy, which has none.
    ///
    /// # Errors
    ///
    /// Fails when the files cannot be read.
    pub fn stored_bytes(&self) -> Result<Option<u64>> {
        let path = match self.base() {
            Self::Path(path) => path.clone(),
            Self::Hub(address) => hub::resolve(address)?,
            Self::Builtin(_) | Self::Adapted(_) => return Ok(None),
        };
        Ok(Some(Checkpoint::open(&path)?.bytes_by_type()?.values().sum()))
    }

    /// The file that the run began with whose checkpoint this is, if it began with one that is
    /// still there.
    pub fn began_with(&self) -> Option<PathBuf> {
        let Self::Path(checkpoint) = self else { return None };
        let run = checkpoint.ancestors().nth(2).filter(|run| is_run(run))?;
        let text = file::read_to_string(&run.join(RECIPE)).ok()?;
        let recipe = Recipe::parse(RECIPE, &text).ok()?;
        match locate(&recipe.model.path, &SearchPath::of_recipe(run)).ok()? {
            Self::Path(path) if path.is_file() => Some(path),
            _ => None,
        }
    }
}

//! Models that are open and not loaded: what is asked for is read from disk.

use std::path::PathBuf;

use anyhow::Result;
use engine::text::Text;
use engine::{Adapter, Checkpoint, Export, Model, ModelConfig, hub};

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
    /// Opens the model, and its adapter where it has one.
    ///
    /// # Errors
    ///
    /// Fails where [`ModelRef::open`] does, but for values.
    pub fn open(model: &ModelRef, compute: &Compute) -> Result<Self> {
        let path = match model.base() {
            ModelRef::Path(path) => path.clone(),
            ModelRef::Hub(address) => hub::resolve(address)?,
            ModelRef::Builtin(_) | ModelRef::Adapted(_) => {
                let base = Weights::Model(Box::new(model.open(1, compute)?));
                return Ok(Self { base, adapter: None });
            }
        };
        let opened = compute.checkpoint(&path).map_err(|error| replacing(error, &path))?;
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

    /// The file that the run began with whose checkpoint this is, if it began with one that is
    /// still there.
    pub fn began_with(&self) -> Option<PathBuf> {
        let Self::Path(checkpoint) = self else { return None };
        let run = checkpoint.ancestors().nth(2).filter(|run| is_run(run))?;
        let text = std::fs::read_to_string(run.join(RECIPE)).ok()?;
        let recipe = Recipe::parse(RECIPE, &text).ok()?;
        match locate(&recipe.model.path, &SearchPath::of_recipe(run)).ok()? {
            Self::Path(path) if path.is_file() => Some(path),
            _ => None,
        }
    }
}

//! Whether what a run keeps is still what it saved, by digest: its adapter, the state of its
//! optimizer, and what it looks back at.
//!
//! An edited or exchanged file has the shapes of the right one: it would be trained on without a
//! word.

use std::path::Path;

use anyhow::{Result, bail};

use super::Saved;
use super::adapter_files::{check, compare, reference_folder};
use super::checkpoints::OPTIMIZER;
use crate::identity::digest;

impl Saved {
    /// Fails where its adapter is not the one that the run saved.
    ///
    /// # Errors
    ///
    /// Says what was expected; also when a file cannot be read.
    pub fn check_adapter(&self) -> Result<()> {
        check("its adapter", &self.path, self.state.adapter_sha256.as_deref())
    }

    /// Fails where the state of its optimizer, with the average that its stage looks back at, is
    /// not the one that the run saved.
    ///
    /// # Errors
    ///
    /// Says what was expected; also when the file cannot be read.
    pub fn check_optimizer(&self) -> Result<()> {
        self.optimizer()?;
        let Some(expected) = &self.state.optimizer_sha256 else { return Ok(()) };
        let path = self.path.join(OPTIMIZER);
        compare("the state of the optimizer", &path, expected, &digest(&path)?.sha256)
    }

    /// Fails where the policy of its stage's start is not the one that the run saved.
    ///
    /// # Errors
    ///
    /// Says what was expected; also when a file is missing or cannot be read.
    pub fn check_reference(&self) -> Result<()> {
        const WHAT: &str = "the reference of the stage";
        let root = self.path.ancestors().nth(2).unwrap_or(Path::new(""));
        let folder = reference_folder(root, self.state.stage);
        let Some(expected) = self.state.reference_sha256.as_deref() else { return Ok(()) };
        if !folder.is_dir() {
            bail!("{}: {WHAT} is missing: expected a folder", folder.display());
        }
        check(WHAT, &folder, Some(expected))
    }
}

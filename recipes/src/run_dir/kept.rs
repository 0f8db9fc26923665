//! Whether what a run with an adapter keeps is still what it saved, by digest.
//!
//! Adapters are small, and an edited or exchanged one has the shapes of the right one: it would be
//! trained on without a word.

use std::path::Path;

use anyhow::Result;

use super::Saved;
use super::adapter_files::{check, reference_folder};

impl Saved {
    /// Fails where its adapter is not the one that the run saved.
    ///
    /// # Errors
    ///
    /// Says what was expected; also when a file cannot be read.
    pub fn check_adapter(&self) -> Result<()> {
        check("its adapter", &self.path, self.state.adapter_sha256.as_deref())
    }

    /// Fails where the policy of its stage's start is there and not the one that the run saved.
    ///
    /// # Errors
    ///
    /// Says what was expected; also when a file cannot be read.
    pub fn check_reference(&self) -> Result<()> {
        let root = self.path.ancestors().nth(2).unwrap_or(Path::new(""));
        let folder = reference_folder(root, self.state.stage);
        let expected = self.state.reference_sha256.as_deref().filter(|_| folder.is_dir());
        check("the reference of the stage", &folder, expected)
    }
}

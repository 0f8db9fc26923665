//! The files of an adapter that a run keeps, and their digest.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use engine::adapter;
use evals::run::Files;
use serde_json::{Map, Value};

use super::base::together;
use super::{TensorFile, read_json};
use crate::identity::files_in;

/// Says in the place of an adapter that the policy of a stage's start is the base alone.
pub const BASE_NOTE: &str = "base.json";

/// SHA-256 of the lines that `sha256sum` prints for the files of an adapter in `folder`, or for the
/// note in its place. Other files in `folder` do not count.
///
/// # Errors
///
/// Fails when one cannot be read.
pub fn adapter_sha256(folder: &Path) -> Result<String> {
    let names = [adapter::CONFIG, adapter::TENSORS, BASE_NOTE];
    Ok(together(&files_in(folder, Files::ADAPTER, &names)?).1)
}

/// Where a run keeps the policy of a stage's start.
pub fn reference_folder(root: &Path, stage: usize) -> PathBuf {
    root.join(format!("reference/stage-{stage}"))
}

/// Fails when a file of the adapter in `folder` is missing, cut short or unreadable.
pub(super) fn open_adapter(folder: &Path) -> Result<()> {
    read_json::<Map<String, Value>>(&folder.join(adapter::CONFIG))?;
    TensorFile::open(&folder.join(adapter::TENSORS)).map(drop)
}

/// Fails where the files of an adapter in `folder`, which messages call `what`, are not the
/// `expected` ones.
pub(super) fn check(what: &str, folder: &Path, expected: Option<&str>) -> Result<()> {
    let Some(expected) = expected else { return Ok(()) };
    compare(what, folder, expected, &adapter_sha256(folder)?)
}

/// Fails where the digest of `what`, which is at `path`, is not the `expected` one.
pub(super) fn compare(what: &str, path: &Path, expected: &str, got: &str) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    let shown = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
    bail!(
        "{}: {what} is not the one that the run saved: expected files of sha256 {}, got {}",
        path.display(),
        shown(expected),
        shown(got)
    )
}

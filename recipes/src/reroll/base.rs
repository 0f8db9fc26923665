//! The base of an adapter that a run names: the run may be another person's.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use engine::hub::Hub;

use crate::policy::ModelRef;

/// Refuses a base that would be read for ever, or that a click would fetch.
pub(super) fn check_base(base: &ModelRef) -> Result<()> {
    match base {
        ModelRef::Path(path) => check_path(path),
        ModelRef::Hub(address) if Hub::from_env()?.find(address)?.is_none() => bail!(
            "the base {address} is not in the cache, and the server fetches none\n\
             fetch it by `stearin sample --model {address} 1+1`, then ask again"
        ),
        ModelRef::Builtin(_) | ModelRef::Hub(_) | ModelRef::Adapted(_) => Ok(()),
    }
}

/// Refuses what is no file, or a folder in which something is neither a file nor a folder. Links
/// are followed, since the cache of a hub consists of them.
fn check_path(path: &Path) -> Result<()> {
    let reading = || format!("reading the base {}", path.display());
    if !path.is_dir() {
        return check_file(path);
    }
    for entry in fs::read_dir(path).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.exists() && !path.is_dir() {
            check_file(&path)?;
        }
    }
    Ok(())
}

fn check_file(path: &Path) -> Result<()> {
    let about = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
    if about.is_file() {
        return Ok(());
    }
    bail!(
        "the base {} is a pipe or a device, expected a file\nthe trainer.json of the checkpoint names \
         it: restore it there, or start the server with --model",
        path.display()
    )
}

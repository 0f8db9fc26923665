use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::print;
use crate::config;

/// Prints the JSON schema of recipes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Compare it with a file instead, and fail where they differ.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let schema = config::schema()?;
    let Some(path) = &args.check else { return print(&schema) };
    let there = std::fs::read_to_string(path)
        .with_context(|| format!("reading the schema {}", path.display()))?;
    if there != schema {
        bail!(
            "{} is not the schema of this build: write it anew with `stearin schema > {}`",
            path.display(),
            path.display()
        );
    }
    Ok(())
}

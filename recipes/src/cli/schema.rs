use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::print;
use crate::config;

/// Prints the JSON schema of recipes, or their reference.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// In what form.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Compare it with a file instead, and fail where they differ.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// The forms of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A JSON schema, for editors.
    Json,
    /// A reference in Markdown, for people.
    Markdown,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let (now, command) = match args.format {
        Format::Json => (config::schema()?, "stearin schema"),
        Format::Markdown => (config::reference()?, "stearin schema --format markdown"),
    };
    let Some(path) = &args.check else { return print(&now) };
    let there = std::fs::read_to_string(path)
        .with_context(|| format!("reading the schema {}", path.display()))?;
    if there != now {
        let path = path.display();
        bail!("{path} is not the schema of this build: rewrite it with `{command} > {path}`");
    }
    Ok(())
}

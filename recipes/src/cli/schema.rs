use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use evals::run::SCHEMAS;

use super::print;
use crate::config;
use crate::names::nearest;

/// Prints the JSON schema of recipes or of a file of the run record, or the reference of recipes or
/// of the metrics.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Of what: `recipe`, or a file of the record: run.json, status.json, health.jsonl,
    /// changes.jsonl, samples/index.jsonl, samples/step.jsonl, tokens/step.jsonl, evals/NAME.json
    /// or evals/NAME.jsonl, with these names; or `metrics`: their keys, units and meanings, with
    /// `--format markdown`.
    #[arg(default_value = RECIPE)]
    file: String,
    /// In what form.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Compare it with a file instead, and fail where they differ.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// What stands for recipes.
const RECIPE: &str = "recipe";

/// What stands for the metrics.
const METRICS: &str = "metrics";

/// The forms of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A JSON schema, for editors and other programs.
    Json,
    /// A reference in Markdown, for people; of recipes and metrics only.
    Markdown,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let (now, command) = match (args.file.as_str(), args.format) {
        (RECIPE, Format::Json) => (config::schema()?, "stearin schema".to_owned()),
        (RECIPE, Format::Markdown) => {
            (config::reference()?, "stearin schema --format markdown".to_owned())
        }
        (METRICS, Format::Markdown) => {
            (evals::metrics::page(), "stearin schema metrics --format markdown".to_owned())
        }
        (METRICS, Format::Json) => bail!("the metrics have no schema: use --format markdown"),
        (file, Format::Json) => (of_record(file)?, format!("stearin schema {file}")),
        (_, Format::Markdown) => {
            bail!(
                "--format markdown is for recipes and metrics: docs/record.md describes the record"
            )
        }
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

/// The schema of a file of the record.
fn of_record(file: &str) -> Result<String> {
    let Some((_, schema)) = SCHEMAS.iter().find(|(name, _)| *name == file) else {
        let names: Vec<_> = SCHEMAS.iter().map(|(name, _)| *name).collect();
        let meant = nearest(file, names.iter().copied())
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        bail!(
            "there is no schema of `{file}`{meant}\nexpected {RECIPE}, {METRICS}, {}",
            names.join(", ")
        );
    };
    Ok(serde_json::to_string_pretty(&schema())? + "\n")
}

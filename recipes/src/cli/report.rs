use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use dash::{Wanted, report};
use evals::run::write_whole;

use super::output::check_outside;
use super::print;
use crate::spell;

/// Writes the dashboard's page on a run as one file, for people without the run: it works without
/// a server and without a network.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run directory.
    run: PathBuf,
    /// Write to this file, outside of the run; a file there is replaced.
    #[arg(short, long, value_name = "FILE.html")]
    output: PathBuf,
    /// Recorded groups, with tokens and tree: those with the most spread of the first, the middle
    /// and the last recorded step. The groups of steps with an alarm come besides; with 0 no group.
    #[arg(long, value_name = "N", default_value_t = 12)]
    groups: usize,
    /// Megabytes of the file at most. Groups are left out first.
    #[arg(long, value_name = "MB", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    max_mb: u32,
    /// Another run to compare it with.
    #[arg(long, value_name = "RUN")]
    against: Option<PathBuf>,
    /// The tokenizer of the model, for runs of other trainers that have ids of tokens without their
    /// texts: a `tokenizer.json`, or a folder that has one.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let Args { run, output, groups, max_mb, against, tokenizer } = args;
    for folder in [Some(run), against.as_ref()].into_iter().flatten() {
        if !folder.is_dir() {
            bail!("{}: expected a run directory", folder.display());
        }
        if let Some(parent) = output.parent() {
            check_outside("--output", output, parent, Some(folder))?;
        }
    }
    if output.is_dir() || output.file_name().is_none() {
        bail!("--output {}: expected a file, got a folder", output.display());
    }
    let most = *max_mb as usize * 1_000_000;
    let tokenizer = spell::optional(tokenizer.as_deref())?;
    let (run, against) = (run.clone(), against.clone());
    let wanted = Wanted { run, against, tokenizer, groups: *groups, most };
    let report = report(&wanted)?;
    let written = write_whole(output, report.html.as_bytes());
    written.with_context(|| format!("writing {}", output.display()))?;
    for note in &report.notes[1..] {
        print_note(note);
    }
    let megabytes = report.html.len() as f64 / 1e6;
    print(&format!("{megabytes:.1} MB in {}\n", output.display()))
}

fn print_note(note: &str) {
    let _ = writeln!(io::stderr(), "{}", crate::printable::printable(note));
}

use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use evals::export::{self, Curves, Export};
use evals::run::{Problem, Run};

use super::output::check_outside;
use crate::curves::{Ended, follow};
use crate::printable::{counted, printable, quoted};
use crate::signals::{INTERRUPTED, Stop};

/// Exports the metrics of a run: CSV, JSON lines, or event files for TensorBoard.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run directory; the run may be under way.
    run: PathBuf,
    /// In what form.
    #[arg(long, value_enum)]
    format: Format,
    /// Whose names the metrics get.
    #[arg(long, value_enum, default_value_t = Names::Verl)]
    names: Names,
    /// Go on while the run does: every second, add what is new.
    #[arg(long, requires = "output")]
    follow: bool,
    /// Write to this file; with `tensorboard`, into this folder. What was exported there before is
    /// replaced. Left out: to stdout.
    #[arg(short, long, value_name = "PATH", required_if_eq("format", "tensorboard"))]
    output: Option<PathBuf>,
}

/// The forms of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table with a column for each metric.
    Csv,
    /// An event file, for `tensorboard --logdir`.
    Tensorboard,
    /// A flat object a step with `_step` and `_timestamp`, as W&B keeps a history.
    Jsonl,
}

/// Whose names metrics get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Names {
    /// Those of the run, which are verl's where verl has the metric.
    Verl,
    /// TRL's where TRL has the metric, and else those of the run.
    Trl,
}

impl From<Format> for export::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Tensorboard => Self::Tensorboard,
            Format::Jsonl => Self::Jsonl,
        }
    }
}

impl From<Names> for export::Names {
    fn from(names: Names) -> Self {
        match names {
            Names::Verl => Self::Verl,
            Names::Trl => Self::Trl,
        }
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let run = Run::open(&args.run)?;
    check_kind(&run)?;
    run.problems.iter().for_each(note);
    let (format, names) = (args.format.into(), args.names.into());
    let mut curves = Curves::new(&run);
    curves.poll(run.generation())?;
    let Some(output) = &args.output else {
        explain(&curves, &run);
        let mut out = BufWriter::new(io::stdout().lock());
        Export::write(format, names, &curves, &mut out)?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    };
    check_output(output, args.format, &args.run)?;
    let mut export = Export::new(format, names, output, began(&run));
    let mut ended = Ended::Run;
    if args.follow {
        let stop = Stop::listen("the export ends here")?;
        let say = &mut |text: &str| tell(text);
        ended = follow(&args.run, &mut curves, &mut export, &stop, say)?;
    } else {
        let rows = curves.rows().len();
        let written = export.update(&curves, rows);
        written.with_context(|| format!("writing {}", export.path().display()))?;
    }
    if args.format == Format::Tensorboard {
        others(output, export.path());
    }
    // As it is now: it may have been followed for a while.
    explain(&curves, &Run::open(&args.run)?);
    let rows = curves.rows().len();
    tell(&format!("{} in {}", counted(rows, "step"), export.path().display()));
    Ok(if ended == Ended::Stopped { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Fails on a place where the export cannot be written, or must not: a file of the run.
fn check_output(output: &Path, format: Format, run: &Path) -> Result<()> {
    let is_folder = format == Format::Tensorboard;
    if output.is_dir() != is_folder && output.exists() {
        let (expected, got) =
            if is_folder { ("a folder", "a file") } else { ("a file", "a folder") };
        bail!("--output {}: expected {expected}, got {got}", output.display());
    }
    let folder = if is_folder { Some(output) } else { output.parent() };
    folder.map_or(Ok(()), |folder| check_outside("--output", output, folder, Some(run)))
}

/// Fails on the folder of an evaluation: it has no steps, so that nothing would be written.
fn check_kind(run: &Run) -> Result<()> {
    if run.facts.as_ref().is_none_or(|facts| facts.kind != "eval") {
        return Ok(());
    }
    let root = run.root().display();
    bail!(
        "{root} is an evaluation by itself: it has figures of sets, and no metrics of steps\n\
         to print them: stearin eval --table {}; to export curves, name the folder of a training",
        quoted(&root.to_string())
    );
}

/// When the run began, as far as it says so.
fn began(run: &Run) -> u64 {
    let facts = run.facts.as_ref().map(|facts| facts.created);
    facts.or(run.status.as_ref().map(|status| status.started)).unwrap_or_default()
}

/// Names exports of other runs in the folder, which TensorBoard draws with this one.
fn others(folder: &Path, own: &Path) {
    let paths = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_other = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("events.out.tfevents.") && Some(path.as_path()) != Some(own)
    };
    for other in paths.filter(is_other) {
        tell(&format!(
            "note: {} is of another run, and TensorBoard draws all of a folder as one run: remove it, \
             or use a folder for each run",
            other.display()
        ));
    }
}

/// Names the lines that were left out, and what is missing.
fn explain(curves: &Curves, run: &Run) {
    curves.problems().for_each(|problem| note(&problem));
    curves.lacks(run).iter().for_each(note);
}

fn note(problem: &Problem) {
    tell(&format!("note: {problem}"));
}

fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

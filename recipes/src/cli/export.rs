use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use engine::WeightType;

use super::output::check_outside;
use super::print;
use crate::config::{DTypeChoice, DeviceChoice};
use crate::console::Console;
use crate::export::{Format, Job};
use crate::policy::{self, Compute};
use crate::search_path::SearchPath;

/// Writes a model for other programs, or the adapter of one: docs/adapters.md has the formats.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run directory, one of its checkpoints, a folder, a `.gguf` file, `hf://org/name` or
    /// `builtin:NAME`.
    #[arg(value_name = "CHECKPOINT")]
    model: String,
    /// What is written: a model for transformers or llama.cpp, or an adapter for PEFT or
    /// llama.cpp.
    #[arg(long, value_enum)]
    format: Format,
    /// Add the adapter to the weights. A model with an adapter is written so or not at all.
    #[arg(long)]
    merge: bool,
    /// Type of the weights: `f32`, `f16`, `bf16` or `q8_0`. Left out: `f32`, which loses nothing.
    #[arg(long = "type", value_name = "TYPE", value_parser = WeightType::from_name)]
    kind: Option<WeightType>,
    /// An adapter on the model: a folder as PEFT has it, a `.gguf` adapter, or a run that trained
    /// one. A run given as the model has its own.
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    /// Where: a new folder, or with gguf and gguf-adapter a new file that ends in `.gguf`.
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let Args { model: name, format, merge, output, .. } = args;
    check_output(output, *format)?;
    if format.is_adapter() && args.kind.is_some() {
        bail!("--type: adapters are written in f32, in which they are trained; leave it out");
    }
    let search_path = SearchPath::of_command();
    let (adapter, console) = (args.adapter.as_deref(), Console::lines());
    let model = &policy::locate_with(name, adapter, &search_path, &console)?;
    let (format, merge, kind) = (*format, *merge, args.kind.unwrap_or(WeightType::F32));
    let compute = Compute::new(DeviceChoice::Cpu, DTypeChoice::F32)?;
    let compute = compute.with_notes_on(console.clone());
    let job = Job { model, name, format, merge, kind, output };
    let said = job.run(&compute, &console);
    print(&said.with_context(|| format!("exporting {name}"))?)
}

/// Fails on a place where the export cannot be written, or must not.
fn check_output(output: &Path, format: Format) -> Result<()> {
    let shown = output.display();
    let ends = output.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    if ends != format.is_file() {
        let expected = if ends { "a folder" } else { "a file that ends in .gguf" };
        bail!("--output {shown}: expected {expected}");
    }
    let is_empty =
        |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if output.exists() && (format.is_file() || !is_empty(output)) {
        bail!("--output {shown}: it exists already\nname another place, or remove it first");
    }
    let folder = if format.is_file() { output.parent() } else { Some(output) };
    folder.map_or(Ok(()), |folder| check_outside("--output", output, folder, None))
}

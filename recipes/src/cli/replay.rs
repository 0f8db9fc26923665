use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::output::check_outside;
use super::print;
use crate::console::Console;
use crate::replay::Job;

/// Rebuilds the weights of a run that trains without gradients, from those of its start and the log
/// of its updates, and compares them with its checkpoints: docs/zeroth-order.md.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run directory.
    run: PathBuf,
    /// The step whose weights are wanted. Left out: the last one.
    #[arg(long, value_name = "N")]
    step: Option<u64>,
    /// The checkpoint of the run to start from. Left out: the weights that the run began with.
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<PathBuf>,
    /// Write the weights: a new folder, as of a checkpoint. Left out: they are compared only.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let Args { run: root, step, from, output } = args;
    if let Some(output) = output {
        let shown = output.display();
        if output.exists() {
            bail!("--output {shown}: it exists already\nname another place, or remove it first");
        }
        check_outside("--output", output, output, Some(root))?;
    }
    let job = Job { root, step: *step, from: from.as_deref(), output: output.as_deref() };
    let said = job.run(&Console::lines());
    print(&said.with_context(|| format!("replaying {}", root.display()))?)
}

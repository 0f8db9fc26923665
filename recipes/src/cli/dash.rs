use std::io::{self, ErrorKind, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use dash::{Options, PATIENCE, Reroll, Server};

use super::{count, named};
use crate::config::DeviceChoice;
use crate::console::Console;
use crate::reroll::{Reroller, Source};
use crate::search_path::SearchPath;
use crate::{machine, policy, spell};

/// Shows runs in a local web page: curves, tokens, prefix trees, evaluations. It only reads, also
/// while a run continues. With a model it also scores completions and continues them again.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run directories, or folders that hold some.
    #[arg(default_value = "runs")]
    folders: Vec<PathBuf>,
    /// The port on this machine; 0 takes one that is free. To look at it from elsewhere, use a
    /// tunnel: `ssh -L 7117:localhost:7117 HOST`.
    #[arg(long, value_name = "PORT", default_value = "7117")]
    port: u16,
    /// The tokenizer of the model, for runs of other trainers that have ids of tokens without their
    /// texts: a `tokenizer.json`, or a folder that has one.
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Score recorded completions and fork them by this model: a folder, a `.gguf` file,
    /// `hf://org/name`, a run directory (its best checkpoint), `builtin:NAME`, or `run`, which
    /// stands for the checkpoints of the run that is shown. A fork is judged by the verifiers of
    /// the run's recipe, so those that are programs are started: use it on runs that you trust.
    #[arg(long, value_name = "MODEL|run")]
    model: Option<String>,
    /// An adapter on that model: a folder as PEFT has it, a `.gguf` adapter, or a run that trained
    /// one. Checkpoints of runs have their own.
    #[arg(long, value_name = "ADAPTER", requires = "model")]
    adapter: Option<String>,
    /// Where the model computes.
    #[arg(long, value_enum, default_value = "cpu", requires = "model")]
    device: DeviceChoice,
    /// Threads of the model. Left out: all.
    #[arg(long, value_name = "N", value_parser = count, requires = "model")]
    threads: Option<NonZeroUsize>,
}

impl Args {
    /// What scores and forks, where it is asked for.
    fn reroll(&self) -> Result<Option<Box<dyn Reroll>>> {
        let Some(name) = &self.model else { return Ok(None) };
        machine::fix_threads(self.threads)?;
        let (adapter, console) = (self.adapter.as_deref(), Console::lines());
        let source = match (name.as_str(), adapter) {
            ("run", None) => Source::Checkpoints,
            ("run", Some(_)) => {
                bail!(
                    "--adapter: expected --model MODEL; checkpoints of runs have their own adapters"
                )
            }
            (name, adapter) => {
                let search_path = SearchPath::of_command();
                let model_ref = policy::locate_with(name, adapter, &search_path, &console);
                Source::Model {
                    name: named(name, adapter),
                    model_ref: model_ref.context("--model")?,
                }
            }
        };
        Ok(Some(Box::new(Reroller::new(source, self.device, console))))
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    for folder in &args.folders {
        if !folder.is_dir() {
            bail!("{}: expected a run directory or a folder that holds some", folder.display());
        }
    }
    let options = Options {
        folders: args.folders.clone(),
        port: args.port,
        tokenizer: spell::optional(args.tokenizer.as_deref())?,
        reroll: args.reroll()?,
        patience: PATIENCE,
    };
    let server = Server::bind(options).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {} is taken, perhaps by another `stearin dash`: use --port for another, or 0 for \
             any that is free",
            args.port
        ),
        _ => anyhow::Error::new(error).context(format!("listening on port {}", args.port)),
    })?;
    let (address, runs) = (server.address()?, server.runs().count());
    let noun = if runs == 1 { "run" } else { "runs" };
    writeln!(io::stdout(), "{runs} {noun} at http://{address}\nCtrl-C ends it")?;
    server.run().context("serving the page")
}

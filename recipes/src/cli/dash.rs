use std::io::{self, ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use dash::{Options, Server};

/// Shows runs in a local web page: curves, tokens, prefix trees, evaluations. It only reads, also
/// while a run continues.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run directories, or folders that hold some.
    #[arg(default_value = "runs")]
    folders: Vec<PathBuf>,
    /// The port on this machine; 0 takes one that is free. To look at it from elsewhere, use a
    /// tunnel: `ssh -L 7117:localhost:7117 HOST`.
    #[arg(long, value_name = "PORT", default_value = "7117")]
    port: u16,
}

pub(super) fn run(args: &Args) -> Result<()> {
    for folder in &args.folders {
        if !folder.is_dir() {
            bail!("{}: expected a run directory or a folder that holds some", folder.display());
        }
    }
    let options = Options { folders: args.folders.clone(), port: args.port };
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

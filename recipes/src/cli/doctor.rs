use std::num::NonZeroUsize;

use anyhow::{Result, bail};

use super::{count, print};
use crate::{doctor, machine};

/// Looks at this machine and this build, and checks gradients against finite differences.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Threads. Left out: all.
    #[arg(long, value_name = "N", value_parser = count)]
    threads: Option<NonZeroUsize>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let findings = doctor::examine(machine::fix_threads(args.threads)?);
    for finding in &findings {
        print(&format!("{finding}\n"))?;
    }
    let broken: Vec<_> = findings
        .iter()
        .filter(|finding| finding.state == doctor::CheckState::Broken)
        .map(|finding| finding.what)
        .collect();
    if broken.is_empty() { Ok(()) } else { bail!("broken: {}", broken.join(", ")) }
}

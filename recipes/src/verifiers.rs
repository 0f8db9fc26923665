//! Verifiers that users bring: a child process or a server, and what is done while one is away.
//!
//! docs/verifiers.md is the protocol that both speak.

mod config;
mod http;
mod patience;
mod process;
mod protocol;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rewards::rubric::Weighted;
use rewards::{Rubric, Verifier};

pub use config::{OutsideConfig, RewardConfig, RewardsConfig};
pub use http::{Http, HttpConfig};
pub use patience::{Patient, Waiting};
pub use process::{Process, ProcessConfig};

/// The verifiers of a recipe. Those outside this process are waited for while they are away.
///
/// # Errors
///
/// Fails on settings that are wrong and on a program that cannot be started.
pub fn build(config: &RewardsConfig, waiting: &Waiting) -> Result<Rubric> {
    let parts = config.0.iter().map(|one| match one {
        RewardConfig::Inside(config) => Ok(config.build()?),
        RewardConfig::Outside(config) => {
            let (weight, verifier): (_, Box<dyn Verifier>) = match config {
                OutsideConfig::Process(config) => {
                    let process = Process::start(config.clone(), waiting.console.clone())?;
                    (config.weight, Box::new(process))
                }
                OutsideConfig::Http(config) => {
                    (config.weight, Box::new(Http::new(config.clone())?))
                }
            };
            Ok(Weighted { weight, verifier: Box::new(Patient::new(verifier, waiting.clone())) })
        }
    });
    Ok(Rubric::new(parts.collect::<Result<_>>()?)?)
}

/// Looks for the programs that verifiers start, and the certificates that they trust, before a run
/// begins; `rewards` are all verifiers of its recipe, with their keys.
///
/// # Errors
///
/// Fails, naming the key, when there is none of that name, or no certificate in the file.
pub fn check(rewards: &[(String, &RewardsConfig)]) -> Result<()> {
    for (key, verifier) in outside(rewards) {
        match verifier {
            OutsideConfig::Process(config) => {
                let program = config.command.first().map(String::as_str).unwrap_or_default();
                if !exists(program) {
                    bail!("{key}.command: there is no program `{program}`");
                }
            }
            OutsideConfig::Http(config) => {
                Http::new(config.clone()).with_context(|| key)?;
            }
        }
    }
    Ok(())
}

/// The files that the commands of verifiers name, by their keys: programs by a path, and
/// arguments.
///
/// A program that is found through `PATH` belongs to the machine, and a `.log` is written, not
/// read.
pub fn files(rewards: &[(String, &RewardsConfig)]) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for (key, verifier) in outside(rewards) {
        let OutsideConfig::Process(config) = verifier else { continue };
        for (index, word) in config.command.iter().enumerate() {
            let is_named = index > 0 || word.contains('/');
            let path = PathBuf::from(word);
            let is_log = path.extension().is_some_and(|extension| extension == "log");
            if is_named && !is_log && path.is_file() {
                found.push((format!("{key}.command[{index}]"), path));
            }
        }
    }
    found
}

/// The verifiers outside this process, by their keys.
fn outside<'a>(
    rewards: &[(String, &'a RewardsConfig)],
) -> impl Iterator<Item = (String, &'a OutsideConfig)> {
    rewards.iter().flat_map(|(key, rewards)| {
        rewards.0.iter().enumerate().filter_map(move |(index, verifier)| match verifier {
            RewardConfig::Outside(config) => Some((format!("{key}[{index}]"), config)),
            RewardConfig::Inside(_) => None,
        })
    })
}

/// Whether a program can be found as the system does: by its path, or else by name in `PATH`.
fn exists(program: &str) -> bool {
    if cfg!(not(unix)) {
        // A program may be started there by less than its whole name.
        return true;
    }
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

fn default_weight() -> f64 {
    1.0
}

fn default_judges() -> bool {
    true
}

/// What is wrong with lengths of time.
fn problem(seconds: &[(&str, f64)]) -> Option<String> {
    /// A day: longer waits are mistakes.
    const MOST: f64 = 86400.0;
    let wrong = seconds.iter().find(|&&(_, value)| !(value > 0.0 && value <= MOST));
    wrong.map(|(key, value)| {
        format!("{key}: expected more than 0 and at most {MOST} seconds, got {value}")
    })
}

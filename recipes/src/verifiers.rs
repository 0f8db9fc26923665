//! Verifiers that users bring: a child process or a server, and what is done while one is away.
//!
//! docs/verifiers.md is the protocol that both speak.

mod http;
mod patience;
mod process;
mod protocol;

use std::path::Path;

use anyhow::{Context, Result, bail};
use rewards::rubric::Weighted;
use rewards::{Rubric, Verifier};

pub use http::{Http, HttpConfig};
pub use patience::{Patient, Waiting};
pub use process::{Process, ProcessConfig};

use crate::config::{OutsideConfig, Recipe, RewardConfig, RewardsConfig, Stage};

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

/// Looks for the programs that a recipe starts, and the certificates that it trusts, before its run
/// begins.
///
/// # Errors
///
/// Fails, naming the key, when there is none of that name, or no certificate in the file.
pub fn check(recipe: &Recipe) -> Result<()> {
    let stages = recipe.stages.iter().enumerate().filter_map(|(index, stage)| match stage {
        Stage::Rl(stage) => Some((format!("stage.{index}.rewards"), &stage.rewards)),
        Stage::Sft(_) => None,
    });
    for (key, rewards) in stages.chain([("eval.rewards".to_owned(), &recipe.eval.rewards)]) {
        for (index, verifier) in rewards.0.iter().enumerate() {
            match verifier {
                RewardConfig::Outside(OutsideConfig::Process(config)) => {
                    let program = config.command.first().map(String::as_str).unwrap_or_default();
                    if !exists(program) {
                        bail!("{key}[{index}].command: there is no program `{program}`");
                    }
                }
                RewardConfig::Outside(OutsideConfig::Http(config)) => {
                    Http::new(config.clone()).with_context(|| format!("{key}[{index}]"))?;
                }
                RewardConfig::Inside(_) => {}
            }
        }
    }
    Ok(())
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

//! Verifiers that users bring: a child process or a server, and what is done while one is away.
//!
//! docs/verifiers.md is the protocol that both speak.

mod command;
mod config;
mod fault;
mod http;
mod process;
mod protocol;
mod retry;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rewards::rubric::Weighted;
use rewards::{Attempt, Problem, Rubric, Verifier};

pub(crate) use command::{as_list, is_script};
pub use config::{OutsideConfig, RewardConfig, RewardsConfig};
pub use fault::{Fault, FaultKind};
pub use http::{Http, HttpConfig};
pub use process::{Process, ProcessConfig};
use protocol::printable;
pub use retry::{Outside, RetryPolicy, Retrying, Trial, TrialAttempt};

use crate::console::Console;

/// The verifiers of a run that are outside this process.
///
/// Each is started once, and shared by the stages and the evaluation that have equal settings for
/// it, but for its weight.
#[derive(Debug)]
pub struct Verifiers {
    console: Console,
    /// With the key of the first that names it.
    outside: Vec<(String, OutsideConfig, Arc<Retrying>)>,
}

impl Verifiers {
    /// Starts them; `rewards` are all verifiers of a recipe, with their keys. Those that are away
    /// later are waited for, as `retry_policy` says.
    ///
    /// # Errors
    ///
    /// Fails, naming the key, where [`check`] does and on a program that cannot be started.
    pub fn start(rewards: &[(String, &RewardsConfig)], retry_policy: &RetryPolicy) -> Result<Self> {
        check(rewards)?;
        let mut started = Self { console: retry_policy.console.clone(), outside: Vec::new() };
        for (key, config) in outside(rewards) {
            if started.find(config).is_none() {
                let retrying = config.start(retry_policy).with_context(|| key.clone())?;
                started.outside.push((key, config.clone(), Arc::new(retrying)));
            }
        }
        Ok(started)
    }

    /// First contact: each is asked to judge the answer of the first of `problems`, and the verdict
    /// is not used. One that answers with an error is asked to judge further attempts: the answers
    /// of the other problems, and a text that is no answer.
    ///
    /// # Errors
    ///
    /// Fails, naming the key, on the first that does not answer as the protocol has it, or answers
    /// every attempt with an error. One that cannot be reached is waited for first.
    pub fn run_trials(&self, problems: &[&Problem]) -> Result<()> {
        let trials = trials(problems);
        for (key, _, retrying) in &self.outside {
            let mut refusals = Vec::new();
            for trial in &trials {
                match retrying.trial(trial).with_context(|| key.clone())?.refusal {
                    Some(reason) => {
                        refusals.push(format!("{}, with an error: {reason}", trial.what));
                    }
                    None => break,
                }
            }
            let name = retrying.name();
            if let [first, ..] = refusals.as_slice() {
                if refusals.len() == trials.len() {
                    bail!(
                        "{key}: verifier `{name}` answers each of {} trial attempts with an \
                         error\n  {}\n\
                         repair it or its settings: no completion could be judged",
                        refusals.len(),
                        refusals.join("\n  ")
                    );
                }
                self.console
                    .warn(&format!("{key}: verifier `{name}` answers a trial attempt, {first}"));
            }
        }
        Ok(())
    }

    /// The verifiers of one stage or evaluation.
    ///
    /// # Errors
    ///
    /// Fails on settings that are wrong, and on a verifier that was not started.
    pub fn rubric(&self, config: &RewardsConfig) -> Result<Rubric> {
        let parts = config.0.iter().map(|one| match one {
            RewardConfig::Inside(config) => Ok(config.build()?),
            RewardConfig::Outside(config) => {
                let retrying = self.find(config).context("this verifier was not started")?;
                let verifier: Box<dyn Verifier> = Box::new(retrying.clone());
                Ok(Weighted { weight: config.weight(), verifier })
            }
        });
        Ok(Rubric::new(parts.collect::<Result<_>>()?)?)
    }

    fn find(&self, config: &OutsideConfig) -> Option<&Arc<Retrying>> {
        let same = self.outside.iter().find(|(_, started, _)| started.is_same_judge(config));
        same.map(|(_, _, retrying)| retrying)
    }
}

/// What a verifier is asked at the first contact.
fn trials<'a>(problems: &[&'a Problem]) -> Vec<TrialAttempt<'a>> {
    const NO_ANSWER: &str = "I do not know.";
    let trial = |what, problem, text| {
        let attempt = Attempt { problem, text, num_tokens: 1, max_tokens: 1, truncated: false };
        TrialAttempt { what, attempt }
    };
    let answers = problems.iter().map(|problem| {
        let id = printable(&problem.id);
        match problem.solution.as_ref().unwrap_or(&problem.answer) {
            none if none.is_empty() => {
                let what = format!("made up, since problem `{id}` has no answer");
                trial(what, problem, NO_ANSWER)
            }
            text => trial(format!("the answer of problem `{id}`"), problem, text),
        }
    });
    let first = problems.first();
    let none =
        first.map(|problem| trial("a text that is no answer".to_owned(), problem, NO_ANSWER));
    answers.chain(none).collect()
}

/// Looks for the programs and scripts that verifiers start, the certificates that they trust and
/// the environment variables that they need, before a run begins; `rewards` are all verifiers of
/// its recipe, with their keys.
///
/// # Errors
///
/// Fails, naming the key, when there is no such program, script, variable, or certificate in the
/// file.
pub fn check(rewards: &[(String, &RewardsConfig)]) -> Result<()> {
    for (key, verifier) in outside(rewards) {
        match verifier {
            OutsideConfig::Process(config) => {
                if let Some(problem) = command::problem(&config.command) {
                    bail!("{key}.command: {problem}");
                }
            }
            OutsideConfig::Http(config) => {
                Http::new(config.clone(), Console::silent()).with_context(|| key)?;
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
                found.push((format!("{key}.command.{index}"), path));
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
            RewardConfig::Outside(config) => Some((format!("{key}.{index}"), config)),
            RewardConfig::Inside(_) => None,
        })
    })
}

fn default_weight() -> f64 {
    1.0
}

fn default_judges() -> bool {
    true
}

/// Processes of a verifier, or requests under way, at most: each takes a thread.
const MOST_AT_A_TIME: usize = 1024;

/// What is wrong with how many there are to be at a time.
fn crowd(key: &str, count: NonZeroUsize) -> Option<String> {
    let problem = || format!("{key}: expected at most {MOST_AT_A_TIME}, got {count}");
    (count.get() > MOST_AT_A_TIME).then(problem)
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

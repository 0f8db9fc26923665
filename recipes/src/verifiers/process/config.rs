//! Settings of a verifier that is a program.

use std::num::NonZeroUsize;

use rewards::rubric::Described;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{crowd, problem};

/// A verifier that is a child process and stays: one JSON object a line in both directions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// Name of its part of the reward, in records and metrics.
    #[serde(default = "default_name")]
    pub name: String,
    /// Factor of its reward.
    ///
    /// Names: TRL `reward_weights`.
    #[serde(default = "crate::verifiers::default_weight")]
    pub weight: f64,
    /// The program and its arguments. It starts in the folder where `stearin` was started.
    pub command: Vec<String>,
    /// Whether its verdicts say if the answer is correct. Exactly one verifier of a recipe has to.
    #[serde(default = "crate::verifiers::default_judges")]
    pub judges_answers: bool,
    /// Longest time for one attempt, in seconds from when it is handed over.
    #[serde(default = "default_deadline")]
    pub deadline_s: f64,
    /// Longest time until its first line, in seconds from its start.
    #[serde(default = "default_start")]
    pub start_s: f64,
    /// Number of processes that share the attempts of a step.
    #[serde(default = "default_workers")]
    pub workers: NonZeroUsize,
    /// Longest time that the run waits for a program that cannot be started, in seconds, or
    /// `"off"`.
    #[serde(default, with = "settings::off")]
    #[schemars(with = "settings::OrOff<f64>")]
    pub give_up_after_s: Option<f64>,
}

fn default_name() -> String {
    "process".to_owned()
}

fn default_deadline() -> f64 {
    10.0
}

fn default_start() -> f64 {
    60.0
}

fn default_workers() -> NonZeroUsize {
    NonZeroUsize::MIN
}

impl ProcessConfig {
    pub(crate) fn described(&self) -> Described<'_> {
        let Self { name, weight, judges_answers, .. } = self;
        Described { name, weight: *weight, judges_answers: *judges_answers, outside: true }
    }

    pub(crate) fn problem(&self) -> Option<String> {
        if self.command.first().is_none_or(String::is_empty) {
            return Some("command: expected a program and its arguments, got nothing".into());
        }
        let times = [("deadline_s", self.deadline_s), ("start_s", self.start_s)];
        problem(&times).or_else(|| crowd("workers", self.workers)).or_else(|| {
            self.give_up_after_s.and_then(|limit| problem(&[("give_up_after_s", limit)]))
        })
    }
}

//! `status.json`: what a run is doing now, replaced at every step and change of phase.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a run is doing, for its readers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of the record.
    pub format: u32,
    /// Where it is in its life.
    #[serde(flatten)]
    pub state: State,
    /// What it does within the step; none once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What it waits for, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// Stage of the next step, or of the last one where all are done; counted from 0.
    #[serde(default)]
    pub stage: usize,
    /// When this was written, in seconds since 1970-01-01 UTC.
    #[serde(default)]
    pub updated: u64,
    /// When the process began, in seconds since 1970-01-01 UTC.
    #[serde(default)]
    pub started: u64,
    /// Seconds of a step: the median of the last 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_s: Option<f64>,
    /// Seconds until the last step, at that pace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<f64>,
    /// Number of the process that wrote it.
    #[serde(default)]
    pub pid: u32,
    /// The machine that it runs on; empty where it is not known.
    #[serde(default)]
    pub host: String,
    /// Grows by one whenever something of the record was cut or rewritten, which a reader cannot
    /// see from the length of a file.
    #[serde(default)]
    pub generation: u64,
}

/// Where a run is in its life. A run that says `running` while nobody holds its lock was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// Training.
    Running,
    /// All steps are done.
    Finished,
    /// Asked to stop, and saved; `--resume` goes on.
    Interrupted,
    /// Stopped by an error.
    Failed {
        /// The error.
        reason: String,
    },
}

/// What a run does within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Samples completions.
    Gather,
    /// Judges them.
    Judge,
    /// Moves the weights.
    Update,
    /// Judges the policy by held-out problems.
    Eval,
    /// Saves a checkpoint.
    Save,
    /// Waits for a verifier.
    Waiting,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// The verifier.
    #[serde(rename = "for")]
    pub whom: String,
    /// Since when, in seconds since 1970-01-01 UTC.
    pub since: u64,
    /// What it answered, or why it did not.
    pub reason: String,
}

impl Status {
    /// Whether a run that says `running` has written nothing for so long that it may be dead: more
    /// than 30 s, and more than 5 steps, before `now`, in seconds since 1970-01-01 UTC.
    pub fn is_silent(&self, now: u64) -> bool {
        let patience = 30.0_f64.max(5.0 * self.step_s.unwrap_or(0.0));
        self.state == State::Running && now.saturating_sub(self.updated) as f64 > patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_silent_after_a_while_that_grows_with_its_steps() {
        let text = r#"{"format": 2, "state": "running", "step": 1, "total_steps": 2,
            "updated": 1000, "of": "a later version"}"#;
        let mut status: Status = serde_json::from_str(text).unwrap();
        assert!(!status.is_silent(1030) && status.is_silent(1031));
        status.step_s = Some(60.0);
        assert!(!status.is_silent(1300) && status.is_silent(1301));
        status.state = State::Finished;
        assert!(!status.is_silent(9999));
    }
}

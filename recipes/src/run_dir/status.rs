use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{FORMAT, RunDir, partial, read_json, write_json};

const STATUS: &str = "status.json";

/// What a run is doing, for its readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this file.
    pub format: u32,
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
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
    /// Number of the process that wrote it.
    #[serde(default)]
    pub pid: u32,
}

/// Where a run is in its life. A run that says `running` while nobody holds its lock was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

impl Status {
    /// What this process does now: `step` of `total_steps` are done, the next one is of `stage`.
    #[expect(clippy::disallowed_methods, reason = "when it was written is for people alone")]
    pub fn now(state: State, step: u64, total_steps: u64, stage: usize) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (updated, pid) = (since.as_secs(), std::process::id());
        Self { format: FORMAT, state, step, total_steps, stage, updated, pid }
    }
}

impl RunDir {
    /// Tells readers what the run is doing.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written.
    pub fn set_status(&self, status: &Status) -> Result<()> {
        let path = self.root.join(STATUS);
        if status.state != State::Running {
            return write_json(&path, status);
        }
        // Written in every step, so it is not synced: after a loss of power no reader needs it, and
        // the run's own states do not depend on it.
        let text = serde_json::to_vec_pretty(status).expect("plain fields become JSON");
        let partial = partial(&path);
        let write = || -> std::io::Result<()> {
            File::create(&partial)?.write_all(&text)?;
            fs::rename(&partial, &path)
        };
        write()
            .inspect_err(|_| {
                let _ = fs::remove_file(&partial);
            })
            .with_context(|| format!("writing {}", path.display()))
    }
}

/// Reads what a run is doing.
///
/// # Errors
///
/// Fails when `root` is no run directory that has begun.
pub fn status(root: &Path) -> Result<Status> {
    read_json(&root.join(STATUS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::Environment;

    fn run(temp: &Path) -> RunDir {
        RunDir::create(&temp.join("a"), "", &Environment::of_this_process(1)).unwrap()
    }

    #[test]
    fn a_status_says_why_a_run_failed() {
        let temp = tempfile::tempdir().unwrap();
        let run = run(temp.path());
        let failed = State::Failed { reason: "disk full".into() };
        run.set_status(&Status::now(failed.clone(), 3, 9, 1)).unwrap();
        let read = status(run.root()).unwrap();
        assert_eq!(read.state, failed);
        assert_eq!((read.step, read.total_steps, read.stage), (3, 9, 1));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the clock is what is tested")]
    fn a_status_says_when_and_by_whom_it_was_written() {
        let temp = tempfile::tempdir().unwrap();
        let run = run(temp.path());
        run.set_status(&Status::now(State::Running, 1, 2, 0)).unwrap();
        let read = status(run.root()).unwrap();
        assert_eq!(read.pid, std::process::id());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((now - 60..=now).contains(&read.updated), "{}", read.updated);
        let names: Vec<_> = fs::read_dir(run.root()).unwrap().collect();
        assert!(names.iter().all(|name| {
            name.as_ref().unwrap().path().extension().is_none_or(|it| it != "partial")
        }));
    }

    #[test]
    fn a_status_of_an_earlier_version_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let text = r#"{"format": 1, "state": "finished", "step": 2, "total_steps": 2}"#;
        fs::write(temp.path().join(STATUS), text).unwrap();
        let read = status(temp.path()).unwrap();
        assert_eq!((read.state, read.step, read.pid), (State::Finished, 2, 0));
    }
}

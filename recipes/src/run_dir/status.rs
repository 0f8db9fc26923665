use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use evals::run::{FORMAT, Phase, State, Status, Waiting};

use super::{partial, read_json, write_json};
use crate::console::Beat;
use crate::machine::{host, now};

pub(crate) const STATUS: &str = "status.json";

/// Time after which a status is written again while a phase lasts.
const EVERY: Duration = Duration::from_secs(2);
/// Steps whose median time is shown.
const RECENT: usize = 20;

/// Tells readers what the run is doing: at every step and change of phase, and every two seconds
/// while a phase lasts. All copies are one.
#[derive(Debug, Clone)]
pub struct Heartbeat(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    status: Status,
    /// When it was last written.
    written: Option<Instant>,
    /// When the last step was done.
    stepped: Option<Instant>,
    /// Seconds of the last steps.
    seconds: VecDeque<f64>,
}

impl Heartbeat {
    /// Of a run of so many steps at `root`, whose files are of this generation. Writes nothing yet.
    pub fn new(root: &Path, total_steps: u64, generation: u64) -> Self {
        let started = now() as u64;
        let status = Status {
            format: FORMAT,
            state: State::Running,
            phase: None,
            waiting: None,
            step: 0,
            total_steps,
            stage: 0,
            updated: started,
            started,
            step_s: None,
            eta_s: None,
            pid: std::process::id(),
            host: host(),
            generation,
        };
        let (written, stepped, seconds) = Default::default();
        let path = root.join(STATUS);
        Self(Arc::new(Mutex::new(Inner { path, status, written, stepped, seconds })))
    }

    /// The run is in `state`: `step` steps are done, the next one is of `stage`.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written.
    pub fn set(&self, state: State, step: u64, stage: usize) -> Result<()> {
        let mut own = self.lock();
        if step > own.status.step {
            let before = own.stepped.replace(Instant::now());
            if let Some(before) = before {
                let steps = step - own.status.step;
                own.seconds.push_back(before.elapsed().as_secs_f64() / steps as f64);
                if own.seconds.len() > RECENT {
                    own.seconds.pop_front();
                }
            }
        } else if own.stepped.is_none() {
            own.stepped = Some(Instant::now());
        }
        let is_running = state == State::Running;
        let median = own.median();
        let status = &mut own.status;
        (status.state, status.step, status.stage) = (state, step, stage);
        status.step_s = median;
        let left = status.total_steps.saturating_sub(step) as f64;
        status.eta_s = median.filter(|_| is_running).map(|seconds| seconds * left);
        if !is_running {
            (status.phase, status.waiting) = (None, None);
        }
        own.write()
    }

    /// Takes up what the run does within a step. A status that cannot be written is reported by the
    /// next step.
    pub fn beat(&self, beat: Beat<'_>) {
        let mut own = self.lock();
        let status = &mut own.status;
        let (phase, waiting) = match beat {
            Beat::Phase(Phase::Waiting) => (Phase::Waiting, status.waiting.take()),
            Beat::Phase(phase) => (phase, None),
            Beat::Waits { whom, reason } => {
                let since = status.waiting.as_ref().map_or(now() as u64, |waiting| waiting.since);
                let (whom, reason) = (whom.to_owned(), reason.to_owned());
                (Phase::Waiting, Some(Waiting { whom, since, reason }))
            }
        };
        let is_news = status.phase != Some(phase);
        (status.phase, status.waiting) = (Some(phase), waiting);
        if is_news || own.written.is_none_or(|written| written.elapsed() >= EVERY) {
            let _ = own.write();
        }
    }

    /// Something of the record was cut or written again.
    pub fn rewrote(&self) {
        self.lock().status.generation += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Inner {
    fn median(&self) -> Option<f64> {
        let mut sorted: Vec<_> = self.seconds.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    fn write(&mut self) -> Result<()> {
        self.status.updated = now() as u64;
        self.written = Some(Instant::now());
        let path = &self.path;
        if self.status.state != State::Running {
            return write_json(path, &self.status);
        }
        // Written in every step, so it is not synced: after a loss of power no reader needs it, and
        // the run's own states do not depend on it.
        let text = serde_json::to_vec_pretty(&self.status).expect("plain fields become JSON");
        let partial = partial(path);
        let write = || -> std::io::Result<()> {
            // Not what a crash left, nor a pipe that waits for a reader.
            let _ = fs::remove_file(&partial);
            File::create_new(&partial)?.write_all(&text)?;
            fs::rename(&partial, path)
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

/// Steps that the run at `root` has done; 0 where its status cannot be read.
pub fn steps_done(root: &Path) -> u64 {
    status(root).map_or(0, |status| status.step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_why_a_run_failed() {
        let temp = tempfile::tempdir().unwrap();
        let heartbeat = Heartbeat::new(temp.path(), 9, 4);
        let failed = State::Failed { reason: "disk full".into() };
        heartbeat.beat(Beat::Phase(Phase::Update));
        heartbeat.set(failed.clone(), 3, 1).unwrap();
        let read = status(temp.path()).unwrap();
        assert_eq!(read.state, failed);
        assert_eq!((read.step, read.total_steps, read.stage, read.generation), (3, 9, 1, 4));
        assert_eq!(read.phase, None);
    }

    #[test]
    fn a_status_says_when_and_by_whom_it_was_written_and_leaves_nothing_beside_it() {
        let temp = tempfile::tempdir().unwrap();
        let before = now() as u64;
        let heartbeat = Heartbeat::new(temp.path(), 2, 0);
        for step in 0..3 {
            heartbeat.set(State::Running, step, 0).unwrap();
        }
        heartbeat.rewrote();
        heartbeat.beat(Beat::Phase(Phase::Gather));
        let read = status(temp.path()).unwrap();
        assert_eq!((read.pid, read.generation), (std::process::id(), 1));
        assert_eq!(read.phase, Some(Phase::Gather));
        assert!(read.step_s.is_some() && read.eta_s == Some(0.0), "{read:?}");
        assert!((before..before + 60).contains(&read.updated), "{}", read.updated);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_status_says_whom_the_run_waits_for() {
        let temp = tempfile::tempdir().unwrap();
        let heartbeat = Heartbeat::new(temp.path(), 2, 0);
        heartbeat.set(State::Running, 0, 0).unwrap();
        heartbeat.beat(Beat::Waits { whom: "judge", reason: "refused" });
        heartbeat.beat(Beat::Phase(Phase::Waiting));
        let read = status(temp.path()).unwrap();
        let waiting = read.waiting.unwrap();
        assert_eq!((waiting.whom.as_str(), waiting.reason.as_str()), ("judge", "refused"));
        heartbeat.beat(Beat::Phase(Phase::Judge));
        assert_eq!(status(temp.path()).unwrap().waiting, None);
    }
}

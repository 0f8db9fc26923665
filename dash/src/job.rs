//! A fork under way, and those who listen to it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evals::interval::wilson;
use rewards::Outcome;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::reroll::{Continuation, Refusal};
use crate::runs::lock;

/// A fork under way. The model's thread tells it what comes; requests listen to it and cancel it.
pub struct Job {
    state: watch::Sender<State>,
    /// What is called once it is cancelled.
    on_cancel: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

/// What is known of a job.
#[derive(Debug, Default)]
pub(crate) struct State {
    begun: bool,
    pub(crate) told: Vec<Continuation>,
    pub(crate) end: Option<End>,
    /// Why it was cancelled.
    cancelled: Option<String>,
    listeners: usize,
    /// How many have listened so far.
    visits: u64,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    Done(Share),
    Cancelled(Share, String),
    Failed(Refusal),
}

/// How many continuations are correct, with Wilson's 95 % interval of the share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Share {
    pub(crate) correct: usize,
    pub(crate) n: usize,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Share {
    fn of(told: &[Continuation]) -> Self {
        let n = told.len();
        let correct = told.iter().filter(|one| one.outcome == Outcome::Correct).count();
        let (low, high) = wilson(correct as f64 / n.max(1) as f64, n);
        Self { correct, n, low, high }
    }
}

impl Job {
    pub(crate) fn new() -> Self {
        Self { state: watch::Sender::default(), on_cancel: Mutex::default() }
    }

    /// Nothing is left to refuse: sampling begins.
    pub fn begin(&self) {
        self.state.send_modify(|state| state.begun = true);
    }

    /// A continuation is judged.
    pub fn tell(&self, continuation: Continuation) {
        self.state.send_modify(|state| state.told.push(continuation));
    }

    /// Whether it is to end.
    pub fn is_cancelled(&self) -> bool {
        self.state.borrow().cancelled.is_some()
    }

    /// Calls `call` as soon as it is cancelled, on another thread; at once if it is already.
    pub fn on_cancel(&self, call: impl FnOnce() + Send + 'static) {
        let mut calls = lock(&self.on_cancel);
        if self.is_cancelled() {
            call();
        } else {
            calls.push(Box::new(call));
        }
    }

    /// Cancels it; one that has ended stays as it is.
    pub(crate) fn cancel(&self, why: &str) {
        let mut calls = lock(&self.on_cancel);
        self.state.send_modify(|state| {
            state.cancelled.get_or_insert_with(|| why.to_owned());
        });
        calls.drain(..).for_each(|call| call());
    }

    pub(crate) fn end(&self, ended: Result<(), Refusal>) {
        self.state.send_modify(|state| {
            let share = Share::of(&state.told);
            state.end = Some(match (state.cancelled.clone(), ended) {
                (Some(why), _) => End::Cancelled(share, why),
                (None, Ok(())) => End::Done(share),
                (None, Err(refusal)) => End::Failed(refusal),
            });
        });
    }

    /// Why it cannot begin, once that is known.
    pub(crate) async fn begun(&self) -> Result<(), Refusal> {
        let mut known = self.state.subscribe();
        // Its sender is here, so the wait ends with the state.
        let state = known.wait_for(|state| state.begun || state.end.is_some()).await;
        let unbegun = state.ok().filter(|state| !state.begun);
        match unbegun.and_then(|state| state.end.clone()) {
            Some(End::Failed(refusal)) => Err(refusal),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, on_cancel: _ } = self;
        f.debug_struct("Job").field("state", &*state.borrow()).finish_non_exhaustive()
    }
}

/// Somebody who listens to a job. A job to which nobody has listened for a while is cancelled:
/// others may wait for the model.
#[derive(Debug)]
pub(crate) struct Listener {
    job: Arc<Job>,
    patience: Duration,
    pub(crate) known: watch::Receiver<State>,
}

impl Listener {
    pub(crate) fn new(job: Arc<Job>, patience: Duration) -> Self {
        job.state.send_modify(|state| {
            state.listeners += 1;
            state.visits += 1;
        });
        let known = job.state.subscribe();
        Self { job, patience, known }
    }

    /// Waits for news.
    pub(crate) async fn changed(&mut self) {
        // Its sender is in the job, which is held here.
        let _ = self.known.changed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let (job, patience) = (Arc::clone(&self.job), self.patience);
        let mut visits = None;
        job.state.send_modify(|state| {
            state.listeners -= 1;
            visits = (state.listeners == 0 && state.end.is_none()).then_some(state.visits);
        });
        let (Some(visits), Ok(runtime)) = (visits, Handle::try_current()) else { return };
        runtime.spawn(async move {
            tokio::time::sleep(patience).await;
            let is_alone = {
                let state = job.state.borrow();
                state.listeners == 0 && state.visits == visits && state.end.is_none()
            };
            if is_alone {
                job.cancel(&format!("nobody has listened for {} s", patience.as_secs_f64()));
            }
        });
    }
}

//! What is new in a run, as server-sent events: `step`, `status`, `health`, `restart`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use serde_json::{Value, json};

use crate::routes::status_of;
use crate::runs::{Runs, Shared, lock};
use crate::trouble::Trouble;
use crate::watched::Watched;

/// Time between two looks at the files.
const POLL: Duration = Duration::from_millis(250);
/// Time after which a connection without news is kept up by a comment.
pub(crate) const COMMENT: Duration = Duration::from_secs(15);

/// A listener, and what it knows.
struct Listener {
    run: Shared,
    waiting: VecDeque<Event>,
    generation: u64,
    step: Option<u64>,
    health: usize,
    status: Option<Value>,
    is_new: bool,
}

/// The events of a run after `Last-Event-ID`, or from now on.
pub(crate) async fn events(
    State(runs): State<Arc<Runs>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Trouble> {
    let run = tokio::task::spawn_blocking(move || {
        let run = runs.get(&id)?;
        lock(&run).poll()?;
        Ok::<_, Trouble>(run)
    });
    let run = run.await.map_err(|_| Trouble::missing("there is no such run"))??;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let listener = Listener::new(run, last);
    let events = unfold(listener, |mut listener| async move {
        loop {
            if let Some(event) = listener.waiting.pop_front() {
                return Some((Ok(event), listener));
            }
            if !listener.is_new {
                tokio::time::sleep(POLL).await;
            }
            // A run that was deleted ends the stream.
            listener = tokio::task::spawn_blocking(|| listener.look()).await.ok()??;
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT)))
}

impl Listener {
    fn new(run: Shared, last: Option<&str>) -> Self {
        let known = last.and_then(|id| id.split_once(':'));
        let known = known
            .and_then(|(generation, step)| Some((generation.parse().ok()?, step.parse().ok()?)));
        let (generation, step, health) = {
            let run = lock(&run);
            let now = (run.run.generation(), run.last_step());
            let (generation, step) =
                known.map_or(now, |(generation, step)| (generation, Some(step)));
            (generation, step, run.health.lines.len())
        };
        let waiting = VecDeque::new();
        Self { run, waiting, generation, step, health, status: None, is_new: true }
    }

    /// Reads the run on, and tells what is new.
    fn look(mut self) -> Option<Self> {
        self.is_new = false;
        let run = Arc::clone(&self.run);
        let mut run = lock(&run);
        run.poll().ok()?;
        self.tell(&run);
        Some(self)
    }

    fn tell(&mut self, run: &Watched) {
        let generation = run.run.generation();
        if generation != self.generation {
            (self.generation, self.step, self.health) = (generation, run.last_step(), 0);
            self.push("restart", &json!({ "generation": generation }));
        }
        let steps = run.metrics.steps();
        let known = self.step.map_or(0, |last| steps.partition_point(|step| *step <= last));
        for &step in &steps[known..] {
            self.step = Some(step);
            self.push("step", &json!({ "step": step, "generation": generation }));
        }
        for line in run.health.lines.get(self.health..).unwrap_or_default() {
            self.push("health", &json!(line));
        }
        self.health = run.health.lines.len();
        let status = status_of(run);
        if status != self.status {
            if let Some(status) = &status {
                self.push("status", status);
            }
            self.status = status;
        }
    }

    fn push(&mut self, name: &str, data: &Value) {
        let step = self.step.map_or(-1, u64::cast_signed);
        let id = format!("{}:{step}", self.generation);
        self.waiting.push_back(Event::default().event(name).id(id).data(data.to_string()));
    }
}

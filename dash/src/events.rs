//! What is new in a run, as server-sent events: `step`, `status`, `health`, `restart`.
//!
//! A run that is listened to is read by one task, however many listen. What it finds goes to all.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::App;
use crate::about::status_of;
use crate::ask::Path;
use crate::routes::reading;
use crate::runs::{Shared, lock};
use crate::trouble::Trouble;
use crate::watched::Watched;

/// Time between two looks at the files.
const POLL: Duration = Duration::from_millis(250);
/// Time after which a connection without news is kept up by a comment.
pub(crate) const COMMENT: Duration = Duration::from_secs(15);
/// Listeners to runs and forks at a time.
pub(crate) const LISTENERS: usize = 256;
/// Looks whose news wait for a listener that is slow. It is sent away beyond, and may connect
/// again from where it is.
const WAITING: usize = 16;

/// An event.
#[derive(Debug, Clone, PartialEq)]
struct News {
    name: &'static str,
    id: String,
    data: String,
}

/// What a look at the files brought.
type Batch = Arc<[News]>;

/// The runs that are listened to.
#[derive(Debug)]
pub(crate) struct Hubs {
    /// By id.
    open: Mutex<BTreeMap<String, Arc<Hub>>>,
    room: Arc<Semaphore>,
}

impl Default for Hubs {
    fn default() -> Self {
        Self { open: Mutex::default(), room: Arc::new(Semaphore::new(LISTENERS)) }
    }
}

/// A run that is listened to.
#[derive(Debug)]
struct Hub {
    run: Shared,
    told: Mutex<Told>,
    news: broadcast::Sender<Batch>,
}

impl Hubs {
    /// A place for one listener more, held as long as it listens.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, Trouble> {
        Arc::clone(&self.room).try_acquire_owned().map_err(|_| {
            let error = format!("{LISTENERS} listen already, and there is no place for more");
            Trouble::new(StatusCode::SERVICE_UNAVAILABLE, error)
                .act("close some of the pages of this server")
        })
    }

    /// Listens to a run: what is new since the event `last`, and what comes.
    fn join(
        self: &Arc<Self>,
        id: &str,
        run: &Shared,
        last: Option<&str>,
    ) -> Result<(Vec<News>, broadcast::Receiver<Batch>), Trouble> {
        // Keeps the hub until the listener is there.
        let (hub, _early) = self.hub(id, run);
        let mut run = lock(run);
        run.poll()?;
        let mut told = lock(&hub.told);
        hub.tell(&mut told, &run);
        let receiver = hub.news.subscribe();
        Ok((Told::at(&run, last).news(&run), receiver))
    }

    fn hub(self: &Arc<Self>, id: &str, run: &Shared) -> (Arc<Hub>, broadcast::Receiver<Batch>) {
        let told = Mutex::new(Told::at(&lock(run), None));
        let mut open = lock(&self.open);
        let known = open.get(id).filter(|hub| Arc::ptr_eq(&hub.run, run)).cloned();
        let hub = known.unwrap_or_else(|| {
            let news = broadcast::Sender::new(WAITING);
            let hub = Arc::new(Hub { run: Arc::clone(run), told, news });
            open.insert(id.to_owned(), Arc::clone(&hub));
            Handle::current().spawn(watch(Arc::clone(self), id.to_owned(), Arc::clone(&hub)));
            hub
        });
        let early = hub.news.subscribe();
        (hub, early)
    }

    /// Forgets a hub; one that is listened to only where it `ended`. Says whether it is forgotten.
    fn forget(&self, id: &str, hub: &Arc<Hub>, ended: bool) -> bool {
        let mut open = lock(&self.open);
        let goes = ended || hub.news.receiver_count() == 0;
        if goes && open.get(id).is_some_and(|own| Arc::ptr_eq(own, hub)) {
            open.remove(id);
        }
        goes
    }
}

/// Looks at a run's files as long as somebody listens. Where the run is deleted, the streams end
/// with the hub.
async fn watch(hubs: Arc<Hubs>, id: String, hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(POLL).await;
        if hubs.forget(&id, &hub, false) {
            return;
        }
        let own = Arc::clone(&hub);
        let looked = tokio::task::spawn_blocking(move || own.look()).await;
        if !looked.is_ok_and(|is_there| is_there) {
            hubs.forget(&id, &hub, true);
            return;
        }
    }
}

impl Hub {
    /// Reads the run on, and says whether it is still there.
    fn look(&self) -> bool {
        let mut run = lock(&self.run);
        let is_there = run.poll().is_ok();
        if is_there {
            self.tell(&mut lock(&self.told), &run);
        }
        is_there
    }

    fn tell(&self, told: &mut Told, run: &Watched) {
        let news = told.news(run);
        if !news.is_empty() {
            // Nobody may be listening yet.
            let _ = self.news.send(news.into());
        }
    }
}

/// What a listener was told.
#[derive(Debug)]
struct Told {
    generation: u64,
    step: Option<u64>,
    health: usize,
    status: Option<Value>,
}

impl Told {
    /// All up to the event `last`, or up to now; of the status nothing.
    fn at(run: &Watched, last: Option<&str>) -> Self {
        let last = last.and_then(|id| id.split_once(':'));
        let last = last
            .and_then(|(generation, step)| Some((generation.parse().ok()?, step.parse().ok()?)));
        let now = (run.run.generation(), run.last_step());
        let (generation, step) = last.map_or(now, |(generation, step)| (generation, Some(step)));
        Self { generation, step, health: run.health.lines.len(), status: None }
    }

    /// What is new.
    fn news(&mut self, run: &Watched) -> Vec<News> {
        let mut news = Vec::new();
        let generation = run.run.generation();
        // A row that a later one showed to be damaged is not there any more.
        if generation != self.generation || run.last_step() < self.step {
            (self.generation, self.step, self.health) = (generation, run.last_step(), 0);
            news.push(self.one("restart", &json!({ "generation": generation })));
        }
        let steps = run.metrics.steps();
        let known = self.step.map_or(0, |last| steps.partition_point(|step| *step <= last));
        for &step in &steps[known..] {
            self.step = Some(step);
            news.push(self.one("step", &json!({ "step": step, "generation": generation })));
        }
        for line in run.health.lines.get(self.health..).unwrap_or_default() {
            news.push(self.one("health", &json!(line)));
        }
        self.health = run.health.lines.len();
        let status = status_of(run);
        if status != self.status {
            news.extend(status.iter().map(|status| self.one("status", status)));
            self.status = status;
        }
        news
    }

    fn one(&self, name: &'static str, data: &Value) -> News {
        let step = self.step.map_or(-1, u64::cast_signed);
        News { name, id: format!("{}:{step}", self.generation), data: data.to_string() }
    }
}

/// A listener.
struct Listener {
    waiting: VecDeque<News>,
    news: broadcast::Receiver<Batch>,
    _place: OwnedSemaphorePermit,
}

/// The events of a run after `Last-Event-ID`, or from now on.
pub(crate) async fn events(
    State(App { runs, hubs, .. }): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Trouble> {
    let place = hubs.place()?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let joined = reading(move || hubs.join(&id, &runs.get(&id)?, last.as_deref()));
    let (waiting, news) = joined.await?;
    let listener = Listener { waiting: waiting.into(), news, _place: place };
    let events = unfold(listener, |mut listener| async move {
        loop {
            if let Some(News { name, id, data }) = listener.waiting.pop_front() {
                return Some((Ok(Event::default().event(name).id(id).data(data)), listener));
            }
            // Of one that was too slow and of a run that was deleted the stream ends; a browser
            // connects again.
            listener.waiting.extend(listener.news.recv().await.ok()?.iter().cloned());
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;
    use crate::runs::Runs;

    #[test]
    fn one_look_at_the_files_serves_all_who_listen() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("metrics.jsonl");
        fs::write(&log, "{\"step\":1}\n").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let runs = Runs::new(vec![temp.path().to_owned()]);
            let (id, run) = runs.all().remove(0);
            let hubs = Arc::new(Hubs::default());
            let join = |last| hubs.join(&id, &run, last).unwrap();
            let mut listeners: Vec<_> = (0..50).map(|_| join(None)).collect();
            assert_eq!(lock(&hubs.open).len(), 1);
            assert!(listeners.iter().all(|(news, _)| news.is_empty()));
            let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
            file.write_all(b"{\"step\":2}\n{\"step\":3}\n").unwrap();
            let mut batches = Vec::new();
            for (_, news) in &mut listeners {
                batches.push(news.recv().await.unwrap());
            }
            let ids: Vec<_> = batches[0].iter().map(|one| one.id.clone()).collect();
            assert_eq!(ids, ["0:2", "0:3"]);
            assert!(batches.iter().all(|batch| Arc::ptr_eq(batch, &batches[0])));
            // One that connects again is told of what it missed, and of nothing twice.
            let (missed, mut late) = join(Some("0:2"));
            assert_eq!(missed.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["0:3"]);
            assert!(late.try_recv().is_err());
            drop((listeners, late));
            tokio::time::sleep(3 * POLL).await;
            assert!(lock(&hubs.open).is_empty(), "nobody listens");
        });
    }

    #[test]
    fn a_row_that_was_damage_is_taken_back() {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("metrics.jsonl");
        fs::write(&log, "{\"step\":1}\n{\"step\":9000}\n").unwrap();
        let mut run = Watched::open(temp.path(), true, None).unwrap();
        run.poll().unwrap();
        let mut told = Told::at(&run, None);
        fs::write(&log, "{\"step\":1}\n{\"step\":9000}\n{\"step\":2}\n").unwrap();
        run.poll().unwrap();
        let news = told.news(&run);
        assert_eq!((news.len(), news[0].name, &*news[0].id), (1, "restart", "0:2"));
    }
}

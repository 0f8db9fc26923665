//! The model's thread: one request at a time, and the forks that are remembered.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::oneshot;

use crate::job::{Job, Listener};
use crate::reroll::{Fault, Fork, Refusal, Reroll, Score, Scored, Weights};
use crate::runs::lock;
use crate::trouble::Trouble;

/// Forks whose results are kept.
const REMEMBERED: usize = 16;

/// A model on a thread of its own.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) weights: Weights,
    work: Sender<(Work, Busy)>,
    busy: Arc<AtomicBool>,
    forks: Mutex<Forks>,
    /// How long a fork goes on to which nobody listens.
    patience: Duration,
}

#[derive(Debug, Default)]
struct Forks {
    /// How many have begun.
    begun: u64,
    /// The newest with their numbers, oldest first.
    kept: VecDeque<(u64, Arc<Job>)>,
}

/// What the thread does.
#[derive(Debug)]
enum Work {
    Score(Box<Score>, oneshot::Sender<Result<Scored, Refusal>>),
    Fork(Box<Fork>, Arc<Job>),
}

/// Keeps others from the model as long as it lives.
#[derive(Debug)]
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Model {
    /// Starts the thread; `patience` is how long a fork goes on to which nobody listens.
    pub(crate) fn start(mut reroll: Box<dyn Reroll>, patience: Duration) -> Self {
        let weights = reroll.weights();
        let (work, requests) = mpsc::channel();
        thread::spawn(move || serve(&mut *reroll, &requests));
        Self { weights, work, busy: Arc::default(), forks: Mutex::default(), patience }
    }

    /// Scores a completion.
    pub(crate) async fn score(&self, asked: Score) -> Result<Scored, Trouble> {
        let busy = self.take()?;
        let (reply, answer) = oneshot::channel();
        self.send(Work::Score(Box::new(asked), reply), busy)?;
        Ok(answer.await.unwrap_or_else(|_| Err(broken()))?)
    }

    /// Begins a fork, and gives its number. Whoever asked is its first listener.
    pub(crate) async fn fork(&self, asked: Fork) -> Result<u64, Trouble> {
        let busy = self.take()?;
        let job = Arc::new(Job::new());
        // Also where the client leaves while the weights are read.
        let _listener = Listener::new(Arc::clone(&job), self.patience);
        self.send(Work::Fork(Box::new(asked), Arc::clone(&job)), busy)?;
        job.begun().await?;
        let mut forks = lock(&self.forks);
        forks.begun += 1;
        let number = forks.begun;
        forks.kept.push_back((number, job));
        if forks.kept.len() > REMEMBERED {
            forks.kept.pop_front();
        }
        Ok(number)
    }

    /// A fork by its number.
    pub(crate) fn job(&self, id: &str) -> Result<Arc<Job>, Trouble> {
        let forks = lock(&self.forks);
        let number = id.parse().ok().filter(|number| (1..=forks.begun).contains(number));
        let Some(number) = number else {
            return Err(Trouble::missing(format!("there is no fork {id}")));
        };
        let kept = forks.kept.iter().find(|(own, _)| *own == number);
        kept.map(|(_, job)| Arc::clone(job)).ok_or_else(|| {
            let error = format!("fork {id} is forgotten: the last {REMEMBERED} are kept");
            Trouble::new(StatusCode::GONE, error).act("fork again: it gives the same answers")
        })
    }

    /// Listens to a fork.
    pub(crate) fn listen(&self, id: &str) -> Result<Listener, Trouble> {
        Ok(Listener::new(self.job(id)?, self.patience))
    }

    fn take(&self) -> Result<Busy, Trouble> {
        if self.busy.swap(true, Ordering::SeqCst) {
            let error = "the model is busy: it serves one request at a time";
            let trouble = Trouble::new(StatusCode::CONFLICT, error);
            return Err(trouble.act("wait until the fork has ended, or cancel it"));
        }
        Ok(Busy(Arc::clone(&self.busy)))
    }

    fn send(&self, work: Work, busy: Busy) -> Result<(), Trouble> {
        self.work.send((work, busy)).map_err(|_| broken().into())
    }
}

fn broken() -> Refusal {
    Refusal::new(Fault::Server, "the model failed; the terminal of the server says where")
        .act("start the server again, and report what it says there")
}

/// Does what is asked, until nobody can ask any more.
fn serve(reroll: &mut dyn Reroll, requests: &Receiver<(Work, Busy)>) {
    for (work, busy) in requests {
        match work {
            Work::Score(asked, reply) => {
                let scored = unwound(|| reroll.score(&asked));
                // Whoever asked may ask again at once.
                drop(busy);
                let _ = reply.send(scored);
            }
            Work::Fork(asked, job) => {
                let ended = unwound(|| reroll.fork(&asked, &job));
                drop(busy);
                job.end(ended);
            }
        }
    }
}

/// A fault of ours must not leave a client waiting.
fn unwound<T>(work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(broken()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use evals::run::{SampleGroup, TokensAbout};

    use super::*;
    use crate::job::End;
    use crate::reroll::Recorded;

    /// Fails as it is asked: to score by a panic, to fork by a refusal at temperature 1 and by a
    /// panic otherwise, after it began.
    struct Broken;

    impl Reroll for Broken {
        fn weights(&self) -> Weights {
            Weights::Checkpoints
        }

        fn score(&mut self, asked: &Score) -> Result<Scored, Refusal> {
            let (temperature, nothing) = (1.0, Vec::new());
            assert_ne!(asked.top, 0, "as it is asked");
            let (log_prob, entropy) = (nothing.clone(), nothing);
            Ok(Scored { checkpoint: None, temperature, log_prob, entropy, alternatives: vec![] })
        }

        fn fork(&mut self, asked: &Fork, job: &Job) -> Result<(), Refusal> {
            if asked.temperature == Some(1.0) {
                return Err(Refusal::new(Fault::Request, "too warm").act("cool it"));
            }
            job.begin();
            panic!("as it is asked");
        }
    }

    fn recorded() -> Recorded {
        let group = SampleGroup {
            step: 1,
            group: 0,
            id: String::new(),
            source: String::new(),
            history: Vec::new(),
            problem: String::new(),
            gold: String::new(),
            prompt: String::new(),
            kept: true,
            completions: Vec::new(),
        };
        let (root, about) = (PathBuf::new(), TokensAbout::default());
        Recorded { root, group, sibling: 0, prompt: vec![1], tokens: vec![2], about }
    }

    fn fork(temperature: f64) -> Fork {
        let (token, n, temperature) = (0, 1, Some(temperature));
        let (checkpoint, max_new_tokens) = (None, None);
        Fork { recorded: recorded(), checkpoint, token, n, temperature, max_new_tokens }
    }

    #[test]
    fn a_model_that_fails_leaves_nobody_waiting_and_serves_the_next() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let model = Model::start(Box::new(Broken), Duration::from_secs(30));
            let score = |top| Score { recorded: recorded(), checkpoint: None, top };
            let trouble = model.score(score(0)).await.unwrap_err();
            assert_eq!(trouble.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert!(model.score(score(1)).await.is_ok());
            // What is refused before it begins is the answer to the request.
            let trouble = model.fork(fork(1.0)).await.unwrap_err();
            assert_eq!(
                (trouble.status, trouble.act.as_deref()),
                (StatusCode::BAD_REQUEST, Some("cool it"))
            );
            // What fails later is the last event.
            let id = model.fork(fork(0.5)).await.unwrap().to_string();
            let mut listener = model.listen(&id).unwrap();
            let ended = listener.known.wait_for(|state| state.end.is_some()).await.unwrap();
            assert!(matches!(ended.end, Some(End::Failed(_))));
            drop(ended);
            assert!(model.score(score(1)).await.is_ok());
        });
    }
}

//! The dashboard: a local web page on runs, read from their records.
//!
//! ```text
//! Runs      the runs below some folders, each with an id
//! Watched   a run whose files are read as they grow
//! routes    the answers of `/api/v1`, and those of the page's own files
//! events    what is new in a run, as server-sent events
//! guard     who may ask: this machine, and for changes this page
//! Reroll    what a model does with recorded completions; whoever has one implements it
//! report    the page and the answers of some runs as one file
//! ```
//!
//! It knows the record of [`evals::run`] and nothing of training. It reads runs and never writes
//! into them.

#![forbid(unsafe_code)]

mod about;
mod ask;
mod assets;
mod binary;
mod events;
mod followed;
mod forks;
mod groups;
mod guard;
mod job;
mod model;
mod paired;
mod problem;
mod recipe;
mod report;
mod reroll;
mod routes;
mod runs;
mod series;
mod serve;
mod trouble;
mod two;
mod watched;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use evals::run::Spell;

pub use job::Job;
pub use report::{Report, Unwritten, Wanted, report};
pub use reroll::{
    Alternative, Continuation, Fault, Fork, Recorded, Refusal, Reroll, Score, Scored, Weights,
};
pub use runs::Runs;

use events::Hubs;
use model::Model;

/// What is shown, and where.
#[expect(missing_debug_implementations, reason = "a model has none")]
pub struct Options {
    /// Run directories, and folders that hold some.
    pub folders: Vec<PathBuf>,
    /// What gives the ids of another trainer's run their texts; without it they are numbers.
    pub tokenizer: Option<Arc<dyn Spell>>,
    /// The port on the loopback address; 0 takes one that is free.
    pub port: u16,
    /// What scores and continues completions; without it the server only reads.
    pub reroll: Option<Box<dyn Reroll>>,
    /// How long a fork goes on to which nobody listens.
    pub patience: Duration,
}

/// How long a fork goes on to which nobody listens, by default: a browser connects again within
/// seconds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long a request may take to come, up to its body.
const REQUEST: Duration = Duration::from_secs(10);

/// What the routes answer from.
#[derive(Debug, Clone)]
pub(crate) struct App {
    runs: Arc<Runs>,
    model: Option<Arc<Model>>,
    hubs: Arc<Hubs>,
}

impl App {
    pub(crate) fn new(runs: Arc<Runs>, model: Option<Arc<Model>>) -> Self {
        Self { runs, model, hubs: Arc::default() }
    }
}

impl FromRef<App> for Arc<Runs> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.runs)
    }
}

/// A server that listens and has not begun to answer.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    app: App,
}

impl Server {
    /// Listens on the loopback address.
    ///
    /// # Errors
    ///
    /// Fails when the port is taken.
    pub fn bind(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        listener.set_nonblocking(true)?;
        let model = options.reroll.map(|reroll| Model::start(reroll, options.patience));
        let runs = Runs::new(options.folders).with_tokenizer(options.tokenizer);
        let runs = Arc::new(runs);
        Ok(Self { listener, app: App::new(runs, model.map(Arc::new)) })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Fails when the system does.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The runs that it shows.
    pub fn runs(&self) -> &Runs {
        &self.app.runs
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    ///
    /// Fails when the system does.
    pub fn run(self) -> io::Result<()> {
        let Self { listener, app } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            match serve::serve(listener, routes::router(app), REQUEST).await {}
        })
    }
}

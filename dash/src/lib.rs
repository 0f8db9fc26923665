//! The dashboard: a local web page on runs, read from their records.
//!
//! ```text
//! Runs      the runs below some folders, each with an id
//! Watched   a run whose files are read as they grow
//! routes    the answers of `/api/v1`, and those of the page's own files
//! events    what is new in a run, as server-sent events
//! guard     who may ask: this machine, and for changes this page
//! report    the page and the answers of some runs as one file
//! ```
//!
//! It knows the record of [`evals::run`] and nothing of training. It reads runs and never writes
//! into them.

#![forbid(unsafe_code)]

mod assets;
mod binary;
mod events;
mod groups;
mod guard;
mod problem;
mod recipe;
mod report;
mod routes;
mod runs;
mod series;
mod trouble;
mod watched;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

pub use report::{Report, Unwritten, Wanted, report};
pub use runs::Runs;

/// What is shown, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Run directories, and folders that hold some.
    pub folders: Vec<PathBuf>,
    /// The port on the loopback address; 0 takes one that is free.
    pub port: u16,
}

/// A server that listens and has not begun to answer.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    runs: Arc<Runs>,
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
        Ok(Self { listener, runs: Arc::new(Runs::new(options.folders)) })
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
        &self.runs
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    ///
    /// Fails when the system does.
    pub fn run(self) -> io::Result<()> {
        let Self { listener, runs } = self;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, routes::router(runs)).await
        })
    }
}

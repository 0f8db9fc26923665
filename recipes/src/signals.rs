//! Ctrl-C: the first asks the run to save and end, the second ends the process.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

/// Exit code of a process that a second Ctrl-C ended, and of a run that the first one stopped:
/// 128 and the number of SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// A request to stop the run, shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Listens to Ctrl-C, SIGTERM and SIGHUP from now on; once a process. `what` says what is done
    /// before the process ends.
    ///
    /// # Errors
    ///
    /// Fails when the system does not let it listen.
    pub fn listen(what: &'static str) -> Result<Self> {
        let stop = Self::default();
        let requests = stop.clone();
        ctrlc::set_handler(move || {
            if requests.0.fetch_add(1, Ordering::SeqCst) > 0 {
                std::process::exit(i32::from(INTERRUPTED));
            }
            // A closed terminal is no reason not to save.
            let _ = writeln!(
                std::io::stderr(),
                "\nstopping: {what}; press Ctrl-C again to quit at once"
            );
        })
        .context("listening to Ctrl-C")?;
        Ok(stop)
    }

    /// Requests a stop, as Ctrl-C does.
    pub fn request(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether work goes on, for work that can be broken off.
    pub fn flow(&self) -> ControlFlow<()> {
        if self.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

//! Ctrl-C: the first asks the run to save and end, a later one ends the process.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Exit code of a process that a second Ctrl-C ended, and of a run that the first one stopped:
/// 128 and the number of SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// Time after the first signal in which others count as the same: a terminal, a shell and a
/// scheduler may each pass one on.
const SAME: Duration = Duration::from_secs(1);

/// A request to stop the run, shared by its clones. It holds when the request came.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<OnceLock<Instant>>);

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
            if let Some(first) = requests.0.get() {
                if first.elapsed() >= SAME {
                    std::process::exit(i32::from(INTERRUPTED));
                }
                return;
            }
            requests.request();
            // A closed terminal is no reason not to save.
            let _ = writeln!(
                std::io::stderr(),
                "\nstopping: {what}; from {} s on, Ctrl-C quits at once",
                SAME.as_secs()
            );
        })
        .context("listening to Ctrl-C")?;
        Ok(stop)
    }

    /// Requests a stop, as Ctrl-C does.
    pub fn request(&self) {
        self.0.get_or_init(Instant::now);
    }

    /// Whether work goes on, for work that can be broken off.
    pub fn flow(&self) -> ControlFlow<()> {
        if self.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.0.get().is_some()
    }
}

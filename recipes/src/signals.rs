//! Ctrl-C: the first asks the run to save and end, a later one ends the process.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Exit code of a process that a second Ctrl-C ended, and of a run that the first one stopped:
/// 128 and the number of SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// Time after the first signal in which others count as the same: a terminal, a shell and a
/// scheduler may each pass one on.
const SAME: Duration = Duration::from_secs(1);

/// A request to stop the run, shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Request>);

#[derive(Debug, Default)]
struct Request {
    /// When it came.
    at: OnceLock<Instant>,
    /// What is done before the process ends.
    what: Mutex<&'static str>,
}

impl Stop {
    /// Listens to Ctrl-C, SIGTERM and SIGHUP from now on; once a process. `what` says what is done
    /// before the process ends.
    ///
    /// # Errors
    ///
    /// Fails when the system does not let it listen.
    pub fn listen(what: &'static str) -> Result<Self> {
        let stop = Self::default();
        stop.does(what);
        let requests = stop.clone();
        ctrlc::set_handler(move || {
            if let Some(first) = requests.0.at.get() {
                if first.elapsed() >= SAME {
                    std::process::exit(i32::from(INTERRUPTED));
                }
                return;
            }
            requests.request();
            // A closed terminal is no reason not to save.
            let _ = writeln!(std::io::stderr(), "\n{}", requests.told());
        })
        .context("listening to Ctrl-C")?;
        Ok(stop)
    }

    /// From now on, `what` is what is done before the process ends.
    pub fn does(&self, what: &'static str) {
        *self.0.what.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// The line for who asked for it.
    fn told(&self) -> String {
        let what = *self.0.what.lock().unwrap_or_else(PoisonError::into_inner);
        format!("stopping: {what}; press Ctrl-C again after a second to quit at once")
    }

    /// Requests a stop, as Ctrl-C does.
    pub fn request(&self) {
        self.0.at.get_or_init(Instant::now);
    }

    /// Whether work goes on, for work that can be broken off.
    pub fn flow(&self) -> ControlFlow<()> {
        if self.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.0.at.get().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_what_is_done_then() {
        let stop = Stop::default();
        stop.does("nothing was begun");
        let clone = stop.clone();
        let told = |what: &str| {
            format!("stopping: {what}; press Ctrl-C again after a second to quit at once")
        };
        assert_eq!(stop.told(), told("nothing was begun"));
        clone.does("the step is dropped");
        assert_eq!(stop.told(), told("the step is dropped"));
    }
}

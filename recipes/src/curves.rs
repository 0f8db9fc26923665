//! The metrics of a run as a file for other programs, once or while the run goes on.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use evals::export::{Curves, Export};
use evals::run::{Run, State};

use crate::machine::now;
use crate::signals::Stop;

/// Time between two looks at a run that goes on.
const PAUSE: Duration = Duration::from_secs(1);

/// Why following came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The run is not under way, any more or from the start.
    Run,
    /// A stop was requested.
    Stopped,
}

/// Keeps the export of a run up to date until the run ends or `stop` is requested. `say` takes what
/// a person should know meanwhile.
///
/// # Errors
///
/// Fails when the run cannot be read or the file cannot be written.
pub fn follow(
    root: &Path,
    curves: &mut Curves,
    export: &mut Export,
    stop: &Stop,
    say: &mut dyn FnMut(&str),
) -> Result<Ended> {
    let mut was_silent = false;
    loop {
        // Its state first: rows that come after it are those of a run that goes on.
        let run = Run::open(root)?;
        let goes_on = run.status.as_ref().is_some_and(|status| status.state == State::Running);
        curves.poll(run.generation())?;
        let rows = if goes_on { curves.whole() } else { curves.rows().len() };
        let update = export.update(curves, rows);
        let update = update.with_context(|| format!("writing {}", export.path().display()))?;
        if let Some(step) = update.cut {
            say(&format!("the run was cut before step {step} and went on from there"));
        }
        if !goes_on {
            return Ok(Ended::Run);
        }
        let is_silent = run.status.is_some_and(|status| status.is_silent(now() as u64));
        if is_silent && !was_silent {
            say("the run gives no sign of life: it may have been killed; Ctrl-C ends the export");
        }
        was_silent = is_silent;
        if stop.is_requested() {
            return Ok(Ended::Stopped);
        }
        std::thread::sleep(PAUSE);
    }
}

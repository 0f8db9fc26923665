//! What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere, and the
//! lines once more in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::printable::printable;

/// Speaks on stderr, or not at all.
#[derive(Debug, Clone)]
pub struct Console {
    bar: Option<ProgressBar>,
    prints: bool,
    /// Shared by all copies.
    log: Arc<Mutex<Log>>,
}

/// Where the lines are kept.
#[derive(Debug)]
enum Log {
    /// Nowhere yet; these wait.
    Waiting(Vec<String>),
    File(File),
    Off,
}

impl Console {
    /// A bar where stderr is a terminal, plain lines where it is not.
    pub fn stderr() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, ..Self::with(true, Log::Waiting(Vec::new())) }
    }

    /// Plain lines on stderr, for commands without a bar and without a file.
    pub fn lines() -> Self {
        Self::with(true, Log::Off)
    }

    /// Says nothing.
    pub fn silent() -> Self {
        Self::with(false, Log::Waiting(Vec::new()))
    }

    fn with(prints: bool, log: Log) -> Self {
        Self { bar: None, prints, log: Arc::new(Mutex::new(log)) }
    }

    /// Appends every line to the file `path` as well, those said before first.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be opened or written.
    pub(crate) fn log_to(&self, path: &Path) -> Result<()> {
        let named = || format!("writing {}", path.display());
        let mut file =
            OpenOptions::new().create(true).append(true).open(path).with_context(named)?;
        let mut log = self.log.lock().expect("nobody panics with the log");
        if let Log::Waiting(lines) = &*log {
            lines.iter().try_for_each(|line| writeln!(file, "{line}")).with_context(named)?;
        }
        *log = Log::File(file);
        Ok(())
    }

    /// A line for the file alone.
    pub(crate) fn log(&self, line: &str) {
        match &mut *self.log.lock().expect("nobody panics with the log") {
            Log::Waiting(lines) => lines.push(line.to_owned()),
            // One write a line, so that lines of other threads do not get into it. The run does not
            // end for want of its log.
            Log::File(file) => drop(file.write_all(format!("{line}\n").as_bytes())),
            Log::Off => {}
        }
    }

    /// A line that stays. Whatever it quotes, of models and of data, reaches the terminal as text.
    pub fn print(&self, line: &str) {
        let line = printable(line);
        self.log(&line);
        match &self.bar {
            Some(bar) if !bar.is_finished() => bar.println(line),
            // Whoever closed stderr does not want to hear it; the run goes on.
            _ if self.prints => {
                let _ = writeln!(io::stderr(), "{line}");
            }
            _ => {}
        }
    }

    /// How far the run is, in steps.
    pub(crate) fn set_steps(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            let template = "{bar:30} {pos}/{len} steps, {elapsed} gone, {eta} left  {msg}";
            bar.set_style(ProgressStyle::with_template(template).expect("the template is fixed"));
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// What is being done within the step; gone with the next.
    pub(crate) fn set_phase(&self, what: &str, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            bar.set_message(match total {
                0 | 1 => what.to_owned(),
                _ => format!("{what} {done}/{total}"),
            });
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Seconds as people say them.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{seconds:.1} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_in_a_file_also_those_from_before_it_was_there() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log.txt");
        let console = Console::silent();
        console.print("one");
        console.clone().log_to(&path).unwrap();
        console.print("two");
        let resumed = Console::silent();
        resumed.print("three");
        resumed.log_to(&path).unwrap();
        let lines = Console::lines();
        lines.log("four");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
        assert!(Console::silent().log_to(temp.path()).is_err());
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(3.21), "3.2 s");
        assert_eq!(duration(192.4), "3 min 12 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}

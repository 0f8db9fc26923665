//! What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere, and the
//! lines once more in a file.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use evals::run::{Phase, open_to_append};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::printable::printable;

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings, and how the run ended.
    Quiet,
    /// A line for what a person waits for.
    #[default]
    Normal,
    /// Lines for the parts of it, too.
    Verbose,
}

/// Speaks on stderr, or not at all.
#[derive(Debug, Clone)]
pub struct Console {
    bar: Option<ProgressBar>,
    prints: bool,
    verbosity: Verbosity,
    /// Shared by all copies.
    log: Arc<Mutex<Log>>,
    /// Shared by all copies.
    pulse: Arc<Mutex<Pulse>>,
}

/// Who else is told what is being done.
#[derive(Default)]
struct Pulse(Option<Box<OnBeat>>);

type OnBeat = dyn FnMut(Beat<'_>) + Send;

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pulse").field(&self.0.is_some()).finish()
    }
}

/// What a run is doing within a step.
#[derive(Debug, Clone, Copy)]
pub enum Beat<'a> {
    /// This.
    Phase(Phase),
    /// It waits for a verifier.
    Waits {
        /// Its name.
        whom: &'a str,
        /// What it answered, or why it did not.
        reason: &'a str,
    },
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
    /// A bar where stderr is a terminal, plain lines where it is not; no bar where it is quiet.
    pub fn stderr(verbosity: Verbosity) -> Self {
        let has_bar = verbosity != Verbosity::Quiet && io::stderr().is_terminal();
        let bar = has_bar.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, verbosity, ..Self::with(true, Log::Waiting(Vec::new())) }
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
        Self {
            bar: None,
            prints,
            verbosity: Verbosity::Normal,
            log: Arc::new(Mutex::new(log)),
            pulse: Arc::default(),
        }
    }

    /// Appends every line to the file `path` as well, those said before first.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be opened or written, and where it is no regular file.
    pub(crate) fn log_to(&self, path: &Path) -> Result<()> {
        let named = || format!("writing {}", path.display());
        let mut file = open_to_append(path)?;
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
            // One write a line, so that lines of other threads do not get into it. A log that
            // cannot be written does not end the run.
            Log::File(file) => drop(file.write_all(format!("{line}\n").as_bytes())),
            Log::Off => {}
        }
    }

    /// Prints a line that stays; only to the file if stderr is to be quiet. Whatever it quotes, of
    /// models and of data, reaches the terminal as text.
    pub fn print(&self, line: &str) {
        if self.verbosity == Verbosity::Quiet {
            self.log(&printable(line));
        } else {
            self.warn(line);
        }
    }

    /// A line about a part of what is said; nowhere unless that is asked for.
    pub(crate) fn detail(&self, line: &str) {
        if self.is_verbose() {
            self.warn(line);
        }
    }

    /// Whether parts are told of.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbosity == Verbosity::Verbose
    }

    /// Whether little is said.
    pub(crate) fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Whether a person sees the lines of [`Self::print`].
    pub(crate) fn shows(&self) -> bool {
        self.prints && !self.is_quiet()
    }

    /// A line for stderr alone.
    pub(crate) fn print_last(&self, line: &str) {
        if self.prints {
            let _ = writeln!(io::stderr(), "{}", printable(line));
        }
    }

    /// A line that stays, however much is said.
    pub fn warn(&self, line: &str) {
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
        self.set_progress("steps", done, total);
    }

    /// How far the command is, in units of this name.
    pub(crate) fn set_progress(&self, what: &str, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            let template = format!(
                "{{bar:30}} {{pos}}/{{len}} {what}, {{elapsed}} gone, {{eta}} left  {{msg}}"
            );
            bar.set_style(ProgressStyle::with_template(&template).expect("the template is fixed"));
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// What is being done within the step; gone with the next.
    pub(crate) fn set_phase(&self, phase: Phase, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            let what = match phase {
                Phase::Gather => "sampling",
                Phase::Judge => "judging",
                Phase::Update => "updating",
                Phase::Eval => "evaluating",
                Phase::Save => "saving",
                Phase::Waiting => "waiting",
            };
            bar.set_message(match total {
                0 | 1 => what.to_owned(),
                _ => format!("{what} {done}/{total}"),
            });
        }
        self.beat(Beat::Phase(phase));
    }

    /// A text behind the bar; gone with the next.
    pub(crate) fn set_message(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    /// That the run waits for a verifier.
    pub(crate) fn waits(&self, whom: &str, reason: &str) {
        self.beat(Beat::Waits { whom, reason });
    }

    /// Hands on everything from here that says what is being done.
    pub(crate) fn beat_with(&self, on_beat: Box<OnBeat>) {
        self.pulse.lock().expect("nobody panics with it").0 = Some(on_beat);
    }

    fn beat(&self, beat: Beat<'_>) {
        if let Some(on_beat) = &mut self.pulse.lock().expect("nobody panics with it").0 {
            on_beat(beat);
        }
    }

    /// Whether there is a bar.
    pub(crate) fn has_bar(&self) -> bool {
        self.bar.is_some()
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
    fn the_file_has_what_a_quiet_terminal_has_not() {
        let temp = tempfile::tempdir().unwrap();
        for (verbosity, expected) in [
            (Verbosity::Quiet, "said\nwarned\n"),
            (Verbosity::Normal, "said\nwarned\n"),
            (Verbosity::Verbose, "said\nwarned\ndetail\n"),
        ] {
            let path = temp.path().join(format!("{verbosity:?}"));
            let console = Console { verbosity, ..Console::silent() };
            console.log_to(&path).unwrap();
            console.print("said");
            console.warn("warned");
            console.detail("detail");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(duration(3.21), "3.2 s");
        assert_eq!(duration(192.4), "3 min 12 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}

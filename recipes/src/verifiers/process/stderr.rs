//! What a child writes to standard error: shown up to a limit, and its end kept for messages.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::ChildStderr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::protocol::printable;
use crate::console::Console;

/// Lines of one verifier that are shown; whoever writes in a loop must not fill the terminal.
const SHOWN: usize = 200;
/// Lines kept for a message.
const KEPT: usize = 8;
/// Longest line, in bytes; a longer one counts as several.
const MAX_LINE: u64 = 2048;

/// Where the lines of a verifier's children are shown.
#[derive(Debug)]
pub(super) struct StderrLog {
    name: String,
    console: Console,
    num_lines: AtomicUsize,
}

impl StderrLog {
    pub(super) fn new(name: &str, console: Console) -> Self {
        Self { name: name.to_owned(), console, num_lines: AtomicUsize::new(0) }
    }

    /// A line about the verifier.
    pub(super) fn print(&self, line: &str) {
        self.console.warn(line);
    }

    /// Shows a line up to the limit, and returns whether a person can see it.
    fn show(&self, line: &str) -> bool {
        let name = &self.name;
        match self.num_lines.fetch_add(1, Ordering::Relaxed) {
            number if number < SHOWN || self.console.is_verbose() => {
                self.console.print(&format!("{name}: {line}"));
                return self.console.shows();
            }
            SHOWN => self.console.print(&format!(
                "{name}: more than {SHOWN} lines on standard error: the rest is not shown"
            )),
            _ => {}
        }
        false
    }
}

/// The last lines of one child.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Each with whether it was shown.
    lines: Mutex<VecDeque<(String, bool)>>,
    is_complete: AtomicBool,
}

impl Tail {
    /// Reads `pipe` to its end.
    pub(super) fn drain(&self, pipe: ChildStderr, stderr_log: &StderrLog) {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while (&mut pipe).take(MAX_LINE).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = printable(String::from_utf8_lossy(&line).trim_end());
            let is_shown = stderr_log.show(&text);
            let mut lines = self.lines.lock().expect("nobody panics with the lines");
            lines.push_back((text, is_shown));
            if lines.len() > KEPT {
                lines.pop_front();
            }
            line.clear();
        }
        self.is_complete.store(true, Ordering::Release);
    }

    /// A reason for a failure of the child, followed by what it wrote last: by its last line alone
    /// where the others were shown.
    pub(super) fn explain(&self, reason: &str) -> String {
        const MOMENT: Duration = Duration::from_millis(100);
        // A program that fails writes its last words while its pipes close.
        let end = Instant::now() + MOMENT;
        while !self.is_complete.load(Ordering::Acquire) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let lines = self.lines.lock().expect("nobody panics with the lines");
        let Some((last, _)) = lines.back() else { return reason.to_owned() };
        if lines.iter().all(|(_, is_shown)| *is_shown) {
            return format!("{reason}; its standard error, shown above, ends in `{}`", last.trim());
        }
        let mut text = format!("{reason}; its standard error ends in");
        for (line, _) in lines.iter() {
            text.push_str("\n    ");
            text.push_str(line);
        }
        text
    }
}

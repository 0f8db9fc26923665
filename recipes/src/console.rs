//! What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Speaks on stderr, or not at all.
#[derive(Debug, Clone)]
pub struct Console {
    bar: Option<ProgressBar>,
    speaks: bool,
}

impl Console {
    /// A bar where stderr is a terminal, plain lines where it is not.
    pub fn stderr() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, speaks: true }
    }

    /// Plain lines on stderr, for commands without a bar.
    pub const fn lines() -> Self {
        Self { bar: None, speaks: true }
    }

    /// Says nothing.
    pub const fn silent() -> Self {
        Self { bar: None, speaks: false }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) if !bar.is_finished() => bar.println(line),
            // Whoever closed stderr does not want to hear it; the run goes on.
            _ if self.speaks => {
                let _ = writeln!(io::stderr(), "{line}");
            }
            _ => {}
        }
    }

    /// How far the run is, in steps.
    pub(crate) fn steps(&self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            let template = "{bar:30} {pos}/{len} steps, {elapsed} gone, {eta} left  {msg}";
            bar.set_style(ProgressStyle::with_template(template).expect("the template is fixed"));
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// What is being done within the step; gone with the next.
    pub(crate) fn now(&self, what: &str, done: usize, total: usize) {
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
    fn durations_read_well() {
        assert_eq!(duration(3.21), "3.2 s");
        assert_eq!(duration(192.4), "3 min 12 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}

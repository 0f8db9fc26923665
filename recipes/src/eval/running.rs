//! An evaluation while it runs: what is judged, for the directory and for people.

use std::time::{Duration, Instant};

use anyhow::Result;
use evals::Estimate;
use evals::attempt::Draw;
use evals::run::{Figure, ProblemLine, State};

use super::{Folder, Set};
use crate::console::{Console, duration};
use crate::printable::counted;

/// Time between two signs of life.
const SIGNS: Duration = Duration::from_secs(2);
/// Time after which a line is printed where there is no terminal to show a bar.
const LINES: Duration = Duration::from_secs(30);

/// The sets that are being judged.
pub(super) struct Running<'a> {
    folder: &'a mut Folder,
    console: &'a Console,
    tallies: Vec<Tally<'a>>,
    /// The set of the problem that was judged last.
    last: usize,
    /// When the directory last said that somebody is at work in it.
    said: Instant,
    /// When it began.
    began: Instant,
    /// When a line was last printed.
    printed: Instant,
}

/// How far a set has come.
struct Tally<'a> {
    set: &'a str,
    asked: usize,
    judged: usize,
    values: Vec<f64>,
}

impl<'a> Running<'a> {
    /// Sets of which `pending` are to be judged; one that is judged already is finished.
    pub(super) fn new(
        folder: &'a mut Folder,
        sets: &'a [Set],
        pending: &[Vec<Draw<'_>>],
        console: &'a Console,
    ) -> Result<Self> {
        let mut tallies = Vec::new();
        for (set, pending) in sets.iter().zip(pending) {
            if pending.is_empty() {
                folder.finish(&set.name)?;
            }
            let known = folder.lines(&set.name);
            tallies.push(Tally {
                set: &set.name,
                asked: set.chosen.len(),
                judged: known.len(),
                values: known.iter().filter_map(|line| Figure::Average.of(line)).collect(),
            });
        }
        let last = pending.iter().position(|pending| !pending.is_empty()).unwrap_or(0);
        let began = Instant::now();
        let (said, printed) = (began, began);
        Ok(Self { folder, console, tallies, last, said, began, printed })
    }

    /// Shows the progress on a terminal, and now and then in the directory.
    pub(super) fn show(&mut self, now: rollout::Progress) {
        if self.said.elapsed() >= SIGNS {
            // For readers alone: what is judged does not depend on it.
            let _ = self.folder.set_status(State::Running);
            self.said = Instant::now();
        }
        if self.console.has_bar() {
            let (finished, sequences) = (now.finished as u64, now.sequences as u64);
            self.console.set_progress("completions", finished, sequences);
            self.console.set_message(self.tallies[self.last].figure());
        } else if self.printed.elapsed() >= LINES {
            self.console.print(&format!(
                "{}; {}",
                self.tallies[self.last].figure(),
                self.left(now)
            ));
            self.printed = Instant::now();
        }
    }

    /// How many completions there are, and about how long the rest takes.
    fn left(&self, now: rollout::Progress) -> String {
        let rollout::Progress { finished, sequences, .. } = now;
        let done = format!("{finished} of {}", counted(sequences, "completion"));
        if finished == 0 {
            return done;
        }
        let each = self.began.elapsed().as_secs_f64() / finished as f64;
        let rest = each * sequences.saturating_sub(finished) as f64;
        format!("{done}, about {} left", duration(rest))
    }

    /// Keeps what became of a problem of a set. The last one finishes the set.
    pub(super) fn add(&mut self, set: usize, line: ProblemLine) -> evals::Result<()> {
        let tally = &mut self.tallies[set];
        tally.values.extend(Figure::Average.of(&line));
        self.folder.add(tally.set, line)?;
        tally.judged += 1;
        if !self.console.has_bar() && tally.judged.is_multiple_of(tally.asked.div_ceil(10)) {
            self.console.print(&tally.figure());
            self.printed = Instant::now();
        }
        self.last = set;
        if tally.judged == tally.asked { self.folder.finish(tally.set) } else { Ok(()) }
    }
}

impl Tally<'_> {
    /// The figure so far.
    fn figure(&self) -> String {
        let Self { set, asked, values, judged } = self;
        let Estimate { mean, low, high } = Estimate::over_problems(values, 1.0);
        let [mean, low, high] = [mean, low, high].map(|share| 100.0 * share);
        let asked = counted(asked, "problem");
        format!("{set} {judged} of {asked}, avg {mean:.1} ({low:.1} to {high:.1})")
    }
}

//! `stearin eval`: evaluates a model on benchmarks, files and generated problems.
//!
//! Reading order: `eval/sets.rs` finds the problems, `eval/settings.rs` has what results depend on,
//! `eval/folder.rs` stores them, [`judge`] computes them, `eval/table.rs` prints them.

mod contamination;
mod folder;
mod list;
mod sets;
mod settings;
mod table;

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use engine::Model;
use engine::text::Text;
use evals::attempt::{AttemptConfig, Draw, GradedGroup, Sampler, attempt_each};
use evals::run::{Figure, ProblemLine, State};
use evals::{Error, Estimate, PromptStyle};
use rollout::{Key, Purpose};

pub use contamination::{Texts, contaminated};
pub use folder::{Folder, Found, open, read};
pub use list::list;
pub use sets::{Finding, Set};
pub use settings::{SetSettings, Settings, model_name};
pub use table::{Compared, Shown, compare, json, markdown};

use crate::causes::with_causes;
use crate::console::{Console, duration};
use crate::signals::Stop;

/// A model, and how it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The weights.
    pub model: &'a Model,
    /// Their text, prepared for the prompt style.
    pub text: &'a Text,
    /// Completions that are decoded at a time.
    pub slots: usize,
}

/// The error of an evaluation that had begun.
#[derive(Debug)]
pub struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// How far an evaluation has come, for people.
struct Progress<'a> {
    console: &'a Console,
    /// Completions to make.
    total: usize,
    /// Completions of the sets before.
    before: usize,
    /// Tokens of the sets before.
    tokens: usize,
}

/// The set that is being judged.
struct Running<'a> {
    folder: &'a mut Folder,
    set: &'a str,
    asked: usize,
    values: Vec<f64>,
    judged: usize,
    /// When the directory last said that somebody is at work in it.
    said: Instant,
}

/// Time between two signs of life.
const SIGNS: Duration = Duration::from_secs(2);

impl<'a> Running<'a> {
    fn new(folder: &'a mut Folder, set: &'a Set) -> Self {
        let known = folder.lines(&set.name);
        let values = known.iter().filter_map(|line| Figure::Average.of(line)).collect();
        let judged = known.len();
        let said = Instant::now();
        Self { folder, set: &set.name, asked: set.chosen.len(), values, judged, said }
    }

    /// The figure so far.
    fn figure(&self) -> String {
        let Self { set, asked, values, judged, .. } = self;
        let Estimate { mean, low, high } = Estimate::over_problems(values, 1.0);
        let [mean, low, high] = [mean, low, high].map(|share| 100.0 * share);
        format!("{set} {judged} of {asked} problems, avg {mean:.1} ({low:.1} to {high:.1})")
    }

    fn add(&mut self, line: ProblemLine) -> evals::Result<()> {
        self.values.extend(Figure::Average.of(&line));
        self.judged += 1;
        self.folder.add(self.set, line)
    }

    fn give_sign(&mut self) {
        if self.said.elapsed() >= SIGNS {
            // For readers alone: what is judged does not depend on it.
            let _ = self.folder.set_status(State::Running);
            self.said = Instant::now();
        }
    }
}

/// Judges all problems of the sets that `folder` does not have yet. Returns whether it was not
/// stopped.
///
/// # Errors
///
/// Fails with [`Failed`] on what goes wrong; what was judged by then is kept.
pub fn judge(
    policy: Policy<'_>,
    sets: &[Set],
    folder: &mut Folder,
    stop: &Stop,
    console: &Console,
) -> Result<bool> {
    let pending: Vec<Vec<Draw<'_>>> = sets.iter().map(|set| folder.pending(set)).collect();
    let began = Instant::now();
    let per_problem = |set: &Set| folder.samples(&set.name) + usize::from(folder.settings().greedy);
    let total = sets.iter().zip(&pending).map(|(set, asked)| asked.len() * per_problem(set)).sum();
    let mut progress = Progress { console, total, before: 0, tokens: 0 };
    folder.set_status(State::Running)?;
    let mut judged = sets.iter().zip(&pending);
    let ended = judged
        .try_for_each(|(set, asked)| judge_set(policy, set, asked, folder, stop, &mut progress));
    console.end();
    if progress.tokens > 0 {
        let (tokens, seconds) = (progress.tokens, began.elapsed().as_secs_f64());
        let (rate, took) = (tokens as f64 / seconds, duration(seconds));
        console.print(&format!("sampled {tokens} tokens in {took}: {rate:.0} tokens/s"));
    }
    let is_stop = |error: &Error| {
        let stopped = matches!(error, Error::Rollout(rollout::Error::Stopped));
        stop.is_requested() && (stopped || matches!(error, Error::Unavailable(_)))
    };
    match ended {
        Ok(()) => folder.set_status(State::Finished).map(|()| true),
        Err(error) if error.downcast_ref().is_some_and(is_stop) => {
            folder.set_status(State::Interrupted).map(|()| false)
        }
        Err(error) => {
            let reason = with_causes(&error);
            // The first error is the one to report.
            let _ = folder.set_status(State::Failed { reason: reason.clone() });
            let next = "what was judged is kept; the same command continues";
            Err(Failed(format!("{reason}\n{next}")).into())
        }
    }
}

fn judge_set(
    policy: Policy<'_>,
    set: &Set,
    asked: &[Draw<'_>],
    folder: &mut Folder,
    stop: &Stop,
    progress: &mut Progress<'_>,
) -> Result<()> {
    if asked.is_empty() {
        return folder.finish(&set.name);
    }
    let settings = folder.settings().clone();
    let (samples, greedy) = (folder.samples(&set.name), settings.greedy);
    let rubric = set.rewards.build()?;
    let Policy { model, text, slots } = policy;
    let (style, sampling) = (&settings.prompt, &settings.sampling);
    let setup = Sampler { model, text, style, sampling, slots, rubric: &rubric };
    let key = Key { seed: settings.seed, purpose: Purpose::Eval, step: 0 };
    let running = Mutex::new(Running::new(folder, set));
    let locked = || running.lock().expect("nobody panics with it");
    let Progress { console, total, before, .. } = *progress;
    let mut tokens = 0;
    let mut on_progress = |now: rollout::Progress| {
        tokens = now.tokens;
        let mut running = locked();
        running.give_sign();
        if console.has_bar() {
            console.set_progress("completions", (before + now.finished) as u64, total as u64);
            console.set_message(running.figure());
        }
        stop.flow()
    };
    let tenth = set.chosen.len().div_ceil(10);
    let mut on_judged = |at: usize, group: GradedGroup| -> evals::Result<()> {
        let line = ProblemLine::of(asked[at].number, &group, &rubric, true);
        let mut running = locked();
        running.add(line)?;
        if !console.has_bar() && running.judged.is_multiple_of(tenth) {
            console.print(&running.figure());
        }
        Ok(())
    };
    let ask = AttemptConfig { samples, greedy, key };
    let ended = attempt_each(&setup, asked, ask, &mut on_progress, &mut on_judged);
    progress.tokens += tokens;
    progress.before += asked.len() * (samples + usize::from(greedy));
    ended?;
    folder.finish(&set.name)
}

/// Refuses prompts that leave no room in the model's context.
///
/// # Errors
///
/// Fails on the first of them, and on one that cannot be made.
pub fn fits(policy: Policy<'_>, sets: &[Set], prompt: &PromptStyle) -> Result<()> {
    let context = policy.model.config().context;
    for set in sets {
        for problem in set.chosen.iter().map(|&number| &set.problems[number]) {
            let named = || format!("{}, problem {}", set.name, problem.id);
            let tokens = prompt.tokens(policy.text, problem).with_context(named)?;
            if tokens.len() >= context {
                bail!(
                    "{}: its prompt of {} tokens leaves no room in the model's context of {context}\n\
                     choose a shorter prompt style by --prompt",
                    named(),
                    tokens.len()
                );
            }
        }
    }
    Ok(())
}

//! `stearin eval`: evaluates a model on benchmarks, files and generated problems.
//!
//! Reading order: `eval/sets.rs` finds the problems, `eval/settings.rs` has what results depend on,
//! [`judge`] computes them, `eval/folder.rs` stores them, `eval/compare.rs` compares them with
//! others, `eval/table.rs` prints them.

mod compare;
mod contamination;
mod folder;
mod list;
mod plan;
mod running;
mod sets;
mod settings;
mod table;

use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use engine::Model;
use engine::text::Text;
use evals::attempt::{AskedSet, Draw, GradedGroup, Place, Sampler, attempt_each};
use evals::run::{ProblemLine, State};
use evals::{Error, PromptStyle};
use rollout::{Key, Purpose};

pub use compare::{Compared, Flip, Flipped, compare};
pub use contamination::{Texts, contaminated};
pub use folder::{Folder, Found, open, read, read_sets};
pub use list::{list, list_json};
pub use plan::plan;
pub use sets::{Finding, Set};
pub use settings::{SetSettings, Settings, model_name};
pub use table::{Shown, json, markdown};

use running::Running;

pub use crate::causes::Failed;
use crate::causes::with_causes;
use crate::console::{Console, duration};
use crate::printable::counted;
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

/// Judges all problems of the sets that `folder` does not have yet, as one stream of completions.
/// Returns whether it was not stopped.
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
    let pending: Vec<_> = sets.iter().map(|set| folder.pending(set)).collect::<Result<_>>()?;
    if let Some(line) = progress(sets, &pending) {
        console.print(&line);
    }
    let began = Instant::now();
    let mut tokens = 0;
    let ended = folder
        .set_status(State::Running)
        .and_then(|()| judge_pending(policy, sets, &pending, folder, stop, console, &mut tokens));
    console.end();
    if tokens > 0 {
        let seconds = began.elapsed().as_secs_f64();
        let (rate, took) = (tokens as f64 / seconds, duration(seconds));
        let tokens = counted(tokens, "token");
        console.print(&format!("sampled {tokens} in {took}: {rate:.0} tokens/s"));
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

/// How much of the sets is judged already, where something is.
fn progress(sets: &[Set], pending: &[Vec<Draw<'_>>]) -> Option<String> {
    let asked: usize = sets.iter().map(|set| set.chosen.len()).sum();
    let left: usize = pending.iter().map(Vec::len).sum();
    let all = counted(asked, "problem");
    match asked - left {
        0 => None,
        done if left == 0 => {
            Some(format!("nothing is left to judge: {done} of {all} are judged already"))
        }
        done => Some(format!("continuing: {done} of {all} are judged")),
    }
}

fn judge_pending(
    policy: Policy<'_>,
    sets: &[Set],
    pending: &[Vec<Draw<'_>>],
    folder: &mut Folder,
    stop: &Stop,
    console: &Console,
    tokens: &mut usize,
) -> Result<()> {
    let settings = folder.settings().clone();
    let rubrics =
        sets.iter().map(|set| set.rewards.build()).collect::<std::result::Result<Vec<_>, _>>()?;
    let Policy { model, text, slots } = policy;
    let (style, sampling) = (&settings.prompt, &settings.sampling);
    let asked = sets.iter().zip(&rubrics).zip(pending).map(|((set, rubric), problems)| AskedSet {
        sampler: Sampler { model, text, style, sampling, slots, alternatives: 0, rubric },
        problems,
        samples: folder.samples(&set.name),
        greedy: settings.greedy,
    });
    let asked: Vec<_> = asked.collect();
    let running = Mutex::new(Running::new(folder, sets, pending, console)?);
    let mut on_progress = |now: rollout::Progress| {
        *tokens = now.tokens;
        // While a problem is being written down, sampling does not wait to say so.
        if let Ok(mut running) = running.try_lock() {
            running.show(now);
        }
        stop.flow()
    };
    let mut on_judged = |place: Place, group: GradedGroup| -> evals::Result<()> {
        let number = pending[place.set][place.problem].number;
        let line = ProblemLine::of(number, &group, &rubrics[place.set], true);
        running.lock().expect("nobody panics with it").add(place.set, line)
    };
    let key = Key { seed: settings.seed, purpose: Purpose::Eval, step: 0 };
    Ok(attempt_each(&asked, key, &mut on_progress, &mut on_judged)?)
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

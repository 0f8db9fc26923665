//! The end of a run: its status, summary and error.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use evals::run::State;

use super::{Ended, Trainer};
use crate::causes::with_causes;
use crate::printable::counted;
use crate::resume::Command;
use crate::run_dir::way_back;
use crate::summary::summary;
use crate::train::recoverable::{Recoverable, VerifierFailed};
use crate::verifiers;

/// The error of a run that had begun, with what to do next.
#[derive(Debug)]
pub struct Failed {
    reason: String,
    next: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.reason, self.next)
    }
}

impl std::error::Error for Failed {}

impl Trainer<'_> {
    /// Records how the run ended, and prints the summary.
    pub(super) fn end(self, ended: Result<Ended>) -> Result<Ended> {
        let console = self.run.console;
        console.end();
        let ended = match ended {
            Err(error) => return Err(self.failed(&error).into()),
            Ok(ended) => ended,
        };
        self.set_status(match ended {
            Ended::Finished => State::Finished,
            Ended::Interrupted => State::Interrupted,
        })?;
        match summary(&self.run_dir) {
            Ok(text) => console.print(&format!("\n{text}")),
            // The run has ended as it should all the same.
            Err(error) => {
                console.warn(&format!("there is no summary of the run: {}", with_causes(&error)));
            }
        }
        if console.is_quiet() {
            console.print_last(&self.last_line(ended));
        }
        Ok(ended)
    }

    /// How it ended, where nothing else is said.
    fn last_line(&self, ended: Ended) -> String {
        let how = match ended {
            Ended::Finished => "finished",
            Ended::Interrupted => "interrupted",
        };
        let (step, total) = (self.state.step, self.run.recipe.total_steps());
        let root = self.run_dir.root().display();
        let score = self.state.score.as_ref().map(|score| format!(", {score}"));
        format!("{root} {how}: {step} of {}{}", counted(total, "step"), score.unwrap_or_default())
    }

    fn failed(&self, error: &anyhow::Error) -> Failed {
        let reason = with_causes(error);
        // The first error is the one to report.
        let _ = self.set_status(State::Failed { reason: reason.clone() });
        let saved = self.saved.as_ref().map_or(0, |saved| saved.state.step);
        let state = match self.state.step {
            0 => "no step was done".to_owned(),
            1 if saved == 0 => "1 step was done and is not saved".to_owned(),
            done if done == saved => format!("the state after step {done} is saved"),
            done => format!("{done} steps were done, of which {saved} are saved"),
        };
        let command = self.resuming();
        let next = if let Some(Unusable { problem, folder, settings }) = self.unusable(error) {
            let changed = command.changed || !settings.is_empty();
            let resume = Command { changed, ..command }.resume(&settings);
            let way_back = way_back(self.run_dir.root(), folder, Some(&resume));
            format!("{state}, but {problem}\n{way_back}")
        } else if let Some(stage) = self.diverging(error) {
            let command = Command { changed: true, ..command }.resume(&[self.lower_rate(stage)]);
            format!("{state}, but {}:\n  {command}", self.divergence(error))
        } else if let Some(recoverable) = error.downcast_ref::<Recoverable>() {
            let command = Command { changed: true, ..command }.resume(&recoverable.settings);
            format!("{state}; to go on:\n  {command}")
        } else {
            format!(
                "{state}; to go on once the cause is removed:\n  {}{}",
                command.resume(&[]),
                self.changed_judge(error)
            )
        };
        let failed = Failed { reason, next };
        self.run.console.log(&format!("error: {failed}"));
        failed
    }

    /// How to resume: with the flags given, unless the run has what they accept.
    fn resuming(&self) -> Command<'_> {
        let Command { line, .. } = self.command;
        if self.accepted.is_some() {
            self.command
        } else {
            Command { line, changed: false, changed_files: false }
        }
    }

    /// What else a resume needs, where files of a verifier may have to be changed for it.
    fn changed_judge(&self, error: &anyhow::Error) -> &'static str {
        let unavailable = |error: &evals::Error| matches!(error, evals::Error::Unavailable(_));
        let of_verifier =
            error.is::<VerifierFailed>() || error.downcast_ref().is_some_and(unavailable);
        let is_accepted = self.resuming().changed_files;
        if of_verifier && !is_accepted && !verifiers::files(&self.run.recipe.rewards()).is_empty() {
            "\nif you changed its files for that, add --accept-changed-files"
        } else {
            ""
        }
    }

    /// The stage that diverged in the midst of a step, of which nothing is saved.
    fn diverging(&self, error: &anyhow::Error) -> Option<usize> {
        let (stage, _) = self.run.recipe.stage_at(self.state.step)?;
        is_of_update(error).then_some(stage)
    }

    /// The setting of a learning rate with which a stage that diverged may not.
    fn lower_rate(&self, stage: usize) -> String {
        let lr = lowered(self.run.recipe.stages[stage].settings().descent().schedule.peak());
        format!("stage.{stage}.schedule.lr={lr}")
    }

    /// What diverged, and what is to be done about it.
    fn divergence(&self, error: &anyhow::Error) -> String {
        let settings = self.run.recipe.stages[self.state.stage].settings();
        let or_else = if is_of_update(error) && !settings.learns_solutions() {
            ", unless the rewards or old log-probs of this step are at fault"
        } else {
            ""
        };
        format!(
            "its weights have diverged{or_else}: go back, with a lower learning rate, as the same \
             steps would diverge again"
        )
    }

    /// Why the last checkpoint cannot be gone on from, where that is the cause of the error.
    fn unusable(&self, error: &anyhow::Error) -> Option<Unusable<'_>> {
        let saved = self.saved.as_ref().filter(|saved| saved.state.step == self.state.step)?;
        let folder = saved.path.as_path();
        if has_diverged(error) {
            let settings = vec![self.lower_rate(self.state.stage)];
            return Some(Unusable { problem: self.divergence(error), folder, settings });
        }
        // Until a step is done, the files of the checkpoint may be at fault.
        let damage = self.accepted.as_ref().and_then(|_| saved.damage())?;
        let problem = if with_causes(error).contains(&damage) {
            "its checkpoint is damaged".to_owned()
        } else {
            format!("its checkpoint is damaged: {damage}")
        };
        Some(Unusable { problem, folder, settings: Vec::new() })
    }
}

/// A checkpoint that cannot be gone on from.
struct Unusable<'a> {
    problem: String,
    folder: &'a Path,
    /// The settings with which the run gets past it, as for `--set`.
    settings: Vec<String>,
}

/// A tenth of a learning rate, in two digits.
fn lowered(lr: f64) -> String {
    format!("{:.1e}", lr / 10.0).replace(".0e", "e")
}

/// Whether the policy gave logits, or the update a loss or a gradient, that are not finite.
fn has_diverged(error: &anyhow::Error) -> bool {
    // The end of the messages of the engine and of sampling, which have no type in common.
    is_of_update(error) || with_causes(error).contains("are not finite: the weights have diverged")
}

/// Whether an update found a loss or a gradient that is not finite.
fn is_of_update(error: &anyhow::Error) -> bool {
    use optim::Error::{NonFiniteLoss, NonFiniteNorm};
    matches!(error.downcast_ref(), Some(NonFiniteLoss { .. } | NonFiniteNorm { .. }))
}

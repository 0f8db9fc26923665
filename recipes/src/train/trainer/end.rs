//! The end of a run: its status, summary and error.

use std::fmt;
use std::path::Path;

use anyhow::Result;
use evals::run::State;

use super::begin::AcceptedChanges;
use super::{Ended, Trainer};
use crate::causes::with_causes;
use crate::config::ReferenceChoice;
use crate::printable::counted;
use crate::resume::Command;
use crate::run_dir::{Damaged, way_back};
use crate::summary::summary;
use crate::train::recoverable::{Recoverable, UnusableReference, VerifierFailed};
use crate::train::stage::REMADE;
use crate::verifiers;

/// The error of a run that had begun, with what to do next.
#[derive(Debug)]
pub struct Failed {
    reason: String,
    next: String,
    /// Whether what the run had saved is missing or damaged.
    of_saved: bool,
}

impl Failed {
    /// Whether what the run had saved is missing or damaged, so that it cannot be resumed as asked.
    pub fn is_of_saved(&self) -> bool {
        self.of_saved
    }
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
        let damage = self.damage(error);
        let of_saved = damage.is_some() || error.is::<Damaged>();
        let command = self.resuming();
        let next = if let Some((problem, folder)) = damage {
            let way_back = way_back(self.run_dir.root(), folder, Some(&command.resume(&[])));
            format!("{state}, but {problem}\n{way_back}")
        } else if let Some(reference) = error.downcast_ref::<UnusableReference>() {
            format!("{state}; {}", self.other_adapter(reference))
        } else if has_diverged(error) {
            format!("{state}, but {}", self.diverged(error))
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
        let failed = Failed { reason, next, of_saved };
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

    /// Why the files of the last checkpoint are the cause of an error, and its folder. Once a step
    /// is done they are not.
    fn damage(&self, error: &anyhow::Error) -> Option<(String, &Path)> {
        self.accepted.as_ref()?;
        let saved = self.saved.as_ref().filter(|saved| saved.state.step == self.state.step)?;
        let of_stage = error.downcast_ref().filter(|Damaged(said)| !said.contains(REMADE));
        let damage = saved.damage().or_else(|| of_stage.map(ToString::to_string))?;
        let problem = if with_causes(error).contains(&damage) {
            "its checkpoint is damaged".to_owned()
        } else {
            format!("its checkpoint is damaged: {damage}")
        };
        Some((problem, saved.path.as_path()))
    }

    /// Whether the policy computes numbers: of some tokens, whose logits stand for others.
    pub(super) fn is_policy_finite(&self) -> bool {
        const TOKENS: usize = 16;
        let (policy, config) = (self.run.model.policy(), self.run.model.config());
        let tokens: Vec<u32> = (0..TOKENS.min(config.vocab_size).min(config.context))
            .map(|token| token as u32)
            .collect();
        policy.prefill(&tokens).is_ok()
    }

    /// What there is to do about an adapter that a stage looks back at and that is no use.
    fn other_adapter(&self, reference: &UnusableReference) -> String {
        let name = &reference.adapter;
        let key = format!("model.adapters.{name}.from");
        let command = Command { changed_files: true, ..self.resuming() };
        let command = command.resume(&[format!("{key}=ADAPTER")]);
        let begins = self.run.recipe.stage_at(self.state.step).filter(|(_, within)| *within == 0);
        let or_other = begins.map_or_else(String::new, |(stage, _)| {
            format!("\nor let stage.{stage}.reference be another one, with --changed")
        });
        format!(
            "the adapter {name} is at fault, not what was trained; name another one by {key}, then \
             resume:\n  {command}{or_other}"
        )
    }

    /// What diverged, and what is to be done about it.
    fn diverged(&self, error: &anyhow::Error) -> String {
        let last = self.state.stage;
        let next = self.run.recipe.stage_at(self.state.step);
        let begun = next.filter(|_| is_of_update(error));
        let (stage, within) = begun.unwrap_or((last, 1));
        let learns = self.run.recipe.stages[stage].settings().learns_solutions();
        if !self.has_moved && (!is_of_update(error) || !self.is_policy_finite()) {
            // The weights are those of the last step.
            return if self.state.step == 0 { self.other_start() } else { self.back(last, "") };
        }
        let or_else = if is_of_update(error) && !learns {
            ", unless the rewards or old log-probs of this step are at fault"
        } else {
            ""
        };
        if self.has_moved {
            // Those that are saved are sound.
            return format!(
                "the updates of step {} made its weights diverge{or_else}: go on with a lower \
                 learning rate, as the same steps would diverge again:\n  {}",
                self.state.step + 1,
                self.lower_rate(stage)
            );
        }
        let changes = self.accepted.as_ref().map(AcceptedChanges::changing).unwrap_or_default();
        if (within == 0 && !learns) || !changes.is_empty() {
            return self.settings_at_fault(stage, &changes);
        }
        if self.state.step == 0 { self.other_start() } else { self.back(last, or_else) }
    }

    /// The command that goes on with a lower learning rate in a stage.
    fn lower_rate(&self, stage: usize) -> String {
        Command { changed: true, ..self.resuming() }.resume(&[self.lowered(stage)])
    }

    fn lowered(&self, stage: usize) -> String {
        let lr = lowered(self.run.recipe.stages[stage].settings().descent().schedule.peak());
        format!("stage.{stage}.schedule.lr={lr}")
    }

    /// How to go back where the updates of `stage` made the weights diverge that the run has now.
    fn back(&self, stage: usize, or_else: &str) -> String {
        let problem = format!(
            "its weights have diverged{or_else}: go back, with a lower learning rate, as the same \
             steps would diverge again"
        );
        let command = self.lower_rate(stage);
        match self.saved.as_ref().filter(|saved| saved.state.step == self.state.step) {
            None => format!("{problem}:\n  {command}"),
            Some(saved) => {
                let way_back = way_back(self.run_dir.root(), &saved.path, Some(&command));
                format!("{problem}\n{way_back}")
            }
        }
    }

    /// What to do where the weights that a run starts from make numbers that are not finite.
    fn other_start(&self) -> String {
        let model = &self.run.recipe.model;
        let from = model.adapter.as_ref().and_then(|adapter| adapter.from());
        let adapter = from.map_or("", |_| ", or another adapter by model.adapter.from");
        format!(
            "no update made them so: the weights that the run starts from are at fault; start a new \
             run in another --run-dir with another model by model.path{adapter}"
        )
    }

    /// What to do where the weights are sound and the first step of a stage, or the first with
    /// these changes of settings, finds no finite loss.
    fn settings_at_fault(&self, stage: usize, changes: &[&str]) -> String {
        let command = Command { changed: true, ..self.resuming() }.resume(&[]);
        let choice = self.run.recipe.stages[stage].reference();
        let reference = choice.and_then(ReferenceChoice::adapter);
        let reference = reference
            .map_or_else(String::new, |name| format!(", or its reference, the adapter {name}"));
        let (what, lines) = if changes.is_empty() {
            let keys = ["loss", "reward_kl", "entropy_bonus", "rewards"];
            let keys = keys.map(|key| format!("stage.{stage}.{key}")).join(", ");
            (format!("the settings of stage {stage} ({keys}){reference}"), String::new())
        } else {
            let lines = format!("\n  {}", changes.join("\n  "));
            ("settings that this resume changes".to_owned(), lines)
        };
        format!(
            "its weights are sound, so {what} are at fault: change them, in the recipe or by --set, \
             then resume{lines}\n  {command}"
        )
    }
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

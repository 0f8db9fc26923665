//! Evaluation of the policy on held-out problems.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use engine::text::Text;
use evals::attempt::Sampler;
use evals::evaluate::{Evaluated, HELD_OUT, HeldOut, evaluate};
use evals::run::{Files, Learnt, Phase, Step, Summary, TokensAbout};
use evals::{Estimate, Log, Metrics, Warning};
use rewards::{Problem, Rubric};

use super::Trainer;
use crate::config::{Recipe, SetSettings};
use crate::data::{Problems, rows_sha256};
use crate::identity::sha256;
use crate::length_limits::own_text;
use crate::printable::counted;
use crate::run_dir::{Score, best_of};
use crate::verifiers::{self, Verifiers};

/// A held-out set and what is needed to evaluate on it.
pub(super) struct HeldOutSet<'a> {
    settings: SetSettings<'a>,
    problems: &'a [Problem],
    /// SHA-256 of them.
    sha256: String,
    rubric: Rubric,
    /// The prepared text of its prompt style, if that is not the run's.
    text: Option<Text>,
    /// Digest of all that its scores depend on besides the policy.
    measured: String,
}

/// The held-out sets of a run that has these files.
pub(super) fn held_out_sets<'a>(
    recipe: &'a Recipe,
    problems: &'a Problems,
    text: &Text,
    verifiers: &Verifiers,
    files: &Files,
) -> Result<Vec<HeldOutSet<'a>>> {
    recipe
        .held_out_sets()
        .into_iter()
        .zip(problems.judged_by())
        .map(|(settings, problems)| {
            let name = || format!("the rewards of the held-out set `{}`", settings.name);
            let rubric = verifiers.rubric(settings.rewards).with_context(name)?;
            let text = own_text(settings.prompt, recipe, text)?;
            let measured = measured(&settings, problems, files)?;
            let sha256 = rows_sha256(problems);
            Ok(HeldOutSet { settings, problems, sha256, rubric, text, measured })
        })
        .collect()
}

/// Digest of the settings, problems and verifier files that a score depends on.
fn measured(settings: &SetSettings<'_>, problems: &[Problem], files: &Files) -> Result<String> {
    let SetSettings { samples, sampling, rewards, prompt, .. } = settings;
    let mut all = serde_json::to_vec(&(samples, sampling, rewards, prompt, problems))?;
    for (_, path) in verifiers::files(&[(String::new(), rewards)]) {
        let path = path.display().to_string();
        // One that the run does not have is written by a verifier.
        if let Some(file) = files.0.values().find(|file| file.path == path) {
            all.extend(file.sha256.bytes());
        }
    }
    Ok(sha256(&all))
}

impl Trainer<'_> {
    /// Prints that the best score so far does not count any more, where it was measured otherwise
    /// than the coming ones.
    pub(super) fn note_other_score(&self) -> Result<()> {
        let saved = self.run_dir.checkpoints()?;
        let (Some(by), Some(best)) = (self.run.recipe.best_by(), best_of(&saved)) else {
            return Ok(());
        };
        let Some(score) = best.state.score.as_ref().filter(|score| score.set == by.set) else {
            return Ok(());
        };
        let is_its = |set: &SetSettings<'_>| set.name == by.set || set.is_greedily(&by.set);
        let set = self.sets.iter().find(|set| is_its(&set.settings));
        if set.is_some_and(|set| set.measured != score.measured) {
            self.run.console.print(&format!(
                "note: {score} after step {} was measured with other settings, problems or verifier \
                 files of the set, so coming scores are not compared with it; the checkpoint stays \
                 until the next evaluation",
                best.state.step
            ));
        }
        Ok(())
    }

    /// Indices of the held-out sets on which the policy is to be evaluated after the last step.
    pub(super) fn due_sets(&self) -> Vec<usize> {
        let (recipe, step) = (self.run.recipe, self.state.step);
        let sets = self.sets.iter().enumerate();
        let due = sets.filter(|(_, set)| recipe.is_evaluated(&set.settings, step));
        due.map(|(at, _)| at).collect()
    }

    /// Evaluates the policy on the held-out sets that are due, and records each problem as soon as
    /// it is judged. Returns metrics and timings.
    ///
    /// An evaluation that a kill interrupts is repeated: the run resumes from a checkpoint before.
    pub(super) fn evaluate(&mut self) -> Result<(Metrics, Metrics)> {
        let began = Instant::now();
        let mut metrics = Metrics::new(Log::Metrics);
        let mut timings = Metrics::new(Log::Timings);
        let due = self.due_sets();
        if due.is_empty() {
            return Ok((metrics, timings));
        }
        let mut warnings = Vec::new();
        let found = self.judge(&due)?;
        for (at, found) in due.into_iter().zip(found) {
            let name = found.summary.set.clone();
            self.run.console.print(&accuracy_line(&found.summary));
            let likeliest = found.likeliest();
            for one in [Some(&found), likeliest.as_ref()].into_iter().flatten() {
                metrics.extend(one.summary.metrics()?);
                self.keep(at, one)?;
            }
            // The same problems: a warning about them is given once.
            let is_news = |one: &Warning| found.warnings.iter().all(|known| known.name != one.name);
            let more = likeliest.map_or_else(Vec::new, |one| one.warnings).into_iter();
            let all: Vec<_> = found.warnings.iter().cloned().chain(more.filter(is_news)).collect();
            warnings.extend(all.into_iter().map(|warning| of_set(warning, &name)));
        }
        if self.learns_form() {
            warnings.retain(|warning| warning.name != "held_out_no_answer");
        }
        self.record.warnings(self.state.step, &warnings, None)?;
        self.log_warnings(&warnings);
        timings.set("timing_s/testing", began.elapsed().as_secs_f64())?;
        Ok((metrics, timings))
    }

    /// Whether the next step is supervised, so that the policy may still learn the form of answers.
    fn learns_form(&self) -> bool {
        let recipe = self.run.recipe;
        let next = recipe.stage_at(self.state.step);
        next.is_some_and(|(index, _)| recipe.stages[index].settings().learns_solutions())
    }

    /// What the policy does on the sets at these indices.
    fn judge(&mut self, due: &[usize]) -> Result<Vec<Evaluated>> {
        let (recipe, console, stop) = (self.run.recipe, self.run.console, self.run.stop);
        let sets = due.iter().map(|&at| &self.sets[at]).map(
            |HeldOutSet { settings, problems, sha256, rubric, text, .. }| {
                let sampler = Sampler {
                    model: self.run.model,
                    text: text.as_ref().unwrap_or(self.run.text),
                    style: settings.prompt,
                    sampling: settings.sampling,
                    slots: recipe.eval.slots.get(),
                    alternatives: 0,
                    rubric,
                };
                let SetSettings { name: set, samples, greedy, .. } = *settings;
                let tokens = recipe.evaluated_tokens();
                HeldOut { set, sampler, problems, sha256, samples, greedy, tokens }
            },
        );
        let sets: Vec<_> = sets.collect();
        let (seed, step, texts) = (recipe.seed, self.state.step, recipe.texts());
        let record = &mut self.record;
        let mut progress = |progress: rollout::Progress| {
            console.set_phase(Phase::Eval, progress.finished, progress.sequences);
            stop.flow()
        };
        let found = evaluate(&sets, seed, step, &mut progress, &mut |set, line| {
            record.problem(step, sets[set].set, &line.clone().with_texts(texts))
        })?;
        Ok(found)
    }

    /// Records an evaluation of a set, and notes the figure by which checkpoints are compared.
    fn keep(&mut self, at: usize, found: &Evaluated) -> Result<()> {
        let texts = self.run.recipe.texts();
        let lines: Vec<_> = found.lines.iter().map(|line| line.clone().with_texts(texts)).collect();
        let mut summary = found.summary.clone();
        if texts == 0 {
            summary.shown.clear();
        }
        self.record.evaluation(&summary, &lines)?;
        self.keep_tokens(at, found)?;
        if let Some(by) = self.run.recipe.best_by().filter(|by| by.set == found.summary.set) {
            let (figure, value) = (by.figure.to_string(), by.figure.of_all(&found.summary));
            let measured = self.sets[at].measured.clone();
            self.state.score = value.map(|value| Score { set: by.set, figure, value, measured });
        }
        Ok(())
    }
}

impl Trainer<'_> {
    /// Records the tokens of the first problems of an evaluation, where they are asked for.
    fn keep_tokens(&mut self, at: usize, found: &Evaluated) -> Result<()> {
        if found.groups.is_empty() {
            return Ok(());
        }
        let HeldOutSet { settings, text, .. } = &self.sets[at];
        let text = text.as_ref().unwrap_or(self.run.text);
        let about = TokensAbout {
            step: self.state.step,
            stage: "eval".to_owned(),
            temperature: settings.sampling.temperature,
            threshold_plus: None,
            threshold_minus: None,
            tokenizer_sha256: self.tokenizer_sha256.clone(),
        };
        let hidden = text.hidden_tokens(&settings.prompt.keep_special_tokens)?;
        let step = Step {
            groups: &[],
            discarded: &found.groups,
            learnt: Learnt::default(),
            text,
            hidden: &hidden,
            about: &about,
        };
        Ok(self.record.evaluation_tokens(settings.name, &step)?)
    }
}

/// The accuracy in a line, with a second one where it is known by source.
fn accuracy_line(summary: &Summary) -> String {
    let Summary { set, accuracy, low, high, problems, unjudged, by_source, greedy, .. } = summary;
    if *problems == 0 {
        let unjudged = counted(unjudged, "problem");
        return format!("{set} accuracy unknown: none of {unjudged} could be judged");
    }
    let mut line = format!(
        "{set} accuracy {:.1} % ({:.1} to {:.1}) on {}",
        100.0 * accuracy,
        100.0 * low,
        100.0 * high,
        counted(problems, "problem")
    );
    if let Some(Estimate { mean, low, high }) = greedy {
        let [mean, low, high] = [mean, low, high].map(|share| 100.0 * share);
        let _ = write!(line, ", greedy {mean:.1} % ({low:.1} to {high:.1})");
    }
    let each = by_source.iter().map(|(source, part)| match part.problems {
        0 => format!("{source} unknown"),
        problems => format!("{source} {:.1} % on {problems}", 100.0 * part.accuracy.mean),
    });
    let each: Vec<_> = each.collect();
    if !each.is_empty() {
        line.push_str("\n  by source: ");
        line.push_str(&each.join(", "));
    }
    line
}

/// The warning, with the name of its set unless that is the default one.
fn of_set(warning: Warning, set: &str) -> Warning {
    if set == HELD_OUT {
        return warning;
    }
    Warning { cause: format!("{set}: {}", warning.cause), ..warning }
}

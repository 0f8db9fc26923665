//! Evaluation of the policy on held-out problems.

use std::time::Instant;

use anyhow::{Context as _, Result};
use engine::text::Text;
use evals::attempt::Sampler;
use evals::evaluate::{HELD_OUT, HeldOut, evaluate, greedy};
use evals::run::Phase;
use evals::{Evaluation, Log, Metrics, ProblemResult, Warning};
use rewards::{Problem, Rubric};
use rollout::Sampling;

use super::Trainer;
use crate::config::{Recipe, SetSettings};
use crate::data::Problems;
use crate::identity::sha256;
use crate::length_limits::own_text;
use crate::run_dir::{Score, best_of};
use crate::verifiers::Verifiers;

/// A held-out set and what is needed to evaluate on it.
pub(super) struct HeldOutSet<'a> {
    settings: SetSettings<'a>,
    problems: &'a [Problem],
    rubric: Rubric,
    /// The prepared text of its prompt style, if that is not the run's.
    text: Option<Text>,
    /// Digest of all that its scores depend on besides the policy.
    measured: String,
}

/// The held-out sets of a run.
pub(super) fn held_out_sets<'a>(
    recipe: &'a Recipe,
    problems: &'a Problems,
    text: &Text,
    verifiers: &Verifiers,
) -> Result<Vec<HeldOutSet<'a>>> {
    recipe
        .held_out_sets()
        .into_iter()
        .zip(problems.judged_by())
        .map(|(settings, problems)| {
            let name = || format!("the rewards of the held-out set `{}`", settings.name);
            let rubric = verifiers.rubric(settings.rewards).with_context(name)?;
            let text = own_text(settings.prompt, recipe, text)?;
            let measured = measured(&settings, problems)?;
            Ok(HeldOutSet { settings, problems, rubric, text, measured })
        })
        .collect()
}

/// Digest of the settings and problems that a score depends on.
fn measured(settings: &SetSettings<'_>, problems: &[Problem]) -> Result<String> {
    let SetSettings { samples, sampling, rewards, prompt, .. } = settings;
    let all = serde_json::to_vec(&(samples, sampling, rewards, prompt, problems))?;
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
        let set = self.sets.iter().find(|set| set.settings.name == by.set);
        if set.is_some_and(|set| set.measured != score.measured) {
            self.run.console.print(&format!(
                "note: {score} after step {} was measured with other settings or problems of the set, so \
                 coming scores are not compared with it; the checkpoint stays until the next evaluation",
                best.state.step
            ));
        }
        Ok(())
    }

    /// Evaluates the policy on every held-out set, with the sampling of the set and, if it is set,
    /// greedily too. Returns metrics and timings.
    ///
    /// An evaluation that a kill interrupts is repeated: the run resumes from a checkpoint before.
    pub(super) fn evaluate(&mut self) -> Result<(Metrics, Metrics)> {
        let began = Instant::now();
        let mut metrics = Metrics::new(Log::Metrics);
        let mut timings = Metrics::new(Log::Timings);
        if self.sets.is_empty() {
            return Ok((metrics, timings));
        }
        let mut warnings = Vec::new();
        for at in 0..self.sets.len() {
            let SetSettings { name, samples, sampling, .. } = self.sets[at].settings;
            let (evaluation, mut found) = self.judge(at, name, sampling, samples)?;
            self.run.console.print(&accuracy_line(&evaluation));
            metrics.extend(evaluation.metrics()?);
            if self.sets[at].settings.greedy {
                let likeliest = Sampling { temperature: 0.0, ..sampling.clone() };
                let (evaluation, more) = self.judge(at, &greedy(name), &likeliest, 1)?;
                metrics.extend(evaluation.metrics()?);
                // The same problems: a warning about them is given once.
                let is_news = |one: &Warning| found.iter().all(|known| known.name != one.name);
                let more: Vec<_> = more.into_iter().filter(is_news).collect();
                found.extend(more);
            }
            warnings.extend(found.into_iter().map(|warning| of_set(warning, name)));
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

    /// Evaluates on one set, and records each problem as soon as it is judged.
    fn judge(
        &mut self,
        at: usize,
        name: &str,
        sampling: &Sampling,
        samples: usize,
    ) -> Result<(Evaluation, Vec<Warning>)> {
        let HeldOutSet { settings, problems, rubric, text, measured } = &self.sets[at];
        let (recipe, console, stop) = (self.run.recipe, self.run.console, self.run.stop);
        let sampler = Sampler {
            model: self.run.model,
            text: text.as_ref().unwrap_or(self.run.text),
            style: settings.prompt,
            sampling,
            slots: recipe.eval.slots.get(),
            rubric,
        };
        let (seed, step) = (recipe.seed, self.state.step);
        let held_out = HeldOut { set: name, problems, samples, seed, step };
        let texts = !recipe.record.samples.is_off();
        let (record, mut results) = (&mut self.record, Vec::new());
        let mut progress = |progress: rollout::Progress| {
            console.set_phase(Phase::Eval, progress.finished, progress.sequences);
            stop.flow()
        };
        let found = evaluate(&sampler, held_out, &mut progress, &mut |number, group| {
            let result = ProblemResult::of(number, group, texts);
            record.problem(step, name, &result)?;
            results.push(result);
            Ok(())
        })?;
        results.sort_by_key(|result| result.number);
        self.record.evaluation(&found.0, &results)?;
        if let Some(by) = recipe.best_by().filter(|by| by.set == name) {
            let metric = by.metric.name().to_owned();
            let value = by.metric.of(&found.0);
            let measured = measured.clone();
            self.state.score = value.map(|value| Score { set: by.set, metric, value, measured });
        }
        Ok(found)
    }
}

/// The accuracy in a line, with a second one where it is known by source.
fn accuracy_line(evaluation: &Evaluation) -> String {
    let Evaluation { set, accuracy, low, high, problems, unjudged, sources, .. } = evaluation;
    if *problems == 0 {
        return format!("{set} accuracy unknown: none of {unjudged} problems could be judged");
    }
    let mut line = format!(
        "{set} accuracy {:.1} % ({:.1} to {:.1}) on {problems} problems",
        100.0 * accuracy,
        100.0 * low,
        100.0 * high
    );
    let each = sources.iter().map(|one| match one.problems {
        0 => format!("{} unknown", one.source),
        problems => format!("{} {:.1} % on {problems}", one.source, 100.0 * one.accuracy),
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

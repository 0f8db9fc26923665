//! The closing summary: what a run did, read from its directory, for a person.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, bail};
use evals::evaluate::{HELD_OUT, greedy};
use evals::run::{HealthLine, MetricTable, Run, State, Status, Summary};
use evals::{Estimate, key};

use crate::console::duration;
use crate::printable::{counted, excerpt, printable, quoted};
use crate::run_dir::{RunDir, Saved, best_of, trained};

/// Width of the reward curve, in characters.
const CURVE: usize = 40;
/// Completions shown.
const SHOWN: usize = 3;
/// Characters shown of a problem, of its answer and of a completion: a policy that has learnt
/// nothing fills no screen.
const PROBLEM: usize = 160;
const ANSWER: usize = 40;
const COMPLETION: usize = 200;

/// The summary of a run. What cannot be read of its record is said at the end of it.
///
/// # Errors
///
/// Fails when the run says not how it stands, or a log or a checkpoint cannot be read.
pub fn summary(run: &RunDir) -> Result<String> {
    let root = run.root();
    let record = Run::open(root)?;
    let (metrics, timings, health) = (record.metrics()?, record.timings()?, record.health()?);
    let (all, unread) = record.evaluations();
    let of = |set: &str| all.iter().filter(|one| one.set == set).cloned().collect::<Vec<_>>();
    let (sampled, greedy) = (of(HELD_OUT), of(&greedy(HELD_OUT)));
    let Some(status) = &record.status else {
        let problem = record.problems.into_iter().find(|one| one.file.ends_with("status.json"));
        match problem {
            Some(problem) => bail!(problem),
            None => bail!("{} has no status.json: no run began in it", root.display()),
        }
    };
    let mut text = String::new();
    headline(&mut text, root, status, &timings);
    let model = record.facts.as_ref().and_then(|facts| facts.model.as_ref());
    if let Some(adapter) = model.and_then(trained) {
        say(&mut text, "adapter", &adapter);
    }
    accuracy(&mut text, &sampled, &metrics);
    besides(&mut text, &sampled, &greedy);
    other_sets(&mut text, &all);
    curves(&mut text, &metrics);
    gate(&mut text, &metrics);
    warnings(&mut text, &health.lines);
    if let Some(last) = sampled.last() {
        completions(&mut text, last);
    }
    what_next(&mut text, status, &run.checkpoints()?);
    let of_tables = [metrics.problems(), timings.problems()].concat();
    let further = record.problems.iter().chain(&unread).chain(&of_tables);
    for problem in further.chain(&health.problems) {
        say(&mut text, "unread", &problem.to_string());
    }
    Ok(text)
}

fn headline(text: &mut String, root: &Path, status: &Status, timings: &MetricTable) {
    let values = |key| timings.points(key).map(|(_, value)| value);
    // Not `sum`, which is -0 of nothing.
    let sum = |key| values(key).fold(0.0, |a, b| a + b);
    let seconds = sum(key!("timing_s/step"))
        + sum(key!("timing_s/testing"))
        + sum(key!("timing_s/save_checkpoint"));
    let peak = values(key!("perf/peak_rss_mib"));
    let memory =
        peak.reduce(f64::max).map_or(String::new(), |mib| format!(", peak memory {mib:.0} MiB"));
    let end = match &status.state {
        State::Finished => "finished".to_owned(),
        State::Interrupted => "interrupted".to_owned(),
        State::Running => "running".to_owned(),
        State::Failed { reason } => format!("failed: {reason}"),
    };
    say(text, "run", &format!("{} {end}", root.display()));
    let (step, total) = (status.step, status.total_steps);
    say(text, "steps", &format!("{step} of {total} in {}{memory}", duration(seconds)));
}

/// Held-out accuracy in the first evaluation and after every stage.
fn accuracy(text: &mut String, evaluations: &[Summary], metrics: &MetricTable) {
    let Some(first) = evaluations.first() else { return };
    let say_one = |text: &mut String, name: &str, found: &Summary, more: &str| {
        let Summary { accuracy, low, high, problems, unjudged, .. } = found;
        if *problems == 0 {
            let unjudged = counted(unjudged, "problem");
            say(text, name, &format!("unknown: none of {unjudged} could be judged"));
            return;
        }
        let (accuracy, low, high) = (100.0 * accuracy, 100.0 * low, 100.0 * high);
        say(text, name, &format!("{accuracy:.1} % (95 %: {low:.1} to {high:.1}){more}"));
    };
    say_one(text, &when(first), first, &format!(" on {} held-out problems", first.problems));
    let mut before = first.step;
    for (stage, step) in stage_ends(metrics) {
        let last = evaluations.iter().rev().find(|found| found.step <= step);
        if let Some(last) = last.filter(|last| last.step > before) {
            say_one(text, &format!("after {stage}"), last, "");
        }
        before = before.max(step);
    }
    if evaluations.len() > 2 {
        let all: Vec<_> = evaluations.iter().map(|found| found.accuracy).collect();
        say(text, "accuracy", &sparkline(&all, 0.0, 1.0));
    }
}

/// When the first of several evaluations was.
fn when(first: &Summary) -> String {
    match first.step {
        0 => "before".to_owned(),
        step => format!("after step {step}"),
    }
}

/// The accuracy; none where no problem could be judged.
fn known(found: &Summary) -> Option<Estimate> {
    let Summary { problems, accuracy: mean, low, high, .. } = *found;
    (problems > 0).then_some(Estimate { mean, low, high })
}

/// A share in the first and the last evaluation.
fn shares(first: &Summary, [before, after]: [Option<Estimate>; 2]) -> String {
    change(first, [before, after], 100.0, 1, " %")
}

/// A figure in the first and the last evaluation, in a unit and with so many digits.
fn change(
    first: &Summary,
    [before, after]: [Option<Estimate>; 2],
    of: f64,
    digits: usize,
    unit: &str,
) -> String {
    let unknown = || "unknown".to_owned();
    let before = before.map_or_else(unknown, |it| format!("{:.digits$}{unit}", of * it.mean));
    let after = after.map_or_else(unknown, |Estimate { mean, low, high }| {
        let [mean, low, high] = [mean, low, high].map(|value| of * value);
        format!("{mean:.digits$}{unit} (95 %: {low:.digits$} to {high:.digits$})")
    });
    format!("{before} {}, {after} after", when(first))
}

/// What evaluations say besides accuracy, in the first and the last of them: the likeliest
/// completion, and what several completions of a problem are good for.
fn besides(text: &mut String, sampled: &[Summary], greedy: &[Summary]) {
    if let [first, .., last] = greedy {
        let found = shares(first, [first, last].map(known));
        say(text, "greedy", &format!("{found}: the likeliest completion is right"));
    }
    let [first, .., last] = sampled else { return };
    if last.samples < 2 {
        return;
    }
    let mut largest = |name: &str, of: fn(&Summary) -> &BTreeMap<usize, Estimate>, what: &str| {
        let largest = |one| of(one).last_key_value().map(|(k, _)| *k);
        let Some(k) = largest(last).or_else(|| largest(first)) else { return };
        let found = shares(first, [first, last].map(|one| of(one).get(&k).copied()));
        say(text, &format!("{name}@{k}"), &format!("{found}: {what} of {k} completions is right"));
    };
    largest("pass", |found| &found.pass, "one");
    largest("maj", |found| &found.maj, "the majority");
    if first.problems + last.problems > 0 {
        let distinct = [first, last].map(|one| (one.problems > 0).then_some(one.distinct_correct));
        let found = change(first, distinct, 1.0, 2, "");
        let what = format!("right completions that differ, of {} a problem", last.samples);
        say(text, "distinct", &format!("{found}: {what}"));
    }
}

/// Accuracy by the sets that have a name of their own, in the first and the last evaluation.
fn other_sets(text: &mut String, evaluations: &[Summary]) {
    let mut sets: Vec<&str> = evaluations.iter().map(|found| found.set.as_str()).collect();
    sets.sort_unstable();
    sets.dedup();
    for set in sets {
        if set == HELD_OUT || set == greedy(HELD_OUT) {
            continue;
        }
        let own: Vec<_> = evaluations.iter().filter(|found| found.set == set).collect();
        let [first, .., last] = own.as_slice() else { continue };
        let found = shares(first, [first, last].map(|one| known(one)));
        say(text, set, &format!("{found}, on {}", counted(last.problems, "problem")));
    }
}

/// Every stage that has begun, with its last step.
fn stage_ends(metrics: &MetricTable) -> Vec<(&str, u64)> {
    let mut ends: Vec<(&str, u64)> = Vec::new();
    for (row, &at) in metrics.steps().iter().enumerate().filter(|(_, step)| **step > 0) {
        let stage = metrics.stage(row);
        match ends.last_mut() {
            Some((last, step)) if *last == stage => *step = at,
            _ => ends.push((stage, at)),
        }
    }
    ends
}

fn curves(text: &mut String, metrics: &MetricTable) {
    // Where groups are discarded, what was sampled tells more than what was kept.
    let curves: [(&str, &[&str], &str); 3] = [
        ("loss", &[key!("train/loss")], ""),
        ("reward", &[key!("unfiltered/rewards/mean"), key!("critic/rewards/mean")], ""),
        ("entropy", &[key!("unfiltered/entropy"), key!("actor/entropy")], " nats a token"),
    ];
    for (name, keys, unit) in curves {
        let value = |row| keys.iter().find_map(|key| finite(metrics.get(row, key)));
        let values: Vec<_> = (0..metrics.len()).filter_map(value).collect();
        let (Some(first), Some(last)) = (values.first(), values.last()) else { continue };
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let curve = sparkline(&values, low, high);
        say(text, name, &format!("{curve}  {first:.3} to {last:.3}{unit}"));
    }
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

/// How often STARE's gate was open, where it ran.
fn gate(text: &mut String, metrics: &MetricTable) {
    let points = |key| metrics.points(key).filter_map(|(_, value)| finite(Some(value)));
    let open: Vec<_> = points(key!("stare/gate_on")).collect();
    let last = |key| points(key).next_back();
    let Some(target) = last(key!("stare/target_entropy")) else { return };
    if open.is_empty() {
        return;
    }
    let (share, steps) = (100.0 * open.iter().sum::<f64>() / open.len() as f64, open.len());
    let weight = last(key!("stare/reweight_w"))
        .map_or(String::new(), |w| format!(", weight {w:.3} at the end"));
    say(
        text,
        "gate",
        &format!(
            "open in {share:.0} % of {steps} steps, for an entropy of {target:.3} nats{weight}"
        ),
    );
}

/// Means of equal stretches of `values` as bars between `low` and `high`.
fn sparkline(values: &[f64], low: f64, high: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let columns = values.len().min(CURVE);
    (0..columns)
        .map(|column| {
            let range = column * values.len() / columns..(column + 1) * values.len() / columns;
            let mean = values[range.clone()].iter().sum::<f64>() / range.len() as f64;
            let share = if high > low { (mean - low) / (high - low) } else { 0.0 };
            BARS[((share * 8.0) as usize).min(7)]
        })
        .collect()
}

fn warnings(text: &mut String, lines: &[HealthLine]) {
    let mut seen: Vec<(&str, Vec<&HealthLine>)> = Vec::new();
    for line in lines {
        match seen.iter_mut().find(|(other, _)| *other == line.name) {
            Some((_, lines)) => lines.push(line),
            None => seen.push((&line.name, vec![line])),
        }
    }
    for (name, lines) in seen {
        let (first, last) = (lines[0], lines[lines.len() - 1]);
        let when = match lines.len() {
            1 => format!("in step {}", last.step),
            times => format!("{times} times, in steps {} to {}", first.step, last.step),
        };
        say(text, "warning", &format!("{name}, {when}: {}", last.cause));
        say(text, "to change", &last.act);
    }
}

fn completions(text: &mut String, evaluation: &Summary) {
    for shown in evaluation.shown.iter().take(SHOWN) {
        let (problem, gold) = (excerpt(&shown.problem, PROBLEM), excerpt(&shown.gold, ANSWER));
        say(text, "problem", &format!("{problem} (answer {gold})"));
        say(text, shown.outcome.name(), &excerpt(&shown.text, COMPLETION));
    }
}

fn what_next(text: &mut String, status: &Status, saved: &[Saved]) {
    const RESUME: &str = "the same command with --resume goes on";
    let Some(newest) = saved.last() else {
        say(text, "next", &format!("{RESUME}, from the first step: no checkpoint is saved yet"));
        return;
    };
    let best = best_of(saved).filter(|best| best.path != newest.path);
    let newest = newest.path.display();
    say(text, "checkpoint", &newest.to_string());
    if let Some(best) = best {
        let score = best.state.score.as_ref().map(|score| format!(" ({score})"));
        say(text, "best", &format!("{}{}", best.path.display(), score.unwrap_or_default()));
    }
    let next = match status.state {
        State::Finished => {
            format!("stearin sample --model {} \"PROMPT\"", quoted(&newest.to_string()))
        }
        _ => RESUME.to_owned(),
    };
    say(text, "next", &next);
}

fn say(text: &mut String, name: &str, what: &str) {
    let what = printable(what);
    writeln!(text, "{name:>12}  {what}").expect("a string takes all that is written");
}

#[cfg(test)]
mod tests;

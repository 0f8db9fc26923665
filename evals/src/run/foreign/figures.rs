//! What is computed from the completions of a step: metrics that no log has, and the lines of a
//! held-out set.

use std::collections::HashMap;

use rewards::Outcome;
use rewards::dynamics::surprisals;

use super::super::evaluation::AnswerClass;
use super::super::tokens::flag;
use super::super::{ProblemLine, SampleEnd};
use super::rows::Rows;
use super::told::{StepRead, mean};

/// Figures of a step's completions.
pub(super) fn of(read: &StepRead) -> Rows {
    let (mut rows, step) = (Rows::default(), read.about.step);
    let all = || read.groups.iter().flat_map(|group| &group.completions);
    let count = all().count() as f64;
    if count == 0.0 {
        return rows;
    }
    rows.set(step, "critic/rewards/mean", all().map(|one| one.reward).sum::<f64>() / count);
    let correct = all().filter(|one| one.outcome == Outcome::Correct).count();
    rows.set(step, "critic/score/mean", correct as f64 / count);
    let of_many = || read.entries.iter().filter(|entry| entry.n > 1);
    let equal = of_many()
        .filter(|entry| entry.reward.windows(2).all(|pair| pair[0].total_cmp(&pair[1]).is_eq()));
    if of_many().count() > 0 {
        let share = equal.count() as f64 / of_many().count() as f64;
        rows.set(step, "reward/group/zero_spread", share);
    }
    of_tokens(read, &mut rows);
    rows
}

fn of_tokens(read: &StepRead, rows: &mut Rows) {
    let (step, columns) = (read.about.step, &read.tokens);
    let own = |column: &[f32]| -> Vec<f32> {
        let rows = columns.flags.iter().zip(column);
        rows.filter(|(flags, _)| **flags & flag::GENERATED != 0).map(|(_, value)| *value).collect()
    };
    let log_probs = own(&columns.log_prob);
    let known = log_probs.iter().filter(|log_prob| !log_prob.is_nan());
    let known = surprisals(&known.map(|log_prob| -log_prob).collect::<Vec<_>>());
    if known.is_empty() {
        return;
    }
    for (key, value) in known {
        rows.set(step, key, value);
    }
    let lengths: usize = read.entries.iter().flat_map(|entry| &entry.lengths).sum();
    let count: usize = read.entries.iter().map(|entry| entry.n).sum();
    rows.set(step, "response_length/mean", lengths as f64 / count as f64);
    if let Some(entropy) = mean(&own(&columns.entropy)) {
        rows.set(step, "actor/entropy", entropy);
    }
    let gaps = own(&columns.train_log_prob).into_iter().zip(&log_probs);
    let gaps: Vec<f32> = gaps.map(|(train, rollout)| (train - rollout).abs()).collect();
    if let Some(gap) = mean(&gaps) {
        rows.set(step, "rollout_corr/log_prob_gap_mean", gap);
        let most = gaps.into_iter().filter(|gap| !gap.is_nan()).fold(0.0, f32::max);
        rows.set(step, "rollout_corr/log_prob_gap_max", f64::from(most));
    }
    quadrants(read, rows);
}

/// Tokens and advantages by the quadrants of the quantile. Those by Φ need a sum that nobody else
/// records.
fn quadrants(read: &StepRead, rows: &mut Rows) {
    let (tokens, advantages) = read.scored();
    let mut sums = [[0.0; 2]; 4];
    for (&row, &advantage) in tokens.iter().zip(&advantages) {
        let first = match advantage {
            a if a > 0.0 => 0,
            a if a < 0.0 => 2,
            _ => continue,
        };
        let high = read.tokens.flags[row] & flag::SURPRISING != 0;
        let sums = &mut sums[first + usize::from(high)];
        sums[0] += 1.0;
        sums[1] += advantage;
    }
    let count = tokens.len().max(1) as f64;
    for (name, sums) in ["u_plus", "l_plus", "u_minus", "l_minus"].iter().zip(sums) {
        for (what, sum) in ["tokens", "advantage"].iter().zip(sums) {
            rows.set(read.about.step, format!("quadrant/quantile/{name}/{what}"), sum / count);
        }
    }
}

/// The groups of a held-out set as the lines of an evaluation. Lengths are in characters.
pub(super) fn problem_lines(read: &StepRead) -> Vec<ProblemLine> {
    let lines =
        read.groups.iter().zip(&read.entries).enumerate().map(|(number, (group, entry))| {
            let each = &group.completions;
            let (mut places, mut classes) = (HashMap::new(), Vec::<AnswerClass>::new());
            let mut vote = |answer: &Option<String>, outcome| {
                let answer = answer.clone()?;
                let place = *places.entry(answer.clone()).or_insert(classes.len());
                if place == classes.len() {
                    let correct = outcome == Outcome::Correct;
                    classes.push(AnswerClass { answer, votes: 0, correct });
                }
                classes[place].votes += 1;
                Some(place)
            };
            let votes = each.iter().map(|one| vote(&one.answer, one.outcome)).collect();
            let correct = each.iter().filter(|one| one.outcome == Outcome::Correct);
            let mut texts: Vec<_> = correct.map(|one| &one.text).collect();
            texts.sort();
            texts.dedup();
            ProblemLine {
                number: number as u64,
                id: entry.id.clone(),
                source: entry.source.clone(),
                level: None,
                problem: group.problem.clone(),
                gold: group.gold.clone(),
                n: entry.n,
                correct: entry.correct,
                distinct_correct: texts.len(),
                rewards: entry.reward.clone(),
                outcomes: entry.outcomes.clone(),
                lengths: entry.lengths.clone(),
                truncated: each.iter().map(|one| one.finish == SampleEnd::Length).collect(),
                classes,
                votes,
                greedy: None,
                texts: each.iter().map(|one| one.text.clone()).collect(),
            }
        });
    lines.collect()
}

//! Every place of a problem in a run.

use std::collections::{BTreeMap, BTreeSet};

use evals::run::evaluation::AnswerClass;
use evals::run::{Problem, ProblemLine, SampleCompletion, Seen};
use rewards::Outcome;
use serde::Serialize;

use crate::watched::Watched;

/// A group or an evaluation that asked the problem.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Place {
    /// `train`, or the name of the held-out set.
    #[serde(rename = "where")]
    whence: String,
    step: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    /// The number of the problem in its held-out set, where its tokens are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) number: Option<u64>,
    n: usize,
    correct: usize,
    reward: Option<f64>,
    entropy: Option<f64>,
    length: Option<f64>,
    classes: Vec<Class>,
}

/// Equal answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Class {
    answer: String,
    votes: usize,
    correct: bool,
}

/// The problems of an evaluation by their ids.
type Asked = BTreeMap<String, Place>;

/// What evaluations asked, by set and step. A run has many, and each is as long as its set: they
/// are read once.
#[derive(Debug, Default)]
pub(crate) struct Known(BTreeMap<(String, u64), (Vec<Seen>, Asked)>);

impl Known {
    /// Reads those that are new or changed.
    fn read(&mut self, run: &Watched) {
        let mut before = std::mem::take(&mut self.0);
        for (set, steps) in run.evaluations() {
            for step in steps {
                let (place, seen) = ((set.clone(), step), run.evaluation_seen(&set, step));
                let known = before.remove(&place).filter(|(known, _)| *known == seen);
                if let Some(known) = known {
                    self.0.insert(place, known);
                } else if let Ok((_, lines)) = run.evaluation(&set, step) {
                    let mut asked = Asked::new();
                    for line in lines {
                        // A set that has the problem twice is asked for the first of them.
                        let id = line.id.clone();
                        asked.entry(id).or_insert_with(|| {
                            let has_tokens = run.evaluated(&set, step, &line).is_ok();
                            let number = has_tokens.then_some(line.number);
                            Place { number, ..held_out(&set, step, line) }
                        });
                    }
                    self.0.insert(place, (seen, asked));
                }
            }
        }
    }
}

/// The places of each problem of `ids`, in the order of their steps.
pub(crate) fn places(
    run: &Watched,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<Place>>, Problem> {
    let mut found: BTreeMap<String, Vec<Place>> =
        ids.iter().map(|id| (id.clone(), Vec::new())).collect();
    let samples = run.samples();
    for entry in &run.index.lines {
        let Some(places) = found.get_mut(&entry.id) else { continue };
        let group = samples.group(entry)?;
        let lengths: Vec<_> = entry.lengths.iter().map(|&length| length as f64).collect();
        places.push(Place {
            whence: "train".into(),
            step: entry.step,
            group: Some(entry.group),
            number: None,
            n: entry.n,
            correct: entry.correct,
            reward: mean(&entry.reward),
            entropy: entry.entropy,
            length: mean(&lengths),
            classes: classes(&group.completions),
        });
    }
    let mut known = run.known.borrow_mut();
    known.read(run);
    for (_, asked) in known.0.values() {
        for (id, places) in &mut found {
            places.extend(asked.get(id).cloned());
        }
    }
    for places in found.values_mut() {
        places.sort_by_key(|place| place.step);
    }
    Ok(found)
}

fn held_out(set: &str, step: u64, line: ProblemLine) -> Place {
    let lengths: Vec<_> = line.lengths.iter().map(|&length| length as f64).collect();
    let class = |class: AnswerClass| Class {
        answer: class.answer,
        votes: class.votes,
        correct: class.correct,
    };
    Place {
        whence: set.to_owned(),
        step,
        group: None,
        number: None,
        n: line.n,
        correct: line.correct,
        reward: mean(&line.rewards),
        entropy: None,
        length: mean(&lengths),
        classes: line.classes.into_iter().map(class).collect(),
    }
}

/// Answers that are the same text. The record of training has no classes of the grader.
fn classes(completions: &[SampleCompletion]) -> Vec<Class> {
    let mut found: Vec<Class> = Vec::new();
    for SampleCompletion { answer, outcome, .. } in completions {
        let Some(answer) = answer else { continue };
        match found.iter_mut().find(|class| class.answer == *answer) {
            Some(class) => class.votes += 1,
            None => found.push(Class {
                answer: answer.clone(),
                votes: 1,
                correct: *outcome == Outcome::Correct,
            }),
        }
    }
    found
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

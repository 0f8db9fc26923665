//! One evaluation: `evals/step-NNNNNN/NAME.jsonl`, a problem a line in the order in which they were
//! judged, and `NAME.json`, its summary.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rewards::{Outcome, Problem, Rubric};
use rollout::{Finish, Sampling};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attempt::{Completion, GradedGroup};
use crate::majority::classes;
use crate::{Error, Estimate, Result};

/// Columns that say how hard a problem is.
const LEVELS: [&str; 2] = ["level", "difficulty"];

/// What became of one problem. The lists have a value for each completion that was drawn, in the
/// order of their numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProblemLine {
    /// Number of the problem in its set, on which its draws depend.
    pub number: u64,
    /// Its name.
    pub id: String,
    /// Where it comes from.
    pub source: String,
    /// How hard it is, where the data says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The problem.
    pub problem: String,
    /// Its answer.
    pub gold: String,
    /// Completions that were drawn.
    pub n: usize,
    /// How many of them are correct.
    pub correct: usize,
    /// How many different texts those have.
    pub distinct_correct: usize,
    /// Rewards, all verifiers weighted.
    pub rewards: Vec<f64>,
    /// What became of each. A problem with an outcome `gold-unparseable` or `error` is in no figure
    /// of the evaluation.
    pub outcomes: Vec<Outcome>,
    /// Lengths, in tokens.
    pub lengths: Vec<usize>,
    /// Which were cut at the limit.
    pub truncated: Vec<bool>,
    /// Different answers, in the order in which they came.
    pub classes: Vec<AnswerClass>,
    /// Each completion's place in `classes`; null where it has no answer.
    pub votes: Vec<Option<usize>>,
    /// The likeliest completion, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greedy: Option<GreedyResult>,
    /// Texts; none where they are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
}

/// Answers that the grader calls equal to the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerClass {
    /// The first of them, as written.
    pub answer: String,
    /// How many there are.
    pub votes: usize,
    /// Whether the first is correct.
    pub correct: bool,
}

/// What became of the likeliest completion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GreedyResult {
    /// What became of its answer.
    pub outcome: Outcome,
    /// The answer, as written.
    pub answer: Option<String>,
    /// Its length, in tokens.
    pub length: usize,
    /// Whether it was cut at the limit.
    pub truncated: bool,
    /// Its text; none where texts are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl ProblemLine {
    /// What became of the problem with this number in its set. Answers are compared by `rubric`;
    /// `texts` says whether the texts of completions are kept.
    pub fn of(number: u64, group: &GradedGroup, rubric: &Rubric, texts: bool) -> Self {
        let each = &group.completions;
        let answers: Vec<_> = each.iter().map(|one| one.judged.answer.as_deref()).collect();
        let votes = classes(&answers, |one, other| rubric.is_same_answer(one, other));
        let Problem { id, source, problem, answer, .. } = group.problem.clone();
        Self {
            number,
            id,
            source,
            level: level(&group.problem),
            problem,
            gold: answer,
            n: each.len(),
            correct: group.num_correct(),
            distinct_correct: group.num_distinct_correct(),
            rewards: each.iter().map(|one| one.judged.reward).collect(),
            outcomes: each.iter().map(|one| one.judged.outcome).collect(),
            lengths: each.iter().map(Completion::length).collect(),
            truncated: each.iter().map(Completion::is_truncated).collect(),
            classes: answer_classes(each, &votes),
            votes,
            greedy: group.greedy.as_ref().map(|one| GreedyResult::of(one, texts)),
            texts: each.iter().filter(|_| texts).map(|one| one.text.clone()).collect(),
        }
    }

    /// Whether nothing is known of the problem: its gold answer cannot be read, or a verifier
    /// failed.
    pub fn unjudged(&self) -> bool {
        let greedy = self.greedy.iter().map(|greedy| &greedy.outcome);
        let mut outcomes = self.outcomes.iter().chain(greedy);
        outcomes.any(|outcome| matches!(outcome, Outcome::GoldUnparseable | Outcome::Error))
    }
}

impl Completion {
    /// Its length, in tokens.
    pub fn length(&self) -> usize {
        self.trajectory.completion.len()
    }

    /// Whether it was cut at the limit.
    pub fn is_truncated(&self) -> bool {
        self.trajectory.finish == Finish::Length
    }
}

impl GreedyResult {
    fn of(one: &Completion, texts: bool) -> Self {
        Self {
            outcome: one.judged.outcome,
            answer: one.judged.answer.clone(),
            length: one.length(),
            truncated: one.is_truncated(),
            text: texts.then(|| one.text.clone()),
        }
    }
}

fn answer_classes(completions: &[Completion], votes: &[Option<usize>]) -> Vec<AnswerClass> {
    let mut classes: Vec<AnswerClass> = Vec::new();
    for (one, vote) in completions.iter().zip(votes) {
        match vote.map(|class| classes.get_mut(class)) {
            None => {}
            Some(Some(class)) => class.votes += 1,
            Some(None) => classes.push(AnswerClass {
                answer: one.judged.answer.clone().unwrap_or_default(),
                votes: 1,
                correct: one.judged.outcome == Outcome::Correct,
            }),
        }
    }
    classes
}

fn level(problem: &Problem) -> Option<String> {
    match LEVELS.iter().find_map(|name| problem.columns.get(*name))? {
        Value::String(level) => Some(level.clone()),
        level @ Value::Number(_) => Some(level.to_string()),
        _ => None,
    }
}

/// The problems in a file, in the order of their numbers, and the length of its whole lines, in
/// bytes. A last line without its end is left out, as while it is being written or after a kill. No
/// file is no problems.
///
/// # Errors
///
/// Fails when the file cannot be read, and on a whole line that is no [`ProblemLine`].
pub fn read(path: &Path) -> Result<(Vec<ProblemLine>, u64)> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        bytes => bytes.map_err(|source| Error::Read { path: path.to_owned(), source })?,
    };
    let mut lines: Vec<ProblemLine> = Vec::new();
    let mut whole = 0;
    for (at, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if !line.ends_with(b"\n") {
            break;
        }
        whole += line.len() as u64;
        lines.push(serde_json::from_slice(line).map_err(|error| Error::Line {
            path: path.to_owned(),
            line: at + 1,
            problem: format!("expected what became of a problem: {error}"),
        })?);
    }
    lines.sort_by_key(|line| line.number);
    Ok((lines, whole))
}

/// What an evaluation found: the figures of its lines, and what they depend on. Intervals are 95 %,
/// over problems.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of this file.
    pub format: u32,
    /// Name of the set of problems.
    pub set: String,
    /// Steps that the policy was trained for.
    pub step: u64,
    /// Name of the settings that it began with.
    pub protocol: String,
    /// Name of the prompt style.
    pub prompt: String,
    /// What the outcomes depend on: the verifier, its strictness and marker.
    pub criterion: String,
    /// How completions were drawn.
    pub sampling: Sampling,
    /// Completions drawn of each problem.
    pub samples: usize,
    /// SHA-256 of the rows of the whole set.
    pub data_sha256: String,
    /// Problems that were to be judged.
    pub asked: usize,
    /// Problems that were; those that could not be are left out of every figure.
    pub problems: usize,
    /// Problems left out: their gold answer cannot be read, or a verifier failed on a completion.
    pub unjudged: usize,
    /// Share of completions that are correct: avg@n.
    pub accuracy: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// pass@k: the chance that one of k completions is correct.
    pub pass: BTreeMap<usize, Estimate>,
    /// maj@k: the chance that the majority of k completions is correct.
    pub maj: BTreeMap<usize, Estimate>,
    /// Share of likeliest completions that are correct.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greedy: Option<Estimate>,
    /// Correct completions of a problem with different texts.
    pub distinct_correct: Estimate,
    /// Mean reward, all verifiers weighted.
    pub reward: f64,
    /// Mean length of completions, in tokens.
    pub length: f64,
    /// Share of completions cut at the limit.
    pub truncated: f64,
    /// Share of completions with each outcome that occurred.
    pub outcomes: Vec<(Outcome, f64)>,
    /// Accuracy by source, where there are several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_source: BTreeMap<String, Estimate>,
    /// Accuracy by level, where the data says so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_level: BTreeMap<String, Estimate>,
    /// Problems whose text is in the training data that was given; nothing where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contaminated: Option<Vec<String>>,
}

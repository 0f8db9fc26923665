//! `evals/step-NNNNNN/NAME.jsonl`: what became of each problem of an evaluation, a line each.

use rewards::{Outcome, Problem, Rubric};
use rollout::Finish;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attempt::{Completion, GradedGroup};
use crate::majority::classes;

/// Columns that say how hard a problem is.
pub const LEVELS: [&str; 2] = ["level", "difficulty"];

/// What became of one problem. The lists have a value for each completion that was drawn, in the
/// order of their numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Texts of the first completions, as many as are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
}

/// Answers that the grader calls equal to the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerClass {
    /// The first of them, as written.
    pub answer: String,
    /// How many there are.
    pub votes: usize,
    /// Whether the first is correct.
    pub correct: bool,
}

/// What became of the likeliest completion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GreedyResult {
    /// What became of its answer.
    pub outcome: Outcome,
    /// The answer, as written.
    pub answer: Option<String>,
    /// Its reward, all verifiers weighted.
    pub reward: f64,
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

    /// The same with the texts of the first `most` completions, and without that of the likeliest,
    /// which has a line of its own: [`ProblemLine::likeliest`].
    #[must_use]
    pub fn with_texts(mut self, most: usize) -> Self {
        self.texts.truncate(most);
        if let Some(greedy) = &mut self.greedy {
            greedy.text = None;
        }
        self
    }

    /// The likeliest completion as the only one that was drawn, where it was asked for.
    pub fn likeliest(&self) -> Option<Self> {
        let GreedyResult { outcome, answer, reward, length, truncated, text } =
            self.greedy.clone()?;
        let correct = usize::from(outcome == Outcome::Correct);
        let class = |answer| AnswerClass { answer, votes: 1, correct: correct == 1 };
        Some(Self {
            n: 1,
            correct,
            distinct_correct: correct,
            rewards: vec![reward],
            outcomes: vec![outcome],
            lengths: vec![length],
            truncated: vec![truncated],
            votes: vec![answer.as_ref().map(|_| 0)],
            classes: answer.map(class).into_iter().collect(),
            greedy: None,
            texts: text.into_iter().collect(),
            ..self.clone()
        })
    }

    /// Reward of its completions.
    pub(super) fn total_reward(&self) -> f64 {
        // Not `sum`, which is -0 of none.
        self.rewards.iter().fold(0.0, |sum, reward| sum + reward)
    }

    /// Tokens of its completions.
    pub(super) fn total_length(&self) -> f64 {
        self.lengths.iter().map(|&length| length as f64).sum()
    }

    /// How the line contradicts itself, as one that was damaged may.
    pub(super) fn contradiction(&self) -> Option<String> {
        let Self { n, correct, distinct_correct, classes, votes, .. } = self;
        let lists = [
            ("rewards", self.rewards.len()),
            ("outcomes", self.outcomes.len()),
            ("lengths", self.lengths.len()),
            ("truncated", self.truncated.len()),
            ("votes", votes.len()),
        ];
        if *n == 0 {
            return Some("n is 0, expected at least 1".to_owned());
        }
        if let Some((name, len)) = lists.into_iter().find(|(_, len)| len != n) {
            return Some(format!("{name} has {len} values, expected n = {n}"));
        }
        // Fewer where not all are kept.
        if self.texts.len() > *n {
            return Some(format!(
                "texts has {} values, expected at most n = {n}",
                self.texts.len()
            ));
        }
        let counted = self.outcomes.iter().filter(|one| **one == Outcome::Correct).count();
        if *correct != counted || distinct_correct > correct {
            return Some(format!(
                "correct is {correct} and distinct_correct {distinct_correct}, but {counted} \
                 outcomes are correct"
            ));
        }
        let in_class = |at: usize| votes.iter().filter(|vote| **vote == Some(at)).count();
        if let Some(vote) = votes.iter().flatten().find(|vote| **vote >= classes.len()) {
            return Some(format!("a vote is for class {vote}, and there are {}", classes.len()));
        }
        let differs = |(at, class): &(usize, &AnswerClass)| class.votes != in_class(*at);
        let (at, class) = classes.iter().enumerate().find(differs)?;
        let (votes, counted) = (class.votes, in_class(at));
        Some(format!("class {at} has {votes} votes, and {counted} completions vote for it"))
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
            reward: one.judged.reward,
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
        Value::String(level) if !level.trim().is_empty() => Some(level.clone()),
        level @ Value::Number(_) => Some(level.to_string()),
        _ => None,
    }
}

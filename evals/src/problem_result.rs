//! The result of one problem in an evaluation.

use rewards::Outcome;
use rollout::Finish;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attempt::{Completion, GradedGroup};

/// One problem of a held-out set: a line of `evals/step-NNNNNN/NAME.jsonl`. The lists have a value
/// for each completion, in the order of siblings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProblemResult {
    /// Index of the problem in its set.
    pub number: usize,
    /// Its name.
    pub id: String,
    /// Where it comes from.
    pub source: String,
    /// Completions.
    pub samples: usize,
    /// How many of them are correct.
    pub correct: usize,
    /// The outcome of each. A problem with an outcome `gold-unparseable` or `error` is in no figure
    /// of the evaluation.
    pub outcomes: Vec<Outcome>,
    /// Their rewards, all verifiers weighted.
    pub rewards: Vec<f64>,
    /// Their lengths, in tokens.
    pub lengths: Vec<usize>,
    /// Which were truncated.
    pub truncated: Vec<bool>,
    /// Their texts; none where the record keeps no completions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
}

impl ProblemResult {
    /// The result of the problem with this index in its set; `texts` says whether to keep the texts
    /// of its completions.
    pub fn of(number: usize, group: &GradedGroup, texts: bool) -> Self {
        let each = &group.completions;
        let text = |one: &Completion| texts.then(|| one.text.clone());
        Self {
            number,
            id: group.problem.id.clone(),
            source: group.problem.source.clone(),
            samples: each.len(),
            correct: group.num_correct(),
            outcomes: each.iter().map(|one| one.judged.outcome).collect(),
            rewards: each.iter().map(|one| one.judged.reward).collect(),
            lengths: each.iter().map(|one| one.trajectory.completion.len()).collect(),
            truncated: each.iter().map(|one| one.trajectory.finish == Finish::Length).collect(),
            texts: each.iter().filter_map(text).collect(),
        }
    }
}

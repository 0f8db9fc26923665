//! `samples/step-*.jsonl`: problems, completions and verdicts of a step, a group a line.

use std::collections::BTreeMap;

use rewards::{Outcome, Turn};
use rollout::Finish;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attempt::{Completion, GradedGroup};

/// A group as people read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleGroup {
    /// The step.
    pub step: u64,
    /// Which of the step's recorded groups it is, counted from 0.
    pub group: usize,
    /// Name of the problem.
    pub id: String,
    /// Where it comes from.
    pub source: String,
    /// The turns of a chat before the question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Turn>,
    /// The question.
    pub problem: String,
    /// The gold answer; empty where there is none.
    pub gold: String,
    /// The prompt, special tokens included.
    pub prompt: String,
    /// Whether the group was learnt from.
    pub kept: bool,
    /// The completions.
    pub completions: Vec<SampleCompletion>,
}

/// A completion and its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleCompletion {
    /// Which of the group it is, counted from 0.
    pub sibling: usize,
    /// Its text, without the prompt and the hidden special tokens.
    pub text: String,
    /// The answer that was judged, as written.
    pub answer: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Reward, all verifiers weighted.
    pub reward: f64,
    /// Reward by verifier, before its weight.
    pub parts: BTreeMap<String, f64>,
    /// Further numbers of the verifiers, each named `VERIFIER/NAME`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Advantage; none where the group was not learnt from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advantage: Option<f64>,
    /// Why it ended.
    pub finish: SampleEnd,
    /// Its length, in tokens.
    pub tokens: usize,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SampleEnd {
    /// A stop token.
    Stop,
    /// A stop string.
    StopString,
    /// The limit.
    Length,
}

impl From<Finish> for SampleEnd {
    fn from(finish: Finish) -> Self {
        match finish {
            Finish::Stop => Self::Stop,
            Finish::StopString => Self::StopString,
            Finish::Length => Self::Length,
        }
    }
}

impl SampleGroup {
    /// A group; `advantages` has one for each completion, or is empty.
    pub(super) fn of(
        step: u64,
        number: usize,
        group: &GradedGroup,
        prompt: String,
        advantages: &[f64],
    ) -> Self {
        let problem = &group.problem;
        let completions = group.completions.iter().enumerate();
        let completion =
            |(sibling, one)| SampleCompletion::of(sibling, one, advantages.get(sibling).copied());
        Self {
            step,
            group: number,
            id: problem.id.clone(),
            source: problem.source.clone(),
            history: problem.history.clone(),
            problem: problem.problem.clone(),
            gold: problem.answer.clone(),
            prompt,
            kept: !advantages.is_empty(),
            completions: completions.map(completion).collect(),
        }
    }
}

impl SampleCompletion {
    fn of(sibling: usize, completion: &Completion, advantage: Option<f64>) -> Self {
        let Completion { text, trajectory, judged } = completion;
        Self {
            sibling,
            text: text.clone(),
            answer: judged.answer.clone(),
            outcome: judged.outcome,
            reward: judged.reward,
            parts: judged.parts.iter().cloned().collect(),
            metrics: judged.metrics.iter().cloned().collect(),
            advantage,
            finish: trajectory.finish.into(),
            tokens: trajectory.completion.len(),
        }
    }
}

//! The run record: what a run leaves for those who look at it.
//!
//! ```text
//! metrics.jsonl                     one object a step, the same bytes for equal runs
//! timings.jsonl                     seconds, rates and memory of the same steps
//! health.jsonl                      warnings, as they came
//! completions/step-000020.jsonl     a group a line: problem, texts, verdicts
//! tokens/step-000020.jsonl          the same groups as token ids and their columns
//! evals/step-000100/NAME.json       one held-out evaluation
//! evals/step-000100/NAME.jsonl      a problem of it a line: outcomes, rewards, lengths, texts
//! ```

mod cut;
mod read;
mod sink;

use rollout::Finish;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use cut::{cut, cut_evaluations, cut_values};
pub use read::{Line, read_log, read_results};
pub use sink::{Folder, Sink, sync_folder, write_whole};

use crate::attempt::{Completion, GradedGroup};
use crate::metrics::Metrics;
use crate::{Error, Evaluation, ProblemResult, Result, Warning};

/// Files that grow by a line.
const LOGS: [&str; 3] = ["metrics.jsonl", "timings.jsonl", "health.jsonl"];
/// Folders with one entry a step.
const BY_STEP: [&str; 3] = ["completions", "tokens", "evals"];
/// Version of everything written here.
pub const FORMAT: u32 = 1;

/// How much of a run is kept for reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// Steps between those whose texts and verdicts are written down, or `"off"`.
    ///
    /// Names: TRL `log_completions`, verl `rollout_data_dir`.
    #[serde(with = "settings::off::zero_too")]
    #[schemars(with = "settings::OrOff<u64>")]
    pub completions_every: u64,
    /// Steps between those whose token ids, log-probs and entropies are written down, or `"off"`.
    /// They take most of the disk.
    #[serde(with = "settings::off::zero_too")]
    #[schemars(with = "settings::OrOff<u64>")]
    pub tokens_every: u64,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self { completions_every: 1, tokens_every: 10 }
    }
}

/// Name of a step's entry in a folder.
pub fn step_name(step: u64) -> String {
    format!("step-{step:06}")
}

/// The step that an entry `step-NNNNNN` or `step-NNNNNN.jsonl` belongs to.
pub fn step_of_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?;
    let digits = digits.strip_suffix(".jsonl").unwrap_or(digits);
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// What credit assignment made of one completion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Credit<'a> {
    /// Advantage of the completion.
    pub advantage: f64,
    /// Weight of each of its tokens.
    pub weights: &'a [f64],
}

/// Writes the record.
#[derive(Debug)]
pub struct Record {
    sink: Box<dyn Sink>,
}

impl Record {
    /// A record that writes to `sink`.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self { sink }
    }

    /// Appends the step's values to the log they are for; nothing for no values.
    ///
    /// # Errors
    ///
    /// Fails when the write does.
    pub fn values(&mut self, step: u64, stage: &str, values: &Metrics) -> Result<()> {
        if values.entries().is_empty() {
            return Ok(());
        }
        let mut line = Map::new();
        line.insert("step".into(), step.into());
        line.insert("stage".into(), stage.into());
        for (key, value) in values.entries() {
            line.insert(key.clone(), json!(value));
        }
        self.append(&values.log().to_string(), &Value::Object(line))
    }

    /// Appends the step's warnings.
    ///
    /// # Errors
    ///
    /// Fails when the write does.
    pub fn warnings(&mut self, step: u64, warnings: &[Warning]) -> Result<()> {
        warnings.iter().try_for_each(|warning| {
            let Warning { name, cause, act } = warning;
            let line = json!({"step": step, "warning": name, "cause": cause, "act": act});
            self.append("health.jsonl", &line)
        })
    }

    /// Writes the step's completions.
    ///
    /// # Errors
    ///
    /// Fails when the write does.
    pub fn completions(&mut self, step: u64, groups: &[GradedGroup]) -> Result<()> {
        let lines: Vec<_> = groups.iter().map(GroupLine::of).collect();
        self.lines(&format!("completions/{}.jsonl", step_name(step)), &lines)
    }

    /// Writes the tokens of the step's completions; `credits` in their order.
    ///
    /// # Errors
    ///
    /// Fails when the write does.
    pub fn tokens(
        &mut self,
        step: u64,
        groups: &[GradedGroup],
        credits: &[Credit<'_>],
    ) -> Result<()> {
        let mut credits = credits.iter();
        let lines: Vec<_> = groups
            .iter()
            .map(|group| TokensLine {
                id: &group.problem.id,
                prompt: &group.prompt,
                completions: group
                    .completions
                    .iter()
                    .zip(credits.by_ref())
                    .map(|(completion, credit)| TokenColumns::of(completion, credit))
                    .collect(),
            })
            .collect();
        self.lines(&format!("tokens/{}.jsonl", step_name(step)), &lines)
    }

    /// Appends a problem of an evaluation that is not complete.
    ///
    /// # Errors
    ///
    /// Fails when the write does.
    pub fn problem(&mut self, step: u64, set: &str, result: &ProblemResult) -> Result<()> {
        let line = serde_json::to_value(result).expect("plain fields become JSON");
        self.append(&results_file(step, set), &line)
    }

    /// Writes one evaluation and its problems, which replace those written one by one.
    ///
    /// # Errors
    ///
    /// Fails when a write does.
    pub fn evaluation(&mut self, evaluation: &Evaluation, results: &[ProblemResult]) -> Result<()> {
        let Evaluation { step, set, .. } = evaluation;
        self.lines(&results_file(*step, set), results)?;
        let file = format!("evals/{}/{set}.json", step_name(*step));
        let bytes = serde_json::to_vec_pretty(evaluation).expect("plain fields become JSON");
        self.sink.replace(&file, &bytes).map_err(|source| Error::Write { file, source })
    }

    /// Returns once everything written is on the disk.
    ///
    /// # Errors
    ///
    /// Fails when the system does.
    pub fn sync(&mut self) -> Result<()> {
        self.sink.sync().map_err(|source| Error::Write { file: "the logs".into(), source })
    }

    fn append(&mut self, file: &str, line: &Value) -> Result<()> {
        let bytes = format!("{line}\n").into_bytes();
        self.sink
            .append(file, &bytes)
            .map_err(|source| Error::Write { file: file.to_owned(), source })
    }

    fn lines<T: Serialize>(&mut self, file: &str, lines: &[T]) -> Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line).expect("plain fields become JSON");
            bytes.push(b'\n');
        }
        self.sink
            .replace(file, &bytes)
            .map_err(|source| Error::Write { file: file.to_owned(), source })
    }
}

fn results_file(step: u64, set: &str) -> String {
    format!("evals/{}/{set}.jsonl", step_name(step))
}

#[derive(Serialize)]
struct GroupLine<'a> {
    id: &'a str,
    problem: &'a str,
    gold: &'a str,
    completions: Vec<CompletionLine<'a>>,
}

impl<'a> GroupLine<'a> {
    fn of(group: &'a GradedGroup) -> Self {
        Self {
            id: &group.problem.id,
            problem: &group.problem.problem,
            gold: &group.problem.answer,
            completions: group.completions.iter().map(CompletionLine::of).collect(),
        }
    }
}

/// One completion as people read it.
#[derive(Serialize)]
struct CompletionLine<'a> {
    text: &'a str,
    answer: Option<&'a str>,
    outcome: rewards::Outcome,
    reward: f64,
    parts: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    metrics: Map<String, Value>,
    num_tokens: usize,
    truncated: bool,
}

impl<'a> CompletionLine<'a> {
    fn of(completion: &'a Completion) -> Self {
        let Completion { text, trajectory, judged } = completion;
        let named = |values: &[(String, f64)]| {
            values.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
        };
        Self {
            text,
            answer: judged.answer.as_deref(),
            outcome: judged.outcome,
            reward: judged.reward,
            parts: named(&judged.parts),
            metrics: named(&judged.metrics),
            num_tokens: trajectory.completion.len(),
            truncated: trajectory.finish == Finish::Length,
        }
    }
}

#[derive(Serialize)]
struct TokensLine<'a> {
    id: &'a str,
    prompt: &'a [u32],
    completions: Vec<TokenColumns<'a>>,
}

/// Columns of one completion; scores in single precision, as they were made.
#[derive(Serialize)]
struct TokenColumns<'a> {
    advantage: f64,
    tokens: &'a [u32],
    log_probs: &'a [f32],
    entropies: &'a [f32],
    phi_sums: &'a [f32],
    weights: &'a [f64],
}

impl<'a> TokenColumns<'a> {
    fn of(completion: &'a Completion, credit: &Credit<'a>) -> Self {
        let trajectory = &completion.trajectory;
        Self {
            advantage: credit.advantage,
            tokens: &trajectory.completion,
            log_probs: &trajectory.log_probs,
            entropies: &trajectory.entropies,
            phi_sums: &trajectory.phi_sums,
            weights: credit.weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_step_and_a_partial_one_says_none() {
        assert_eq!(step_of_name(&step_name(20)), Some(20));
        assert_eq!(step_of_name("step-1234567.jsonl"), Some(1_234_567));
        for name in ["step-000002.jsonl.partial", "step-", "step--1", "latest", "step-2x"] {
            assert_eq!(step_of_name(name), None, "{name}");
        }
    }
}

//! Writes the record.

use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::dump::TokensLine;
use super::index::INDEX;
use super::step::push_line;
use super::{
    Credit, GroupEntry, HealthLine, ProblemLine, Sink, Step, StepFiles, Summary, Thinning,
    step_name,
};
use crate::attempt::GradedGroup;
use crate::metrics::Metrics;
use crate::{Error, Result, Warning};

/// How much of a run is kept for reading.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordConfig {
    /// Which problems, texts, verdicts and token columns are written down, in `samples/`.
    ///
    /// Names: TRL `log_completions`, verl `rollout_data_dir`.
    pub samples: SamplesConfig,
    /// Steps between those whose token columns of all groups are written down as JSON lines as
    /// well, in `tokens/`, or `"off"`. They are not thinned, and take twice the space.
    #[serde(with = "settings::off::zero_too")]
    #[schemars(with = "settings::OrOff<u64>")]
    pub tokens_every: u64,
}

/// Which samples are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplesConfig {
    /// Steps from one recorded step to the next.
    pub every: NonZeroU64,
    /// Groups of a step, the first that were drawn, or `"off"` for no samples. `"auto"`: 2 to 16,
    /// so that a step of completions at their limit takes a 64th of the budget.
    pub groups: Groups,
    /// Groups of a step that were not learnt from, at most: without spread, or not judged.
    pub discarded: usize,
    /// Most that `samples/` may take, in MiB. Where it would take more, every second recorded step
    /// goes, and from then on half as many are recorded.
    pub budget_mib: NonZeroU64,
    /// How many of the likeliest tokens are recorded for each position, with their
    /// log-probabilities: `alt_token`, `alt_log_prob`. Each takes eight bytes a token.
    ///
    /// Names: vLLM `logprobs`.
    pub alternatives: usize,
}

/// How many groups of a step are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected \"auto\", a number of groups, 1 or more, or \"off\" for none"
)]
pub enum Groups {
    /// So many.
    Count(NonZeroUsize),
    /// By a word.
    Rule(GroupsRule),
}

/// A rule for the number of groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GroupsRule {
    /// As the budget allows.
    #[default]
    Auto,
    /// None.
    Off,
}

impl Default for SamplesConfig {
    fn default() -> Self {
        Self {
            every: NonZeroU64::new(10).expect("it is not 0"),
            groups: Groups::Rule(GroupsRule::Auto),
            discarded: 4,
            budget_mib: NonZeroU64::new(512).expect("it is not 0"),
            alternatives: 0,
        }
    }
}

/// What became of the samples of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampled {
    /// They were written where they were due, and those of earlier steps are as they were.
    Kept,
    /// They were written, samples of earlier steps were removed, and the index was written again.
    Thinned,
    /// They alone exceed the budget, so they were not written.
    TooLarge {
        /// What they take.
        bytes: u64,
    },
}

/// Writes the record.
#[derive(Debug)]
pub struct Record {
    sink: Box<dyn Sink>,
    thinning: Thinning,
    index: Vec<GroupEntry>,
}

impl Record {
    /// A record that writes to `sink`.
    pub fn new(sink: Box<dyn Sink>) -> Self {
        Self { sink, thinning: Thinning::default(), index: Vec::new() }
    }

    /// Goes on with samples of earlier steps: those of `index`, as [`Record::thinning`] was then.
    pub fn go_on(&mut self, thinning: Thinning, index: Vec<GroupEntry>) {
        (self.thinning, self.index) = (thinning, index);
    }

    /// Which samples there are, for a checkpoint.
    pub const fn thinning(&self) -> &Thinning {
        &self.thinning
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

    /// Appends the step's warnings; `metrics` are its values, of which some show them.
    ///
    /// # Errors
    ///
    /// Fails when the write does.
    pub fn warnings(
        &mut self,
        step: u64,
        warnings: &[Warning],
        metrics: Option<&Metrics>,
    ) -> Result<()> {
        warnings.iter().try_for_each(|warning| {
            self.append("health.jsonl", &HealthLine::of(step, warning, metrics))
        })
    }

    /// Writes the samples of a step where it is due and they fit into the budget, and removes those
    /// of earlier steps where all would exceed it.
    ///
    /// What a line of the index points at is there before the line is.
    ///
    /// # Errors
    ///
    /// Fails when a prompt cannot be decoded, and when a write does.
    pub fn samples(&mut self, config: &SamplesConfig, step: &Step<'_>) -> Result<Sampled> {
        let number = step.about.step;
        let (every, budget) = (config.every.get(), config.budget());
        let is_nothing = step.groups.is_empty() && step.discarded.is_empty();
        if is_nothing || !self.thinning.is_due(number, every) {
            return Ok(Sampled::Kept);
        }
        let files = step.files()?;
        let bytes = files.bytes();
        if bytes > budget {
            return Ok(Sampled::TooLarge { bytes });
        }
        self.write_samples(number, files)?;
        let gone = self.thinning.add(number, bytes, every, budget);
        if gone.is_empty() {
            return Ok(Sampled::Kept);
        }
        self.index.retain(|entry| !gone.contains(&entry.step));
        let mut lines = Vec::new();
        self.index.iter().for_each(|entry| push_line(&mut lines, entry));
        self.replace(INDEX, &lines)?;
        for step in gone {
            let name = format!("samples/{}", step_name(step));
            for file in [format!("{name}.jsonl"), format!("{name}.safetensors")] {
                self.sink.remove(&file).map_err(|source| failed(&file, source))?;
            }
        }
        Ok(Sampled::Thinned)
    }

    /// Writes the samples of a step that ends the run, whatever its number, where they fit into
    /// what is left of the budget. A run that goes on cuts them, so they are in no thinning.
    ///
    /// # Errors
    ///
    /// Fails where [`Record::samples`] does.
    pub fn last_samples(&mut self, config: &SamplesConfig, step: &Step<'_>) -> Result<()> {
        let files = step.files()?;
        if self.thinning.bytes() + files.bytes() <= config.budget() {
            self.write_samples(step.about.step, files)?;
        }
        Ok(())
    }

    fn write_samples(&mut self, step: u64, files: StepFiles) -> Result<()> {
        let name = format!("samples/{}", step_name(step));
        self.replace(&format!("{name}.jsonl"), &files.texts)?;
        self.replace(&format!("{name}.safetensors"), &files.tokens)?;
        self.sink.append(INDEX, &files.lines()).map_err(|source| failed(INDEX, source))?;
        self.index.extend(files.index);
        Ok(())
    }

    /// Writes the tokens of the step's completions as text; `credits` in their order.
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
        let lines = groups.iter().map(|group| TokensLine::of(group, &mut credits));
        self.lines(&format!("tokens/{}.jsonl", step_name(step)), &lines.collect::<Vec<_>>())
    }

    /// Appends a problem of an evaluation that is not complete.
    ///
    /// # Errors
    ///
    /// Fails when the write does.
    pub fn problem(&mut self, step: u64, set: &str, line: &ProblemLine) -> Result<()> {
        self.append(&results_file(step, set), line)
    }

    /// Writes one evaluation and its problems, which replace those written one by one.
    ///
    /// # Errors
    ///
    /// Fails when a write does.
    pub fn evaluation(&mut self, summary: &Summary, lines: &[ProblemLine]) -> Result<()> {
        let Summary { step, set, .. } = summary;
        self.lines(&results_file(*step, set), lines)?;
        let file = format!("evals/{}/{set}.json", step_name(*step));
        let bytes = serde_json::to_vec_pretty(summary).expect("plain fields become JSON");
        self.replace(&file, &bytes)
    }

    /// Writes the token columns of an evaluation's first problems: `step` has their groups.
    ///
    /// # Errors
    ///
    /// Fails when a prompt cannot be decoded, and when the write fails.
    pub fn evaluation_tokens(&mut self, set: &str, step: &Step<'_>) -> Result<()> {
        let file = format!("evals/{}/{set}.safetensors", step_name(step.about.step));
        let tokens = step.files()?.tokens;
        self.replace(&file, &tokens)
    }

    /// Returns once everything written is on the disk.
    ///
    /// # Errors
    ///
    /// Fails when the system does.
    pub fn sync(&mut self) -> Result<()> {
        self.sink.sync().map_err(|source| failed("the logs", source))
    }

    fn append<T: Serialize>(&mut self, file: &str, line: &T) -> Result<()> {
        let mut bytes = Vec::new();
        push_line(&mut bytes, line);
        self.sink.append(file, &bytes).map_err(|source| failed(file, source))
    }

    fn replace(&mut self, file: &str, bytes: &[u8]) -> Result<()> {
        self.sink.replace(file, bytes).map_err(|source| failed(file, source))
    }

    fn lines<T: Serialize>(&mut self, file: &str, lines: &[T]) -> Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            push_line(&mut bytes, line);
        }
        self.replace(file, &bytes)
    }
}

fn failed(file: &str, source: std::io::Error) -> Error {
    Error::Write { file: file.to_owned(), source }
}

fn results_file(step: u64, set: &str) -> String {
    format!("evals/{}/{set}.jsonl", step_name(step))
}

//! `samples/index.jsonl`: a line for each recorded group, enough to list, filter and sort them.

use std::collections::BTreeSet;
use std::path::Path;

use rewards::Outcome;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Lines, Problem};

/// Where the index is, below the run directory.
pub(super) const INDEX: &str = "samples/index.jsonl";

/// A recorded group. Lists have a value for each completion; ranges are from the first to behind
/// the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupEntry {
    /// The step.
    pub step: u64,
    /// Kind of its stage.
    pub stage: String,
    /// Which of the step's recorded groups it is, counted from 0.
    pub group: usize,
    /// Name of its problem.
    pub id: String,
    /// Where the problem comes from.
    pub source: String,
    /// Whether it was learnt from.
    pub kept: bool,
    /// Completions.
    pub n: usize,
    /// How many of them are correct.
    pub correct: usize,
    /// Their rewards, all verifiers weighted.
    pub reward: Vec<f64>,
    /// Their advantages; empty where the group was not learnt from.
    pub advantage: Vec<f64>,
    /// What became of each.
    pub outcomes: Vec<Outcome>,
    /// Their lengths, in tokens.
    pub lengths: Vec<usize>,
    /// Mean entropy of their tokens, nats; none without a token.
    pub entropy: Option<f64>,
    /// Bytes of its line in `step-*.jsonl`, the line feed included.
    pub bytes: [u64; 2],
    /// Its tokens in `step-*.safetensors`.
    pub rows: [u64; 2],
    /// Its completions there.
    pub completions: [u64; 2],
}

/// The index of the run at `root`; nothing where there is none.
///
/// # Errors
///
/// Fails when the file cannot be read.
pub fn read_index(root: &Path) -> Result<Lines<GroupEntry>, Problem> {
    let path = root.join(INDEX);
    let mut read = Lines::<GroupEntry>::read(&path, Lines::<GroupEntry>::SHORT)?;
    let (mut seen, before) = (BTreeSet::new(), read.lines.len());
    read.lines.retain(|entry| seen.insert((entry.step, entry.group)));
    let twice = before - read.lines.len();
    if twice > 0 {
        let reason = format!("{twice} lines are of groups that have a line before them");
        let act = "the first line of each group is read; restore the file from a copy";
        read.problems.push(Problem::of(&path, reason, act));
    }
    Ok(read)
}

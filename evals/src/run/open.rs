//! Opens a run directory: what is there, and what is wrong with it.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::foreign::Steps;
use super::problem::{DAMAGED, read_json};
use super::{
    Changes, Facts, GroupEntry, HealthLine, Lines, MetricTable, Problem, SampleGroup, Status,
    Summary, TokenFile, evaluations, open_file, read_changes, read_health, read_index, step_name,
};

/// Files by which a run is known, also one of an earlier version.
const SIGNS: [&str; 4] = ["run.json", "status.json", "metrics.jsonl", "environment.json"];

/// A run directory. It may be that of a run under way.
#[derive(Debug, Clone)]
pub struct Run {
    root: PathBuf,
    /// The generation of a run without a status.
    generation: u64,
    /// What it is; none where that is not written or cannot be read.
    pub facts: Option<Facts>,
    /// What it does; none where that is not written or cannot be read.
    pub status: Option<Status>,
    /// What could not be read of these two.
    pub problems: Vec<Problem>,
}

impl Run {
    /// Opens the run at `root`.
    ///
    /// # Errors
    ///
    /// Fails where there is no folder, or one in which no run began.
    pub fn open(root: &Path) -> Result<Self, Problem> {
        let act = "name the folder of a run: the one that holds run.json";
        if !root.is_dir() {
            let reason = if root.exists() { "a file" } else { "nothing" };
            return Err(Problem::of(root, format!("expected a folder, got {reason}"), act));
        }
        if !SIGNS.iter().any(|name| root.join(name).exists()) {
            let reason = "expected a run, got a folder without one";
            return Err(Problem::of(root, reason, act));
        }
        let mut problems = Vec::new();
        if !root.join("run.json").exists() {
            let reason = "there is no such file: an earlier version of stearin began the run, or it \
                          was deleted";
            let act = "read the run with the version that began it; the logs are shown";
            problems.push(Problem::of(&root.join("run.json"), reason, act));
        }
        let facts = taken(read_json(&root.join("run.json")), &mut problems);
        let status = taken(read_json(&root.join("status.json")), &mut problems);
        Ok(Self { root: root.to_owned(), generation: 0, facts, status, problems })
    }

    /// The run of another trainer at `root`.
    pub(super) fn of_another(root: &Path, generation: u64, problems: Vec<Problem>) -> Self {
        Self { root: root.to_owned(), generation, facts: None, status: None, problems }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The generation of its files; see [`Status`].
    pub fn generation(&self) -> u64 {
        self.status.as_ref().map_or(self.generation, |status| status.generation)
    }

    /// The metrics of its steps.
    ///
    /// # Errors
    ///
    /// Fails when the log cannot be read.
    pub fn metrics(&self) -> Result<MetricTable, Problem> {
        MetricTable::read(&self.root.join("metrics.jsonl"))
    }

    /// Seconds, rates and memory of its steps.
    ///
    /// # Errors
    ///
    /// Fails when the log cannot be read.
    pub fn timings(&self) -> Result<MetricTable, Problem> {
        MetricTable::read(&self.root.join("timings.jsonl"))
    }

    /// Its warnings.
    ///
    /// # Errors
    ///
    /// Fails when the log cannot be read.
    pub fn health(&self) -> Result<Lines<HealthLine>, Problem> {
        read_health(&self.root.join("health.jsonl"))
    }

    /// What resumes changed.
    ///
    /// # Errors
    ///
    /// Fails when the log cannot be read.
    pub fn changes(&self) -> Result<Lines<Changes>, Problem> {
        read_changes(&self.root.join("changes.jsonl"))
    }

    /// Its evaluations, in the order of their steps, and what could not be read.
    pub fn evaluations(&self) -> (Vec<Summary>, Vec<Problem>) {
        evaluations(&self.root)
    }

    /// Its recorded groups.
    ///
    /// # Errors
    ///
    /// Fails when the index cannot be read.
    pub fn samples(&self) -> Result<Samples, Problem> {
        let Lines { lines, problems } = read_index(&self.root)?;
        Ok(Samples { index: lines, problems, ..Samples::at(&self.root) })
    }
}

fn taken<T>(read: Result<Option<T>, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    read.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    })
}

/// The recorded groups of a run.
#[derive(Debug, Clone)]
pub struct Samples {
    root: PathBuf,
    another: Option<Arc<Steps>>,
    /// The set, where these are the problems of an evaluation.
    set: Option<String>,
    /// A line for each group, in the order of their steps.
    pub index: Vec<GroupEntry>,
    /// Lines of the index that could not be read.
    pub problems: Vec<Problem>,
}

impl Samples {
    /// The recorded groups of the run at `root`, for whoever has their index: here it is empty.
    pub fn at(root: &Path) -> Self {
        let (another, set, index, problems) = Default::default();
        Self { root: root.to_owned(), another, set, index, problems }
    }

    /// The problems of an evaluation of the run at `root` on `set`; their index is empty, and
    /// [`Samples::evaluated`] makes an entry.
    pub fn of_evaluation(root: &Path, set: &str) -> Self {
        Self { set: Some(set.to_owned()), ..Self::at(root) }
    }

    /// Those of another trainer's run.
    pub(super) fn of_another(root: &Path, steps: Arc<Steps>) -> Self {
        Self { another: Some(steps), ..Self::at(root) }
    }

    pub(super) fn path(&self, step: u64, kind: &str) -> PathBuf {
        match &self.set {
            Some(set) => {
                self.root.join("evals").join(step_name(step)).join(format!("{set}.{kind}"))
            }
            None => self.root.join("samples").join(format!("{}.{kind}", step_name(step))),
        }
    }

    /// The steps, ascending, each with how many groups it has.
    pub fn steps(&self) -> BTreeMap<u64, usize> {
        let mut steps = BTreeMap::new();
        self.index.iter().for_each(|entry| *steps.entry(entry.step).or_default() += 1);
        steps
    }

    /// Problem, texts and verdicts of a group; reads these alone.
    ///
    /// # Errors
    ///
    /// Fails where the file is not there or the line is not in it.
    pub fn group(&self, entry: &GroupEntry) -> Result<SampleGroup, Problem> {
        if let Some(another) = &self.another {
            return another.group(entry);
        }
        if self.set.is_some() {
            return self.evaluated_group(entry);
        }
        let path = self.path(entry.step, "jsonl");
        let act = "read the index again: the step may have been thinned";
        let mut file = open_file(&path)?.ok_or_else(|| Problem::of(&path, "no such file", act))?;
        let failed = |error: std::io::Error| Problem::of_system(&path, &error);
        let length = file.metadata().map_err(failed)?.len();
        let [from, to] = entry.bytes;
        if from > to || to > length || to - from > Lines::<SampleGroup>::LONG as u64 {
            let reason = format!("the index points at bytes {from} to {to}, of {length}");
            return Err(Problem::of(&path, reason, DAMAGED));
        }
        let mut line = vec![0; (to - from) as usize];
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        file.read_exact(&mut line).map_err(failed)?;
        serde_json::from_slice(&line).map_err(|error| {
            Problem::of(&path, format!("bytes {from} to {to} are no group: {error}"), DAMAGED)
        })
    }

    /// The token columns of a step; reads the header alone.
    ///
    /// # Errors
    ///
    /// Fails where [`TokenFile::open`] does.
    pub fn tokens(&self, step: u64) -> Result<TokenFile, Problem> {
        match &self.another {
            Some(another) => another.tokens(step),
            None => TokenFile::open(&self.path(step, "safetensors")),
        }
    }
}

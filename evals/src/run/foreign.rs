//! Runs of other trainers, read from the files that these write into what the dashboard shows of
//! our own: metrics, an index of groups, texts and columns of tokens.
//!
//! ```text
//! told      a completion as a file tells of it; groups, index and columns of them
//! rows      metrics by step, and JSON as Python writes it
//! figures   what is computed from a step's completions where no log has it
//! trl       TRL's tables of completions, and the log of its trainer
//! grown     files of JSON lines that are read as they grow
//! spell     the text of ids, by a tokenizer
//! verl      verl's rollouts and validations, and its file logger
//! prime_rl  prime-rl's exports of tokens, until August 2026
//! traces    prime-rl's monitor of files, since then, and `episode` what it has of one
//! ```
//!
//! Nobody but us records the sum behind Φ, the weights of tokens and which of them were selected:
//! these columns are NaN. docs/dashboard.md says what is shown of whose runs.

mod episode;
mod figures;
mod grown;
mod log;
mod prime_rl;
mod rows;
mod spell;
mod steps;
mod told;
mod traces;
mod trl;
mod verl;
mod zst;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::rows::Rows;
pub use self::spell::Spell;
use self::spell::Speller;
pub(super) use self::steps::Steps;
use self::steps::read_step;
use self::told::Told;
use super::{
    GroupEntry, HealthLine, Level, MetricTable, Problem, ProblemLine, Problems, Run, Samples, Seen,
};

/// Who wrote a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Hugging Face TRL.
    Trl,
    /// verl.
    Verl,
    /// prime-rl.
    PrimeRl,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Trl => "trl",
            Self::Verl => "verl",
            Self::PrimeRl => "prime-rl",
        })
    }
}

/// What is not in a run, and why.
struct Absent {
    name: &'static str,
    why: &'static str,
    act: &'static str,
}

/// Reads the files of one trainer.
trait Reader: fmt::Debug + Send + Sync {
    fn origin(&self) -> Origin;

    /// The files of each step with completions, as they are now, or what of them is of the step.
    fn steps(&self) -> BTreeMap<u64, Vec<Seen>>;

    /// The completions of a step; what cannot be read is left out and added to `problems`.
    fn read(&self, step: u64, files: &[Seen], problems: &mut Vec<Problem>) -> Vec<Told>;

    /// The logs of metrics.
    fn logs(&self) -> Vec<PathBuf>;

    /// Their values.
    fn rows(&self, problems: &mut Vec<Problem>) -> Rows;

    /// What could not be read so far besides a step and the logs.
    fn problems(&self) -> Problems {
        Problems::default()
    }

    /// The files of held-out sets, by set and step.
    fn held_out(&self) -> BTreeMap<String, BTreeMap<u64, PathBuf>> {
        BTreeMap::new()
    }

    /// What the trainer does not record.
    fn absent(&self) -> &'static [Absent];
}

/// A run of another trainer.
#[derive(Debug)]
pub struct Foreign {
    root: PathBuf,
    reader: Arc<dyn Reader>,
    asked: Arc<Steps>,
    steps: BTreeMap<u64, Read>,
    logs: Vec<Seen>,
    logged: Rows,
    log_problems: Problems,
    told: Problems,
    metrics: MetricTable,
    generation: u64,
}

/// What was read of a step.
#[derive(Debug)]
struct Read {
    seen: Vec<Seen>,
    entries: Vec<GroupEntry>,
    figures: Rows,
    problems: Problems,
}

fn reader(root: &Path, speller: &Speller) -> Option<Arc<dyn Reader>> {
    if let Some(own) = trl::Trl::find(root) {
        return Some(Arc::new(own));
    }
    if let Some(own) = traces::Traces::find(root, speller) {
        return Some(Arc::new(own));
    }
    if let Some(own) = prime_rl::Exports::find(root, speller) {
        return Some(Arc::new(own));
    }
    verl::Verl::find(root).map(|own| Arc::new(own) as Arc<dyn Reader>)
}

impl Foreign {
    /// Whether `root` holds files of a trainer that is known.
    pub fn is_at(root: &Path) -> bool {
        reader(root, &Speller::default()).is_some()
    }

    /// The run at `root`, of which nothing is read yet; none where no files of another trainer are
    /// found.
    pub fn find(root: &Path) -> Option<Self> {
        Self::find_with(root, None)
    }

    /// The same, whose ids have the texts of a tokenizer, if there is one. It is for files that
    /// have ids alone.
    pub fn find_with(root: &Path, tokenizer: Option<Arc<dyn Spell>>) -> Option<Self> {
        let reader = reader(root, &Speller(tokenizer))?;
        Some(Self {
            root: root.to_owned(),
            asked: Arc::new(Steps::new(root, &reader)),
            reader,
            steps: BTreeMap::new(),
            logs: Vec::new(),
            logged: Rows::default(),
            log_problems: Problems::default(),
            told: Problems::default(),
            metrics: MetricTable::new(root),
            generation: 0,
        })
    }

    /// Who wrote it.
    pub fn origin(&self) -> Origin {
        self.reader.origin()
    }

    /// Reads what is new or changed, and says whether anything was.
    pub fn poll(&mut self) -> bool {
        let files = self.reader.steps();
        let before = self.steps.len();
        self.steps.retain(|step, _| files.contains_key(step));
        let mut is_new = self.steps.len() < before;
        self.generation += u64::from(is_new);
        for (step, seen) in files {
            if self.steps.get(&step).is_some_and(|read| read.seen == seen) {
                continue;
            }
            let (read, told) = read_step(&*self.reader, step, &seen);
            let mut problems = Problems::default();
            problems.extend(told);
            let figures = figures::of(&read);
            let read = Read { seen, entries: read.entries, figures, problems };
            let known = self.steps.get(&step).map_or(&[][..], |known| &known.entries);
            // A step that was written again: what was read of it before does not count.
            self.generation += u64::from(!read.entries.starts_with(known));
            self.steps.insert(step, read);
            is_new = true;
        }
        let told = self.reader.problems();
        is_new |= told != self.told;
        self.told = told;
        let logs: Vec<_> = self.reader.logs().iter().map(|path| Seen::of(path)).collect();
        if logs != self.logs {
            self.logs = logs;
            let mut told = Vec::new();
            self.logged = self.reader.rows(&mut told);
            self.log_problems = Problems::default();
            self.log_problems.extend(told);
            is_new = true;
        }
        if is_new {
            let mut rows = self.logged.clone();
            let mut figures = Rows::default();
            self.steps.values().for_each(|read| figures.extend_rows(&read.figures));
            rows.add_missing(&figures);
            self.metrics = rows.table(&self.root);
        }
        is_new
    }

    /// What it is: no facts and no status are recorded.
    pub fn run(&self) -> Run {
        Run::of_another(&self.root, self.generation, self.problems().kept().to_vec())
    }

    /// What could not be read, and how much more there is of it.
    pub fn problems(&self) -> Problems {
        let mut all = self.log_problems.clone();
        all.join(&self.told);
        self.steps.values().for_each(|read| all.join(&read.problems));
        all.join(self.metrics.damage());
        all
    }

    /// Its metrics, and what is computed from its completions where it logged nothing.
    pub fn metrics(&self) -> &MetricTable {
        &self.metrics
    }

    /// Its groups, in the order of their steps.
    pub fn index(&self) -> Vec<GroupEntry> {
        self.steps.values().flat_map(|read| read.entries.iter().cloned()).collect()
    }

    /// What is not in it, and why, as advice of its last step.
    pub fn absent(&self) -> Vec<HealthLine> {
        let last = self.metrics.steps().last().or(self.steps.keys().last()).copied();
        let line = |absent: &Absent| HealthLine {
            step: last.unwrap_or(0),
            name: absent.name.into(),
            level: Level::Advice,
            cause: absent.why.into(),
            act: absent.act.into(),
            key: None,
            metric: None,
            value: None,
            limit: None,
        };
        self.reader.absent().iter().map(line).collect()
    }

    /// Texts and tokens of its groups, read when they are asked for.
    pub fn samples(&self) -> Samples {
        Samples::of_another(&self.root, Arc::clone(&self.asked))
    }

    /// The steps of its held-out sets.
    pub fn evaluations(&self) -> BTreeMap<String, Vec<u64>> {
        let sets = self.reader.held_out().into_iter();
        sets.map(|(set, files)| (set, files.into_keys().collect())).collect()
    }

    /// The file of an evaluation as it is now; none where there is no such evaluation.
    pub fn evaluation_seen(&self, set: &str, step: u64) -> Option<Seen> {
        self.reader.held_out().get(set)?.get(&step).map(|path| Seen::of(path))
    }

    /// The unit of the lengths of its completions: `tokens`, or `characters` where it has texts
    /// alone.
    pub fn length_unit(&self) -> &'static str {
        match self.origin() {
            Origin::Trl | Origin::Verl => "characters",
            Origin::PrimeRl => "tokens",
        }
    }

    /// Whether it records advantages.
    pub fn has_advantages(&self) -> bool {
        self.origin() != Origin::Verl
    }

    /// An evaluation problem by problem.
    pub fn evaluation(&self, set: &str, step: u64) -> Vec<ProblemLine> {
        let sets = self.reader.held_out();
        let Some(file) = sets.get(set).and_then(|files| files.get(&step)) else {
            return Vec::new();
        };
        let (read, _) = read_step(&*self.reader, step, &[Seen::of(file)]);
        figures::problem_lines(&read)
    }
}

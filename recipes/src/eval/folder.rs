//! The directory of an evaluation: its settings, and what became of each problem.

mod read;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use engine::file;
use evals::attempt::Draw;
use evals::run::results::{ShownTexts, read_without_texts, sort};
use evals::run::{
    self, Accepted, FORMAT, Facts, Phase, ProblemLine, Sink, State, Summary, cut_file, read_json,
    step_name,
};
use rewards::Problem;
use toml::{Table, Value};

use super::{Set, SetSettings, Settings};
use crate::console::Beat;
use crate::run_dir::{Claim, EVALUATION, Heartbeat, RECIPE, RunDir, STATUS, status};

use read::facts;
pub use read::{read, read_sets};

/// Its steps: an evaluation by itself judges what it finds.
const STEP: u64 = 0;

/// Characters that are shown of a line that cannot be read.
const LONGEST_LINE: usize = 200;

/// The directory, held by this process.
#[derive(Debug)]
pub struct Folder {
    run_dir: RunDir,
    heartbeat: Heartbeat,
    settings: Settings,
    sink: run::Folder,
    /// What became of each problem, by set, without texts that no summary shows.
    lines: BTreeMap<String, Vec<ProblemLine>>,
    shown: BTreeMap<String, ShownTexts>,
    contaminated: BTreeMap<String, Vec<String>>,
    /// How this build and machine differ from those that judged what is there.
    changed: Vec<String>,
}

/// What a directory holds.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where it is.
    pub root: PathBuf,
    /// What its results depend on.
    pub settings: Settings,
    /// The build and the machine that began it; none where `run.json` cannot be read.
    pub facts: Option<Facts>,
    /// What became of each problem, by set.
    pub lines: BTreeMap<String, Vec<ProblemLine>>,
    /// The figures of each set, in the order of the settings.
    pub summaries: Vec<Summary>,
}

/// Opens the directory `root` to evaluate by `settings`: a new one, or one of the same settings to
/// go on with. `facts` are of this process.
///
/// # Errors
///
/// Fails when it is something else, has other settings, naming the keys that differ, or is in use,
/// and when it cannot be written.
pub fn open(root: &Path, settings: Settings, facts: &Facts) -> Result<Folder> {
    if root.join(STATUS).is_dir() {
        let path = root.join(STATUS);
        bail!("{}: expected a file, got a folder\nmove it away", path.display());
    }
    let run_dir = if let Some(run_dir) = RunDir::open_evaluation(root)? {
        let changes = settings.changes_since(&stored(root)?)?;
        if !changes.is_empty() {
            bail!(
                "{} holds an evaluation of other settings:\n  {}\nuse these, or another --out",
                root.display(),
                changes.join("\n  ")
            );
        }
        run_dir
    } else {
        let is_taken = root.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        if is_taken || (root.exists() && !root.is_dir()) {
            bail!(
                "{} exists and is no evaluation: there is no {EVALUATION} in it\nuse another --out",
                root.display()
            );
        }
        Claim::take(root)?.create_with(EVALUATION, &settings.to_toml()?, facts)?
    };
    let (mut lines, mut known) = (BTreeMap::new(), BTreeMap::new());
    for set in &settings.sets {
        let read = whole_lines(&results(root, &set.name))?;
        known.extend(contaminated(root, &set.name, read.len())?.map(|ids| (set.name.clone(), ids)));
        lines.insert(set.name.clone(), read);
    }
    let sink = run::Folder::new(root);
    let asked = settings.sets.iter().map(|set| set.asked as u64).sum();
    let judged = lines.values().map(|lines| lines.len() as u64).sum();
    let changed = if judged < asked { accept_build(&run_dir, judged, facts)? } else { Vec::new() };
    // What a kill tore off was cut: another generation than before.
    let generation = status(root).map_or(0, |before| before.generation + 1);
    let heartbeat = Heartbeat::new(root, asked, generation);
    let shown = lines.iter().map(|(set, own)| (set.clone(), ShownTexts::of(own))).collect();
    Ok(Folder { run_dir, heartbeat, settings, sink, lines, shown, contaminated: known, changed })
}

/// Keeps in `run.json` that another build or machine goes on after so many judged problems, and
/// returns how it differs from the one before.
fn accept_build(run_dir: &RunDir, judged: u64, now: &Facts) -> Result<Vec<String>> {
    // One that cannot be read says nothing, and the results do not need it.
    let Some(then) = facts(run_dir.root()).filter(|_| judged > 0) else { return Ok(Vec::new()) };
    let changes = now.changes_since(&then);
    let is_known = then.accepted.last().is_some_and(|last| last.changes == changes);
    if !changes.is_empty() && !is_known {
        run_dir.accept(None, Accepted { step: judged, changes: changes.clone() })?;
    }
    Ok(changes)
}

/// The settings of the directory.
fn stored(root: &Path) -> Result<Settings> {
    let path = root.join(EVALUATION);
    if !path.exists() {
        let hint = if root.join(RECIPE).is_file() {
            "it is the run directory of a training: `stearin eval --model` evaluates its checkpoints"
        } else {
            "expected what `stearin eval --out` has written"
        };
        bail!(
            "{} is no directory of an evaluation: there is no {EVALUATION}\n{hint}",
            root.display()
        );
    }
    let next = "the file is damaged: evaluate into another --out";
    // A pipe or a device would be read for ever.
    if !path.symlink_metadata().is_ok_and(|about| about.is_file()) {
        bail!("{}: expected a file, got something else\n{next}", path.display());
    }
    let text = file::read_to_string(&path)
        .map_err(|error| anyhow!("reading {}: {error}\n{next}", path.display()))?;
    // Another format may have other keys, which are not what is wrong.
    let format = toml::from_str::<Table>(&text).ok().and_then(|table| {
        table.get("format").and_then(Value::as_integer).filter(|found| *found != i64::from(FORMAT))
    });
    if let Some(found) = format {
        bail!(
            "{}: expected format {FORMAT}, got {found}\nread it with the version of stearin that \
             wrote it, or evaluate again into another folder by --out",
            path.display()
        );
    }
    let settings: Settings = toml::from_str(&text).map_err(|error: toml::de::Error| {
        // With the line that it is on, which a damage may have made long.
        let said = error.to_string();
        let short = |line: &str| line.chars().take(LONGEST_LINE).collect::<String>() + "\n";
        let said: String = said.lines().map(short).collect();
        anyhow!("reading {}: {said}{next}", path.display())
    })?;
    if let Some(problem) = settings.problem() {
        bail!("reading {}: {problem}\n{next}", path.display());
    }
    let evals = root.join("evals");
    for folder in [evals.join(step_name(STEP)), evals] {
        if folder.is_symlink() {
            bail!(
                "{}: expected a folder, got a link\n{next}; nothing in it is a link",
                folder.display()
            );
        }
    }
    Ok(settings)
}

fn results(root: &Path, set: &str) -> PathBuf {
    root.join(results_name(set))
}

fn results_name(set: &str) -> String {
    format!("evals/{}/{set}.jsonl", step_name(STEP))
}

/// The problems that the summary of a set found in the training data. The other figures of a
/// summary are computed from the lines, of which `found` are there; where fewer are than it was
/// computed from, it is refused.
fn contaminated(root: &Path, set: &str, found: usize) -> Result<Option<Vec<String>>> {
    let path = root.join(summary_name(set));
    let Some(Summary { problems, unjudged, contaminated, .. }) = read_json(&path)? else {
        return Ok(None);
    };
    let (lines, expected) = (results(root, set), problems + unjudged);
    if found < expected {
        let got = if lines.exists() { found.to_string() } else { "no file".to_owned() };
        bail!(
            "{}: expected the {expected} problems whose figures are in {set}.json, got {got}: it is damaged\n\
             restore it from a copy; or remove {set}.json, and the same command judges what is \
             missing again",
            lines.display()
        );
    }
    Ok(contaminated)
}

fn summary_name(set: &str) -> String {
    format!("evals/{}/{set}.json", step_name(STEP))
}

/// The lines of a file, which is cut after the last whole one: the next is appended there.
fn whole_lines(path: &Path) -> Result<Vec<ProblemLine>> {
    let (lines, whole) = read_without_texts(path)?;
    if path.metadata().is_ok_and(|metadata| metadata.len() > whole) {
        cut_file(path, whole)?;
    }
    Ok(lines)
}

fn summary(
    settings: &Settings,
    set: &SetSettings,
    lines: &[ProblemLine],
    contaminated: Option<Vec<String>>,
) -> Summary {
    let summary = Summary {
        format: FORMAT,
        set: set.name.clone(),
        step: STEP,
        protocol: settings.protocol.clone(),
        prompt: settings.style.clone(),
        criterion: set.criterion.clone(),
        sampling: settings.sampling.clone(),
        samples: set.samples,
        data_sha256: set.sha256.clone(),
        asked: set.asked,
        contaminated,
        ..Summary::default()
    };
    summary.with_figures(lines)
}

impl Folder {
    /// What its results depend on.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        self.run_dir.root()
    }

    /// How this build and machine differ from those that judged the problems that are there, one
    /// line each; nothing where none is left to judge.
    pub fn changed(&self) -> &[String] {
        &self.changed
    }

    /// Notes which problems of a set are in the training data.
    pub fn set_contaminated(&mut self, set: &str, ids: Vec<String>) {
        self.contaminated.insert(set.to_owned(), ids);
    }

    fn of(&self, set: &str) -> &SetSettings {
        let found = self.settings.sets.iter().find(|one| one.name == set);
        found.expect("the settings have every set")
    }

    /// Completions of each problem of a set.
    pub(super) fn samples(&self, set: &str) -> usize {
        self.of(set).samples
    }

    /// What became of the problems of a set so far.
    pub(super) fn lines(&self, set: &str) -> &[ProblemLine] {
        self.lines.get(set).map_or(&[], Vec::as_slice)
    }

    /// The problems of a set that are to be judged yet.
    ///
    /// # Errors
    ///
    /// Fails when the directory has a problem that is not asked for, or less of one than is.
    pub(super) fn pending<'a>(&self, set: &'a Set) -> Result<Vec<Draw<'a>>> {
        let SetSettings { samples, .. } = *self.of(&set.name);
        let mut pending: BTreeMap<u64, &Problem> =
            set.chosen.iter().map(|&number| (number as u64, &set.problems[number])).collect();
        for ProblemLine { number, id, n, greedy, .. } in self.lines(&set.name) {
            let own = pending.remove(number).filter(|problem| problem.id == *id);
            if own.is_none() || *n != samples || greedy.is_some() != self.settings.greedy {
                bail!(
                    "{}: problem `{id}`, number {number}, with {n} completions, is not what this \
                     evaluation asks for\nthe file is damaged: remove that line, or evaluate into \
                     another --out",
                    results(self.root(), &set.name).display()
                );
            }
        }
        Ok(pending.into_iter().map(|(number, problem)| Draw { number, problem }).collect())
    }

    /// Keeps what became of a problem.
    pub(super) fn add(&mut self, set: &str, line: ProblemLine) -> evals::Result<()> {
        let text = serde_json::to_string(&line).expect("plain fields become JSON") + "\n";
        let file = results_name(set);
        if !self.is_there() {
            let source = io::Error::other(
                "the folder was moved or deleted during the evaluation: what was judged is where it is \
                 now, if anywhere",
            );
            return Err(evals::Error::Write { file, source });
        }
        self.sink
            .append(&file, text.as_bytes())
            .map_err(|source| evals::Error::Write { file, source })?;
        let lines = self.lines.entry(set.to_owned()).or_default();
        self.shown.entry(set.to_owned()).or_default().add(lines, line);
        Ok(())
    }

    /// Writes the problems of a set in their order, and its summary.
    pub(super) fn finish(&mut self, set: &str) -> evals::Result<()> {
        let contaminated = self.contaminated.get(set).cloned();
        let lines = self.lines.entry(set.to_owned()).or_default();
        lines.sort_by_key(|line| line.number);
        let summary = summary(&self.settings, self.of(set), self.lines(set), contaminated);
        let summary = serde_json::to_vec_pretty(&summary).expect("plain fields become JSON");
        self.heartbeat.rewrote();
        let failed = |file: String| move |source| evals::Error::Write { file, source };
        sort(&results(self.root(), set)).map_err(failed(results_name(set)))?;
        // What is appended from now on belongs to the new file.
        self.sink = run::Folder::new(self.root());
        self.sink.replace(&summary_name(set), &summary).map_err(failed(summary_name(set)))
    }

    /// Whether nobody moved or deleted the directory: writing would make another one, in which
    /// nothing says what it is.
    fn is_there(&self) -> bool {
        self.root().join(EVALUATION).exists()
    }

    /// Says what becomes of the evaluation, if its directory is there. Problems are its steps.
    pub(super) fn set_status(&self, state: State) -> Result<()> {
        if !self.is_there() {
            return Ok(());
        }
        let done = self.lines.values().map(Vec::len).sum::<usize>();
        if state == State::Running {
            self.heartbeat.beat(Beat::Phase(Phase::Eval));
        }
        self.heartbeat.set(state, done as u64, 0)
    }
}

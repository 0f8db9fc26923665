//! A run whose files are read as they grow.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use evals::run::{
    Foreign, GroupEntry, HealthLine, Lines, MetricTable, Problem, ProblemLine, Problems, Run,
    Samples, Seen, Spell, State, Status, Summary, entries, folder_problem, is_folder, open_file,
    read_json, step_name, step_of_name,
};
use serde::Serialize;

use crate::followed::Followed;
use crate::problem::Known;
use crate::recipe::Recipe;
use crate::trouble::Trouble;

/// Folders of a run.
const FOLDERS: [&str; 3] = ["samples", "evals", "checkpoints"];
/// Seconds for which logs are kept that nobody asks for.
const IDLE: u64 = 600;

/// A run, with everything of its logs that was read so far.
#[derive(Debug)]
pub(crate) struct Watched {
    root: PathBuf,
    follows: bool,
    /// Whose files it is read from, where these are another trainer's.
    foreign: Option<Foreign>,
    pub(crate) run: Run,
    pub(crate) metrics: MetricTable,
    pub(crate) timings: MetricTable,
    pub(crate) health: Followed<HealthLine>,
    pub(crate) index: Followed<GroupEntry>,
    /// Files and folders that could not be read at all.
    unread: Vec<Problem>,
    recipe: Recipe,
    /// What its evaluations asked.
    pub(crate) known: RefCell<Known>,
    /// When its logs were last asked for, in seconds since 1970 UTC.
    used: u64,
}

impl Watched {
    /// The run at `root`, whose logs are read when it is first polled. Unless it `follows` the
    /// files, all is read now, and stays as it is.
    pub(crate) fn open(
        root: &Path,
        follows: bool,
        tokenizer: Option<Arc<dyn Spell>>,
    ) -> Result<Self, Problem> {
        let found = || Foreign::find_with(root, tokenizer);
        let foreign = if is_own(root) { None } else { found() };
        let run = foreign.as_ref().map_or_else(|| Run::open(root), |foreign| Ok(foreign.run()))?;
        let mut watched = Self {
            root: root.to_owned(),
            follows,
            foreign,
            run,
            metrics: MetricTable::new(&root.join("metrics.jsonl")),
            timings: MetricTable::new(&root.join("timings.jsonl")),
            health: Followed::new(&root.join("health.jsonl"), Lines::<HealthLine>::SHORT),
            index: Followed::new(&root.join("samples/index.jsonl"), Lines::<GroupEntry>::SHORT),
            unread: Vec::new(),
            recipe: Recipe::default(),
            known: RefCell::default(),
            used: now(),
        };
        watched.recipe.read(root);
        // A list shows of another trainer's run what only its logs say.
        if !follows || watched.foreign.is_some() {
            watched.read()?;
        }
        Ok(watched)
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Who wrote it.
    pub(crate) fn origin(&self) -> String {
        self.foreign.as_ref().map_or_else(|| "stearin".into(), |own| own.origin().to_string())
    }

    /// The name of its folder.
    pub(crate) fn name(&self) -> String {
        let name = self.root.file_name().map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| self.root.display().to_string())
    }

    /// Reads what is new.
    ///
    /// # Errors
    ///
    /// Fails where the folder is no run any more. What else cannot be read is a problem of the run.
    pub(crate) fn poll(&mut self) -> Result<(), Problem> {
        self.used = now();
        if self.follows { self.read() } else { Ok(()) }
    }

    /// Reads what a list of runs shows, and forgets logs that nobody has asked for lately.
    ///
    /// # Errors
    ///
    /// Fails where the folder is no run any more.
    pub(crate) fn glance(&mut self) -> Result<(), Problem> {
        if !self.follows || self.foreign.is_some() {
            return Ok(());
        }
        let used = self.used;
        if now().saturating_sub(used) > IDLE && !self.metrics.steps().is_empty() {
            *self = Self { used, ..Self::open(&self.root, true, None)? };
        }
        self.reopen()
    }

    /// Reads what the run is and does. What was read of a run that had the folder before is
    /// forgotten.
    fn reopen(&mut self) -> Result<(), Problem> {
        let run = Run::open(&self.root)?;
        let id = |run: &Run| run.facts.as_ref().map(|facts| facts.id.clone());
        if self.follows && id(&run) != id(&self.run) {
            *self = Self { used: self.used, ..Self::open(&self.root, true, None)? };
        }
        self.run = run;
        self.recipe.read(&self.root);
        Ok(())
    }

    fn read(&mut self) -> Result<(), Problem> {
        if let Some(foreign) = &mut self.foreign {
            if !self.root.is_dir() {
                // Says that it is gone.
                Run::open(&self.root)?;
            }
            if foreign.poll() {
                self.run = foreign.run();
                self.metrics = foreign.metrics().clone();
                self.health.lines = foreign.absent();
                self.index.lines = foreign.index();
            }
            return Ok(());
        }
        self.reopen()?;
        let generation = self.run.generation();
        let whole = |table: &mut MetricTable| {
            while !table.poll(generation)? {}
            Ok(())
        };
        let read = [
            whole(&mut self.metrics),
            whole(&mut self.timings),
            self.health.poll(generation),
            self.index.poll(generation),
        ];
        self.unread = read.into_iter().filter_map(Result::err).collect();
        let folders = FOLDERS.iter().filter_map(|name| folder_problem(&self.root.join(name)));
        self.unread.extend(folders);
        self.unread.dedup();
        Ok(())
    }

    /// What could not be read, and how many more problems there are.
    pub(crate) fn problems(&self) -> (Vec<Problem>, u64) {
        let files = self.run.problems.iter().chain(&self.unread).chain(&self.recipe.problem);
        let mut all: Vec<_> = files.cloned().collect();
        if let Some(foreign) = &self.foreign {
            return (all, foreign.problems().more());
        }
        let logs: [&Problems; 4] = [
            self.metrics.damage(),
            self.timings.damage(),
            &self.health.problems,
            &self.index.problems,
        ];
        all.extend(logs.iter().flat_map(|log| log.kept()).cloned());
        (all, logs.iter().map(|log| log.more()).sum())
    }

    /// The last step of the logs.
    pub(crate) fn last_step(&self) -> Option<u64> {
        self.metrics.steps().last().copied()
    }

    /// What the run is doing, as a reader of its folder can tell.
    pub(crate) fn life(&self) -> &'static str {
        let Some(status) = &self.run.status else { return "unknown" };
        match status.state {
            State::Finished => "finished",
            State::Interrupted => "interrupted",
            State::Failed { .. } => "failed",
            State::Running if self.is_gone(status) => "killed",
            State::Running if self.is_silent(status) => "silent",
            State::Running => "running",
        }
    }

    /// Whether there is no sign of life; a run that is not followed has no time.
    fn is_silent(&self, status: &Status) -> bool {
        self.follows && status.is_silent(now())
    }

    /// Whether the process that trained has ended without a word.
    fn is_gone(&self, status: &Status) -> bool {
        let processes = Path::new("/proc");
        let here = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        if processes.join("self").exists() && here.trim() == status.host {
            return !processes.join(status.pid.to_string()).exists();
        }
        // Only of a run that is silent: for a moment the lock is ours, and a trainer that starts
        // then would find it taken.
        let lock = || open_file(&self.root.join("lock")).ok().flatten();
        self.is_silent(status) && lock().is_some_and(|file| file.try_lock_shared().is_ok())
    }

    /// The steps of which groups are recorded, ascending.
    pub(crate) fn sampled(&self) -> Vec<u64> {
        let mut steps: Vec<_> = self.index.lines.iter().map(|entry| entry.step).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// A recorded group.
    pub(crate) fn entry(&self, step: u64, group: usize) -> Result<&GroupEntry, Trouble> {
        let is_it = |entry: &&GroupEntry| (entry.step, entry.group) == (step, group);
        self.index.lines.iter().find(is_it).ok_or_else(|| {
            Trouble::missing(format!("step {step} has no recorded group {group}"))
                .act("choose one of /groups")
        })
    }

    /// The files of the recorded groups; their index is [`Watched::index`].
    pub(crate) fn samples(&self) -> Samples {
        self.foreign.as_ref().map_or_else(|| Samples::at(&self.root), Foreign::samples)
    }

    /// The steps of every evaluation, by its set.
    pub(crate) fn evaluations(&self) -> BTreeMap<String, Vec<u64>> {
        if let Some(foreign) = &self.foreign {
            return foreign.evaluations();
        }
        let mut found = BTreeMap::<String, Vec<u64>>::new();
        for (name, path) in entries(&self.root.join("evals")) {
            let Some(step) = step_of_name(&name) else { continue };
            for (name, _) in entries(&path) {
                if let Some(set) = name.strip_suffix(".json") {
                    found.entry(set.to_owned()).or_default().push(step);
                }
            }
        }
        for steps in found.values_mut() {
            steps.sort_unstable();
        }
        found
    }

    /// Figures and problems of an evaluation, the problems by their numbers.
    pub(crate) fn evaluation(
        &self,
        set: &str,
        step: u64,
    ) -> Result<(Option<Summary>, Vec<ProblemLine>), Trouble> {
        if !self.evaluations().get(set).is_some_and(|steps| steps.contains(&step)) {
            return Err(Trouble::missing(format!(
                "there is no evaluation of {set} at step {step}"
            )));
        }
        if let Some(foreign) = &self.foreign {
            return Ok((None, foreign.evaluation(set, step)));
        }
        let folder = self.root.join("evals").join(step_name(step));
        let summary = read_json(&folder.join(format!("{set}.json")))?;
        let longest = Lines::<ProblemLine>::LONG;
        let lines = Lines::<ProblemLine>::read(&folder.join(format!("{set}.jsonl")), longest)?;
        let mut lines = lines.lines;
        lines.sort_by_key(|line| line.number);
        Ok((summary, lines))
    }

    /// A problem of an evaluation as a recorded group, where its tokens are kept.
    pub(crate) fn evaluated(
        &self,
        set: &str,
        step: u64,
        line: &ProblemLine,
    ) -> Result<(Samples, GroupEntry), Trouble> {
        let folder = self.root.join("evals").join(step_name(step));
        let kept = folder.join(format!("{set}.safetensors"));
        if self.foreign.is_some() || kept.symlink_metadata().is_err() {
            return Err(Trouble::missing(format!(
                "the tokens of {set} at step {step} are not kept; the key eval.tokens keeps those of \
                 some problems"
            )));
        }
        let samples = Samples::of_evaluation(&self.root, set);
        let entry = samples.evaluated(step, line)?;
        Ok((samples, entry))
    }

    /// A problem of an evaluation.
    pub(crate) fn evaluated_problem(
        &self,
        set: &str,
        step: u64,
        number: u64,
    ) -> Result<ProblemLine, Trouble> {
        let (_, lines) = self.evaluation(set, step)?;
        let found = lines.into_iter().find(|line| line.number == number);
        found.ok_or_else(|| Trouble::missing(format!("the set has no problem {number}")))
    }

    /// The files of an evaluation, as they are now.
    pub(crate) fn evaluation_seen(&self, set: &str, step: u64) -> Vec<Seen> {
        if let Some(foreign) = &self.foreign {
            return foreign.evaluation_seen(set, step).into_iter().collect();
        }
        let folder = self.root.join("evals").join(step_name(step));
        ["json", "jsonl", "safetensors"]
            .map(|end| Seen::of(&folder.join(format!("{set}.{end}"))))
            .into()
    }

    /// The steps of its checkpoints, ascending.
    pub(crate) fn checkpoints(&self) -> Vec<u64> {
        let found = entries(&self.root.join("checkpoints")).into_iter();
        let found = found.filter(|(_, path)| is_folder(path));
        let mut steps: Vec<_> = found.filter_map(|(name, _)| step_of_name(&name)).collect();
        steps.sort_unstable();
        steps
    }

    /// The resolved recipe, or the settings of an evaluation.
    pub(crate) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What its figures are.
    pub(crate) fn promises(&self) -> Promises {
        let on_cpu = self.run.facts.as_ref().is_some_and(|facts| facts.device == "cpu");
        match &self.foreign {
            Some(foreign) => Promises {
                length_unit: foreign.length_unit(),
                advantages: foreign.has_advantages(),
                equal_prefixes: false,
            },
            None => Promises { length_unit: "tokens", advantages: true, equal_prefixes: on_cpu },
        }
    }
}

/// What the figures of a run are, and which of them a reader may expect.
#[derive(Debug, Serialize)]
pub(crate) struct Promises {
    /// Unit of the lengths of completions: `tokens` or `characters`.
    length_unit: &'static str,
    /// Whether advantages are recorded: where they are, a completion without one was not learnt
    /// from.
    advantages: bool,
    /// Whether equal prefixes have equal entropies to the bit, as sampling on a CPU has them.
    equal_prefixes: bool,
}

/// Files by which a run of our own is known.
const SIGNS: [&str; 2] = ["run.json", "metrics.jsonl"];

fn is_own(folder: &Path) -> bool {
    SIGNS.iter().any(|name| folder.join(name).exists())
}

/// Whether a folder holds a run, of our own or of another trainer.
pub(crate) fn is_run(folder: &Path) -> bool {
    is_own(folder) || Foreign::is_at(folder)
}

/// Seconds since 1970 UTC.
#[expect(clippy::disallowed_methods, reason = "whether a run is alive is a question of time")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

//! The trainer: starts or resumes a run, runs its steps, evaluates, saves, and ends it.

mod begin;
mod end;
pub(crate) mod evaluation;
mod gaps;
mod opened;
mod outlook;
mod samples;
mod save;
mod step;

use std::path::Path;

use anyhow::Result;
use engine::Model;
use engine::text::Text;
use evals::Record;
use evals::health::Watch;
use evals::run::{Class, Folder, Sink, State, cut, read_index};

use super::begin_stage;
use super::context::RunContext;
use crate::config::Recipe;
use crate::console::{Beat, Console};
use crate::data::Problems;
use crate::length_limits;
use crate::machine::now;
use crate::policy::Policies;
use crate::resume::{Command, CommandLine};
use crate::run_dir::{
    BufferingSink, Claim, FailedWrites, Heartbeat, RunDir, Saved, TrainerState, adapter_sha256,
    reference_folder, status, steps_done, tokenizer_sha256,
};
use crate::signals::Stop;
use begin::{
    AcceptedChanges, first_facts, open_existing, open_log, program_files, start_verifiers, watch,
};
pub use end::Failed;
use evaluation::{HeldOutSet, held_out_sets};
use gaps::note_gaps;
use opened::{base, open};
pub use outlook::outlook;

/// What to train, and on what.
#[derive(Debug)]
pub struct Job<'a> {
    /// The resolved recipe.
    pub recipe: &'a Recipe,
    /// Its problems.
    pub problems: Problems,
    /// Opens its policies, on the device and in the type of the recipe.
    pub policies: &'a Policies<'a>,
    /// Threads that this process computes with.
    pub threads: usize,
}

/// How to run a job.
#[derive(Debug)]
pub struct Options<'a> {
    /// The run directory.
    pub run_dir: &'a Path,
    /// Whether to resume the run there.
    pub resume: bool,
    /// Whether to resume with settings that change the coming steps.
    pub changed: bool,
    /// Whether to resume although files of the run have changed.
    pub accept_changed_files: bool,
    /// The request to stop.
    pub stop: Stop,
    /// Where progress and messages go.
    pub console: Console,
    /// The command without `--resume`, for messages that say how to resume.
    pub command: &'a CommandLine,
    /// Where the record goes, if not into the run directory.
    pub sink: Option<Box<dyn Sink>>,
}

impl<'a> Options<'a> {
    /// The command that resumes with the flags given.
    fn resume_command(&self) -> Command<'a> {
        let Self { command: line, changed, accept_changed_files: changed_files, .. } = *self;
        Command { line, changed, changed_files }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Finished,
    /// A stop was requested, and the state is saved.
    Interrupted,
}

/// Trains a recipe, from its first step or from the newest checkpoint.
///
/// # Errors
///
/// Fails on a run directory that exists (or, to resume, does not), on a recipe, thread count or
/// file other than the run's, on problems that cannot be used, on a record that cannot be written,
/// and on every error of an update. A run that had begun is then marked as failed.
pub fn train(mut job: Job<'_>, options: Options<'_>) -> Result<Ended> {
    let run_dir = options.resume.then(|| RunDir::open(options.run_dir)).transpose()?;
    let existing = run_dir.map(|run_dir| open_existing(run_dir, &job, &options)).transpose()?;
    let claim = if options.resume { None } else { Some(claim(&job, options.run_dir)?) };
    let command = options.resume_command();
    let Options { run_dir: root, resume, stop, console, sink, .. } = options;
    let programs = program_files(&job)?;
    // First, so that a broken verifier is reported before anything that takes long.
    let Some(verifiers) = start_verifiers(&job, &console, &stop)? else {
        return Ok(Ended::Interrupted);
    };
    let saved = existing.as_ref().and_then(|existing| existing.resumed.saved.clone());
    let (model, text, adapters) = open(&job, root, saved.as_ref(), command)?;
    limit_lengths(&mut job, &model, &text, &console)?;
    let files = existing.as_ref().map_or(&programs, |existing| &existing.files);
    let sets = held_out_sets(job.recipe, &job.problems, &text, &verifiers, files)?;
    let (run_dir, accepted, files) = match (existing, claim) {
        (Some(existing), _) => existing.into_parts(),
        (None, Some(claim)) => {
            let facts = first_facts(&job, &command.line.to_string(), programs, (&model, &text))?;
            (claim.create(&job.recipe.to_toml()?, &facts)?, None, facts.files)
        }
        (None, None) => unreachable!("a run is resumed or its place is claimed"),
    };
    let base = base(&job, saved.as_ref(), &files.unwrap_or_default());
    let state = TrainerState { base: base.clone(), ..state(saved.as_ref()) };
    let mut sink = sink.unwrap_or_else(|| Box::new(Folder::new(root)));
    cut_back(&run_dir, job.recipe, saved.as_ref(), sink.as_mut(), &console)?;
    let failed_writes = FailedWrites::default();
    let run = RunContext {
        recipe: job.recipe,
        model: &model,
        text: &text,
        base: base.as_ref(),
        adapters: &adapters,
        problems: &job.problems.train,
        train: &job.recipe.data.train,
        console: &console,
        verifiers: &verifiers,
        stop: &stop,
    };
    let trainer = Trainer {
        run,
        problems: &job.problems,
        sets,
        policies: job.policies,
        record: record(root, BufferingSink::new(sink, failed_writes.clone()), &state, &console)?,
        tokenizer_sha256: tokenizer_sha256(&text),
        heartbeat: heartbeat(root, job.recipe, resume, &console),
        failed_writes,
        watch: watch(&model, job.recipe, &state)?,
        state,
        saved,
        run_dir,
        saving: None,
        command,
        accepted,
        changed: Vec::new(),
        has_large_samples: false,
        has_moved: false,
    };
    trainer.run_to_end()
}

/// The place of a new run, once its adapter is known to fit.
fn claim(job: &Job<'_>, root: &Path) -> Result<Claim> {
    job.policies.check_adapter()?;
    Claim::take(root)
}

/// Where training stands: at the start, or as it was saved.
fn state(saved: Option<&Saved>) -> TrainerState {
    saved.map_or_else(TrainerState::start, |saved| saved.state.clone())
}

/// Leaves out problems whose prompts are too long, and prints what there is to know of prompts.
fn limit_lengths(job: &mut Job<'_>, model: &Model, text: &Text, console: &Console) -> Result<()> {
    let context = model.config().context;
    let limits = length_limits::apply(job.recipe, &mut job.problems, text, context)?;
    let remarks = job.recipe.remarks(&job.problems.trained_on(job.recipe));
    let notes = job.recipe.prompt.notes(text)?.into_iter().chain(remarks);
    let notes = notes.map(|note| format!("note: {note}"));
    notes.chain(limits.dropped).for_each(|line| console.print(&line));
    Ok(())
}

/// Opens the log, and prepares the record for the resumed run: removes what came after the
/// checkpoint, and writes what could not be written before it. Prints which steps it lacks.
fn cut_back(
    run_dir: &RunDir,
    recipe: &Recipe,
    saved: Option<&Saved>,
    sink: &mut dyn Sink,
    console: &Console,
) -> Result<()> {
    open_log(run_dir, recipe, console)?;
    let root = run_dir.root();
    cut(root, saved.map(|saved| saved.state.step))?;
    let Some(Saved { state, .. }) = saved else {
        let done = steps_done(root);
        if done > 0 {
            console.print(&format!(
                "note: the run has no checkpoint, so it begins again at step 0; it had ended after \
                 step {done} without one"
            ));
        }
        return Ok(());
    };
    if let Some(pending) = &state.pending {
        pending.cut(root, state.step)?;
    }
    state.unwritten.write(sink, root)?;
    note_gaps(root, state, console)
}

/// The record under `root`, to which `sink` writes, with the samples that it has in `state`. Prints
/// which lines of their index cannot be read.
fn record(
    root: &Path,
    sink: BufferingSink<Box<dyn Sink>>,
    state: &TrainerState,
    console: &Console,
) -> Result<Record> {
    let mut record = Record::new(Box::new(sink));
    let index = read_index(root)?;
    index.problems.iter().for_each(|problem| console.warn(&problem.to_string()));
    record.go_on(state.samples.clone(), index.lines);
    Ok(record)
}

/// The heartbeat of the run, which hears of its phases through `console`. What was cut back is of
/// another generation than before.
fn heartbeat(root: &Path, recipe: &Recipe, resume: bool, console: &Console) -> Heartbeat {
    let before = if resume { status(root).ok() } else { None };
    let generation = before.map_or(u64::from(resume), |status| status.generation + 1);
    let heartbeat = Heartbeat::new(root, recipe.total_steps(), generation);
    let beating = heartbeat.clone();
    console.beat_with(Box::new(move |beat: Beat<'_>| beating.beat(beat)));
    heartbeat
}

/// The steps after which a resume changed settings of the coming steps.
fn changed_steps(run_dir: &RunDir) -> Result<Vec<u64>> {
    let mut lines = run_dir.changes()?;
    lines.retain(|line| line.changes.iter().any(|change| change.class == Class::Changing));
    Ok(lines.into_iter().map(|line| line.step).collect())
}

/// A running run.
struct Trainer<'a> {
    run: RunContext<'a>,
    problems: &'a Problems,
    sets: Vec<HeldOutSet<'a>>,
    policies: &'a Policies<'a>,
    run_dir: RunDir,
    record: Record,
    /// SHA-256 of the tokenizer.
    tokenizer_sha256: String,
    heartbeat: Heartbeat,
    /// Writes to the record that failed.
    failed_writes: FailedWrites,
    state: TrainerState,
    /// The last checkpoint.
    saved: Option<Saved>,
    /// Seconds that its save took, until they are recorded.
    saving: Option<f64>,
    watch: Watch,
    command: Command<'a>,
    /// Accepted changes that the run directory does not have yet.
    accepted: Option<AcceptedChanges>,
    /// Steps after which a resume changed settings of the coming steps.
    changed: Vec<u64>,
    /// Whether the samples of a step exceeded their budget alone, which has been said.
    has_large_samples: bool,
    /// Whether a step failed after some of its updates.
    has_moved: bool,
}

impl Trainer<'_> {
    /// Runs the remaining steps and records how the run ended.
    fn run_to_end(mut self) -> Result<Ended> {
        self.run.stop.does("the unfinished step is dropped and the state before it is saved");
        let ended = self.train();
        self.end(ended)
    }

    /// Runs the remaining steps, until the end or a stop.
    fn train(&mut self) -> Result<Ended> {
        match self.steps() {
            Err(error) if self.is_stop(&error) => Ok(Ended::Interrupted),
            ended => ended,
        }
    }

    /// Whether `error` comes from a stop: in sampling, or while waiting for a verifier.
    fn is_stop(&self, error: &anyhow::Error) -> bool {
        use evals::Error::{Rollout, Unavailable};
        let error = error.downcast_ref::<evals::Error>();
        let of_stop = matches!(error, Some(Unavailable(_) | Rollout(rollout::Error::Stopped)));
        self.run.stop.is_requested() && of_stop
    }

    fn steps(&mut self) -> Result<Ended> {
        let recipe = self.run.recipe;
        self.note_other_score()?;
        self.set_status(State::Running)?;
        if self.state.step == 0 {
            let (metrics, mut timings) = self.evaluate()?;
            timings.set("time", now())?;
            self.record.values(0, "start", &metrics)?;
            self.record.values(0, "start", &timings)?;
            self.failed_writes.check()?;
        }
        self.finish_resumed_step()?;
        if self.run.recipe.stage_at(self.state.step).is_none() {
            self.run.console.print(&format!(
                "all {} steps are done: the run had only to be ended",
                self.state.step
            ));
            self.prune()?;
        }
        while let Some((index, within)) = recipe.stage_at(self.state.step) {
            if within == 0 {
                // The stage before is saved at its end; before the first there is nothing to save.
                if self.run.stop.is_requested() {
                    return Ok(Ended::Interrupted);
                }
                self.watch.begin_stage();
            }
            let saved = if within > 0 { self.saved.as_ref() } else { None };
            let run = RunContext {
                problems: self.problems.of_stage(index),
                train: recipe.train(index),
                ..self.run
            };
            let mut stage = begin_stage(run, index, saved, &self.run_dir, self.policies)?;
            if within == 0 {
                self.state.reference_sha256 = self.reference_sha256(index)?;
            }
            self.announce();
            let settings = recipe.stages[index].settings();
            let end = self.state.step - within + settings.steps();
            while self.state.step < end {
                if self.run.stop.is_requested() {
                    self.save_unfinished(stage.as_ref())?;
                    return Ok(Ended::Interrupted);
                }
                self.step(stage.as_mut(), index, end)?;
            }
        }
        // Where no step was left to do.
        self.announce();
        self.accept()?;
        Ok(Ended::Finished)
    }

    /// Digest of what is kept of an adapter at the start of a stage; none where nothing is.
    fn reference_sha256(&self, stage: usize) -> Result<Option<String>> {
        let folder = reference_folder(self.run_dir.root(), stage);
        let is_kept = self.run.base.is_some() && folder.is_dir();
        is_kept.then(|| adapter_sha256(&folder)).transpose()
    }

    /// Prints the changes that the run goes on with, unless that is done.
    fn announce(&mut self) {
        if let Some(accepted) = &mut self.accepted {
            accepted.announce(self.run.console);
        }
    }

    /// Records the changes that the run goes on with, unless that is done. It has gone on with them
    /// once something is about to be recorded that a resume keeps.
    fn accept(&mut self) -> Result<()> {
        if let Some(accepted) = &self.accepted {
            accepted.record(&self.run_dir)?;
            self.changed = changed_steps(&self.run_dir)?;
            self.accepted = None;
        }
        Ok(())
    }

    fn set_status(&self, state: State) -> Result<()> {
        let (recipe, step) = (self.run.recipe, self.state.step);
        let stage = recipe.stage_at(step).map_or(recipe.stages.len() - 1, |(index, _)| index);
        self.heartbeat.set(state, step, stage)
    }
}

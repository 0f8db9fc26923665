//! The start of a run: its files and this process, compared with those of the first start if it is
//! resumed.

use std::collections::BTreeMap;

use anyhow::Result;
use engine::Model;
use engine::text::Text;
use evals::health::{Agreement, Watch};
use evals::run::{Accepted, Change, Class, Facts, Files};

use super::opened::{check_base, check_kept};
use super::{Job, Options};
use crate::config::{DeviceChoice, Recipe};
use crate::console::Console;
use crate::data::Problems;
use crate::identity::digests;
use crate::resume::{Command, Request, Resumed, resume};
use crate::run_dir::{LOG, RunDir, TrainerState, computing, of_model, printable_command, trained};
use crate::signals::Stop;
use crate::verifiers::{self, RetryPolicy, Verifiers};

/// The files of the verifiers' programs, before the programs start and write files of their own.
pub(super) fn program_files(job: &Job<'_>) -> Result<Files> {
    digests(verifiers::files(&job.recipe.rewards()))
}

/// Problems whose answers a verifier is asked to judge in its trials, at most.
const MOST_TRIED: usize = 8;

/// Starts the verifiers outside this process and runs their trials; `None` if the run was stopped.
pub(super) fn start_verifiers(
    job: &Job<'_>,
    console: &Console,
    stop: &Stop,
) -> Result<Option<Verifiers>> {
    let retry_policy = RetryPolicy::new(console.clone(), stop.clone());
    let verifiers = Verifiers::start(&job.recipe.rewards(), &retry_policy)?;
    let Problems { train, stages, .. } = &job.problems;
    let others = stages.iter().flatten().chain(job.problems.judged_by());
    let firsts = others.filter_map(|list| list.first());
    // An error may be right for the answers of some problems, but not for all of them.
    let tried: Vec<_> = train.first().into_iter().chain(firsts).chain(train.last()).collect();
    match verifiers.run_trials(&tried[..tried.len().min(MOST_TRIED)]) {
        Err(_) if stop.is_requested() => Ok(None),
        done => done.map(|()| Some(verifiers)),
    }
}

/// This process and the files of the run. `model` is `None` if its files are not on this machine.
fn facts(job: &Job<'_>, command: &str, programs: Files, model: Option<Files>) -> Result<Facts> {
    let mut files = job.problems.files.clone();
    files.extend(programs);
    files.extend(model.unwrap_or_default());
    files.extend(job.policies.named_files()?);
    let choice = &job.recipe.model;
    Ok(Facts {
        name: job.recipe.name.clone(),
        command: printable_command(command),
        seed: job.recipe.seed,
        problems: counts(job),
        recorded_groups: job.recipe.recorded_groups(),
        files: Some(files),
        ..computing(job.threads, choice.device, choice.dtype)
    })
}

/// Problems by the list that they are in.
fn counts(job: &Job<'_>) -> BTreeMap<String, usize> {
    let sets = job.recipe.held_out_sets().into_iter().map(|set| set.name.to_owned());
    let held_out = sets.zip(job.problems.judged_by().map(Vec::len));
    std::iter::once(("train".to_owned(), job.problems.train.len())).chain(held_out).collect()
}

/// The facts of a run that begins with this model.
pub(super) fn first_facts(
    job: &Job<'_>,
    command: &str,
    programs: Files,
    (model, text): (&Model, &Text),
) -> Result<Facts> {
    let model_ref = job.policies.start()?;
    let own = of_model(&job.recipe.model.path, model_ref.adapter(), model, text);
    let facts = facts(job, command, programs, job.policies.start_files()?)?;
    Ok(Facts { model: Some(own), ..facts })
}

/// Keeps the lines of the console in the run from here on. The first say that an adapter is
/// trained, where one is, and what stages with a KL look back at.
pub(super) fn open_log(run_dir: &RunDir, recipe: &Recipe, console: &Console) -> Result<()> {
    console.log_to(&run_dir.root().join(LOG))?;
    if let Some(adapter) = run_dir.facts()?.model.as_ref().and_then(trained) {
        console.print(&format!("training an adapter of {adapter}"));
    }
    let is_adapter = recipe.model.adapter.is_some();
    for (index, stage) in recipe.stages.iter().enumerate() {
        let Some(reference) = stage.reference() else { continue };
        let named = reference.adapter().and_then(|name| recipe.model.adapters.get(name));
        let from = named.map_or_else(String::new, |named| format!(", from {}", named.from));
        let what = reference.describe(index, is_adapter);
        console.print(&format!("the KL of stage {index} is taken to {what}{from}"));
    }
    Ok(())
}

/// A run to resume.
#[derive(Debug)]
pub(super) struct ExistingRun {
    run_dir: RunDir,
    /// From where, and with what other settings and files.
    pub(super) resumed: Resumed,
    /// The files that the run has from here on.
    pub(super) files: Files,
    /// This process and its files now.
    facts: Facts,
    /// The recipe now.
    recipe: String,
}

/// What differs from the run so far and was accepted. The run directory gets it once the run goes
/// on with it, so that a resume that fails before leaves a run that its old command resumes.
#[derive(Debug)]
pub(super) struct AcceptedChanges {
    /// Steps done before.
    step: u64,
    /// This process and its files now.
    facts: Facts,
    /// The recipe now.
    recipe: String,
    /// Accepted changes of settings, each with its line for people.
    changes: Vec<(Change, String)>,
    /// Accepted changes of files, one line each.
    changed_files: Vec<String>,
    /// Whether they were printed.
    is_announced: bool,
}

impl ExistingRun {
    /// The run directory, what the run goes on with, and its files as they are now.
    pub(super) fn into_parts(self) -> (RunDir, Option<AcceptedChanges>, Option<Files>) {
        let Self { run_dir, resumed, facts, recipe, .. } = self;
        let files = facts.files.clone();
        let step = resumed.step();
        let Resumed { changes, changed_files, .. } = resumed;
        let is_announced = false;
        let accepted =
            AcceptedChanges { step, facts, recipe, changes, changed_files, is_announced };
        (run_dir, Some(accepted), files)
    }
}

impl AcceptedChanges {
    /// The settings that change the coming steps, a line each.
    pub(super) fn changing(&self) -> Vec<&str> {
        let changing = self.changes.iter().filter(|(one, _)| one.class == Class::Changing);
        changing.map(|(_, line)| line.as_str()).collect()
    }

    /// Prints them, unless that is done.
    pub(super) fn announce(&mut self, console: &Console) {
        if std::mem::replace(&mut self.is_announced, true) {
            return;
        }
        if !self.changes.is_empty() {
            let lines: Vec<_> = self.changes.iter().map(|(_, line)| line.as_str()).collect();
            console.print(&format!(
                "after step {} the run goes on with other settings\n  {}",
                self.step,
                lines.join("\n  ")
            ));
        }
        if !self.changed_files.is_empty() {
            console.warn(&format!(
                "the run goes on with changed files, so it does not equal an unbroken one\n  {}",
                self.changed_files.join("\n  ")
            ));
        }
    }

    /// Records them in the run directory.
    pub(super) fn record(&self, run_dir: &RunDir) -> Result<()> {
        let step = self.step;
        let changes: Vec<_> = self.changes.iter().map(|(change, _)| change.clone()).collect();
        if changes.is_empty() {
            run_dir.settle()?;
        } else {
            run_dir.change(step, changes, &self.recipe, &self.facts)?;
        }
        if !self.changed_files.is_empty() {
            let files = self.facts.files.clone().unwrap_or_default();
            run_dir.accept(Some(files), Accepted { step, changes: self.changed_files.clone() })?;
        }
        Ok(())
    }
}

/// The files of the model, and those of the adapter that the run began with. Once there is a
/// checkpoint the run's adapter is in that: those are as they were `then`. `None` if the model is
/// not on this machine.
fn policy_files(job: &Job<'_>, begins: bool, then: Option<&Files>) -> Result<Option<Files>> {
    if begins {
        job.policies.check_adapter()?;
        return job.policies.start_files();
    }
    let Some(mut files) = job.policies.files()? else { return Ok(None) };
    files.extend(then.map(Files::adapter).unwrap_or_default());
    Ok(Some(files))
}

/// Checks that the run of `run_dir` can be resumed as requested.
pub(super) fn open_existing(
    run_dir: RunDir,
    job: &Job<'_>,
    options: &Options<'_>,
) -> Result<ExistingRun> {
    let Options { console, changed, accept_changed_files, command, .. } = options;
    let then = run_dir.facts()?;
    // What keeps the run from going on is found before its record is cut.
    run_dir.changes()?;
    run_dir.checkpoints_to_resume(&options.resume_command().resume(&[]))?;
    let begins = run_dir.checkpoints()?.is_empty();
    let mut model = policy_files(job, begins, then.files.as_ref())?;
    if model.is_none() && (begins || job.recipe.model.adapter.is_some()) {
        // The run starts from the model again, or goes on with it, so it is fetched anyway.
        job.policies.fetch()?;
        model = policy_files(job, begins, then.files.as_ref())?;
    }
    if let (None, Some(files)) = (&model, &then.files) {
        console
            .print("the model is not in the cache, so its files are not compared with the run's");
        model = Some(files.model());
    }
    let facts = facts(job, &command.to_string(), program_files(job)?, model)?;
    let recipe = job.recipe.to_toml()?;
    let request = Request {
        recipe: &recipe,
        total_steps: job.recipe.total_steps(),
        facts: &facts,
        changed: *changed,
        changed_files: *accept_changed_files,
        command,
    };
    let resumed = resume(&run_dir, &request)?;
    if let Some(saved) = &resumed.saved {
        check_kept(job, run_dir.root(), saved, options.resume_command())?;
    }
    // Where run.json has no digests, the checkpoint still has that of its base.
    if let (Some(saved), Some(files), false) = (&resumed.saved, &facts.files, accept_changed_files)
    {
        let command = Command { changed_files: true, ..options.resume_command() };
        check_base(job, saved, files, command)?;
    }
    if let Some(line) = resumed.other_steps() {
        console.warn(&line);
    }
    if then.files.is_none() {
        console.print("the run has no digests of its files, so they are not compared");
    }
    let elsewhere = facts.changes_since(&then);
    if !elsewhere.is_empty() {
        console.warn(&format!(
            "the run began elsewhere, so it may now differ in the last digits\n  {}",
            elsewhere.join("\n  ")
        ));
    }
    let files = if resumed.changed_files.is_empty() { &then.files } else { &facts.files };
    let files = files.clone().unwrap_or_default();
    Ok(ExistingRun { run_dir, resumed, files, facts, recipe })
}

/// The health watch, restored from `state`.
pub(super) fn watch(model: &Model, recipe: &Recipe, state: &TrainerState) -> Result<Watch> {
    let mut watch = Watch::new(model.config().vocab_size, agreement(recipe));
    watch.restore(&state.watch)?;
    Ok(watch)
}

/// How closely sampling and training agree on the recipe's device. On CUDA, training is f32 only.
fn agreement(recipe: &Recipe) -> Agreement {
    match recipe.model.device {
        DeviceChoice::Cpu => Agreement::Exact,
        DeviceChoice::Cuda => Agreement::Rounded,
    }
}

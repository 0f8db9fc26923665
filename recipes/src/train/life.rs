//! The run around the steps: where it begins, what it leaves on disk, how it ends.

mod begin;
pub(crate) mod evaluation;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use engine::Model;
use engine::text::Text;
use evals::health::{Agreement, Watch};
use evals::record::{Folder, Sink, cut};
use evals::{Log, Metrics, Record, Warning};
use rewards::Rubric;

use super::stage::{Open, Shared, StageDriver};
use super::{Done, begin_stage};
use crate::causes::with_causes;
use crate::config::{DeviceChoice, Recipe};
use crate::console::{Console, duration};
use crate::data::Problems;
use crate::fit;
use crate::policy::Located;
use crate::run_dir::{RunDir, Saved, State, TrainerState};
use crate::signals::Stop;
use crate::summary::summary;
use crate::verifiers::Waiting;
use begin::{environment, go_on, meet, programs};

/// What is to be trained, on what.
#[expect(missing_debug_implementations, reason = "it holds functions")]
pub struct Job<'a> {
    /// The resolved recipe.
    pub recipe: &'a Recipe,
    /// Its problems.
    pub problems: Problems,
    /// What the name of the model that it starts from stands for.
    pub located: &'a Located,
    /// Opens that model.
    pub base: &'a dyn Fn() -> Result<(Model, Text)>,
    /// Opens a checkpoint of the run, on the device and in the type of the recipe.
    pub open: &'a dyn Fn(&Path) -> Result<(Model, Text)>,
    /// Threads that this process computes with.
    pub threads: usize,
}

/// Where a run lives and who may stop it.
#[derive(Debug)]
pub struct Options<'a> {
    /// The run directory.
    pub run_dir: &'a Path,
    /// Whether it is to be gone on with.
    pub resume: bool,
    /// Whether it may be gone on with where its files have changed.
    pub accept_changed_files: bool,
    /// Who may stop it.
    pub stop: Stop,
    /// Who is told how it goes.
    pub console: Console,
    /// Where the record goes if not into the run directory.
    pub sink: Option<Box<dyn Sink>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Finished,
    /// It was asked to stop, and saved.
    Interrupted,
}

/// Trains a recipe, from its first step or from the newest checkpoint on.
///
/// # Errors
///
/// Fails on a run directory that exists (or, to resume, does not), on a recipe, thread count or
/// file other than the run's, on problems that cannot be used, on a record that cannot be written,
/// and on whatever stops an update. A run that had begun is then marked as failed.
pub fn train(mut job: Job<'_>, options: Options<'_>) -> Result<Ended> {
    let Options { run_dir: root, resume, accept_changed_files, stop, console, sink } = options;
    let begun =
        if resume { Some(go_on(&job, root, accept_changed_files, &console)?) } else { None };
    if begun.is_none() {
        RunDir::check_new(root)?;
    }
    let programs = programs(&job)?;
    // Before anything that takes long: what is wrong with a verifier is known now.
    let Some(verifiers) = meet(&job, &Waiting::new(console.clone(), stop.clone()))? else {
        return Ok(Ended::Interrupted);
    };
    let saved = begun.as_ref().and_then(|begun| begun.saved.clone());
    let (model, text) = match &saved {
        Some(saved) => (job.open)(&saved.path)?,
        None => (job.base)()?,
    };
    let text = job.recipe.prompt.prepare(text)?;
    for note in job.recipe.prompt.notes(&text)? {
        console.say(&format!("note: {note}"));
    }
    let context = model.config().context;
    for said in fit::fit(job.recipe, &mut job.problems, &text, context)?.dropped {
        console.say(&said);
    }
    let rubric = verifiers.rubric(&job.recipe.eval.rewards).context("eval.rewards")?;
    let run_dir = if let Some(begun) = begun {
        begun.accepted(&console)?
    } else {
        let environment = environment(&job, programs, job.located.files()?);
        RunDir::create(root, &job.recipe.to_toml()?, &environment)?
    };
    cut(root, saved.as_ref().map(|saved| saved.state.step))?;
    let sink = sink.unwrap_or_else(|| Box::new(Folder::new(root)));
    let shared = Shared {
        recipe: job.recipe,
        model: &model,
        text: &text,
        problems: &job.problems.train,
        train: &job.recipe.data.train,
        console: &console,
        verifiers: &verifiers,
    };
    let state = saved.as_ref().map_or_else(TrainerState::start, |saved| saved.state.clone());
    let mut watch = Watch::new(model.config().vocab_size, agreement(job.recipe));
    watch.restore(&state.watch)?;
    let mut life = Life {
        shared,
        problems: &job.problems,
        open: job.open,
        record: Record::new(sink),
        state,
        saved,
        run_dir,
        rubric,
        saving: None,
        watch,
        stop,
    };
    let ended = life.live();
    life.end(&ended)?;
    ended
}

/// How well sampling and training agree where the recipe runs. On CUDA, training is in f32 alone.
fn agreement(recipe: &Recipe) -> Agreement {
    match recipe.model.device {
        DeviceChoice::Cpu => Agreement::Exact,
        DeviceChoice::Cuda => Agreement::Rounded,
    }
}

/// A run under way.
struct Life<'a> {
    shared: Shared<'a>,
    problems: &'a Problems,
    open: Open<'a>,
    run_dir: RunDir,
    /// What judges held-out problems.
    rubric: Rubric,
    record: Record,
    state: TrainerState,
    /// The checkpoint that `state` was last saved in.
    saved: Option<Saved>,
    /// Seconds that it took, until they are recorded.
    saving: Option<f64>,
    watch: Watch,
    stop: Stop,
}

impl Life<'_> {
    /// From where the run stands to its end, or to where it is stopped: after a step, or while it
    /// waits for a verifier that is away.
    fn live(&mut self) -> Result<Ended> {
        match self.steps() {
            Err(error) if self.stopped_waiting(&error) => Ok(Ended::Interrupted),
            ended => ended,
        }
    }

    fn stopped_waiting(&self, error: &anyhow::Error) -> bool {
        let error = error.downcast_ref::<evals::Error>();
        self.stop.asked() && matches!(error, Some(evals::Error::Unavailable(_)))
    }

    fn steps(&mut self) -> Result<Ended> {
        let recipe = self.shared.recipe;
        self.set_status(State::Running)?;
        if self.state.step == 0 {
            let (metrics, timings) = self.evaluate()?;
            self.record.values(0, "start", &metrics)?;
            self.record.values(0, "start", &timings)?;
        }
        while let Some((index, within)) = recipe.stage_at(self.state.step) {
            if within == 0 {
                self.watch.begin_stage();
            }
            let saved = if within > 0 { self.saved.as_ref() } else { None };
            let run = Shared {
                problems: self.problems.of_stage(index),
                train: recipe.train(index),
                ..self.shared
            };
            let mut stage = begin_stage(run, index, saved, &self.run_dir, self.open)?;
            let settings = recipe.stages[index].settings();
            let end = self.state.step - within + settings.steps();
            while self.state.step < end {
                self.step(stage.as_mut(), index, end)?;
                if self.stop.asked() && self.state.step < recipe.total_steps() {
                    self.save(stage.as_ref())?;
                    return Ok(Ended::Interrupted);
                }
            }
        }
        Ok(Ended::Finished)
    }

    /// One step, what it leaves behind, and what is due after it.
    fn step(&mut self, stage: &mut dyn StageDriver, index: usize, end: u64) -> Result<()> {
        let recipe = self.shared.recipe;
        self.shared.console.steps(self.state.step, recipe.total_steps());
        let done = stage.step(self.state.step);
        // Judging comes before anything moves: this is still the state after the step before. What
        // an evaluation after the step interrupts is done again from the checkpoint before it.
        if done.as_ref().err().is_some_and(|error| self.stopped_waiting(error))
            && self.state.step > 0
        {
            self.save(stage)?;
        }
        let mut done = done?;
        self.state.step += 1;
        let step = self.state.step;
        self.state.stage = index;
        self.state.stage_state = stage.state();
        self.state.accuracy = None;
        let kind = recipe.stages[index].settings().kind();
        self.tell(kind, &done);
        self.warn(&done.warnings);
        for warning in self.watch.observe(step, &done.metrics) {
            done.metrics.set(format!("health/{}", warning.name), 1.0)?;
            self.shared.console.say(&warning.to_string());
            done.warnings.push(warning);
        }
        let mut metrics = Metrics::new(Log::Metrics);
        metrics.set("training/global_step", step as f64)?;
        metrics.extend(done.metrics.clone());
        let mut timings = done.timings.clone();
        if let Some(seconds) = self.saving.take() {
            timings.set("timing_s/save_checkpoint", seconds)?;
        }
        if step == end || recipe.eval.every.is_some_and(|every| step % every == 0) {
            let (found, seconds) = self.evaluate()?;
            metrics.extend(found);
            timings.extend(seconds);
        }
        self.record.values(step, kind, &metrics)?;
        self.record.values(step, kind, &timings)?;
        self.keep(step, &done)?;
        if step == end || step % recipe.checkpoint.every == 0 {
            self.save(stage)?;
        }
        Ok(())
    }

    /// Records what was sampled, and what looks wrong with it.
    fn keep(&mut self, step: u64, done: &Done) -> Result<()> {
        let config = &self.shared.recipe.record;
        self.record.warnings(step, &done.warnings)?;
        let due = |every: u64| every > 0 && step.is_multiple_of(every) && !done.groups.is_empty();
        if due(config.completions_every) {
            self.record.completions(step, &done.groups)?;
        }
        if due(config.tokens_every) {
            let credits: Vec<_> = done.table.credits().collect();
            self.record.tokens(step, &done.groups, &credits)?;
        }
        Ok(())
    }

    /// Saves everything as it stands, once.
    fn save(&mut self, stage: &dyn StageDriver) -> Result<()> {
        let step = self.state.step;
        if self.saved.as_ref().is_some_and(|saved| saved.state.step == step) {
            return Ok(());
        }
        let Shared { recipe, model, text, console, .. } = self.shared;
        console.now("saving", 0, 1);
        let began = Instant::now();
        self.record.sync()?;
        self.state.watch = self.watch.state();
        let path = self.run_dir.save(&self.state, stage.tensors()?, |folder| {
            Ok(engine::checkpoint::save(model, text, folder)?)
        })?;
        self.saved = Some(Saved { path, state: self.state.clone() });
        self.run_dir.prune(recipe.checkpoint.keep.get(), recipe.checkpoint.best)?;
        self.saving = Some(began.elapsed().as_secs_f64());
        self.set_status(State::Running)
    }

    /// Says how a step went.
    fn tell(&self, kind: &str, done: &Done) {
        let console = self.shared.console;
        let total = self.shared.recipe.total_steps();
        let value = |name: &str, key: &str| {
            done.metrics.get(key).map(|value| format!(", {name} {value:.3}")).unwrap_or_default()
        };
        let seconds = done.timings.get("timing_s/step").unwrap_or_default();
        console.say(&format!(
            "{kind} step {}/{total}{}{}{}{}, {}",
            self.state.step,
            value("loss", "train/loss"),
            value("reward", "critic/rewards/mean"),
            value("length", "response_length/mean"),
            value("entropy", "actor/entropy"),
            duration(seconds)
        ));
    }

    /// Says the warnings that are news; the record has every one.
    fn warn(&mut self, warnings: &[Warning]) {
        for warning in warnings {
            if self.watch.is_news(self.state.step, warning.name) {
                self.shared.console.say(&warning.to_string());
            }
        }
    }

    /// Leaves word of how the run ended.
    fn end(self, ended: &Result<Ended>) -> Result<()> {
        let console = self.shared.console;
        console.end();
        match ended {
            // The first error is the one to report.
            Err(error) => {
                let _ = self.set_status(State::Failed { reason: with_causes(error) });
                return Ok(());
            }
            Ok(Ended::Finished) => self.set_status(State::Finished)?,
            Ok(Ended::Interrupted) => self.set_status(State::Interrupted)?,
        }
        let text = summary(&self.run_dir).context("writing the summary")?;
        console.say(&format!("\n{text}"));
        Ok(())
    }

    fn set_status(&self, state: State) -> Result<()> {
        self.run_dir.set_status(state, self.state.step, self.shared.recipe.total_steps())
    }
}

//! Whether a run may go on, from where, and with what other settings.

mod classes;
mod command;

use anyhow::{Result, bail};
use evals::run::{Change, Class, Facts, State};
use serde_json::Value;

use crate::printable::{counted, quoted};
use crate::run_dir::{RunDir, Saved, TrainerState, status, steps_lost};
use classes::{Difference, differences, last_stage, total_steps};

pub use command::{Command, CommandLine};

/// What a run is to go on with.
#[derive(Debug)]
pub struct Request<'a> {
    /// The recipe as resolved now.
    pub recipe: &'a str,
    /// Steps that it has.
    pub total_steps: u64,
    /// This process and the files of the run.
    pub facts: &'a Facts,
    /// Whether settings may be others that change the steps to come.
    pub changed: bool,
    /// Whether files may be others.
    pub changed_files: bool,
    /// The command, without its flags for resuming.
    pub command: &'a CommandLine,
}

impl Request<'_> {
    /// The command with the flags that it had.
    fn as_given(&self) -> Command<'_> {
        let Self { command: line, changed, changed_files, .. } = *self;
        Command { line, changed, changed_files }
    }
}

/// What a run goes on with.
#[derive(Debug)]
pub struct Resumed {
    /// The newest complete checkpoint; none if the run ended before its first.
    pub saved: Option<Saved>,
    /// Settings that are others than before, accepted, each with a line about it.
    pub changes: Vec<(Change, String)>,
    /// Files that are others than before, one line each: accepted.
    pub changed_files: Vec<String>,
    /// The steps of the run before, and those that it has now.
    pub steps: [u64; 2],
    /// Whether no step is left to do, and the run has only to be ended.
    pub is_done: bool,
}

impl Resumed {
    /// Steps done before.
    pub fn step(&self) -> u64 {
        self.saved.as_ref().map_or(0, |saved| saved.state.step)
    }

    /// That the run gets longer or shorter, where it does.
    pub fn other_steps(&self) -> Option<String> {
        let [before, now] = self.steps;
        (before != now).then(|| format!("steps: {before} before, {now} now"))
    }
}

/// Where a run may go on as asked. A run that was killed between its last step and its end has no
/// step left to do, and is ended.
///
/// # Errors
///
/// Fails, and says what differs and with which command the run goes on, when a setting, the kernel
/// of bf16 or a file is another one and that is impossible or was not allowed, and when no step is
/// left to do of a run that is ended or was to have more.
pub fn resume(run: &RunDir, request: &Request<'_>) -> Result<Resumed> {
    let saved = run.checkpoints()?.pop();
    let state = saved.as_ref().map(|saved| &saved.state);
    let (then, recipe) = (run.facts()?, run.recipe()?);
    let mut found = differences(&recipe, request.recipe, state)?;
    found.extend(environment_differences(&then, request.facts));
    found.sort_by_key(|one| one.change.class);
    if state.is_none() {
        refuse_lost_checkpoints(run)?;
    }
    let changed_files = match (&request.facts.files, &then.files) {
        (Some(now), Some(then)) => now.changes_since(then),
        _ => Vec::new(),
    };
    let steps = [total_steps(&recipe)?, request.total_steps];
    let has_ended = |steps| state.is_some_and(|state| is_done(state, steps));
    let ended = has_ended(steps[0]).then(|| last_stage(&recipe)).transpose()?;
    refuse(run, request, &found, &changed_files, ended)?;
    let is_done = has_ended(steps[1]);
    let is_ended = || status(run.root()).is_ok_and(|status| status.state == State::Finished);
    if is_done && (!has_ended(steps[0]) || is_ended()) {
        let (stage, steps) = last_stage(request.recipe)?;
        let more = format!("stage.{stage}.steps={}", steps.saturating_mul(2));
        bail!(
            "nothing to resume: all {} of {} {} done\n\
             to go on, ask for more steps than the {steps} of stage {stage}, for example\n  {}\n\
             or start a new run in another --run-dir",
            counted(request.total_steps, "step"),
            run.root().display(),
            if request.total_steps == 1 { "is" } else { "are" },
            request.as_given().resume(&[more])
        );
    }
    let changes = found.into_iter().map(|one| (one.change.clone(), line(&one))).collect();
    Ok(Resumed { saved, changes, changed_files, steps, is_done })
}

/// Fails where the run has done steps that it had saved, and has no checkpoint any more: it would
/// begin again, and its record would be cut.
fn refuse_lost_checkpoints(run: &RunDir) -> Result<()> {
    let root = run.root();
    let Some(done) = steps_lost(root)? else { return Ok(()) };
    bail!(
        "cannot resume {}: it has done {} and has no checkpoint, but it had saved its state: \
         its checkpoints were removed\n\
         restore {} from a copy, or start a new run in another --run-dir; to begin again in this one, \
         which loses its record, remove it first:\n  rm -r {}",
        root.display(),
        counted(done, "step"),
        root.join("checkpoints").display(),
        quoted(&root.display().to_string())
    )
}

fn is_done(state: &TrainerState, total_steps: u64) -> bool {
    state.step >= total_steps && state.pending.is_none() && state.unwritten.is_empty()
}

/// What else the numbers depend on.
fn environment_differences(then: &Facts, now: &Facts) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |key: &str, class, then: Value, now: Value, note: &str| {
        if then != now {
            let (key, then, now) = (format!("environment.{key}"), Some(then), Some(now));
            let change = Change { key, class, then, now };
            found.push(Difference { change, note: Some(note.to_owned()) });
        }
    };
    let note = "results do not depend on it";
    differ("threads", Class::Free, then.threads.into(), now.threads.into(), note);
    if let (Some(then), Some(now)) = (&then.bf16_kernel, &now.bf16_kernel) {
        let note = "another processor, whose sums differ in the last digits";
        differ("bf16_kernel", Class::Changing, then.as_str().into(), now.as_str().into(), note);
    }
    found
}

/// A change in a line.
fn line(one: &Difference) -> String {
    let note = one.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{:10}  {}{note}", one.change.class, one.change)
}

/// A change in a line of a refusal.
fn refused(one: &Difference) -> String {
    let show = |value: &Option<Value>| value.as_ref().map_or("not set".into(), Value::to_string);
    let Change { key, class, then, now } = &one.change;
    let note = one.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{class:10}  {key}: {} in the run, {} now{note}", show(then), show(now))
}

/// The settings that the run has, for `--set`, and the keys of those that change no step and that
/// it cannot set. `None` where it cannot set another one: in a list of verifiers, or where the kind
/// of a table, and with it further keys, is another. Of a run that has `ended`, in this stage with
/// so many steps, that number leaves nothing to do: it is doubled.
fn keeping(found: &[Difference], ended: Option<(usize, u64)>) -> Option<(Vec<String>, Vec<&str>)> {
    let setting = |one: &Difference| {
        let Change { key, then, .. } = &one.change;
        let below = key.strip_prefix("stage.").and_then(|rest| rest.split_once('.'));
        let is_in_list = |key: &str| key.split('.').any(|word| word.parse::<usize>().is_ok());
        let is_settable = key.rsplit('.').next() != Some("kind")
            && !is_in_list(below.map_or(key.as_str(), |(_, setting)| setting));
        let value = then.as_ref().filter(|_| is_settable)?;
        Some(format!("{key}={value}"))
    };
    let (mut settings, mut others) = (Vec::new(), Vec::new());
    for one in found {
        let Change { key, class, .. } = &one.change;
        let of_environment = key.starts_with("environment.");
        match setting(one).filter(|_| !of_environment) {
            Some(setting) => settings.push(setting),
            None if *class != Class::Free => return None,
            None if of_environment => {}
            None => others.push(key.as_str()),
        }
    }
    let are_steps = |setting: &String| setting.split('=').next().is_some_and(is_steps);
    if let Some((stage, steps)) = ended.filter(|_| settings.iter().any(are_steps)) {
        let key = format!("stage.{stage}.steps=");
        settings.retain(|setting| !setting.starts_with(&key));
        settings.push(format!("{key}{}", steps.saturating_mul(2)));
    }
    (!settings.is_empty()).then_some((settings, others))
}

/// Whether a key is the number of steps of a stage.
fn is_steps(key: &str) -> bool {
    key.starts_with("stage.") && key.rsplit('.').next() == Some("steps")
}

/// Fails where something may not differ; the run has `ended` in this stage with so many steps.
fn refuse(
    run: &RunDir,
    request: &Request<'_>,
    found: &[Difference],
    files: &[String],
    ended: Option<(usize, u64)>,
) -> Result<()> {
    let has = |class| found.iter().any(|one| one.change.class == class);
    let needs_changed = has(Class::Changing);
    let settings_pass = !has(Class::Impossible) && (request.changed || !needs_changed);
    if settings_pass && (files.is_empty() || request.changed_files) {
        return Ok(());
    }
    let mut lines: Vec<_> = found.iter().map(refused).collect();
    lines.extend(files.iter().map(|file| format!("{:10}  {file}", "file")));
    let changed_files = !files.is_empty();
    let command = Command { line: request.command, changed: false, changed_files };
    let keep = keeping(found, ended).map_or(String::new(), |(settings, others)| {
        let but = if others.is_empty() { "" } else { ", but for " };
        let has_more = ended.is_some() && found.iter().any(|one| is_steps(&one.change.key));
        let more = if has_more { "all steps of the run are done; to go on with more, and " } else { "" };
        format!(
            "{more}to keep the settings of the run, such as those of an earlier --set{but}{}:\n  {}\n",
            others.join(", "),
            command.resume(&settings)
        )
    });
    let act = if has(Class::Impossible) {
        "take back what is impossible, or start a new run in another --run-dir".to_owned()
    } else {
        let command = Command { changed: needs_changed, ..command }.resume(&[]);
        format!(
            "to go on with these from here, knowing that the run then does not equal an unbroken one:\n  \
             {command}\nor restore them, or start a new run in another --run-dir"
        )
    };
    bail!(
        "cannot resume {} as asked: this differs from what the run has now\n  {}\n{keep}{act}",
        run.root().display(),
        lines.join("\n  ")
    );
}

//! Whether a run may go on, from where, and with what other settings.

mod classes;

use anyhow::{Result, bail};
use evals::run::{Change, Class, Facts, State, Status};
use serde_json::Value;

use crate::printable::quoted;
use crate::run_dir::{RunDir, Saved, status};
use classes::{Difference, differences, first_checkpoint, last_stage};

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
    pub command: &'a str,
}

/// How to resume a run, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The command, without its flags for resuming.
    pub line: &'a str,
    /// Whether settings may be others that change the steps to come.
    pub changed: bool,
    /// Whether files may be others.
    pub changed_files: bool,
}

impl Command<'_> {
    /// The whole command, with `settings` in addition.
    pub fn resume(&self, settings: &[String]) -> String {
        let mut words = vec![self.line.to_owned()];
        words.extend(settings.iter().map(|setting| format!("--set {}", quoted(setting))));
        words.push("--resume".to_owned());
        if self.changed {
            words.push("--changed".to_owned());
        }
        if self.changed_files {
            words.push("--accept-changed-files".to_owned());
        }
        words.join(" ")
    }
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
}

/// Where a run may go on as asked.
///
/// # Errors
///
/// Fails, and says what differs and with which command the run goes on, when a setting, the kernel
/// of bf16 or a file is another one and that is impossible or was not allowed, and when no step is
/// left to do.
pub fn resume(run: &RunDir, request: &Request<'_>) -> Result<Resumed> {
    let saved = run.checkpoints()?.pop();
    let state = saved.as_ref().map(|saved| &saved.state);
    let then = run.facts()?;
    let mut found = differences(&run.recipe()?, request.recipe, state)?;
    found.extend(environment_differences(&then, request.facts));
    found.sort_by_key(|one| one.change.class);
    if state.is_none() {
        refuse_lost_checkpoints(run)?;
    }
    let changed_files = match (&request.facts.files, &then.files) {
        (Some(now), Some(then)) => now.changes_since(then),
        _ => Vec::new(),
    };
    refuse(run, request, &found, &changed_files)?;
    let is_done = |state: &_| is_done(state, request.total_steps);
    if state.is_some_and(is_done) {
        let (stage, steps) = last_stage(request.recipe)?;
        let more = format!("stage.{stage}.steps={}", steps.saturating_mul(2));
        bail!(
            "nothing to resume: all {} steps of {} are done\n\
             to go on, ask for more steps than the {steps} of stage {stage}, for example\n  {}\n\
             or start a new run in another --run-dir",
            request.total_steps,
            run.root().display(),
            request.as_given().resume(&[more])
        );
    }
    let changes = found.into_iter().map(|one| (one.change.clone(), line(&one))).collect();
    Ok(Resumed { saved, changes, changed_files })
}

/// Fails where the run has done steps that it had saved, and has no checkpoint any more: it would
/// begin again, and its record would be cut.
fn refuse_lost_checkpoints(run: &RunDir) -> Result<()> {
    let root = run.root();
    let Ok(Status { state, step: done, .. }) = status(root) else { return Ok(()) };
    let due = first_checkpoint(&run.recipe()?)?;
    // A run that ends in order saves its state. At the due step itself, a run may have been killed
    // before the checkpoint was whole.
    let in_order = matches!(state, State::Finished | State::Interrupted);
    if done == 0 || (!in_order && done <= due) {
        return Ok(());
    }
    bail!(
        "cannot resume {}: it has done {done} steps and has no checkpoint, but it had saved its state: \
         its checkpoints were removed\n\
         restore {} from a copy, or start a new run in another --run-dir; to begin again in this one, \
         which loses its record, remove it first:\n  rm -r {}",
        root.display(),
        root.join("checkpoints").display(),
        quoted(&root.display().to_string())
    )
}

fn is_done(state: &crate::run_dir::TrainerState, total_steps: u64) -> bool {
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

/// The settings that the run has, for `--set`; `None` where it cannot set them: in a list of
/// verifiers, or where the kind of a table, and with it further keys, is another.
fn keeping(found: &[Difference]) -> Option<Vec<String>> {
    let setting = |one: &Difference| {
        let Change { key, then, .. } = &one.change;
        let below = key.strip_prefix("stage.").and_then(|rest| rest.split_once('.'));
        let is_in_list = |key: &str| key.split('.').any(|word| word.parse::<usize>().is_ok());
        let is_settable = !key.starts_with("environment.")
            && key.rsplit('.').next() != Some("kind")
            && !is_in_list(below.map_or(key.as_str(), |(_, setting)| setting));
        let value = then.as_ref().filter(|_| is_settable)?;
        Some(format!("{key}={value}"))
    };
    let differing = found.iter().filter(|one| one.change.class != Class::Free);
    let settings = differing.map(setting).collect::<Option<Vec<_>>>()?;
    (!settings.is_empty()).then_some(settings)
}

/// Fails where something may not differ.
fn refuse(
    run: &RunDir,
    request: &Request<'_>,
    found: &[Difference],
    files: &[String],
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
    let keep = keeping(found).map_or(String::new(), |settings| {
        let command = command.resume(&settings);
        format!(
            "to keep the settings of the run, such as those of an earlier --set:\n  {command}\n"
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

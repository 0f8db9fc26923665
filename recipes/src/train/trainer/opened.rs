//! The policy that a run goes on from, and the base of its adapter.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use engine::Model;
use engine::text::Text;
use evals::run::Files;

use super::Job;
use crate::causes::with_causes;
use crate::config::Recipe;
use crate::policy::{ModelRef, NamedAdapters};
use crate::resume::Command;
use crate::run_dir::{Base, Saved, way_back};

/// Opens the policy that the run starts from or, with `saved`, goes on from, and the adapters that
/// its references name. Where the files of the checkpoint are at fault, the error names the way
/// back to another one.
pub(super) fn open(
    job: &Job<'_>,
    root: &Path,
    saved: Option<&Saved>,
    command: Command<'_>,
) -> Result<(Model, Text, NamedAdapters)> {
    let (model, text) = policy(job, root, saved, command)?;
    // Weights of a builtin base are those of the seed that the run began with.
    let first_seed = saved.and_then(|saved| saved.state.base.as_ref()?.seed);
    let adapters = job.policies.named(&model, first_seed.unwrap_or(job.recipe.seed))?;
    Ok((model, job.recipe.prompt.prepare(text)?, adapters))
}

/// The policy, as its files have it.
fn policy(
    job: &Job<'_>,
    root: &Path,
    saved: Option<&Saved>,
    command: Command<'_>,
) -> Result<(Model, Text)> {
    use engine::Error::{Config, CutShort, File, Io, Text, Weight};
    let Some(saved) = saved else { return job.policies.first() };
    job.policies.saved(saved).map_err(|error| match error.downcast_ref() {
        Some(Config(_) | CutShort { .. } | File { .. } | Io { .. } | Text(_) | Weight { .. }) => {
            unusable(root, saved, &error, command)
        }
        _ => error,
    })
}

/// The error of a checkpoint that the run cannot go on from, with the way back to another one.
fn unusable(
    root: &Path,
    saved: &Saved,
    error: &anyhow::Error,
    command: Command<'_>,
) -> anyhow::Error {
    let path = saved.path.display();
    let next = way_back(root, &saved.path, Some(&command.resume(&[])));
    let why = with_causes(error);
    // The path is in the sentence already.
    let shorter = why.strip_prefix(&path.to_string()).and_then(|why| why.strip_prefix([':', '/']));
    let why = shorter.map_or(&*why, str::trim_start);
    anyhow!("the checkpoint {path} cannot be used: {why}\n{next}")
}

/// Fails where the adapter in the checkpoint, the state of its optimizer, or what its stage looks
/// back at is not what the run saved. After the last step of a stage only the policy is needed.
pub(super) fn check_kept(
    job: &Job<'_>,
    root: &Path,
    saved: &Saved,
    command: Command<'_>,
) -> Result<()> {
    saved.check_adapter().map_err(|error| unusable(root, saved, &error, command))?;
    let is_within = job.recipe.stage_at(saved.state.step).is_some_and(|(_, within)| within > 0);
    if is_within {
        saved.check_optimizer().map_err(|error| unusable(root, saved, &error, command))?;
        saved.check_reference().map_err(|error| unusable(root, saved, &error, command))?;
    }
    Ok(())
}

/// The base of the run's adapter, with its digest among `files`; none where all weights are
/// trained. With `saved`, a builtin base stays that of the seed that the run began with.
pub(super) fn base(job: &Job<'_>, saved: Option<&Saved>, files: &Files) -> Option<Base> {
    let Recipe { model, seed, .. } = job.recipe;
    model.adapter.as_ref()?;
    let first_seed = saved.and_then(|saved| saved.state.base.as_ref()?.seed);
    let (path, seed) = match job.policies.base_ref() {
        ModelRef::Path(path) => (Some(path.as_path()), None),
        ModelRef::Builtin(_) => (None, Some(first_seed.unwrap_or(*seed))),
        ModelRef::Hub(_) | ModelRef::Adapted(_) => (None, None),
    };
    Some(Base::of(&model.path, path, seed, files))
}

/// Fails where the base has other contents than that of the checkpoint's adapter; `command` resumes
/// in spite of it.
pub(super) fn check_base(
    job: &Job<'_>,
    saved: &Saved,
    files: &Files,
    command: Command<'_>,
) -> Result<()> {
    let Some(then) = &saved.state.base else { return Ok(()) };
    let Some(now) = base(job, Some(saved), files).filter(|now| now.sha256 != then.sha256) else {
        return Ok(());
    };
    let (name, path) = (&now.name, saved.path.display());
    bail!(
        "{name} is not the base that {path} was trained on: expected {} bytes of sha256 {}, got {} \
         of sha256 {}\nrestore it, or go on with this one, knowing that the run then does not equal \
         an unbroken one:\n  {}",
        then.bytes,
        then.sha256,
        now.bytes,
        now.sha256,
        command.resume(&[])
    )
}

//! The model of the dashboard: scores recorded completions and continues them again, under the
//! settings of their run.

mod base;
mod rows;
mod settings;

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use dash::{Alternative, Continuation, Fault, Fork, Job, Recorded, Refusal, Reroll};
use dash::{Score, Scored, Weights};
use engine::text::Text;
use engine::{Model, Packed};
use evals::attempt::{Begun, Sampler, continue_each};
use evals::run::{Problem, check_files, step_name};
use rewards::Rubric;
use rollout::{Key, Purpose, Sampling};

use self::base::check_base;
use self::rows::Rows;
use self::settings::Settings;
use crate::causes::with_causes;
use crate::config::{BaseChoice, DeviceChoice, Recipe};
use crate::console::Console;
use crate::policy::{self, Compute, ModelRef};
use crate::run_dir::tokenizer_sha256;
use crate::search_path::SearchPath;
use crate::signals::Stop;
use crate::verifiers::{RetryPolicy, Verifiers};

/// A model that scores and continues recorded completions. It holds one model at a time.
#[derive(Debug)]
pub struct Reroller {
    source: Source,
    device: DeviceChoice,
    console: Console,
    opened: Option<Opened>,
    rows: Rows,
}

/// Which weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The checkpoints of each run.
    Checkpoints,
    /// One model for all runs.
    Model {
        /// Its name.
        name: String,
        /// What it stands for.
        model_ref: ModelRef,
    },
}

/// A model in memory.
#[derive(Debug)]
struct Opened {
    of: Origin,
    model: Model,
    text: Text,
    tokenizer_sha256: String,
}

/// What a model in memory was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    /// Type, prompt style and seed are in it.
    recipe: String,
    /// The checkpoint's folder and its age; none of a model for all runs.
    checkpoint: Option<(PathBuf, SystemTime)>,
}

impl Reroller {
    /// A model from `source`, which computes on `device`. What is to be known of checkpoints and
    /// verifiers goes to `console`.
    pub fn new(source: Source, device: DeviceChoice, console: Console) -> Self {
        Self { source, device, console, opened: None, rows: Rows::default() }
    }

    /// The weights that are asked for, from memory where they are in it.
    fn open(
        &mut self,
        recorded: &Recorded,
        settings: &Settings,
        checkpoint: Option<u64>,
    ) -> Result<&Opened, Refusal> {
        let (of, path) = self.origin(recorded, settings, checkpoint)?;
        let opened = match self.opened.take() {
            Some(opened) if opened.of == of => opened,
            other => {
                // Two models need not fit into memory.
                drop(other);
                let opened = self.load(path.as_deref(), &settings.recipe);
                let (model, text) = opened.map_err(|error| refusal(Fault::Server, &error))?;
                let tokenizer_sha256 = tokenizer_sha256(&text);
                Opened { of, model, text, tokenizer_sha256 }
            }
        };
        let opened = self.opened.insert(opened);
        let theirs = &recorded.about.tokenizer_sha256;
        if !theirs.is_empty() && opened.tokenizer_sha256 != *theirs {
            let error = "the model's tokenizer is another than the run's: its ids stand for other \
                         texts";
            return Err(Refusal::new(Fault::Request, error).act(
                "start the server with `--model run`, or with a model of the same tokenizer",
            ));
        }
        Ok(opened)
    }

    fn origin(
        &self,
        recorded: &Recorded,
        settings: &Settings,
        checkpoint: Option<u64>,
    ) -> Result<(Origin, Option<PathBuf>), Refusal> {
        let recipe = settings.text.clone();
        let step = match (&self.source, checkpoint) {
            (Source::Model { .. }, _) => return Ok((Origin { recipe, checkpoint: None }, None)),
            (Source::Checkpoints, Some(step)) => step,
            (Source::Checkpoints, None) => {
                return Err(Refusal::new(Fault::Request, "checkpoint: expected a step, got none"));
            }
        };
        let path = recorded.root.join("checkpoints").join(step_name(step));
        let changed = fs::metadata(&path).and_then(|about| about.modified()).map_err(|_| {
            let error = format!("the checkpoint after step {step} is not there any more");
            Refusal::new(Fault::Gone, error).act("choose one that the run still has")
        })?;
        // A pipe among the weights would be read for ever, and a link may lead anywhere.
        check_files(&path).map_err(|Problem { file, reason, act, .. }| {
            Refusal::new(Fault::Gone, format!("{file}: {reason}")).act(&act)
        })?;
        let checkpoint = Some((path.clone(), changed));
        Ok((Origin { recipe, checkpoint }, Some(path)))
    }

    fn load(&self, checkpoint: Option<&Path>, recipe: &Recipe) -> Result<(Model, Text)> {
        let compute = Compute::new(self.device, recipe.model.dtype)?;
        let compute = compute.holding(BaseChoice::AsStored).with_notes_on(self.console.clone());
        let (model, text) = match (&self.source, checkpoint) {
            (Source::Model { name, model_ref }, _) => {
                model_ref.open(name, recipe.seed, &compute)?
            }
            (Source::Checkpoints, path) => {
                let path = path.expect("its origin has one").to_owned();
                let model_ref = policy::at(path, &SearchPath::of_command())?;
                check_base(model_ref.base())?;
                model_ref.open(&recipe.model.path, recipe.seed, &compute)?
            }
        };
        Ok((model, recipe.prompt.prepare(text)?))
    }
}

impl Reroll for Reroller {
    fn weights(&self) -> Weights {
        match &self.source {
            Source::Checkpoints => Weights::Checkpoints,
            Source::Model { name, .. } => Weights::Model(name.clone()),
        }
    }

    fn score(&mut self, asked: &Score) -> Result<Scored, Refusal> {
        let Score { recorded, checkpoint, top } = asked;
        let settings = Settings::of(recorded)?;
        let Opened { model, text, .. } = self.open(recorded, &settings, *checkpoint)?;
        let misfit = |error: engine::Error| refusal(Fault::Request, &error.into());
        let mut packed = Packed::default();
        let prompt = packed.push(&recorded.prompt, None).map_err(misfit)?;
        let targets = packed.push_completion(prompt, &recorded.tokens).map_err(misfit)?;
        let temperature = recorded.about.temperature;
        let scores = model.policy().score_with_alternatives(&packed, &targets, temperature, *top);
        let scores = scores.map_err(misfit)?;
        let count = scores.alternatives.len() / targets.len();
        let whole = [recorded.prompt.as_slice(), &recorded.tokens].concat();
        let at = |row: usize| {
            let before = &whole[..recorded.prompt.len() + row];
            let own = &scores.alternatives[row * count..][..count];
            let alternative = |&(token, log_prob): &(u32, f32)| {
                Ok(Alternative { token, text: added(text, before, token)?, log_prob })
            };
            own.iter().map(alternative).collect::<Result<Vec<_>, _>>()
        };
        let alternatives = (0..targets.len()).map(at).collect::<Result<_, _>>().map_err(misfit)?;
        Ok(Scored {
            checkpoint: *checkpoint,
            temperature,
            log_prob: scores.log_probs,
            entropy: scores.entropies,
            alternatives,
        })
    }

    fn fork(&mut self, asked: &Fork, job: &Job) -> Result<(), Refusal> {
        let recorded = &asked.recorded;
        let settings = Settings::of(recorded)?;
        let console = self.console.clone();
        let problem = self.rows.problem(&recorded.group, &settings)?;
        let Opened { model, text, .. } = self.open(recorded, &settings, asked.checkpoint)?;
        let context = model.config().context;
        let sampling = sampling(asked, &settings.stage().rollout, context)?;
        let stop = Stop::default();
        let on_cancel = stop.clone();
        job.on_cancel(move || on_cancel.request());
        let failed = |error: anyhow::Error| refusal(Fault::Server, &error);
        let retry_policy = RetryPolicy::new(console, stop.clone());
        let rubric = rubric(&settings, &problem, &retry_policy).map_err(failed)?;
        let sampler = Sampler {
            model,
            text,
            style: &settings.recipe.prompt,
            sampling: &sampling,
            slots: settings.stage().slots.get(),
            alternatives: 0,
            rubric: &rubric,
        };
        job.begin();
        continued(asked, &sampler, &problem, settings.recipe.seed, &stop, job).map_err(failed)
    }
}

/// What judges the continuations: the rubric of the stage. Verifiers outside this process are
/// started for this fork alone, and end with the rubric.
fn rubric(
    settings: &Settings,
    problem: &rewards::Problem,
    retry_policy: &RetryPolicy,
) -> Result<Rubric> {
    let rewards = &settings.stage().rewards;
    let key = format!("stage.{}.rewards", settings.stage);
    let verifiers = Verifiers::start(&[(key, rewards)], retry_policy)?;
    verifiers.run_trials(&[problem])?;
    verifiers.rubric(rewards)
}

/// Continues the completion, and tells the job of each.
fn continued(
    asked: &Fork,
    sampler: &Sampler<'_>,
    problem: &rewards::Problem,
    seed: u64,
    stop: &Stop,
    job: &Job,
) -> Result<()> {
    let Recorded { group, sibling, prompt, tokens, .. } = &asked.recorded;
    let kept = &tokens[..asked.token];
    let hidden = sampler.text.hidden_tokens(&sampler.style.keep_special_tokens)?;
    let beginning = sampler.text.decode_without(kept, &hidden)?;
    let key = Key { seed, purpose: Purpose::Fork, step: group.step };
    // A step has far fewer groups, and a group far fewer completions, than this has room for.
    let number = (group.group as u64) << 32 | (*sibling as u64 & 0xffff_ffff);
    let begun = Begun { problem, prompt, kept, number };
    continue_each(sampler, &begun, asked.n, key, &mut |_| stop.flow(), &mut |number, one| {
        job.tell(Continuation {
            number,
            from: shared(&beginning, &one.text),
            text: one.text,
            tokens: one.trajectory.completion.len(),
            finish: one.trajectory.finish.into(),
            outcome: one.judged.outcome,
            answer: one.judged.answer,
            reward: one.judged.reward,
        });
        Ok(())
    })?;
    Ok(())
}

/// How the continuations are drawn: as the stage draws, with what is asked for in its place.
fn sampling(asked: &Fork, stage: &Sampling, context: usize) -> Result<Sampling, Refusal> {
    let refused = |error: String| Err(Refusal::new(Fault::Request, error));
    let given = asked.recorded.prompt.len() + asked.token;
    let room = context.saturating_sub(given);
    if room == 0 {
        return refused(format!(
            "prompt and kept tokens are {given}, and the model's context has {context}: there is no \
             room to go on"
        ));
    }
    let max_new_tokens = match asked.max_new_tokens {
        Some(asked) if asked > room => {
            return refused(format!(
                "max_new_tokens: expected at most {room}, got {asked}: the model's context has \
                 {context} tokens, of which prompt and kept tokens take {given}"
            ));
        }
        Some(asked) => asked,
        None => stage.max_new_tokens.get().saturating_sub(asked.token).max(1),
    };
    let sampling = Sampling {
        temperature: asked.temperature.unwrap_or(asked.recorded.about.temperature),
        max_new_tokens: NonZeroUsize::new(max_new_tokens).unwrap_or(NonZeroUsize::MIN),
        min_new_tokens: stage.min_new_tokens.saturating_sub(asked.token).min(max_new_tokens),
        ..stage.clone()
    };
    if let [first, ..] = sampling.problems().as_slice() {
        return refused(first.clone());
    }
    if sampling.temperature == 0.0 && asked.n > 1 {
        return refused(format!(
            "n: expected 1 at temperature 0, where every continuation is the same, got {}",
            asked.n
        ));
    }
    Ok(sampling)
}

/// Tokens before an alternative that it is decoded with, since decoders treat a first token
/// differently.
const TAIL: usize = 8;

/// What a token adds to the text of those before it.
fn added(text: &Text, before: &[u32], token: u32) -> engine::Result<String> {
    let decode = |ids: &[u32]| text.decode_without(ids, &BTreeSet::new());
    let tail = &before[before.len().saturating_sub(TAIL)..];
    let (without, with) = (decode(tail)?, decode(&[tail, &[token]].concat())?);
    match with.strip_prefix(without.as_str()) {
        Some(own) => Ok(own.to_owned()),
        // It completes a character.
        None => decode(&[token]),
    }
}

/// Bytes of the longest beginning that two texts share.
fn shared(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// An error for people: its first line is what is wrong, the others are what to do.
fn refusal(fault: Fault, error: &anyhow::Error) -> Refusal {
    let text = with_causes(error);
    match text.split_once('\n') {
        Some((error, act)) => Refusal::new(fault, error).act(act.replace('\n', " ")),
        None => Refusal::new(fault, text),
    }
}

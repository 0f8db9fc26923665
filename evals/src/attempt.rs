//! The one path from problems to graded completions, for training and for evaluation.

mod each;
mod fork;

use engine::Model;
use engine::text::{StopStrings, Text};
use rewards::{Judged, Problem, Rubric};
use rollout::{Finish, Generator, Key, OnProgress, Request, Sampling, Trajectory};

pub use each::{OnJudged, attempt_each};
pub use fork::{Begun, OnContinued, continue_each};

use crate::{PromptStyle, Result};

/// One completion, decoded and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Its text without the prompt and without the special tokens that the style hides.
    pub text: String,
    /// Its tokens and their scores.
    pub trajectory: Trajectory,
    /// Reward and outcome.
    pub judged: Judged,
}

/// The completions of one problem.
#[derive(Debug, Clone, PartialEq)]
pub struct GradedGroup {
    /// The problem.
    pub problem: Problem,
    /// Tokens of its prompt.
    pub prompt: Vec<u32>,
    /// Its completions, as they were drawn.
    pub completions: Vec<Completion>,
    /// The likeliest completion, where it was asked for.
    pub greedy: Option<Completion>,
}

/// A problem to be attempted, with the number that its random numbers depend on.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'a> {
    /// Running number of the problem drawn.
    pub number: u64,
    /// The problem.
    pub problem: &'a Problem,
}

/// A policy with its prompt style, its sampling settings and the rubric that judges it.
#[derive(Debug, Clone, Copy)]
pub struct Sampler<'a> {
    /// The weights.
    pub model: &'a Model,
    /// Their tokenizer.
    pub text: &'a Text,
    /// How a problem becomes a prompt.
    pub style: &'a PromptStyle,
    /// How tokens are drawn.
    pub sampling: &'a Sampling,
    /// Sequences decoded at a time.
    pub slots: usize,
    /// How many of the likeliest tokens are kept for each position of a completion.
    pub alternatives: usize,
    /// Judges completions.
    pub rubric: &'a Rubric,
}

/// Completions that are not judged yet, a group for each draw.
#[derive(Debug)]
pub struct Sampled {
    groups: Vec<rollout::Group>,
    /// Whether the last of each group is the likeliest completion.
    greedy: bool,
}

/// A set of problems, and what is asked for of each of them.
#[derive(Debug, Clone, Copy)]
pub struct AskedSet<'a> {
    /// What attempts and judges them.
    pub sampler: Sampler<'a>,
    /// The problems.
    pub problems: &'a [Draw<'a>],
    /// Completions that are drawn of each, at least one.
    pub samples: usize,
    /// Whether the likeliest completion is judged besides.
    pub greedy: bool,
}

/// The place of a problem among the sets of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the set.
    pub set: usize,
    /// Index in the set.
    pub problem: usize,
}

/// Samples `group_size` completions of every problem and judges them, in order.
///
/// # Errors
///
/// Fails when a prompt cannot be made or is longer than the model's context, when the model does,
/// or when a verifier is unavailable.
pub fn attempt(
    sampler: &Sampler<'_>,
    problems: &[Draw<'_>],
    group_size: usize,
    key: Key,
    progress: &mut OnProgress<'_>,
) -> Result<Vec<GradedGroup>> {
    let sampled = sampler.sample(problems, group_size, key, progress)?;
    sampler.judge(problems, sampled)
}

impl Sampler<'_> {
    /// First half of [`attempt`]: completions as tokens.
    ///
    /// # Errors
    ///
    /// Fails when a prompt cannot be made or is longer than the model's context, or the model does.
    pub fn sample(
        &self,
        problems: &[Draw<'_>],
        group_size: usize,
        key: Key,
        progress: &mut OnProgress<'_>,
    ) -> Result<Sampled> {
        let requests = self.requests(problems, group_size, false)?;
        let groups = self.generate(key, |generator| generator.generate(&requests, progress))?;
        Ok(Sampled { groups, greedy: false })
    }

    fn requests(
        &self,
        problems: &[Draw<'_>],
        group_size: usize,
        greedy: bool,
    ) -> Result<Vec<Request>> {
        let request = |draw: &Draw<'_>| {
            let prompt = self.style.tokens(self.text, draw.problem)?;
            let (prefix, problem) = (Vec::new(), draw.number);
            Ok(Request { prompt, prefix, problem, group_size, greedy })
        };
        problems.iter().map(request).collect()
    }

    /// Calls `with` with a generator for this policy.
    fn generate<T>(&self, key: Key, with: impl FnOnce(&Generator<'_>) -> T) -> T {
        let strings = StopStrings::new(&self.style.stop);
        let stops = Stops { text: self.text, strings: &strings };
        with(&Generator {
            policy: self.model.policy(),
            sampling: self.sampling,
            stop_tokens: self.text.stop_tokens(),
            unused: &self.text.unused_ids(self.model.config().vocab_size),
            stop: if strings.is_empty() { None } else { Some(&stops) },
            slots: self.slots,
            alternatives: self.alternatives,
            key,
        })
    }

    /// Second half of [`attempt`]: texts and verdicts.
    ///
    /// # Errors
    ///
    /// Fails when a completion cannot be decoded or a verifier is unavailable.
    pub fn judge(&self, problems: &[Draw<'_>], sampled: Sampled) -> Result<Vec<GradedGroup>> {
        let Sampled { groups, greedy } = sampled;
        let hidden = self.text.hidden_tokens(&self.style.keep_special_tokens)?;
        let texts = groups
            .iter()
            .flat_map(|group| &group.trajectories)
            .map(|trajectory| Ok(self.text.decode_without(&trajectory.completion, &hidden)?))
            .collect::<Result<Vec<_>>>()?;
        let judged = self.rubric.judge(&attempts(problems, &groups, &texts, self.sampling))?;
        let mut graded = texts.into_iter().zip(judged);
        let mut completions = |trajectories: Vec<Trajectory>| {
            trajectories
                .into_iter()
                .zip(graded.by_ref())
                .map(|(trajectory, (text, judged))| Completion { text, trajectory, judged })
                .collect::<Vec<_>>()
        };
        Ok(problems
            .iter()
            .zip(groups)
            .map(|(draw, group)| {
                let mut completions = completions(group.trajectories);
                let greedy = if greedy { completions.pop() } else { None };
                let problem = draw.problem.clone();
                GradedGroup { problem, prompt: group.prompt, completions, greedy }
            })
            .collect())
    }
}

fn attempts<'a>(
    problems: &[Draw<'a>],
    groups: &[rollout::Group],
    texts: &'a [String],
    sampling: &Sampling,
) -> Vec<rewards::Attempt<'a>> {
    let siblings = problems
        .iter()
        .zip(groups)
        .flat_map(|(draw, group)| group.trajectories.iter().map(|one| (draw.problem, one)));
    siblings
        .zip(texts)
        .map(|((problem, trajectory), text)| rewards::Attempt {
            problem,
            text,
            num_tokens: trajectory.completion.len(),
            max_tokens: sampling.max_new_tokens.get(),
            truncated: trajectory.finish == Finish::Length,
        })
        .collect()
}

/// Stop strings, as an implementation of [`rollout::Stop`].
#[derive(Debug, Clone, Copy)]
pub struct Stops<'a> {
    /// Decodes tokens.
    pub text: &'a Text,
    /// The stop strings.
    pub strings: &'a StopStrings,
}

impl rollout::Stop for Stops<'_> {
    fn stops(&self, completion: &[u32]) -> bool {
        self.strings.matches(self.text, completion)
    }
}

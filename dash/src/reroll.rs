//! What a model does with recorded completions, as an interface: this crate knows no model.

use std::path::PathBuf;

use evals::run::{SampleEnd, SampleGroup, TokensAbout};
use rewards::Outcome;
use serde::Serialize;

use crate::Job;

/// Scores recorded completions and continues them again.
pub trait Reroll: Send {
    /// Where its weights come from.
    fn weights(&self) -> Weights;

    /// Scores a completion.
    ///
    /// # Errors
    ///
    /// Fails when the weights cannot be opened or do not fit the completion.
    fn score(&mut self, asked: &Score) -> Result<Scored, Refusal>;

    /// Continues a completion. Calls [`Job::begin`] once nothing about the request is left to
    /// refuse, [`Job::tell`] for each continuation as soon as it is judged, and ends soon after
    /// [`Job::is_cancelled`].
    ///
    /// # Errors
    ///
    /// Fails where [`Reroll::score`] does, on settings that the model cannot serve, and when a
    /// continuation cannot be sampled or judged.
    fn fork(&mut self, asked: &Fork, job: &Job) -> Result<(), Refusal>;
}

/// Where weights come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weights {
    /// The checkpoints of the run that is asked about.
    Checkpoints,
    /// One model, by its name.
    Model(String),
}

/// A recorded completion, with what is needed to sample it again.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its run's folder.
    pub root: PathBuf,
    /// Its group: problem, texts and verdicts.
    pub group: SampleGroup,
    /// Which of the group it is, counted from 0.
    pub sibling: usize,
    /// Ids of the prompt.
    pub prompt: Vec<u32>,
    /// Its ids.
    pub tokens: Vec<u32>,
    /// Temperature and tokenizer of its step.
    pub about: TokensAbout,
}

/// A completion to be scored.
#[derive(Debug, Clone)]
pub struct Score {
    /// The completion.
    pub recorded: Recorded,
    /// The step of the checkpoint; none where the weights are no checkpoint.
    pub checkpoint: Option<u64>,
    /// How many of the likeliest tokens of each position are asked for.
    pub top: usize,
}

/// A completion to be continued from one of its tokens.
#[derive(Debug, Clone)]
pub struct Fork {
    /// The completion.
    pub recorded: Recorded,
    /// The step of the checkpoint; none where the weights are no checkpoint.
    pub checkpoint: Option<u64>,
    /// How many of its tokens are kept; fewer than it has.
    pub token: usize,
    /// Continuations, 1 to [`Fork::MOST`].
    pub n: usize,
    /// The temperature, where it is not that of the step. 0 is greedy.
    pub temperature: Option<f64>,
    /// Most tokens after those that are kept, where the limit is not that of the whole completion.
    pub max_new_tokens: Option<usize>,
}

impl Fork {
    /// Continuations of a fork, at most.
    pub const MOST: usize = 32;
}

/// What a model says of a completion: one entry a token, in nats.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scored {
    /// The step of the checkpoint; none where the weights are no checkpoint.
    pub checkpoint: Option<u64>,
    /// The temperature of the distributions: that of the step.
    pub temperature: f64,
    /// Log-probability of the token.
    pub log_prob: Vec<f32>,
    /// Entropy of the distribution that it is from.
    pub entropy: Vec<f32>,
    /// The likeliest tokens there, the likeliest first.
    pub alternatives: Vec<Vec<Alternative>>,
}

/// A token that could follow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    /// Its id.
    pub token: u32,
    /// What it adds to the text before it.
    pub text: String,
    /// Its log-probability, in nats.
    pub log_prob: f32,
}

/// A completion that begins as the recorded one, and its verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Continuation {
    /// Which of the fork it is, counted from 0; its random numbers go by it.
    pub number: usize,
    /// The text of the whole completion.
    pub text: String,
    /// The byte of the text at which the new part begins.
    pub from: usize,
    /// New tokens.
    pub tokens: usize,
    /// Why it ended.
    pub finish: SampleEnd,
    /// What became of the answer.
    pub outcome: Outcome,
    /// The answer that was judged, as written.
    pub answer: Option<String>,
    /// Reward, all verifiers weighted.
    pub reward: f64,
}

/// Why something cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Refusal {
    /// Whose fault it is.
    pub fault: Fault,
    /// What is wrong.
    pub error: String,
    /// What to do.
    pub act: Option<String>,
}

/// Whose fault it is that something cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request's.
    Request,
    /// What it is about is not there any more.
    Gone,
    /// The model's, or a verifier's.
    Server,
}

impl Refusal {
    /// A refusal without an act.
    pub fn new(fault: Fault, error: impl Into<String>) -> Self {
        Self { fault, error: error.into(), act: None }
    }

    /// The same with what to do.
    #[must_use]
    pub fn act(self, act: impl Into<String>) -> Self {
        Self { act: Some(act.into()), ..self }
    }
}

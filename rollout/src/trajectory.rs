//! Requests and results.

/// A prompt to be continued, or completions that have begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The prompt: at least one token, and shorter than the model's context.
    pub prompt: Vec<u32>,
    /// The tokens that every completion begins with, mostly none. They are given: no limit counts
    /// them but the context, and a [`Trajectory`] has what comes after them. Stops see them, and
    /// the draws go by the position in the whole completion.
    pub prefix: Vec<u32>,
    /// Running number of the drawn problem: part of the random key, so that completions do not
    /// depend on the order of the requests.
    pub problem: u64,
    /// Number of completions that are drawn, at least one.
    pub group_size: usize,
    /// Whether the likeliest completion comes besides, after those that are drawn: the one that a
    /// call at temperature 0 makes.
    pub greedy: bool,
}

impl Request {
    /// Sequences that it takes.
    pub fn sequences(&self) -> usize {
        self.group_size + usize::from(self.greedy)
    }

    /// Tokens before the first one that is drawn.
    pub(crate) fn given(&self) -> usize {
        self.prompt.len() + self.prefix.len()
    }
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop token, the last of the completion.
    Stop,
    /// The text so far contains a stop string.
    StopString,
    /// The most new tokens, or the model's context, are used up.
    Length,
}

impl Finish {
    /// Whether the completion was cut off.
    pub fn is_truncated(self) -> bool {
        self == Self::Length
    }
}

/// A completion with the policy's scores of its tokens.
///
/// The scores are of the full distribution at the sampling temperature (at temperature 0: at 1),
/// before any filter, one entry a token but for `alternatives`.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    /// The generated tokens, the stop token included; without the request's prefix.
    pub completion: Vec<u32>,
    /// Log-probability of each token, in nats.
    pub log_probs: Vec<f32>,
    /// Entropy of the distribution that each token was drawn from, in nats.
    pub entropies: Vec<f32>,
    /// `sum_v pi_v^2 (ln pi_v + H)`, the sum behind the entropy sensitivity (arXiv 2606.19236,
    /// section 3).
    pub phi_sums: Vec<f32>,
    /// The likeliest tokens at each position with their log-probabilities, in nats: as many for
    /// each token as [`Generator::alternatives`](crate::Generator::alternatives) and the vocabulary
    /// have, the likeliest first, the lowest id first among equals.
    pub alternatives: Vec<(u32, f32)>,
    /// Why it ended.
    pub finish: Finish,
}

/// The completions of one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The prompt.
    pub prompt: Vec<u32>,
    /// Its completions, by sibling; the likeliest, where it was asked for, is the last.
    pub trajectories: Vec<Trajectory>,
}

//! Continuous batching: schedule, decode and sample until every group is complete.

mod check;
mod run;
mod running;

use std::fmt;

use engine::Policy;
use run::Run;

use crate::progress::OnProgress;
use crate::scheduler::SequenceId;
use crate::{Error, Group, Key, Request, Result, Sampling, Trajectory};

/// A stop condition on the text of a completion; this crate does not know text.
pub trait Stop: Sync {
    /// Whether the completion ends after its last token.
    fn stops(&self, completion: &[u32]) -> bool;
}

/// Generates completions: all that they depend on, apart from the requests.
///
/// On a CPU a completion is a function of the weights, its request, `sampling`, the stops, `key`
/// and, in bf16, the kernel that multiplies. Neither `slots` nor the order of the requests nor the
/// number of threads matters.
///
/// ```
/// use candle::{DType, Device};
/// use engine::{Biases, Family, Model, ModelConfig, RopeScaling};
/// use rollout::{Generator, Key, Purpose, Request, Sampling};
///
/// let config = ModelConfig {
///     family: Family::Llama,
///     vocab_size: 32,
///     hidden_size: 16,
///     intermediate_size: 32,
///     num_layers: 1,
///     num_heads: 2,
///     num_kv_heads: 1,
///     head_dim: 8,
///     context: 64,
///     rope_theta: 10_000.0,
///     rope_scaling: RopeScaling::None,
///     rms_norm_eps: 1e-5,
///     tie_embeddings: true,
///     biases: Biases::NONE,
///     qk_norm: false,
/// };
/// let model = Model::random(config, 1, DType::F32, &Device::Cpu)?;
/// let generator = Generator {
///     policy: model.policy(),
///     sampling: &Sampling { max_new_tokens: 8.try_into()?, ..Sampling::default() },
///     stop_tokens: &[0],
///     unused: &[],
///     stop: None,
///     slots: 4,
///     alternatives: 0,
///     key: Key { seed: 1, purpose: Purpose::Sample, step: 0 },
/// };
/// let prompt = vec![3, 1, 4];
/// let request = Request { prompt, prefix: vec![], problem: 0, group_size: 4, greedy: false };
/// let groups = generator.generate(&[request], &mut rollout::to_the_end)?;
/// assert_eq!(groups[0].trajectories.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Generator<'a> {
    /// The policy that the tokens are sampled from.
    pub policy: Policy<'a>,
    /// The sampling settings.
    pub sampling: &'a Sampling,
    /// Tokens that end a completion.
    pub stop_tokens: &'a [u32],
    /// Tokens that are never sampled: rows of the embedding without a text. They count in the
    /// scores, as in training and in `transformers`, so that a log-probability is over the whole
    /// vocabulary.
    pub unused: &'a [u32],
    /// A stop condition on the text.
    pub stop: Option<&'a dyn Stop>,
    /// Sequences that are decoded at a time, at least one.
    pub slots: usize,
    /// How many of the likeliest tokens are kept for each position; they change no completion.
    pub alternatives: usize,
    /// Key of the random numbers.
    pub key: Key,
}

impl Generator<'_> {
    /// Samples every request's group of completions; groups come in the order of the requests.
    /// `progress` is called every few steps and at the end; if it breaks, the call ends at once.
    ///
    /// # Errors
    ///
    /// Fails, before anything runs, for settings that contradict one another, and for a prompt that
    /// is empty, leaves no room in the context or holds a token outside the vocabulary. Fails with
    /// [`Error::Stopped`] if `progress` breaks, and if the weights give logits that are not finite.
    pub fn generate(
        &self,
        requests: &[Request],
        progress: &mut OnProgress<'_>,
    ) -> Result<Vec<Group>> {
        let mut groups: Vec<Option<Group>> = requests.iter().map(|_| None).collect();
        self.generate_each(requests, progress, &mut |index, group| {
            groups[index] = Some(group);
            Ok::<_, Error>(())
        })?;
        Ok(groups.into_iter().map(|group| group.expect("every group is complete")).collect())
    }

    /// As [`Generator::generate`], but passes each group to `complete` within a few steps of its
    /// last token, with the index of its request, in the order of completion.
    ///
    /// # Errors
    ///
    /// Fails where [`Generator::generate`] does, and with what `complete` returns, at once.
    pub fn generate_each<E: From<Error>>(
        &self,
        requests: &[Request],
        progress: &mut OnProgress<'_>,
        complete: &mut dyn FnMut(usize, Group) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done: Vec<Vec<Option<Trajectory>>> =
            requests.iter().map(|request| vec![None; request.sequences()]).collect();
        self.generate_sequences(requests, progress, &mut |id, trajectory| {
            let own = &mut done[id.group];
            own[id.sibling] = Some(trajectory);
            if own.iter().any(Option::is_none) {
                return Ok(());
            }
            let trajectories = std::mem::take(own).into_iter().flatten().collect();
            let prompt = requests[id.group].prompt.clone();
            complete(id.group, Group { prompt, trajectories })
        })
    }

    /// As [`Generator::generate`], but passes each completion to `complete` within a few steps of
    /// its last token, with the index of its request and its own in the group, in the order in
    /// which they end.
    ///
    /// # Errors
    ///
    /// Fails where [`Generator::generate`] does, and with what `complete` returns, at once.
    pub fn generate_sequences<E: From<Error>>(
        &self,
        requests: &[Request],
        progress: &mut OnProgress<'_>,
        complete: &mut dyn FnMut(SequenceId, Trajectory) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check(requests)?;
        let mut run = Run::new(self, requests)?;
        loop {
            // On a thread of the pool, where handing work to the other threads costs least.
            let more = rayon::scope(|_| run.run_steps())?;
            let flow = progress(run.progress);
            for (id, trajectory) in std::mem::take(&mut run.complete) {
                complete(id, trajectory)?;
            }
            if !more {
                return Ok(());
            }
            if flow.is_break() {
                return Err(Error::Stopped.into());
            }
        }
    }
}

impl fmt::Debug for Generator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, sampling, stop_tokens, unused, stop, slots, alternatives, key } = self;
        f.debug_struct("Generator")
            .field("policy", policy)
            .field("sampling", sampling)
            .field("stop_tokens", stop_tokens)
            .field("unused", unused)
            .field("stop", &stop.is_some())
            .field("slots", slots)
            .field("alternatives", alternatives)
            .field("key", key)
            .finish()
    }
}

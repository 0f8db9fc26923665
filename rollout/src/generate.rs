//! Continuous batching: schedule, decode and sample until every group is complete.

mod check;
mod running;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Cache, Policy, Prefix};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use running::{Running, SampleSlot};

use crate::progress::{OnProgress, Progress};
use crate::scheduler::{Scheduler, SequenceId};
use crate::{Error, Finish, Group, Key, Request, Result, Sampling, Trajectory};

/// A stop condition on the text of a completion; this crate does not know text.
pub trait Stop: Sync {
    /// Whether the completion ends after its last token.
    fn stops(&self, completion: &[u32]) -> bool;
}

/// Most decoding steps between two reports of progress.
const STEPS: usize = 16;

/// Longest time from a report of progress to the last decoding step before the next: a large model
/// takes long for a few steps.
const BURST: Duration = Duration::from_millis(250);

/// Prompt tokens that are prefilled between two reports of progress; a prompt is never split.
const PREFILLED: usize = 2048;

/// From this many logits on, the threads share the sampling of a step.
const SHARED: usize = 1 << 15;

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
/// let request = Request { prompt: vec![3, 1, 4], problem: 0, group_size: 4, greedy: false };
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
        self.check(requests)?;
        let mut run = Run::new(self, requests)?;
        loop {
            // On a thread of the pool, where handing work to the other threads costs least.
            let more = rayon::scope(|_| run.run_steps())?;
            let flow = progress(run.progress);
            for (index, group) in run.take_complete() {
                complete(index, group)?;
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

/// The state of one call.
struct Run<'a> {
    generator: &'a Generator<'a>,
    requests: &'a [Request],
    /// The sampling settings of greedy completions.
    likeliest: Sampling,
    /// Tokens that are not sampled before `min_new_tokens`.
    early: Vec<u32>,
    scheduler: Scheduler,
    cache: Cache,
    /// The prefilled prompts of groups with a running sequence.
    prefixes: Vec<Option<Arc<Prefix>>>,
    /// By slot.
    running: Vec<Running>,
    done: Vec<Vec<Option<Trajectory>>>,
    /// Complete groups that were not passed on yet.
    complete: Vec<usize>,
    progress: Progress,
    feed: Vec<(usize, u32)>,
    logits: Vec<f32>,
    /// One for each sequence of the feed.
    samples: Vec<SampleSlot>,
    /// For the first token of a sequence.
    first: SampleSlot,
}

impl<'a> Run<'a> {
    fn new(generator: &'a Generator<'a>, requests: &'a [Request]) -> Result<Self> {
        let Generator { policy, sampling, .. } = generator;
        let sizes: Vec<usize> = requests.iter().map(Request::sequences).collect();
        let sequences: usize = sizes.iter().sum();
        let slots = generator.slots.min(sequences);
        let shortest = requests.iter().map(|request| request.prompt.len()).min().unwrap_or(0);
        // The last token of a completion is never fed.
        let rows = (sampling.max_new_tokens.get() - 1).min(policy.config().context - shortest);
        Ok(Self {
            generator,
            requests,
            likeliest: Sampling { temperature: 0.0, ..(*sampling).clone() },
            early: generator.early(),
            cache: policy.cache(slots, rows)?,
            prefixes: vec![None; requests.len()],
            running: (0..slots).map(|_| Running::default()).collect(),
            done: sizes.iter().map(|&size| vec![None; size]).collect(),
            complete: Vec::new(),
            scheduler: Scheduler::new(sizes, slots),
            progress: Progress { finished: 0, sequences, tokens: 0 },
            feed: Vec::new(),
            logits: Vec::new(),
            samples: Vec::new(),
            first: SampleSlot::default(),
        })
    }

    /// Runs some steps. Returns whether any sequence still runs.
    fn run_steps(&mut self) -> Result<bool> {
        let began = Instant::now();
        for _ in 0..STEPS {
            if self.admit()? || began.elapsed() >= BURST {
                return Ok(true);
            }
            self.feed.clear();
            for (slot, _) in self.scheduler.running() {
                let last = self.running[slot].completion.last();
                self.feed.push((slot, *last.expect("a running sequence has its first token")));
            }
            if self.feed.is_empty() {
                return Ok(false);
            }
            self.step()?;
        }
        Ok(true)
    }

    /// Fills the free slots, each with a sequence and its first token. Returns whether free slots
    /// may be left, because enough prompts were prefilled before the next report of progress.
    fn admit(&mut self) -> Result<bool> {
        let mut prefilled = 0;
        while prefilled < PREFILLED {
            let admitted = self.admitted(&mut prefilled);
            if admitted.is_empty() {
                return Ok(false);
            }
            self.prefill(&admitted)?;
            for (slot, id) in admitted {
                let prefix = self.prefixes[id.group].clone().expect("it was prefilled");
                self.cache.attach(slot, prefix.clone())?;
                let mut sample = std::mem::take(&mut self.first);
                self.sample(&mut sample, slot, id, prefix.logits());
                self.accept(slot, id, &sample)?;
                self.first = sample;
            }
        }
        Ok(true)
    }

    /// The next sequences for the free slots, until their prompts have enough `prefilled` tokens.
    fn admitted(&mut self, prefilled: &mut usize) -> Vec<(usize, SequenceId)> {
        let mut admitted: Vec<(usize, SequenceId)> = Vec::new();
        while *prefilled < PREFILLED
            && let Some((slot, id)) = self.scheduler.admit()
        {
            // Siblings are admitted one after another.
            let is_first = admitted.last().is_none_or(|(_, last)| last.group != id.group);
            if is_first && self.prefixes[id.group].is_none() {
                *prefilled += self.requests[id.group].prompt.len();
            }
            admitted.push((slot, id));
        }
        admitted
    }

    /// Prefills the prompts of the groups that start with these sequences.
    fn prefill(&mut self, admitted: &[(usize, SequenceId)]) -> Result<()> {
        let groups = admitted.iter().map(|(_, id)| id.group);
        // Siblings are admitted one after another.
        let mut groups: Vec<_> = groups.filter(|&group| self.prefixes[group].is_none()).collect();
        groups.dedup();
        let prompts: Vec<_> =
            groups.iter().map(|&group| self.requests[group].prompt.as_slice()).collect();
        let prefixes = self.generator.policy.prefill_all(&prompts)?;
        for (group, prefix) in groups.into_iter().zip(prefixes) {
            self.prefixes[group] = Some(prefix);
        }
        Ok(())
    }

    /// One token for every running sequence.
    fn step(&mut self) -> Result<()> {
        let policy = self.generator.policy;
        policy.decode(&mut self.cache, &self.feed, &mut self.logits)?;
        let running: Vec<(usize, SequenceId)> = self.scheduler.running().collect();
        let mut samples = std::mem::take(&mut self.samples);
        samples.resize_with(running.len(), SampleSlot::default);
        let vocab = policy.config().vocab_size;
        if self.logits.len() < SHARED {
            let rows = samples.iter_mut().zip(&running).zip(self.logits.chunks(vocab));
            rows.for_each(|((sample, &(slot, id)), logits)| self.sample(sample, slot, id, logits));
        } else {
            let rows = samples.par_iter_mut().zip(&running).zip(self.logits.par_chunks(vocab));
            rows.for_each(|((sample, &(slot, id)), logits)| self.sample(sample, slot, id, logits));
        }
        for (&(slot, id), sample) in running.iter().zip(&samples) {
            self.accept(slot, id, sample)?;
        }
        self.samples = samples;
        Ok(())
    }

    /// Samples the next token of the sequence in a slot.
    fn sample(&self, sample: &mut SampleSlot, slot: usize, id: SequenceId, logits: &[f32]) {
        let Generator { sampling, unused, key, alternatives, .. } = self.generator;
        let length = self.running[slot].completion.len();
        let Request { problem, group_size, .. } = self.requests[id.group];
        let sampling = if id.sibling < group_size { sampling } else { &self.likeliest };
        let uniform = key.uniform(length as u32, id.sibling as u32, problem);
        let suppressed = if length < sampling.min_new_tokens { &self.early } else { *unused };
        sample.sampler.set_alternatives(*alternatives);
        sample.sampled = sample.sampler.draw(sampling, logits, suppressed, uniform);
    }

    /// Appends a token to the sequence in a slot, and ends the sequence if it is complete.
    fn accept(&mut self, slot: usize, id: SequenceId, sample: &SampleSlot) -> Result<()> {
        let running = &mut self.running[slot];
        let Some(sampled) = sample.sampled else {
            return Err(Error::NotFinite { index: id.group, length: running.completion.len() });
        };
        running.completion.push(sampled.token);
        running.log_probs.push(sampled.log_prob as f32);
        running.entropies.push(sampled.entropy as f32);
        running.phi_sums.push(sampled.phi_sum as f32);
        running.alternatives.extend(sample.sampler.alternatives());
        self.progress.tokens += 1;
        if let Some(finish) = self.finish(id, &self.running[slot].completion) {
            let running = std::mem::take(&mut self.running[slot]);
            self.done[id.group][id.sibling] = Some(Trajectory {
                completion: running.completion,
                log_probs: running.log_probs,
                entropies: running.entropies,
                phi_sums: running.phi_sums,
                alternatives: running.alternatives,
                finish,
            });
            self.progress.finished += 1;
            self.cache.release(slot);
            let (_, last_of_group) = self.scheduler.finish(slot);
            if last_of_group {
                self.prefixes[id.group] = None;
                self.complete.push(id.group);
            }
        }
        Ok(())
    }

    /// Why a completion is complete, if it is.
    fn finish(&self, id: SequenceId, completion: &[u32]) -> Option<Finish> {
        let last = completion.last()?;
        if self.generator.stop_tokens.contains(last) {
            return Some(Finish::Stop);
        }
        let free_to_stop = completion.len() >= self.generator.sampling.min_new_tokens;
        if free_to_stop && self.generator.stop.is_some_and(|stop| stop.stops(completion)) {
            return Some(Finish::StopString);
        }
        let total = self.requests[id.group].prompt.len() + completion.len();
        let full = completion.len() == self.generator.sampling.max_new_tokens.get();
        (full || total >= self.generator.policy.config().context).then_some(Finish::Length)
    }

    /// The groups that became complete since the last call.
    fn take_complete(&mut self) -> Vec<(usize, Group)> {
        let complete = std::mem::take(&mut self.complete);
        let ended = |trajectory: Option<Trajectory>| trajectory.expect("every sequence ended");
        complete
            .into_iter()
            .map(|index| {
                let done = std::mem::take(&mut self.done[index]);
                let trajectories = done.into_iter().map(ended).collect();
                (index, Group { prompt: self.requests[index].prompt.clone(), trajectories })
            })
            .collect()
    }
}

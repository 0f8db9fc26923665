//! The steps of one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Cache, Prefix};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::ParallelSlice;

use super::Generator;
use super::running::{Running, SampleSlot};
use crate::progress::Progress;
use crate::scheduler::{Scheduler, SequenceId};
use crate::{Error, Finish, Request, Result, Sampling, Trajectory};

/// Most decoding steps between two reports of progress.
const STEPS: usize = 16;

/// Longest time from a report of progress to the last decoding step before the next: a large model
/// takes long for a few steps.
const BURST: Duration = Duration::from_millis(250);

/// Prompt tokens that are prefilled between two reports of progress; a prompt is never split.
const PREFILLED: usize = 2048;

/// From this many logits on, the threads share the sampling of a step.
const SHARED: usize = 1 << 15;

/// The state of one call.
pub(super) struct Run<'a> {
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
    /// Completions that ended and were not passed on yet.
    pub(super) complete: Vec<(SequenceId, Trajectory)>,
    pub(super) progress: Progress,
    feed: Vec<(usize, u32)>,
    logits: Vec<f32>,
    /// One for each sequence of the feed.
    samples: Vec<SampleSlot>,
    /// For the first token of a sequence.
    first: SampleSlot,
}

impl<'a> Run<'a> {
    pub(super) fn new(generator: &'a Generator<'a>, requests: &'a [Request]) -> Result<Self> {
        let Generator { policy, sampling, .. } = generator;
        let sizes: Vec<usize> = requests.iter().map(Request::sequences).collect();
        let sequences: usize = sizes.iter().sum();
        let slots = generator.slots.min(sequences);
        let shortest = requests.iter().map(Request::given).min().unwrap_or(0);
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
    pub(super) fn run_steps(&mut self) -> Result<bool> {
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
                self.running[slot].completion.clone_from(&self.requests[id.group].prefix);
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
                *prefilled += self.requests[id.group].given();
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
        let given: Vec<_> = groups
            .iter()
            .map(|&group| {
                let Request { prompt, prefix, .. } = &self.requests[group];
                [prompt.as_slice(), prefix].concat()
            })
            .collect();
        let given: Vec<_> = given.iter().map(Vec::as_slice).collect();
        let prefixes = self.generator.policy.prefill_all(&given)?;
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
        let Request { ref prefix, problem, group_size, .. } = self.requests[id.group];
        let sampling = if id.sibling < group_size { sampling } else { &self.likeliest };
        let uniform = key.uniform(length as u32, id.sibling as u32, problem);
        let is_early = length - prefix.len() < sampling.min_new_tokens;
        let suppressed = if is_early { &self.early } else { *unused };
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
            let mut running = std::mem::take(&mut self.running[slot]);
            let trajectory = Trajectory {
                completion: running.completion.split_off(self.requests[id.group].prefix.len()),
                log_probs: running.log_probs,
                entropies: running.entropies,
                phi_sums: running.phi_sums,
                alternatives: running.alternatives,
                finish,
            };
            self.complete.push((id, trajectory));
            self.progress.finished += 1;
            self.cache.release(slot);
            let (_, last_of_group) = self.scheduler.finish(slot);
            if last_of_group {
                self.prefixes[id.group] = None;
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
        let Request { prompt, prefix, .. } = &self.requests[id.group];
        let new = completion.len() - prefix.len();
        let free_to_stop = new >= self.generator.sampling.min_new_tokens;
        if free_to_stop && self.generator.stop.is_some_and(|stop| stop.stops(completion)) {
            return Some(Finish::StopString);
        }
        let total = prompt.len() + completion.len();
        let full = new == self.generator.sampling.max_new_tokens.get();
        (full || total >= self.generator.policy.config().context).then_some(Finish::Length)
    }
}

//! Continuous batching: schedule, run, draw, until every group is complete.

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::{Cache, Policy, Prefix};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use rayon::slice::ParallelSlice;

use crate::sampling::{Drawn, Sampler};
use crate::scheduler::{Scheduler, Seat};
use crate::{Error, Finish, Group, Key, Request, Result, Sampling, Trajectory};

/// Ends a completion for what its text says; rollout itself knows no text.
pub trait Stop: Sync {
    /// Whether the completion ends after its last token.
    fn stops(&self, completion: &[u32]) -> bool;
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Sequences that have ended.
    pub finished: usize,
    /// Sequences asked for.
    pub sequences: usize,
    /// Tokens generated, of unfinished sequences too.
    pub tokens: usize,
}

/// Decoding steps between two reports of progress.
const BURST: usize = 16;

/// Draws every request's group of completions, `slots` sequences at a time; groups come in the order
/// of the requests. `progress` hears of it now and then, and at the end.
///
/// A token of `stop_tokens` ends a completion. A token of `unused` is never drawn: these are the rows
/// of the embedding that stand for no text. They count in the scores all the same, as they do in
/// training and in `transformers`, so that a log-probability is one of the whole vocabulary.
///
/// On CPU the result is a function of the weights, the requests, `sampling`, the stops, `key` and the
/// number of threads: neither `slots` nor the order of the requests matters.
///
/// # Errors
///
/// Fails, before anything runs, for settings that contradict one another, and for a prompt that is
/// empty, leaves no room in the context or holds a token outside the vocabulary. Fails when the
/// weights make numbers that are not finite.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own, and callers name them")]
pub fn generate<'a>(
    policy: impl Into<Policy<'a>>,
    requests: &[Request],
    sampling: &Sampling,
    stop_tokens: &[u32],
    unused: &[u32],
    stop: Option<&dyn Stop>,
    slots: usize,
    key: Key,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Group>> {
    let policy = policy.into();
    check(policy, requests, sampling, slots)?;
    let early = [stop_tokens, unused].concat();
    check_choice(policy, sampling, &early, unused)?;
    let sizes: Vec<usize> = requests.iter().map(|request| request.group_size).collect();
    let sequences: usize = sizes.iter().sum();
    let slots = slots.min(sequences);
    let shortest = requests.iter().map(|request| request.prompt.len()).min().unwrap_or(0);
    // The last token of a completion is never fed.
    let rows = (sampling.max_new_tokens.get() - 1).min(policy.config().context - shortest);
    let mut room = Room {
        policy,
        requests,
        sampling,
        stop_tokens,
        unused,
        early,
        stop,
        key,
        cache: policy.cache(slots, rows)?,
        prefixes: vec![None; requests.len()],
        running: (0..slots).map(|_| Running::default()).collect(),
        done: sizes.iter().map(|&size| vec![None; size]).collect(),
        scheduler: Scheduler::new(sizes, slots),
        progress: Progress { finished: 0, sequences, tokens: 0 },
        feed: Vec::new(),
        logits: Vec::new(),
        draws: Vec::new(),
    };
    loop {
        // On a thread of the pool, where handing work to the other threads costs least.
        let more = rayon::scope(|_| room.burst())?;
        progress(room.progress);
        if !more {
            return Ok(room.groups());
        }
    }
}

fn check(
    policy: Policy<'_>,
    requests: &[Request],
    sampling: &Sampling,
    slots: usize,
) -> Result<()> {
    let problems = sampling.problems();
    if !problems.is_empty() {
        return Err(Error::Sampling(problems));
    }
    if slots == 0 {
        return Err(Error::NoSlots);
    }
    let (context, vocab) = (policy.config().context, policy.config().vocab_size);
    for (index, request) in requests.iter().enumerate() {
        let problem = |problem| Err(Error::Request { index, problem });
        let length = request.prompt.len();
        if length == 0 {
            return problem("the prompt is empty".to_owned());
        }
        if length >= context {
            return problem(format!(
                "a prompt of {length} tokens leaves no room in the model's context of {context}"
            ));
        }
        if let Some(token) = request.prompt.iter().find(|&&token| token as usize >= vocab) {
            return problem(format!(
                "token {token} of the prompt is outside the vocabulary of {vocab} tokens"
            ));
        }
        if request.group_size == 0 {
            return problem("a group of no completions".to_owned());
        }
    }
    Ok(())
}

/// Makes sure that there is always a token to draw.
fn check_choice(
    policy: Policy<'_>,
    sampling: &Sampling,
    early: &[u32],
    unused: &[u32],
) -> Result<()> {
    let suppressed = if sampling.min_new_tokens > 0 { early } else { unused };
    let vocab = policy.config().vocab_size;
    let rows: BTreeSet<u32> =
        suppressed.iter().copied().filter(|&token| (token as usize) < vocab).collect();
    if rows.len() < vocab {
        return Ok(());
    }
    Err(Error::Sampling(vec![format!(
        "none of the vocabulary's {vocab} tokens may be drawn: each one is a stop token or stands for \
         no text"
    )]))
}

/// The state of one call.
struct Room<'a> {
    policy: Policy<'a>,
    requests: &'a [Request],
    sampling: &'a Sampling,
    stop_tokens: &'a [u32],
    /// Never drawn.
    unused: &'a [u32],
    /// Not drawn before `min_new_tokens`: the stop tokens and the unused ones.
    early: Vec<u32>,
    stop: Option<&'a dyn Stop>,
    key: Key,
    scheduler: Scheduler,
    cache: Cache,
    /// The prompts of groups that have begun and not ended.
    prefixes: Vec<Option<Arc<Prefix>>>,
    /// By slot.
    running: Vec<Running>,
    done: Vec<Vec<Option<Trajectory>>>,
    progress: Progress,
    feed: Vec<(usize, u32)>,
    logits: Vec<f32>,
    draws: Vec<Draw>,
}

/// A completion on its way.
#[derive(Debug, Default)]
struct Running {
    completion: Vec<u32>,
    log_probs: Vec<f32>,
    entropies: Vec<f32>,
    phi_sums: Vec<f32>,
}

/// One draw of a step.
#[derive(Debug, Default)]
struct Draw {
    sampler: Sampler,
    seat: Option<Seat>,
    length: usize,
    drawn: Option<Drawn>,
}

impl Room<'_> {
    /// Runs some steps. Whether any sequence is left.
    fn burst(&mut self) -> Result<bool> {
        for _ in 0..BURST {
            self.admit()?;
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

    /// Fills the free slots, each with a sequence and its first token.
    fn admit(&mut self) -> Result<()> {
        if self.draws.is_empty() {
            self.draws.push(Draw::default());
        }
        while let Some((slot, seat)) = self.scheduler.admit() {
            let prefix = match &self.prefixes[seat.group] {
                Some(prefix) => prefix.clone(),
                None => self.policy.prefill(&self.requests[seat.group].prompt)?,
            };
            self.prefixes[seat.group] = Some(prefix.clone());
            self.cache.attach(slot, prefix.clone());
            let mut draw = std::mem::take(&mut self.draws[0]);
            (draw.seat, draw.length) = (Some(seat), 0);
            self.draw(&mut draw, prefix.logits());
            self.accept(slot, seat, draw.drawn)?;
            self.draws[0] = draw;
        }
        Ok(())
    }

    /// One token for every running sequence.
    fn step(&mut self) -> Result<()> {
        self.policy.decode(&mut self.cache, &self.feed, &mut self.logits)?;
        let mut draws = std::mem::take(&mut self.draws);
        draws.resize_with(self.feed.len(), Draw::default);
        for ((slot, seat), draw) in self.scheduler.running().zip(&mut draws) {
            (draw.seat, draw.length) = (Some(seat), self.running[slot].completion.len());
        }
        let vocab = self.policy.config().vocab_size;
        if self.logits.len() < 1 << 15 {
            let rows = draws.iter_mut().zip(self.logits.chunks(vocab));
            rows.for_each(|(draw, logits)| self.draw(draw, logits));
        } else {
            let rows = draws.par_iter_mut().zip(self.logits.par_chunks(vocab));
            rows.for_each(|(draw, logits)| self.draw(draw, logits));
        }
        for (i, draw) in draws.iter().enumerate() {
            let seat = draw.seat.expect("set above");
            self.accept(self.feed[i].0, seat, draw.drawn)?;
        }
        self.draws = draws;
        Ok(())
    }

    fn draw(&self, draw: &mut Draw, logits: &[f32]) {
        let seat = draw.seat.expect("a draw is for a sequence");
        let problem = self.requests[seat.group].problem;
        let uniform = self.key.uniform(draw.length as u32, seat.sibling as u32, problem);
        let early = draw.length < self.sampling.min_new_tokens;
        let suppressed = if early { &self.early } else { self.unused };
        draw.drawn = draw.sampler.draw(self.sampling, logits, suppressed, uniform);
    }

    /// Appends a token to the sequence in a slot, and ends it where it is complete.
    fn accept(&mut self, slot: usize, seat: Seat, drawn: Option<Drawn>) -> Result<()> {
        let running = &mut self.running[slot];
        let Some(drawn) = drawn else {
            return Err(Error::NotFinite { index: seat.group, length: running.completion.len() });
        };
        running.completion.push(drawn.token);
        running.log_probs.push(drawn.log_prob as f32);
        running.entropies.push(drawn.entropy as f32);
        running.phi_sums.push(drawn.phi_sum as f32);
        self.progress.tokens += 1;
        if let Some(finish) = self.finish(seat, &self.running[slot].completion) {
            let running = std::mem::take(&mut self.running[slot]);
            self.done[seat.group][seat.sibling] = Some(Trajectory {
                completion: running.completion,
                log_probs: running.log_probs,
                entropies: running.entropies,
                phi_sums: running.phi_sums,
                finish,
            });
            self.progress.finished += 1;
            self.cache.release(slot);
            let (_, last_of_group) = self.scheduler.finish(slot);
            if last_of_group {
                self.prefixes[seat.group] = None;
            }
        }
        Ok(())
    }

    /// Why a completion is complete, if it is.
    fn finish(&self, seat: Seat, completion: &[u32]) -> Option<Finish> {
        let last = completion.last()?;
        if self.stop_tokens.contains(last) {
            return Some(Finish::Stop);
        }
        let free_to_stop = completion.len() >= self.sampling.min_new_tokens;
        if free_to_stop && self.stop.is_some_and(|stop| stop.stops(completion)) {
            return Some(Finish::StopString);
        }
        let total = self.requests[seat.group].prompt.len() + completion.len();
        let full = completion.len() == self.sampling.max_new_tokens.get();
        (full || total >= self.policy.config().context).then_some(Finish::Length)
    }

    fn groups(self) -> Vec<Group> {
        let complete = |trajectory: Option<Trajectory>| trajectory.expect("every sequence ended");
        self.requests
            .iter()
            .zip(self.done)
            .map(|(request, done)| Group {
                prompt: request.prompt.clone(),
                trajectories: done.into_iter().map(complete).collect(),
            })
            .collect()
    }
}

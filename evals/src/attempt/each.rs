//! Sets of problems as one stream of completions, judged while it runs.

use std::sync::mpsc::{self, Receiver};
use std::{iter, thread};

use rollout::{Key, OnProgress, Progress, Request};

use super::{AskedSet, GradedGroup, Place, Sampled, Sampler};
use crate::Result;

/// Completions that are judged together.
const JUDGED_TOGETHER: usize = 64;

/// Receives a judged group, with the place of its problem.
pub type OnJudged<'a> = dyn FnMut(Place, GradedGroup) -> Result<()> + Send + 'a;

/// Samples completions of every problem of several sets, and judges them on a separate thread
/// meanwhile. Passes each judged group to `judged`, in the order of completion.
///
/// Sets that differ in neither policy, sampling, stop strings nor slots are one stream: the slots
/// that one set leaves free are given to the next. If `progress` breaks or sampling fails, the
/// groups that are complete are still judged and passed on.
///
/// # Errors
///
/// Fails where [`super::attempt`] does, and with what `judged` returns; sampling then ends within a
/// few steps.
pub fn attempt_each(
    sets: &[AskedSet<'_>],
    key: Key,
    progress: &mut OnProgress<'_>,
    judged: &mut OnJudged<'_>,
) -> Result<()> {
    let (complete, waiting) = mpsc::channel();
    thread::scope(|scope| {
        let judge = scope.spawn(move || judge(sets, &waiting, judged));
        let sampled = sample(sets, key, progress, &mut |place, group| {
            // Nobody listens once judging has failed, and then that is the error to report.
            complete.send((place, group)).map_err(|_| rollout::Error::Stopped)
        });
        drop(complete);
        judge.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        sampled
    })
}

/// Judges what comes, until nothing more does.
fn judge(
    sets: &[AskedSet<'_>],
    waiting: &Receiver<(Place, rollout::Group)>,
    judged: &mut OnJudged<'_>,
) -> Result<()> {
    while let Ok(first) = waiting.recv() {
        let together = JUDGED_TOGETHER.div_ceil(sets[first.0.set].samples.max(1));
        let mut batch: Vec<_> =
            iter::once(first).chain(waiting.try_iter().take(together - 1)).collect();
        while let Some((Place { set, .. }, _)) = batch.first() {
            let AskedSet { sampler, problems, greedy, .. } = sets[*set];
            let of_set = |(place, _): &(Place, _)| place.set == *set;
            let others = batch.iter().position(|one| !of_set(one)).unwrap_or(batch.len());
            let rest = batch.split_off(others);
            let (places, groups): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let draws: Vec<_> = places.iter().map(|place| problems[place.problem]).collect();
            let graded = sampler.judge(&draws, Sampled { groups, greedy })?;
            places.into_iter().zip(graded).try_for_each(|(place, group)| judged(place, group))?;
            batch = rest;
        }
    }
    Ok(())
}

/// Receives a group that is complete, with the place of its problem.
type OnComplete<'a> = dyn FnMut(Place, rollout::Group) -> rollout::Result<()> + 'a;

/// Samples the sets, stream by stream.
fn sample(
    sets: &[AskedSet<'_>],
    key: Key,
    progress: &mut OnProgress<'_>,
    complete: &mut OnComplete<'_>,
) -> Result<()> {
    let asked = |set: &AskedSet<'_>| set.problems.len() * (set.samples + usize::from(set.greedy));
    let sequences = sets.iter().map(asked).sum();
    let mut before = Progress { finished: 0, sequences, tokens: 0 };
    let mut streams: Vec<Vec<usize>> = Vec::new();
    for (index, set) in sets.iter().enumerate() {
        let joins = |stream: &&mut Vec<usize>| set.sampler.streams_with(&sets[stream[0]].sampler);
        match streams.iter_mut().find(joins) {
            Some(stream) => stream.push(index),
            None => streams.push(vec![index]),
        }
    }
    // All prompts before anything is sampled: one that cannot be made is found at once.
    let streams: Vec<_> =
        streams.iter().map(|stream| requests(sets, stream)).collect::<Result<_>>()?;
    for (requests, places) in streams {
        let Some(first) = places.first() else { continue };
        let mut now = before;
        let mut on_progress = |progressed: Progress| {
            now.finished = before.finished + progressed.finished;
            now.tokens = before.tokens + progressed.tokens;
            progress(now)
        };
        sets[first.set].sampler.generate(key, |generator| {
            generator.generate_each(&requests, &mut on_progress, &mut |index, group| {
                complete(places[index], group)
            })
        })?;
        before = now;
    }
    Ok(())
}

/// The requests of a stream, each with the place of its problem.
fn requests(sets: &[AskedSet<'_>], stream: &[usize]) -> Result<(Vec<Request>, Vec<Place>)> {
    let (mut requests, mut places) = (Vec::new(), Vec::new());
    for &set in stream {
        let AskedSet { sampler, problems, samples, greedy } = sets[set];
        requests.extend(sampler.requests(problems, samples, greedy)?);
        places.extend((0..problems.len()).map(|problem| Place { set, problem }));
    }
    Ok((requests, places))
}

impl Sampler<'_> {
    /// Whether its completions and those of `other` can be decoded together.
    fn streams_with(&self, other: &Self) -> bool {
        std::ptr::eq(self.model, other.model)
            && std::ptr::eq(self.text, other.text)
            && self.sampling == other.sampling
            && self.style.stop == other.style.stop
            && self.slots == other.slots
    }
}

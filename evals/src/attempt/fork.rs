//! A completion that is continued again from one of its tokens.

use std::sync::mpsc::{self, Receiver};
use std::thread;

use rewards::{Attempt, Problem};
use rollout::{Finish, Key, OnProgress, Request, Trajectory};

use super::{Completion, Sampler};
use crate::Result;

/// A completion of which the beginning is kept.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// The problem.
    pub problem: &'a Problem,
    /// Tokens of its prompt.
    pub prompt: &'a [u32],
    /// The tokens that are kept.
    pub kept: &'a [u32],
    /// What the random numbers depend on besides their key.
    pub number: u64,
}

/// Receives a judged continuation with its number. Its text and its verdict are of the whole
/// completion, its trajectory of the new tokens.
pub type OnContinued<'a> = dyn FnMut(usize, Completion) -> Result<()> + Send + 'a;

/// Continues a completion `count` times, and judges on a separate thread meanwhile. Passes each
/// whole completion to `judged`, in the order in which they end.
///
/// The tokens that are kept do not count for `max_new_tokens`.
///
/// # Errors
///
/// Fails where [`super::attempt`] does, and with what `judged` returns; sampling then ends within a
/// few steps.
pub fn continue_each(
    sampler: &Sampler<'_>,
    begun: &Begun<'_>,
    count: usize,
    key: Key,
    progress: &mut OnProgress<'_>,
    judged: &mut OnContinued<'_>,
) -> Result<()> {
    let request = Request {
        prompt: begun.prompt.to_vec(),
        prefix: begun.kept.to_vec(),
        problem: begun.number,
        group_size: count,
        greedy: false,
    };
    let (complete, waiting) = mpsc::channel();
    thread::scope(|scope| {
        let judge = scope.spawn(move || judge(sampler, begun, &waiting, judged));
        let sampled = sampler.generate(key, |generator| {
            generator.generate_sequences(&[request], progress, &mut |id, trajectory| {
                // Nobody listens once judging has failed, and then that is the error to report.
                complete.send((id.sibling, trajectory)).map_err(|_| rollout::Error::Stopped)
            })
        });
        drop(complete);
        judge.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(sampled?)
    })
}

/// Judges what comes, until nothing more does: one by one, since somebody waits for each.
fn judge(
    sampler: &Sampler<'_>,
    begun: &Begun<'_>,
    waiting: &Receiver<(usize, Trajectory)>,
    judged: &mut OnContinued<'_>,
) -> Result<()> {
    let hidden = sampler.text.hidden_tokens(&sampler.style.keep_special_tokens)?;
    for (number, trajectory) in waiting {
        // Decoded together: a character may be split over the boundary.
        let whole = [begun.kept, &trajectory.completion].concat();
        let text = sampler.text.decode_without(&whole, &hidden)?;
        let verdict = sampler.rubric.judge(&[attempt(sampler, begun, &trajectory, &text)])?.pop();
        let verdict = verdict.expect("a verdict for each attempt");
        judged(number, Completion { text, trajectory, judged: verdict })?;
    }
    Ok(())
}

fn attempt<'a>(
    sampler: &Sampler<'_>,
    begun: &Begun<'a>,
    new: &Trajectory,
    text: &'a str,
) -> Attempt<'a> {
    let kept = begun.kept.len();
    Attempt {
        problem: begun.problem,
        text,
        num_tokens: kept + new.completion.len(),
        max_tokens: kept.saturating_add(sampler.sampling.max_new_tokens.get()),
        truncated: new.finish == Finish::Length,
    }
}

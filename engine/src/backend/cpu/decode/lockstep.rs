//! A step of several caches at a time: a block of weights serves all of them.

use std::borrow::Cow;

use rayon::iter::{IntoParallelRefMutIterator, ParallelIterator};

use super::{Angles, Buffers, Rows, Slot, Step, not_finite, with_slices};
use crate::backend::cpu::head::{End, logits_each};
use crate::policy::SharedRows;
use crate::stream::{PassTerms, Share};
use crate::{Policy, Result};
use kernels::threads::{Threads, with_team};

/// A policy, its cache, and the rows that a step adds.
pub(crate) struct Member<'a> {
    pub(crate) policy: Policy<'a>,
    pub(crate) buffers: &'a mut Buffers,
    pub(crate) slots: &'a mut [Slot],
    pub(crate) feed: &'a [(usize, u32)],
    pub(crate) logits: &'a mut Vec<f32>,
}

/// One step of each member. They differ in what perturbs the weights of `base`. The results say
/// whose logits are not finite.
pub(crate) fn step_each(base: Policy<'_>, members: &mut [Member<'_>]) -> Result<Vec<Result<()>>> {
    let _held = hold(base, members)?;
    for Member { policy, buffers, slots, feed, logits } in members.iter_mut() {
        logits.resize(feed.len() * policy.config().vocab_size, 0.0);
        buffers.prepare(*policy, slots, feed);
    }
    let diverged = run_each(base, members);
    // A step whose weights were not available has added no row.
    let added = usize::from(diverged.is_ok());
    for Member { buffers, slots, feed, .. } in members {
        buffers.put_back(slots, feed, added);
    }
    let result = |position| if let Some(at) = position { Err(not_finite(at)) } else { Ok(()) };
    Ok(diverged?.into_iter().map(result).collect())
}

/// Takes the memory of a step, where the weights count it.
fn hold(base: Policy<'_>, members: &[Member<'_>]) -> Result<Option<Share>> {
    base.hold(|| {
        let rows = members.iter().map(|member| member.feed.len());
        let (all, most) = (rows.clone().sum(), rows.max().unwrap_or(0));
        // What the caches keep from step to step.
        let kept = members.iter().map(|Member { feed, slots, .. }| {
            let fed = feed.iter().map(|&(slot, _)| slots[slot].position() + 1);
            let scores = fed.clone().map(|positions| PassTerms::scores(base.config(), positions));
            PassTerms::angles(base.config(), fed.max().unwrap_or(0)) + scores.sum::<usize>()
        });
        PassTerms::decode(base.config(), base.precision(), [all, most], kept.sum())
    })
}

/// A member on its way through the blocks.
struct Walk<'a> {
    step: Step<'a>,
    shares: Vec<Walking<'a>>,
}

/// One share of its rows.
struct Walking<'a> {
    rows: Rows<'a>,
    angles: Angles,
    x: Vec<f32>,
}

/// For each member, the least position whose logits are not finite.
fn run_each(base: Policy<'_>, members: &mut [Member<'_>]) -> Result<Vec<Option<usize>>> {
    let tokens: Vec<Vec<u32>> = members
        .iter()
        .map(|member| member.feed.iter().map(|&(_, token)| token).collect())
        .collect();
    let shared = base.shared_rows(tokens.iter().map(Vec::as_slice))?;
    let walks = members.iter_mut().map(|member| Walk::begin(member, shared.as_ref()));
    let mut walks = walks.collect::<Result<Vec<_>>>()?;
    drop((shared, tokens));
    for layer in 0..base.config().num_layers {
        let block = base.base_block(layer)?;
        for walk in &mut walks {
            let completed = walk.step.policy.completed(layer, Cow::Borrowed(&*block))?;
            let precision = walk.step.policy.precision();
            with_slices(&completed, precision, None, |weights| {
                let step = &walk.step;
                let through = |threads: Threads<'_>, Walking { rows, angles, x }: &mut _| {
                    *x = step.block(threads, layer, (weights, angles), x, rows);
                };
                match &mut walk.shares[..] {
                    [share] => with_team(|threads| through(threads, share)),
                    shares => shares.par_iter_mut().for_each(|share| through(Threads::One, share)),
                }
            })?;
        }
    }
    let mut ends = Vec::new();
    for Walk { step, shares } in &mut walks {
        for Walking { rows, x, .. } in shares {
            let x = step.norm(Threads::Pool, x)?;
            ends.push(End { policy: step.policy, x, logits: rows.logits });
        }
    }
    logits_each(Threads::Pool, &base.head()?, &mut ends)?;
    drop(ends);
    base.weights.end_pass()?;
    let diverged = |Walk { step, shares }: &Walk<'_>| {
        shares.iter().filter_map(|share| step.diverged(&share.rows)).min()
    };
    Ok(walks.iter().map(diverged).collect())
}

impl<'a> Walk<'a> {
    fn begin(member: &'a mut Member<'_>, shared: Option<&SharedRows>) -> Result<Self> {
        let Member { policy, buffers, feed, logits, .. } = member;
        let (step, shares) = buffers.shares(*policy, feed, logits);
        let begin = |rows| {
            let (angles, x) = (step.angles(&rows), step.embed(&rows, shared)?);
            Ok(Walking { rows, angles, x })
        };
        let shares = shares.into_iter().map(begin).collect::<Result<_>>()?;
        Ok(Self { step, shares })
    }
}

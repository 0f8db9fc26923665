//! From groups to micro-batches: rows up to a budget, a prompt once for the siblings beside it.

use engine::{Packed, Target};

/// A prompt and the completions of it that a step learns from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prompted {
    pub(crate) prompt: Vec<u32>,
    pub(crate) samples: Vec<Sample>,
}

/// A completion with its columns, one entry for each token that is learnt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) completion: Vec<u32>,
    /// Which tokens of the completion are learnt; empty where all are. The others, such as a user's
    /// turn between two of the assistant, are in no column, no count and no loss.
    pub(crate) learnt: Vec<bool>,
    /// By the policy that sampled it; empty where nobody did.
    pub(crate) rollout_log_probs: Vec<f32>,
    /// What the ratio is taken against; empty where the loss has none.
    pub(crate) old_log_probs: Vec<f32>,
    /// By the reference model; empty where the loss does not ask.
    pub(crate) ref_log_probs: Vec<f32>,
    /// Of the distributions that the tokens were drawn from, like the old log-probs.
    pub(crate) entropies: Vec<f32>,
    /// The sums behind the entropy sensitivity, like the old log-probs.
    pub(crate) phi_sums: Vec<f32>,
    /// Of the whole completion.
    pub(crate) advantage: f64,
    pub(crate) weights: Vec<f64>,
    /// Factors of the distance from the old log-probs; empty where the loss has none.
    pub(crate) penalties: Vec<f64>,
    /// For rollouts of another precision; empty where nothing is corrected.
    pub(crate) importance: Vec<f64>,
    /// It is in no count and no loss.
    pub(crate) filtered: bool,
    /// The loss has no gradient in its tokens, so they are not computed.
    pub(crate) without_gradient: bool,
}

impl Sample {
    /// Tokens that are learnt: the length of each column.
    pub(crate) fn num_learnt(&self) -> usize {
        if self.learnt.is_empty() {
            return self.completion.len();
        }
        self.learnt.iter().filter(|&&learnt| learnt).count()
    }
}

/// What one forward and backward pass holds.
#[derive(Debug, Default)]
pub(crate) struct MicroBatch<'a> {
    pub(crate) packed: Packed,
    /// Of all samples, one after the other.
    pub(crate) targets: Vec<Target>,
    pub(crate) samples: Vec<&'a Sample>,
}

/// Packs the samples of `groups` that are to `keep`, in order, into packs of at most `budget` rows.
///
/// A sample that is longer than the budget by itself gets a pack of its own.
pub(crate) fn pack(
    groups: &[Prompted],
    budget: usize,
    keep: impl Fn(&Sample) -> bool,
) -> engine::Result<Vec<MicroBatch<'_>>> {
    let mut packs: Vec<MicroBatch<'_>> = Vec::new();
    for group in groups {
        // The group's prompt in the last pack, once it is there.
        let mut prompt = None;
        for sample in group.samples.iter().filter(|sample| keep(sample)) {
            let own = sample.completion.len().saturating_sub(1);
            let rows = own + if prompt.is_some() { 0 } else { group.prompt.len() };
            if packs.last().is_none_or(|last| last.packed.rows() + rows > budget) {
                packs.push(MicroBatch::default());
                prompt = None;
            }
            let last = packs.last_mut().expect("one was pushed if there was none");
            let parent = match prompt {
                Some(parent) => parent,
                None => last.packed.push(&group.prompt, None)?,
            };
            prompt = Some(parent);
            let targets = last.packed.push_completion(parent, &sample.completion)?;
            let learnt = |at: usize| sample.learnt.get(at).is_none_or(|&learnt| learnt);
            let targets = targets.into_iter().enumerate().filter(|(at, _)| learnt(*at));
            last.targets.extend(targets.map(|(_, target)| target));
            last.samples.push(sample);
        }
    }
    Ok(packs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn groups(shape: &[(usize, Vec<usize>)]) -> Vec<Prompted> {
        let mut next = 0..;
        let mut tokens = |n: usize| next.by_ref().take(n).collect::<Vec<u32>>();
        let mut group = |(prompt, completions): &(usize, Vec<usize>)| {
            let prompt = tokens(*prompt);
            let sample = |&n: &usize| Sample { completion: tokens(n), ..Sample::default() };
            Prompted { prompt, samples: completions.iter().map(sample).collect() }
        };
        shape.iter().map(&mut group).collect()
    }

    #[test]
    fn siblings_share_their_prompt_and_a_split_group_has_it_twice() {
        let groups = groups(&[(4, vec![3, 3, 3])]);
        let rows = |budget| -> Vec<usize> {
            pack(&groups, budget, |_| true).unwrap().iter().map(|part| part.packed.rows()).collect()
        };
        assert_eq!(rows(100), [4 + 3 * 2]);
        assert_eq!(rows(8), [8, 6]);
        assert_eq!(rows(1), [6, 6, 6]);
    }

    #[test]
    fn what_is_not_learnt_is_computed_and_no_target() {
        let mut groups = groups(&[(2, vec![4])]);
        let whole = pack(&groups, 100, |_| true).unwrap();
        let (rows, targets) = (whole[0].packed.rows(), whole[0].targets.clone());
        groups[0].samples[0].learnt = vec![true, false, false, true];
        assert_eq!(groups[0].samples[0].num_learnt(), 2);
        let part = pack(&groups, 100, |_| true).unwrap();
        assert_eq!(part[0].packed.rows(), rows);
        assert_eq!(part[0].targets, [targets[0], targets[3]]);
    }

    proptest! {
        #[test]
        fn every_token_is_a_target_once_in_order_and_budgets_hold(
            shape in prop::collection::vec((1_usize..6, prop::collection::vec(1_usize..9, 1..5)), 1..6),
            budget in 1_usize..40,
        ) {
            let groups = groups(&shape);
            let packs = pack(&groups, budget, |_| true).unwrap();
            let samples = groups.iter().flat_map(|group| &group.samples);
            let wanted: Vec<u32> = samples.flat_map(|sample| sample.completion.clone()).collect();
            let targets = packs.iter().flat_map(|pack| &pack.targets);
            let got: Vec<u32> = targets.map(|target| target.token).collect();
            prop_assert_eq!(got, wanted);
            for pack in &packs {
                prop_assert!(pack.packed.rows() <= budget || pack.samples.len() == 1);
            }
        }
    }
}

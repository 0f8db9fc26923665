//! From groups to micro-batches of at most a number of rows; siblings in one share their prompt.

use std::ops::Range;

use engine::{Packed, Policy, Scores, Target};

use super::table::{Part, Table};

/// What one forward and backward pass holds.
#[derive(Debug)]
pub(crate) struct MicroBatch<'a> {
    pub(crate) packed: Packed,
    /// The learnt tokens of all samples, in order.
    pub(crate) targets: Vec<Target>,
    pub(crate) part: Part<'a>,
}

/// `0..groups` in `count` runs of nearly equal length; runs without a group are left out.
pub(crate) fn parts(groups: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    let bound = move |part: usize| part * groups / count;
    (0..count).map(move |part| bound(part)..bound(part + 1)).filter(|part| !part.is_empty())
}

/// Packs the samples of `groups` that `keep` selects, in this order, into packs of at most `budget`
/// rows.
///
/// A sample that is longer than the budget gets a pack of its own.
pub(crate) fn pack(
    table: &Table,
    groups: impl IntoIterator<Item = usize>,
    budget: usize,
    keep: impl Fn(usize) -> bool,
) -> engine::Result<Vec<MicroBatch<'_>>> {
    let mut packs: Vec<MicroBatch<'_>> = Vec::new();
    // The segment of a group's prompt in the last pack, once it is there.
    let mut prompt = None;
    let samples = groups.into_iter().flat_map(|group| table.samples_of(group));
    for index in samples.filter(|&sample| keep(sample)) {
        let sample = &table.samples[index];
        let tokens = &table.prompts[sample.group];
        let completion = &table.tokens[sample.tokens.clone()];
        prompt = prompt.filter(|&(group, _)| group == sample.group);
        let own = completion.len().saturating_sub(1);
        let rows = own + if prompt.is_some() { 0 } else { tokens.len() };
        if packs.last().is_none_or(|last| last.packed.rows() + rows > budget) {
            let (packed, targets) = Default::default();
            packs.push(MicroBatch { packed, targets, part: table.part(Vec::new()) });
            prompt = None;
        }
        let last = packs.last_mut().expect("one was pushed if there was none");
        let parent = match prompt {
            Some((_, parent)) => parent,
            None => last.packed.push(tokens, None)?,
        };
        prompt = Some((sample.group, parent));
        let targets = last.packed.push_completion(parent, completion)?;
        let targets = targets.into_iter().zip(&table.learnt[sample.tokens.clone()]);
        last.targets.extend(targets.filter(|(_, learnt)| **learnt).map(|(target, _)| target));
        last.part.samples.push(index);
    }
    Ok(packs)
}

/// The scores of all learnt tokens, without a graph.
pub(crate) fn score(
    policy: Policy<'_>,
    table: &Table,
    temperature: f64,
    budget: usize,
) -> engine::Result<Scores> {
    let mut all = Scores::default();
    for pack in pack(table, 0..table.prompts.len(), budget, |_| true)? {
        let scores = policy.score(&pack.packed, &pack.targets, temperature)?;
        all.log_probs.extend(scores.log_probs);
        all.entropies.extend(scores.entropies);
        all.phi_sums.extend(scores.phi_sums);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(shape: &[(usize, Vec<usize>)]) -> Table {
        let mut next = 0..;
        let mut tokens = |n: usize| next.by_ref().take(n).collect::<Vec<u32>>();
        let mut table = Table::default();
        for (prompt, completions) in shape {
            table.push_prompt(tokens(*prompt));
            for &completion in completions {
                table.push_completion(&tokens(completion));
            }
        }
        table
    }

    fn all(table: &Table, budget: usize) -> Vec<MicroBatch<'_>> {
        pack(table, 0..table.prompts.len(), budget, |_| true).unwrap()
    }

    #[test]
    fn groups_are_split_evenly_and_none_is_lost() {
        let sizes = |count| parts(7, count).map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(sizes(1), [7]);
        assert_eq!(sizes(3), [2, 2, 3]);
        assert_eq!(sizes(9).len(), 7);
    }

    #[test]
    fn siblings_share_their_prompt_and_a_split_group_has_it_twice() {
        let table = table(&[(4, vec![3, 3, 3])]);
        let rows = |budget| -> Vec<usize> {
            all(&table, budget).iter().map(|part| part.packed.rows()).collect()
        };
        assert_eq!(rows(100), [4 + 3 * 2]);
        assert_eq!(rows(8), [8, 6]);
        assert_eq!(rows(1), [6, 6, 6]);
    }

    #[test]
    fn only_the_samples_of_the_groups_asked_for_are_packed() {
        let table = table(&[(1, vec![1, 1]), (1, vec![1]), (1, vec![1, 1])]);
        let packs = pack(&table, 1..3, 100, |sample| sample != 3).unwrap();
        assert_eq!(packs.len(), 1);
        assert_eq!(packs[0].part.samples, [2, 4]);
    }

    #[test]
    fn what_is_not_learnt_is_computed_and_no_target() {
        let with = |learnt: &[bool]| {
            let mut table = Table::default();
            table.push_prompt(vec![1, 2]);
            table.push_target(&[3, 4, 5, 6], learnt);
            let packs = all(&table, 100);
            (packs[0].packed.rows(), packs[0].targets.clone())
        };
        let (rows, targets) = with(&[true; 4]);
        let part = with(&[true, false, false, true]);
        assert_eq!(part, (rows, vec![targets[0], targets[3]]));
    }

    proptest! {
        #[test]
        fn every_token_is_a_target_once_in_order_and_budgets_hold(
            shape in prop::collection::vec((1_usize..6, prop::collection::vec(1_usize..9, 1..5)), 1..6),
            budget in 1_usize..40,
        ) {
            let table = table(&shape);
            let packs = all(&table, budget);
            let targets = packs.iter().flat_map(|pack| &pack.targets);
            let got: Vec<u32> = targets.map(|target| target.token).collect();
            prop_assert_eq!(&got, &table.tokens);
            for pack in &packs {
                prop_assert!(pack.packed.rows() <= budget || pack.part.samples.len() == 1);
            }
        }
    }
}

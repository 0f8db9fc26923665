//! What the majority of several completions answers, and whether that is right.

/// Classes of equal answers of one problem's completions, in their order: an answer joins the first
/// class whose first member is the `same`, else it begins one. No answer has no class.
pub fn classes(
    answers: &[Option<&str>],
    mut same: impl FnMut(&str, &str) -> bool,
) -> Vec<Option<usize>> {
    let mut first: Vec<&str> = Vec::new();
    let mut class = |answer| {
        let found = first.iter().position(|member| same(member, answer));
        found.unwrap_or_else(|| {
            first.push(answer);
            first.len() - 1
        })
    };
    answers.iter().map(|answer| answer.map(&mut class)).collect()
}

/// maj@k of one problem: the share of votes of `k` completions that the right answer wins, mean
/// over the disjoint blocks of `k` among the completions in their order.
///
/// `votes` holds each completion's class, `None` for one that does not vote; `right` says which
/// classes are right. Where classes tie, each has an equal share of the block. A block without a
/// vote is lost. Blocks of independent completions are independent votes, so the mean is unbiased;
/// completions after the last whole block are not counted.
///
/// # Panics
///
/// Panics when `k` is 0 or more than the completions.
pub fn majority_at(votes: &[Option<usize>], right: &[bool], k: usize) -> f64 {
    let samples = votes.len();
    assert!((1..=samples).contains(&k), "maj@{k} of {samples} samples is not defined");
    let blocks = votes.chunks_exact(k);
    let num_blocks = blocks.len() as f64;
    blocks.map(|block| won(block, right)).sum::<f64>() / num_blocks
}

/// The right classes' share of the classes with the most votes.
fn won(block: &[Option<usize>], right: &[bool]) -> f64 {
    let mut counts = vec![0_usize; right.len()];
    block.iter().flatten().for_each(|&class| counts[class] += 1);
    let most = counts.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return 0.0;
    }
    let tied = counts.iter().zip(right).filter(|(count, _)| **count == most);
    let (tied, won) = tied
        .fold((0_usize, 0_usize), |(tied, won), (_, right)| (tied + 1, won + usize::from(*right)));
    won as f64 / tied as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_answers_share_a_class_and_no_answer_has_none() {
        let answers = [Some("1/2"), None, Some("7"), Some("0.5"), Some("7"), Some("x")];
        let found = classes(&answers, |a, b| {
            rewards::equivalent(a, b, rewards::Strictness::Eval) == rewards::Equivalence::Equal
        });
        assert_eq!(found, [Some(0), None, Some(1), Some(0), Some(1), Some(2)]);
        assert_eq!(classes(&[], |_, _| true), []);
    }

    #[test]
    fn ties_are_shares_and_no_answer_does_not_vote() {
        let right = [true, false, false];
        let check = |votes: &[Option<usize>], k, expected: f64| {
            let found = majority_at(votes, &right, k);
            assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
        };
        check(&[Some(0), Some(0), Some(1)], 3, 1.0);
        check(&[Some(0), Some(1), Some(1)], 3, 0.0);
        check(&[Some(0), Some(1), Some(2)], 3, 1.0 / 3.0);
        // Two that are silent would outvote the one that is right.
        check(&[Some(0), None, None], 3, 1.0);
        check(&[None; 3], 3, 0.0);
        // Two blocks of two and one that is left over.
        check(&[Some(0), Some(0), Some(0), Some(1), Some(0)], 2, 0.75);
        check(&[Some(0), Some(1), Some(0)], 1, 2.0 / 3.0);
    }

    /// Every ordering of the classes in a block is as likely as any other, so over all orderings of
    /// the completions maj@k is the mean over all subsets of k.
    fn over_all_subsets(votes: &[Option<usize>], right: &[bool], k: usize) -> f64 {
        let subsets = (0_u32..1 << votes.len()).filter(|set| set.count_ones() as usize == k);
        let values: Vec<f64> = subsets
            .map(|set| {
                let chosen = (0..votes.len()).filter(|i| set & (1 << i) != 0).map(|i| votes[i]);
                let chosen: Vec<_> = chosen.collect();
                let count = |class: usize| chosen.iter().filter(|v| **v == Some(class)).count();
                let most = (0..right.len()).map(count).max().unwrap_or(0);
                let tied: Vec<usize> =
                    (0..right.len()).filter(|c| most > 0 && count(*c) == most).collect();
                let good = tied.iter().filter(|class| right[**class]).count();
                if tied.is_empty() { 0.0 } else { good as f64 / tied.len() as f64 }
            })
            .collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn permutations(votes: &[Option<usize>]) -> Vec<Vec<Option<usize>>> {
        if votes.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for at in 0..votes.len() {
            let mut rest = votes.to_vec();
            let first = rest.remove(at);
            all.extend(permutations(&rest).into_iter().map(|mut tail| {
                tail.insert(0, first);
                tail
            }));
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn over_all_orderings_it_is_the_mean_over_all_subsets(
            votes in prop::collection::vec(prop::option::of(0_usize..3), 1..=6),
            right in prop::array::uniform3(any::<bool>()),
            k in 1_usize..=6,
        ) {
            prop_assume!(k <= votes.len());
            let orderings = permutations(&votes);
            let all: f64 = orderings.iter().map(|one| majority_at(one, &right, k)).sum();
            let mean = all / orderings.len() as f64;
            let expected = over_all_subsets(&votes, &right, k);
            prop_assert!((mean - expected).abs() < 1e-9, "{mean} {expected}");
        }
    }
}

//! Whether one of several completions solves a problem, and how many solve it differently.

use std::collections::BTreeSet;

use rewards::Outcome;

use crate::attempt::{Completion, GradedGroup};

/// Chance that at least one of `k` completions is correct, drawn without replacement from `samples`
/// of which `correct` are; the unbiased estimate for completions drawn independently.
///
/// Source: Chen et al., arXiv 2107.03374, equation 1 and figure 3: 1 - C(n - c, k) / C(n, k).
///
/// # Panics
///
/// Panics when `k` is 0 or more than `samples`, or `correct` is more than `samples`.
pub fn pass_at(samples: usize, correct: usize, k: usize) -> f64 {
    assert!((1..=samples).contains(&k), "pass@{k} of {samples} samples is not defined");
    assert!(correct <= samples, "{correct} of {samples} samples are correct");
    if samples - correct < k {
        return 1.0;
    }
    let none: f64 = (samples - correct + 1..=samples).map(|i| 1.0 - k as f64 / i as f64).product();
    1.0 - none
}

/// The values of k for which pass@k is reported: 1, 2, 4 and so on up to `samples`.
pub fn pass_sizes(samples: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_usize), |k| k.checked_mul(2)).take_while(move |k| *k <= samples)
}

/// pass@k for each of [`pass_sizes`], mean over the groups that could be judged; of groups of
/// several sizes, up to the smallest. Empty for no groups.
pub fn pass_rates(groups: &[GradedGroup]) -> Vec<(usize, f64)> {
    let counts: Vec<_> = groups
        .iter()
        .filter(|group| !group.unjudged())
        .map(|group| (group.completions.len(), group.num_correct()))
        .collect();
    let smallest = counts.iter().map(|(samples, _)| *samples).min().unwrap_or(0);
    let mean = |k| {
        let rates = counts.iter().map(|&(samples, correct)| pass_at(samples, correct, k));
        rates.sum::<f64>() / counts.len() as f64
    };
    pass_sizes(smallest).map(|k| (k, mean(k))).collect()
}

impl GradedGroup {
    /// How many of its completions are correct.
    pub fn num_correct(&self) -> usize {
        self.correct().count()
    }

    /// How many different texts its correct completions have, white space around them aside.
    pub fn num_distinct_correct(&self) -> usize {
        self.correct().map(|one| one.text.trim()).collect::<BTreeSet<_>>().len()
    }

    fn correct(&self) -> impl Iterator<Item = &Completion> {
        self.completions.iter().filter(|one| one.judged.outcome == Outcome::Correct)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rollout::Finish;

    use super::*;
    use crate::evaluate::tests::group;

    /// Share of all subsets of `k` with a correct member; the first `correct` are.
    fn counted(samples: usize, correct: usize, k: usize) -> f64 {
        let subsets = (0_u32..1 << samples).filter(|set| set.count_ones() as usize == k);
        let (all, with) = subsets.fold((0, 0), |(all, with), set| {
            (all + 1, with + u32::from(set & ((1 << correct) - 1) != 0))
        });
        f64::from(with) / f64::from(all)
    }

    proptest! {
        #[test]
        fn it_is_the_share_of_subsets_with_a_correct_member(
            samples in 1_usize..=10, correct in 0_usize..=10, k in 1_usize..=10
        ) {
            prop_assume!(correct <= samples && k <= samples);
            let found = pass_at(samples, correct, k);
            prop_assert!((found - counted(samples, correct, k)).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn many_samples_do_not_overflow() {
        assert!((pass_at(100_000, 1, 50_000) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_step_has_the_mean_over_its_groups() {
        use Outcome::{Correct, GoldUnparseable, Wrong};
        let groups = [
            group(Finish::Stop, &[Correct, Wrong, Wrong, Wrong]),
            group(Finish::Stop, &[Wrong; 4]),
            group(Finish::Stop, &[GoldUnparseable; 4]),
        ];
        assert_eq!(pass_rates(&groups), [(1, 0.125), (2, 0.25), (4, 0.5)]);
        assert_eq!(pass_rates(&groups[..1]).last(), Some(&(4, 1.0)));
        assert_eq!(pass_rates(&[]), []);
    }

    #[test]
    fn equal_answers_count_once() {
        let mut group = group(Finish::Stop, &[Outcome::Correct; 3]);
        assert_eq!(group.num_distinct_correct(), 1);
        group.completions[1].text = "2+2=4".into();
        group.completions[2].text = " 4\n".into();
        assert_eq!((group.num_correct(), group.num_distinct_correct()), (3, 2));
        group.completions[1].judged.outcome = Outcome::Wrong;
        assert_eq!(group.num_distinct_correct(), 1);
    }
}

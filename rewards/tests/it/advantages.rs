//! Advantages against restatements, with mutants that have to be caught.

use proptest::prelude::*;
use rewards::{AdvantageConfig, GroupRewards};

/// Rewards and lengths of each group.
type Step = Vec<Vec<(f64, usize)>>;

/// The advantages of a step with one group; the lengths do not matter to those that look at a
/// group.
pub(crate) fn of_group(config: &AdvantageConfig, rewards: &[f64]) -> Vec<f64> {
    let lengths: Vec<usize> = (1..=rewards.len()).collect();
    config.advantages(&[GroupRewards { rewards, lengths: &lengths }]).remove(0)
}

fn of_step(config: AdvantageConfig, step: &Step) -> Vec<Vec<f64>> {
    let columns: Vec<(Vec<f64>, Vec<usize>)> =
        step.iter().map(|group| group.iter().copied().unzip()).collect();
    let groups: Vec<GroupRewards<'_>> =
        columns.iter().map(|(rewards, lengths)| GroupRewards { rewards, lengths }).collect();
    config.advantages(&groups)
}

fn all() -> [AdvantageConfig; 6] {
    [
        AdvantageConfig::default(),
        AdvantageConfig::DrGrpo {},
        AdvantageConfig::Rloo {},
        AdvantageConfig::ReinforcePlusPlus {},
        AdvantageConfig::ReinforcePlusPlusBaseline {},
        AdvantageConfig::Gpg {},
    ]
}

/// Those whose advantages sum to zero in a group.
fn zero_sum() -> [AdvantageConfig; 4] {
    let [grpo, dr_grpo, rloo, .., gpg] = all();
    [grpo, dr_grpo, rloo, gpg]
}

const WHITENING: [AdvantageConfig; 2] =
    [AdvantageConfig::ReinforcePlusPlus {}, AdvantageConfig::ReinforcePlusPlusBaseline {}];

// Restatements ---------------------------------------------------------------------------------

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Rewards less what `baseline` makes of the group and the attempt's place in it.
fn less(step: &Step, baseline: impl Fn(&[f64], usize) -> f64) -> Vec<Vec<f64>> {
    let of = |group: &Vec<(f64, usize)>| {
        let rewards: Vec<f64> = group.iter().map(|one| one.0).collect();
        (0..rewards.len()).map(|i| rewards[i] - baseline(&rewards, i)).collect()
    };
    step.iter().map(of).collect()
}

fn group_mean(rewards: &[f64], _: usize) -> f64 {
    if rewards.len() == 1 { 0.0 } else { mean(rewards) }
}

fn mean_of_the_others(rewards: &[f64], i: usize) -> f64 {
    let mut others = rewards.to_vec();
    others.remove(i);
    if others.is_empty() { 0.0 } else { mean(&others) }
}

/// Every value standardized by the values repeated once a token, as `tokens` counts them.
fn whiten(
    values: &[Vec<f64>],
    step: &Step,
    tokens: fn(usize) -> usize,
    ddof: f64,
) -> Vec<Vec<f64>> {
    let attempts = values.iter().flatten().zip(step.iter().flatten());
    let column: Vec<f64> = attempts
        .flat_map(|(value, (_, length))| std::iter::repeat_n(*value, tokens(*length)))
        .collect();
    let centre = mean(&column);
    let squares: f64 = column.iter().map(|x| (x - centre).powi(2)).sum();
    let variance = squares / (column.len() as f64 - ddof);
    let standardize = |x: &f64| (x - centre) / (variance + 1e-8).sqrt();
    values.iter().map(|group| group.iter().map(standardize).collect()).collect()
}

fn times(factor: f64, values: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    values.into_iter().map(|group| group.into_iter().map(|x| factor * x).collect()).collect()
}

/// A step with groups that differ, one that does not, and one of one.
fn usual() -> Step {
    vec![
        vec![(1.0, 3), (0.0, 12), (0.0, 7), (1.0, 5)],
        vec![(0.0, 4), (0.0, 9)],
        vec![(0.75, 1), (-0.25, 20), (0.5, 2)],
        vec![(0.5, 6)],
    ]
}

fn distance(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b).flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b)
    });
    pairs.map(|(a, b)| (a - b).abs()).max_by(f64::total_cmp).unwrap()
}

#[test]
fn advantages_are_those_of_the_formulas() {
    let step = usual();
    let raw = less(&step, |_, _| 0.0);
    let centred = less(&step, group_mean);
    let expected = [
        (AdvantageConfig::DrGrpo {}, centred.clone()),
        (AdvantageConfig::Rloo {}, less(&step, mean_of_the_others)),
        (AdvantageConfig::ReinforcePlusPlus {}, whiten(&raw, &step, |length| length, 1.0)),
        (
            AdvantageConfig::ReinforcePlusPlusBaseline {},
            whiten(&centred, &step, |length| length, 1.0),
        ),
        (AdvantageConfig::Gpg {}, times(4.0 / 3.0, centred)),
    ];
    for (config, expected) in expected {
        let apart = distance(&of_step(config, &step), &expected);
        assert!(apart < 1e-12, "{config:?}: {apart:e}");
    }
}

#[test]
fn the_formulas_catch_broken_advantages() {
    let step = usual();
    let raw = less(&step, |_, _| 0.0);
    let centred = less(&step, group_mean);
    let rewarded = step.iter().flatten().filter(|(reward, _)| *reward != 0.0).count() as f64;
    let attempts = step.iter().map(Vec::len).sum::<usize>() as f64;
    let plus = AdvantageConfig::ReinforcePlusPlus {};
    let baseline = AdvantageConfig::ReinforcePlusPlusBaseline {};
    let mutants = [
        (AdvantageConfig::Rloo {}, "no n / (n - 1)", centred.clone()),
        (plus, "over completions", whiten(&raw, &step, |_| 1, 1.0)),
        (plus, "with bias", whiten(&raw, &step, |length| length, 0.0)),
        (plus, "the group's mean taken off", whiten(&centred, &step, |length| length, 1.0)),
        (baseline, "no group mean", whiten(&raw, &step, |length| length, 1.0)),
        (baseline, "over completions", whiten(&centred, &step, |_| 1, 1.0)),
        (AdvantageConfig::Gpg {}, "no alpha", centred.clone()),
        (AdvantageConfig::Gpg {}, "the code's alpha", times(attempts / rewarded, centred)),
    ];
    for (config, mistake, broken) in mutants {
        let apart = distance(&of_step(config, &step), &broken);
        assert!(apart > 1e-3, "{config:?}: {mistake} is {apart:e} away");
    }
}

// Properties -----------------------------------------------------------------------------------

fn step() -> impl Strategy<Value = Step> {
    let attempt = (prop_oneof![Just(0.0), Just(1.0), -2.0..2.0f64], 0usize..40);
    prop::collection::vec(prop::collection::vec(attempt, 0..9), 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn advantages_sum_to_zero_and_ignore_a_shift(step in step(), shift in -3.0..3.0f64) {
        for config in zero_sum() {
            let advantages = of_step(config, &step);
            let mut shifted = step.clone();
            shifted.iter_mut().flatten().for_each(|one| one.0 += shift);
            for (own, other) in advantages.iter().zip(of_step(config, &shifted)) {
                if own.len() > 1 {
                    prop_assert!(own.iter().sum::<f64>().abs() < 1e-8);
                    for (a, b) in own.iter().zip(other) {
                        // where all rewards are nearly equal, eps rules: errors of 1e-16 over 1e-6
                        prop_assert!((a - b).abs() < 1e-8, "{a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_attempt_has_a_finite_advantage(step in step()) {
        for config in all() {
            let advantages = of_step(config, &step);
            let sizes = |step: &Step| step.iter().map(Vec::len).collect::<Vec<_>>();
            prop_assert_eq!(advantages.iter().map(Vec::len).collect::<Vec<_>>(), sizes(&step));
            prop_assert!(advantages.iter().flatten().all(|advantage| advantage.is_finite()));
        }
    }

    #[test]
    fn equal_rewards_are_worth_exactly_nothing(
        reward in -2.0..2.0f64, lengths in prop::collection::vec(prop::collection::vec(0usize..9, 2..9), 1..5),
    ) {
        let group = |lengths: &Vec<usize>| lengths.iter().map(|&length| (reward, length)).collect();
        let step: Step = lengths.iter().map(group).collect();
        for config in all() {
            prop_assert!(of_step(config, &step).iter().flatten().all(|&advantage| advantage == 0.0));
        }
    }

    #[test]
    fn a_whitened_step_has_mean_0_and_variance_1_over_its_tokens(step in step()) {
        let column = |values: &[Vec<f64>]| -> Vec<f64> {
            let attempts = values.iter().flatten().zip(step.iter().flatten());
            attempts.flat_map(|(a, (_, length))| std::iter::repeat_n(*a, *length)).collect()
        };
        let variance = |tokens: &[f64]| {
            let centre = mean(tokens);
            let squares: f64 = tokens.iter().map(|a| (a - centre).powi(2)).sum();
            squares / (tokens.len() as f64 - 1.0)
        };
        let before = [less(&step, |_, _| 0.0), less(&step, group_mean)];
        for (config, before) in WHITENING.into_iter().zip(before) {
            let (before, after) = (column(&before), column(&of_step(config, &step)));
            prop_assume!(before.len() > 1);
            prop_assert!(mean(&after).abs() < 1e-7, "{}", mean(&after));
            // 1e-8 in the root: nothing beside rewards that differ
            let expected = variance(&before) / (variance(&before) + 1e-8);
            prop_assert!((variance(&after) - expected).abs() < 1e-9, "{}", variance(&after));
        }
    }
}

#[test]
fn a_group_of_one_is_compared_with_nothing() {
    for config in zero_sum() {
        let [advantage] = of_group(&config, &[0.5])[..] else { panic!("one attempt") };
        assert!((advantage - 0.5).abs() < 1e-6, "{config:?}: {advantage}");
    }
    for config in WHITENING {
        assert_eq!(of_group(&config, &[0.5]), [0.0], "nothing in the step differs");
    }
    assert!(all().iter().all(|config| config.advantages(&[]).is_empty()));
}

/// Attempts without a token are given an advantage and do not move the others'.
#[test]
fn a_reward_counts_once_a_token() {
    let long = vec![vec![(1.0, 2), (0.0, 1), (9.0, 0)]];
    let spelt = vec![vec![(1.0, 1), (1.0, 1), (0.0, 1)]];
    let config = AdvantageConfig::ReinforcePlusPlus {};
    let (long, spelt) = (of_step(config, &long), of_step(config, &spelt));
    assert!((long[0][0] - spelt[0][1]).abs() < 1e-12 && (long[0][1] - spelt[0][2]).abs() < 1e-12);
}

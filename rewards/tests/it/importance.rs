//! Importance weights by hand, and what holds for any.

use std::ops::Range;

use proptest::prelude::*;
use rewards::Importance;
use rewards::importance::{ImportanceWeights, Level};

const LEVELS: [Level; 3] = [Level::Token, Level::Sequence, Level::Geometric];

/// Two completions of 2 and 3 tokens with ratios 2, 1/2, 4, 1, 1/4.
const RATIOS: [f32; 5] = [2.0, 0.5, 4.0, 1.0, 0.25];

fn samples() -> Vec<Range<usize>> {
    vec![0..2, 2..2, 2..5]
}

fn weigh(importance: Importance, ratios: &[f32]) -> ImportanceWeights {
    let old: Vec<f32> = ratios.iter().map(|ratio| ratio.ln() - 1.0).collect();
    importance.weights(&old, &vec![-1.0; ratios.len()], &samples()).unwrap()
}

fn statistic(weights: &ImportanceWeights, key: &str) -> f64 {
    let key = format!("rollout_corr/{key}");
    let mut found = weights.statistics.iter().filter(|(known, _)| *known == key);
    let (Some((_, value)), None) = (found.next(), found.next()) else { panic!("{key}") };
    *value
}

/// One completion of so many tokens.
fn whole(tokens: usize) -> Vec<Range<usize>> {
    std::iter::once(0..tokens).collect()
}

#[track_caller]
fn close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6, "{got}, expected {expected}");
    }
}

#[test]
fn truncated_weights_are_ratios_up_to_the_cap() {
    let truncated = |level| weigh(Importance::Truncated { level, cap: 2.5 }, &RATIOS);
    let token = truncated(Level::Token);
    close(&token.weights, &[2.0, 0.5, 2.5, 1.0, 0.25]);
    close(&truncated(Level::Sequence).weights, &[1.0; 5]);
    close(&truncated(Level::Geometric).weights, &[1.0; 5]);
    let (sum, squares) = (6.25, 4.0 + 0.25 + 6.25 + 1.0 + 0.0625);
    let expected = [
        ("rollout_is_mean", sum / 5.0),
        ("rollout_is_max", 4.0),
        ("rollout_is_min", 0.25),
        ("rollout_is_std", (squares / 5.0 - (sum / 5.0_f64).powi(2)).sqrt()),
        ("rollout_is_eff_sample_size", sum * sum / (5.0 * squares)),
        ("rollout_is_ratio_fraction_high", 0.2),
        ("rollout_is_ratio_fraction_low", 0.2),
    ];
    for (key, expected) in expected {
        close(&[statistic(&token, key)], &[expected]);
    }
    assert_eq!(token.statistics.len(), expected.len());
}

#[test]
fn masked_weights_are_ratios_within_bounds() {
    let masked = |level, ratios: &[f32]| {
        weigh(Importance::Masked { level, low: 0.5 - 1e-6, high: 2.0 + 1e-6 }, ratios)
    };
    let token = masked(Level::Token, &RATIOS);
    close(&token.weights, &[2.0, 0.5, 0.0, 1.0, 0.0]);
    close(&[statistic(&token, "rollout_rs_masked_fraction")], &[0.4]);
    close(&[statistic(&token, "rollout_rs_seq_masked_fraction")], &[0.5]);
    let apart = [3.0, 3.0, 1.2, 1.2, 1.5];
    close(&masked(Level::Sequence, &apart).weights, &[0.0, 0.0, 0.0, 0.0, 0.0]);
    let root = (1.2 * 1.2 * 1.5_f64).cbrt();
    close(&masked(Level::Geometric, &apart).weights, &[0.0, 0.0, root, root, root]);
    close(&masked(Level::Sequence, &[3.0, 0.4, 1.0, 1.0, 1.0]).weights, &[1.2, 1.2, 1.0, 1.0, 1.0]);
    let sequence = masked(Level::Sequence, &apart);
    close(&[statistic(&sequence, "rollout_rs_seq_masked_fraction")], &[1.0]);
    close(&[statistic(&sequence, "rollout_is_eff_sample_size")], &[0.0]);
}

#[test]
fn what_is_off_has_no_weights() {
    assert_eq!(Importance::default(), Importance::Off {});
    assert_eq!(Importance::Off {}.weights(&[-1.0], &[-2.0], &whole(1)), None);
}

#[test]
fn a_log_prob_that_is_not_a_number_is_not_hidden() {
    for level in LEVELS {
        for importance in [
            Importance::Truncated { level, cap: 2.0 },
            Importance::Masked { level, low: 0.5, high: 2.0 },
        ] {
            let weights = importance.weights(&[f32::NAN], &[-1.0], &whole(1)).unwrap().weights;
            assert!(weights[0].is_nan(), "{importance:?}");
        }
    }
}

#[test]
fn distant_policies_have_finite_weights() {
    for level in LEVELS {
        let truncated = Importance::Truncated { level, cap: 1e12 };
        for old in [-1000.0, 0.0] {
            let weighed = truncated.weights(&[old; 2], &[-500.0; 2], &whole(2)).unwrap();
            assert!(weighed.weights.iter().all(|weight| weight.is_finite()));
            assert!(weighed.statistics.iter().all(|(_, value)| value.is_finite()));
        }
    }
    let none = Importance::Truncated { level: Level::Token, cap: 2.0 }.weights(&[], &[], &[]);
    assert_eq!(
        none,
        Some(ImportanceWeights { weights: vec![], outside: vec![], statistics: vec![] })
    );
}

#[test]
fn bad_bounds_are_named_with_their_keys() {
    let level = Level::Token;
    for cap in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let problems = Importance::Truncated { level, cap }.problems();
        assert!(problems.len() == 1 && problems[0].starts_with("cap: "), "{problems:?}");
    }
    let problems = Importance::Masked { level, low: -0.5, high: -1.0 }.problems();
    assert!(problems[0].starts_with("low: ") && problems[1].starts_with("high: "), "{problems:?}");
    let problems = Importance::Masked { level, low: 0.5, high: 0.5 }.problems();
    assert_eq!(problems, ["high: expected more than low = 0.5, got 0.5"]);
    for good in [
        Importance::Off {},
        Importance::Truncated { level, cap: 2.0 },
        Importance::Masked { level, low: 0.0, high: 2.0 },
    ] {
        assert!(good.problems().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn equal_log_probs_weigh_exactly_1(
        log_probs in prop::collection::vec(-9.0..0.0f32, 5), cap in 1.0..9.0f64,
    ) {
        for level in LEVELS {
            for importance in [
                Importance::Truncated { level, cap },
                Importance::Masked { level, low: 1.0 / cap, high: cap },
            ] {
                let weighed = importance.weights(&log_probs, &log_probs, &samples()).unwrap();
                prop_assert!(weighed.weights.iter().all(|&weight| weight == 1.0));
            }
        }
    }

    #[test]
    fn weights_keep_their_bounds(
        old in prop::collection::vec(-9.0..0.0f32, 5), rollout in prop::collection::vec(-9.0..0.0f32, 5),
    ) {
        for level in LEVELS {
            let truncated = Importance::Truncated { level, cap: 2.0 };
            let weights = truncated.weights(&old, &rollout, &samples()).unwrap().weights;
            prop_assert!(weights.iter().all(|weight| (0.0..=2.0).contains(weight)));
            let masked = Importance::Masked { level, low: 0.5, high: 2.0 };
            let weights = masked.weights(&old, &rollout, &samples()).unwrap().weights;
            prop_assert!(weights.iter().all(|&w| w == 0.0 || (0.5..=2.0).contains(&w)));
        }
    }
}

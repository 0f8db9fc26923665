//! Learning rates.

use optim::{Decay, Schedule};
use proptest::prelude::*;

#[track_caller]
fn check(schedule: &Schedule, total: u64, expected: &[(u64, f64)]) {
    for &(update, lr) in expected {
        let got = schedule.lr(update, total);
        assert!((got - lr).abs() < 1e-12, "update {update}: {got}, expected {lr}");
    }
}

#[test]
fn constant() {
    check(
        &Schedule::Constant { lr: 0.5, warmup: 0, warmup_ratio: 0.0 },
        10,
        &[(0, 0.5), (9, 0.5), (99, 0.5)],
    );
    let schedule = Schedule::Constant { lr: 0.5, warmup: 4, warmup_ratio: 0.0 };
    check(&schedule, 10, &[(0, 0.125), (1, 0.25), (3, 0.5), (4, 0.5), (9, 0.5)]);
}

#[test]
fn linear() {
    let schedule = Schedule::Linear { lr: 1.0, warmup: 0, warmup_ratio: 0.0, min_ratio: 0.0 };
    check(&schedule, 4, &[(0, 1.0), (1, 0.75), (3, 0.25), (4, 0.0), (9, 0.0)]);
    let schedule = Schedule::Linear { lr: 1.0, warmup: 2, warmup_ratio: 0.0, min_ratio: 0.2 };
    check(&schedule, 10, &[(0, 0.5), (1, 1.0), (2, 1.0), (6, 0.6), (10, 0.2), (11, 0.2)]);
}

#[test]
fn cosine() {
    let schedule = Schedule::Cosine { lr: 2.0, warmup: 0, warmup_ratio: 0.0, min_ratio: 0.0 };
    let half = 1.0 + std::f64::consts::FRAC_1_SQRT_2;
    check(&schedule, 4, &[(0, 2.0), (1, half), (2, 1.0), (4, 0.0), (7, 0.0)]);
    let schedule = Schedule::Cosine { lr: 2.0, warmup: 2, warmup_ratio: 0.0, min_ratio: 0.5 };
    check(&schedule, 10, &[(0, 1.0), (2, 2.0), (6, 1.5), (10, 1.0)]);
}

fn wsd(warmup_ratio: f64, decay_ratio: f64, decay: Decay, min_ratio: f64) -> Schedule {
    Schedule::Wsd { lr: 2.0, warmup: 0, warmup_ratio, decay_ratio, decay, min_ratio }
}

#[test]
fn warm_up_stable_decay() {
    let schedule = wsd(0.2, 0.4, Decay::Linear, 0.0);
    let rates = [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.5, 1.0, 0.5, 0.0, 0.0];
    check(&schedule, 10, &(0..).zip(rates).collect::<Vec<_>>());
    let half = 2.0 * (0.25 + 0.75 * (1.0 - std::f64::consts::FRAC_1_SQRT_2));
    check(&wsd(0.0, 0.5, Decay::Sqrt, 0.25), 8, &[(0, 2.0), (4, 2.0), (6, half), (8, 0.5)]);
    check(&wsd(0.0, 0.5, Decay::Cosine, 0.0), 8, &[(3, 2.0), (4, 2.0), (6, 1.0), (8, 0.0)]);
    // All of it is decay: a linear schedule.
    let linear = Schedule::Linear { lr: 2.0, warmup: 0, warmup_ratio: 0.0, min_ratio: 0.1 };
    let all = wsd(0.0, 1.0, Decay::Linear, 0.1);
    for update in 0..12 {
        assert_eq!(all.lr(update, 9).to_bits(), linear.lr(update, 9).to_bits());
    }
    // A decay that begins before warm-up ends begins there.
    let schedule = Schedule::Wsd {
        lr: 2.0,
        warmup: 6,
        warmup_ratio: 0.0,
        decay_ratio: 0.8,
        decay: Decay::Linear,
        min_ratio: 0.0,
    };
    check(&schedule, 10, &[(5, 2.0), (6, 2.0), (7, 1.5), (9, 0.5)]);
}

#[test]
fn a_share_of_warm_up_is_in_whole_updates_rounded_up() {
    let schedule = |warmup_ratio| Schedule::Constant { lr: 1.0, warmup: 0, warmup_ratio };
    for (ratio, total, updates) in
        [(0.0, 10, 0), (0.1, 10, 1), (0.11, 10, 2), (0.07, 100, 7), (0.3, 10, 3), (0.001, 5, 1)]
    {
        assert_eq!(schedule(ratio).warmup(total), updates, "{ratio} of {total}");
    }
    let of_updates = Schedule::Constant { lr: 1.0, warmup: 3, warmup_ratio: 0.0 };
    for update in 0..10 {
        assert_eq!(schedule(0.3).lr(update, 10).to_bits(), of_updates.lr(update, 10).to_bits());
    }
}

#[test]
fn shares_that_cannot_be_are_named() {
    let problems = |schedule: Schedule| schedule.problems().join("; ");
    let constant = |warmup, warmup_ratio| Schedule::Constant { lr: 1.0, warmup, warmup_ratio };
    assert_eq!(problems(constant(0, 1.0)), "warmup_ratio is 1, expected 0 to less than 1");
    assert!(problems(constant(0, f64::NAN)).starts_with("warmup_ratio is NaN"));
    assert_eq!(
        problems(constant(5, 0.1)),
        "warmup_ratio is 0.1 beside warmup = 5: keep one of them"
    );
    for ratio in [0.0, -0.1, 1.1, f64::NAN] {
        let found = problems(wsd(0.0, ratio, Decay::Linear, 0.0));
        assert!(found.starts_with("decay_ratio is") && !found.contains(';'), "{found}");
    }
    let found = problems(wsd(0.6, 0.5, Decay::Linear, 0.0));
    assert!(found.ends_with("with warmup_ratio = 0.6 is more than all updates"), "{found}");
    assert_eq!(problems(wsd(0.5, 0.5, Decay::Sqrt, 1.0)), "");
}

#[test]
fn a_run_shorter_than_its_warm_up_only_warms_up() {
    let schedule = Schedule::Linear { lr: 1.0, warmup: 10, warmup_ratio: 0.0, min_ratio: 0.0 };
    check(&schedule, 5, &[(0, 0.1), (4, 0.5), (9, 1.0), (10, 0.0)]);
}

#[test]
fn problems_name_the_key() {
    let bad = Schedule::Linear { lr: f64::NAN, warmup: 0, warmup_ratio: 0.0, min_ratio: 1.5 };
    let problems = bad.problems();
    assert!(problems[0].starts_with("lr is NaN") && problems[1].starts_with("min_ratio is 1.5"));
    assert!(
        Schedule::Constant { lr: 0.0, warmup: 0, warmup_ratio: 0.0 }.problems()[0]
            .starts_with("lr is 0")
    );
    assert!(Schedule::Constant { lr: 1e-6, warmup: 7, warmup_ratio: 0.0 }.problems().is_empty());
}

proptest! {
    #[test]
    fn rates_rise_in_warm_up_and_then_never(
        warmup in 0..20_u64,
        rest in 0..50_u64,
        min_ratio in 0.0..=1.0_f64,
        cosine: bool,
    ) {
        let lr = 3e-4;
        let schedule = if cosine {
            Schedule::Cosine { lr, warmup, warmup_ratio: 0.0, min_ratio }
        } else {
            Schedule::Linear { lr, warmup, warmup_ratio: 0.0, min_ratio }
        };
        let total = warmup + rest;
        let rates: Vec<f64> = (0..total).map(|update| schedule.lr(update, total)).collect();
        for (update, pair) in rates.windows(2).enumerate() {
            if (update as u64) + 1 < warmup {
                prop_assert!(pair[0] < pair[1]);
            } else {
                prop_assert!(pair[0] >= pair[1]);
            }
        }
        prop_assert!(rates.iter().all(|&rate| rate > 0.0 && rate <= lr * (1.0 + 1e-12)));
        prop_assert!((schedule.lr(total, total) - lr * min_ratio).abs() < 1e-18);
    }
}

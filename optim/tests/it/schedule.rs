//! Learning rates.

use optim::Schedule;
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
    check(&Schedule::Constant { lr: 0.5, warmup: 0 }, 10, &[(0, 0.5), (9, 0.5), (99, 0.5)]);
    let schedule = Schedule::Constant { lr: 0.5, warmup: 4 };
    check(&schedule, 10, &[(0, 0.125), (1, 0.25), (3, 0.5), (4, 0.5), (9, 0.5)]);
}

#[test]
fn linear() {
    let schedule = Schedule::Linear { lr: 1.0, warmup: 0, min_ratio: 0.0 };
    check(&schedule, 4, &[(0, 1.0), (1, 0.75), (3, 0.25), (4, 0.0), (9, 0.0)]);
    let schedule = Schedule::Linear { lr: 1.0, warmup: 2, min_ratio: 0.2 };
    check(&schedule, 10, &[(0, 0.5), (1, 1.0), (2, 1.0), (6, 0.6), (10, 0.2), (11, 0.2)]);
}

#[test]
fn cosine() {
    let schedule = Schedule::Cosine { lr: 2.0, warmup: 0, min_ratio: 0.0 };
    let half = 1.0 + std::f64::consts::FRAC_1_SQRT_2;
    check(&schedule, 4, &[(0, 2.0), (1, half), (2, 1.0), (4, 0.0), (7, 0.0)]);
    let schedule = Schedule::Cosine { lr: 2.0, warmup: 2, min_ratio: 0.5 };
    check(&schedule, 10, &[(0, 1.0), (2, 2.0), (6, 1.5), (10, 1.0)]);
}

#[test]
fn a_run_shorter_than_its_warm_up_only_warms_up() {
    let schedule = Schedule::Linear { lr: 1.0, warmup: 10, min_ratio: 0.0 };
    check(&schedule, 5, &[(0, 0.1), (4, 0.5), (9, 1.0), (10, 0.0)]);
}

#[test]
fn problems_name_the_key() {
    let bad = Schedule::Linear { lr: f64::NAN, warmup: 0, min_ratio: 1.5 };
    let problems = bad.problems();
    assert!(problems[0].starts_with("lr is NaN") && problems[1].starts_with("min_ratio is 1.5"));
    assert!(Schedule::Constant { lr: 0.0, warmup: 0 }.problems()[0].starts_with("lr is 0"));
    assert!(Schedule::Constant { lr: 1e-6, warmup: 7 }.problems().is_empty());
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
            Schedule::Cosine { lr, warmup, min_ratio }
        } else {
            Schedule::Linear { lr, warmup, min_ratio }
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

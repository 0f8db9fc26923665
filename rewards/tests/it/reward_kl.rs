//! The KL in the reward, and the controller of its coefficient.

use rewards::reward_kl::{AdaptiveKl, KlControl, RewardKl};
use serde_json::{Value, from_str, json};

/// Two completions of three tokens and one, and one of none.
const OLD: [&[f32]; 3] = [&[-1.0, -2.0, -0.5], &[-3.0], &[]];
const REFERENCE: [&[f32]; 3] = [&[-1.5, -1.0, -0.5], &[-30.0], &[]];

fn completions() -> Vec<(&'static [f32], &'static [f32])> {
    OLD.into_iter().zip(REFERENCE).collect()
}

fn read(value: Value) -> RewardKl {
    serde_json::from_value(value).unwrap()
}

fn value(statistics: &[(&'static str, f64)], key: &str) -> f64 {
    statistics.iter().find(|(name, _)| *name == key).unwrap().1
}

#[test]
fn each_estimate_is_summed_over_a_completion() {
    // d = 0.5, -1, 0; and 27, which k3 takes as 20 and bounds at 10
    let (half, one) = ((-0.5_f64).exp() + 0.5 - 1.0, 1.0_f64.exp() - 1.0 - 1.0);
    for (kind, sums) in
        [("k1", [-0.5, 27.0]), ("k2", [0.125 + 0.5, 364.5]), ("k3", [half + one, 10.0])]
    {
        let mut control = KlControl::new(read(json!({"kind": kind, "coefficient": 0.5})));
        let found = control.observe(&completions()).unwrap();
        let expected = [0.5 * sums[0], 0.5 * sums[1], 0.0];
        for (got, expected) in found.penalties.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{kind}: {got} {expected}");
        }
        let mean = f64::midpoint(sums[0] / 3.0, sums[1]);
        assert!((value(&found.statistics, "actor/reward_kl_penalty") - mean).abs() < 1e-12);
        assert_eq!(value(&found.statistics, "actor/reward_kl_penalty_coeff"), 0.5);
        let again = control.observe(&completions()).unwrap();
        assert_eq!(again, found, "a fixed coefficient stays");
    }
    assert_eq!(KlControl::new(RewardKl::default()).observe(&completions()), None);
}

fn adaptive(target: f64) -> RewardKl {
    let adaptive = Some(AdaptiveKl { target, horizon: 30.0 });
    RewardKl::K2 { coefficient: 0.25, adaptive }
}

/// The coefficient that a second step uses, after one whose KL is `mean` nats a token.
fn after(target: f64, mean: f32) -> f64 {
    let mut control = KlControl::new(adaptive(target));
    let old = [(2.0 * mean).sqrt()];
    let step: [(&[f32], &[f32]); 3] = [(&old, &[0.0]); 3];
    let first = control.observe(&step).unwrap();
    assert_eq!(value(&first.statistics, "actor/reward_kl_penalty_coeff"), 0.25, "used, then moved");
    value(&control.observe(&step).unwrap().statistics, "actor/reward_kl_penalty_coeff")
}

#[test]
fn the_coefficient_follows_the_error_of_the_kl_within_a_fifth() {
    let close =
        |got: f64, expected: f64| assert!((got - expected).abs() < 1e-7, "{got} {expected}");
    // Three completions of a horizon of 30: a tenth of the relative error.
    close(after(0.5, 0.5), 0.25);
    close(after(0.5, 0.55), 0.25 * 1.01);
    close(after(0.5, 0.45), 0.25 * 0.99);
    close(after(0.5, 5.0), 0.25 * 1.02);
    close(after(0.5, 0.0), 0.25 * 0.98);
}

#[test]
fn what_is_not_a_kl_moves_no_coefficient() {
    let mut control = KlControl::new(adaptive(0.5));
    let start = control.state();
    for step in [Vec::new(), vec![(&[][..], &[][..])], vec![(&[f32::NAN][..], &[0.0][..])]] {
        let _ = control.observe(&step);
        assert_eq!(control.state(), start);
    }
    control.observe(&completions());
    assert_ne!(control.state(), start, "a KL moves it");
}

#[test]
fn a_restored_control_goes_on_bit_for_bit() {
    let mut whole = KlControl::new(adaptive(0.3));
    for _ in 0..3 {
        whole.observe(&completions());
    }
    let mut other = KlControl::new(adaptive(0.3));
    other.restore(&from_str::<Value>(&whole.state().to_string()).unwrap()).unwrap();
    assert_eq!(other.observe(&completions()), whole.observe(&completions()));
    assert_eq!(other.state(), whole.state());
    let error = other.restore(&json!({"coefficient": 1.0})).unwrap_err().to_string();
    assert!(error.starts_with("state of `reward kl`: expected its coefficient"), "{error}");
}

/// The coefficient of a control of `now`, restored from a control of `then` after three steps.
fn resumed(then: RewardKl, now: RewardKl) -> f64 {
    let mut before = KlControl::new(then);
    for _ in 0..3 {
        before.observe(&completions());
    }
    let mut after = KlControl::new(now);
    after.restore(&before.state()).unwrap();
    after.observe(&completions()).unwrap().statistics[0].1
}

#[test]
fn a_setting_that_a_resume_changed_holds() {
    let fixed = |coefficient| RewardKl::K1 { coefficient, adaptive: None };
    assert_eq!(resumed(fixed(0.25), fixed(0.5)), 0.5);
    assert_eq!(resumed(RewardKl::Off {}, fixed(0.5)), 0.5);
    let adaptive = Some(AdaptiveKl { target: 0.1, horizon: 30.0 });
    let moving = |coefficient| RewardKl::K1 { coefficient, adaptive };
    assert_eq!(resumed(moving(0.25), fixed(0.25)), 0.25, "it is not adaptive any more");
    assert_eq!(resumed(moving(0.25), moving(0.5)), 0.5);
    assert_ne!(resumed(moving(0.25), moving(0.25)), 0.25, "what it has moved to is kept");
}

#[test]
fn settings_are_read_and_checked() {
    assert_eq!(read(json!({"kind": "k1"})), RewardKl::K1 { coefficient: 0.001, adaptive: None });
    let defaults = AdaptiveKl { target: 0.1, horizon: 10_000.0 };
    let with_defaults = RewardKl::K3 { coefficient: 0.001, adaptive: Some(defaults) };
    assert_eq!(read(json!({"kind": "k3", "adaptive": {}})), with_defaults);
    assert!(with_defaults.problems(512).is_empty() && RewardKl::default().problems(512).is_empty());
    let bad = AdaptiveKl { target: 0.0, horizon: 16.0 };
    let found = RewardKl::K1 { coefficient: 0.0, adaptive: Some(bad) }.problems(32);
    assert_eq!(
        found,
        [
            "coefficient: expected more than 0 where it is adaptive, got 0",
            "adaptive.target: expected more than 0, got 0",
            "adaptive.horizon: expected at least the 32 completions of a step, got 16",
        ]
    );
    let found = RewardKl::K2 { coefficient: f64::NAN, adaptive: None }.problems(1);
    assert_eq!(found, ["coefficient: expected 0 or more, got NaN"]);
    assert!(serde_json::from_value::<RewardKl>(json!({"kind": "off", "coefficient": 1})).is_err());
}

//! What methods make of scores.

use optim::Error;
use optim::zeroth::{Estimator, Outcome, Reduced, TensorSpec, Tensors};
use serde_json::{Value, json};

use super::{bits, config, update_of, updated, vector};

fn built(settings: Value) -> Box<dyn Estimator> {
    let tensors = Tensors::new(vec![vector(64)]).unwrap();
    config(settings).build(17, tensors).unwrap()
}

/// Evolution strategies; `kind` is read where it comes first.
fn es(settings: &Value) -> Box<dyn Estimator> {
    let mut all = json!({ "kind": "es" });
    all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    built(all)
}

/// One score a probe.
fn reduced(estimator: &mut dyn Estimator, scores: &[f64], lr: f64) -> Reduced {
    let scores: Vec<Vec<f64>> = scores.iter().map(|score| vec![*score]).collect();
    estimator.reduce(5, &scores, lr).unwrap()
}

fn skipped(reduced: &Reduced) -> bool {
    matches!(reduced.outcome, Outcome::Skip(_))
}

#[test]
fn two_points_give_a_slope_rounded_once_and_the_mean_of_directions() {
    let mut spsa = built(json!({ "kind": "spsa", "probes": 2, "epsilon": 0.001 }));
    let probes = spsa.probes(5);
    assert_eq!(probes.len(), 4);
    assert_eq!(probes[0].terms[0].seed, probes[1].terms[0].seed);
    assert_eq!(probes[0].terms[0].scale.to_bits(), 0.001_f32.to_bits());
    assert_eq!(probes[3].terms[0].scale.to_bits(), (-0.001_f32).to_bits());
    assert_ne!(probes[0].terms[0].seed, probes[2].terms[0].seed);
    // A difference that f32 losses would not have.
    let losses = [3.000_000_001, 3.0, 2.0, 2.5];
    let got = reduced(&mut *spsa, &losses, 0.1);
    let distance = 2.0 * f64::from(0.001_f32);
    let slopes = [(losses[0] - losses[1]) / distance, -0.5 / distance].map(|slope| slope as f32);
    assert_eq!(bits(&got.stats.signals), bits(&slopes));
    assert!(slopes[0] != 0.0);
    let update = update_of(got);
    let rate = 0.05_f64 as f32;
    assert_eq!(bits(&update.coefficients()), bits(&slopes.map(|slope| -(rate * slope))));
    assert_eq!((update.step, update.lr.to_bits()), (5, 0.1_f32.to_bits()));
    assert_eq!(update.terms[1].seed, probes[2].terms[0].seed);
}

#[test]
fn fzoo_divides_by_the_deviation_of_the_losses() {
    let mut fzoo = built(json!({ "kind": "fzoo", "probes": 4 }));
    let probes = fzoo.probes(5);
    assert_eq!(probes.len(), 5);
    assert!(probes[0].terms.is_empty());
    let losses = [2.0, 1.0, 2.0, 3.0, 4.0];
    let got = reduced(&mut *fzoo, &losses, 0.4);
    let deviation = 1.25_f64.sqrt();
    for ((coefficient, signal), loss) in
        update_of(got.clone()).coefficients().iter().zip(&got.stats.signals).zip(&losses[1..])
    {
        let slope = (loss - 2.0) / deviation;
        assert!((f64::from(*signal) - slope).abs() < 1e-6);
        assert!((f64::from(*coefficient) + 0.1 * slope).abs() < 1e-7);
    }
    // The same step for losses ten times as large.
    let larger: Vec<f64> = losses.iter().map(|loss| 10.0 * loss).collect();
    let larger = update_of(reduced(&mut *fzoo, &larger, 0.4)).coefficients();
    for (a, b) in larger.iter().zip(update_of(got).coefficients()) {
        assert!((a - b).abs() < 1e-7);
    }
    let equal = update_of(reduced(&mut *fzoo, &[0.2, 0.1, 0.1, 0.1, 0.1], 0.4));
    assert_eq!(bits(&equal.coefficients()), bits(&[-0.0; 4]));
}

#[test]
fn rewards_are_standardised() {
    let mut es = es(&json!({ "members": 4 }));
    let got = reduced(&mut *es, &[1.0, 0.0, 0.0, 1.0], 5e-4);
    assert_eq!(got.stats.signals, [1.0, -1.0, -1.0, 1.0]);
    let expected =
        [1.0, -1.0, -1.0, 1.0].map(|z: f64| (5e-4 * (z * 0.5 / (0.5 + 1e-8)) / 4.0) as f32);
    assert_eq!(bits(&update_of(got).coefficients()), bits(&expected));
    let probes = es.probes(5);
    assert!(probes.iter().all(|probe| probe.terms[0].scale.to_bits() == 1e-3_f32.to_bits()));
}

#[test]
fn equal_rewards_give_coefficients_of_exactly_zero() {
    for baseline in ["all", "prompt"] {
        let mut es = es(&json!({ "members": 3, "baseline": baseline, "weight_decay": 0.5 }));
        // Their mean is not 0.1.
        let update = update_of(reduced(&mut *es, &[0.1; 3], 1.0));
        assert_eq!(bits(&update.coefficients()), bits(&[0.0; 3]));
        let decayed = updated(&update, &vector(64), &[1.0; 64]);
        assert_eq!(bits(&decayed), bits(&[0.5; 64]));
    }
}

#[test]
fn members_without_a_finite_reward_are_left_out() {
    let mut es = es(&json!({ "members": 4 }));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let got = reduced(&mut *es, &[1.0, bad, 0.0, 1.0], 3.0);
        assert_eq!((got.stats.used, got.stats.not_finite), (3, 1));
        let (mean, deviation) = (2.0 / 3.0, (2.0_f64 / 9.0).sqrt() + 1e-8);
        let coefficients = update_of(got).coefficients();
        assert_eq!(coefficients[1].to_bits(), 0);
        for (member, reward) in [(0, 1.0), (2, 0.0), (3, 1.0)] {
            let expected = 3.0 * (reward - mean) / deviation / 3.0;
            assert!((f64::from(coefficients[member]) - expected).abs() < 1e-6);
        }
        assert!(skipped(&reduced(&mut *es, &[bad, bad, bad, 1.0], 1.0)));
        assert!(!skipped(&reduced(&mut *es, &[bad, bad, 0.0, 1.0], 1.0)));
    }
}

#[test]
fn a_pair_of_opposite_members_has_one_direction() {
    let mut es = es(&json!({ "members": 4, "antithetic": true }));
    let probes = es.probes(5);
    assert_eq!(probes.len(), 4);
    for pair in probes.chunks(2) {
        assert_eq!(pair[0].terms[0].seed, pair[1].terms[0].seed);
        let [up, down] = [&pair[0], &pair[1]].map(|probe| probe.terms[0].scale);
        assert_eq!(up.to_bits(), (-down).to_bits());
    }
    let update = update_of(reduced(&mut *es, &[0.3, 0.3, 1.0, 0.0], 1.0));
    assert_eq!(update.terms.len(), 2);
    assert_eq!(update.terms[0].scale.to_bits(), 0, "equal scores of a pair cancel exactly");
    assert!(update.terms[1].scale > 0.0);
    assert_eq!(update.terms[1].seed, probes[2].terms[0].seed);
}

#[test]
fn a_baseline_of_each_prompt_takes_out_how_hard_it_is() {
    let scores = [vec![1.0, 10.0], vec![0.0, 11.0], vec![1.0, 12.0]];
    let mut of_prompts = es(&json!({ "members": 3, "baseline": "prompt" }));
    let got = of_prompts.reduce(5, &scores, 1.0).unwrap();
    let residuals = [[1.0 / 3.0, -1.0], [-2.0 / 3.0, 0.0], [1.0 / 3.0, 1.0]];
    let squares: f64 = residuals.iter().flatten().map(|residual: &f64| residual * residual).sum();
    let deviation = (squares / 6.0).sqrt() + 1e-8;
    for (signal, residuals) in got.stats.signals.iter().zip(residuals) {
        let expected = f64::midpoint(residuals[0], residuals[1]) / deviation;
        assert!((f64::from(*signal) - expected).abs() < 1e-6);
    }
    // A prompt that is harder for all changes nothing.
    let harder = scores.map(|list| vec![list[0] - 100.0, list[1]]);
    let other = of_prompts.reduce(5, &harder, 1.0).unwrap();
    for (a, b) in got.stats.signals.iter().zip(&other.stats.signals) {
        assert!((a - b).abs() < 1e-6);
    }
}

#[test]
fn losses_that_are_not_finite_skip_the_step() {
    let coordinates = json!({ "kind": "coordinates" });
    for settings in [json!({ "kind": "spsa" }), json!({ "kind": "fzoo" }), coordinates] {
        let mut estimator = built(settings);
        let mut losses = vec![1.0; estimator.probes(5).len()];
        assert!(!skipped(&reduced(&mut *estimator, &losses, 1.0)));
        for bad in [f64::NAN, f64::INFINITY] {
            losses[1] = bad;
            let got = reduced(&mut *estimator, &losses, 1.0);
            assert_eq!(got.stats.not_finite, 1);
            assert!(skipped(&got));
        }
        // Finite, but its slope is beyond f32.
        losses[1] = 1e300;
        losses[0] = -1e300;
        assert!(skipped(&reduced(&mut *estimator, &losses, 1.0)));
    }
}

#[test]
fn scores_and_rates_that_do_not_fit_are_refused() {
    for settings in [
        json!({ "kind": "spsa" }),
        json!({ "kind": "fzoo" }),
        json!({ "kind": "es", "members": 2 }),
    ] {
        let mut estimator = built(settings);
        let count = estimator.probes(0).len();
        let mut fails = |scores: &[Vec<f64>], lr| estimator.reduce(0, scores, lr).unwrap_err();
        let all = vec![vec![1.0, 2.0]; count];
        assert!(matches!(fails(&all[1..], 1.0), Error::Scores { .. }));
        assert!(matches!(fails(&vec![vec![]; count], 1.0), Error::Scores { .. }));
        let mut ragged = all.clone();
        ragged[1].push(3.0);
        assert!(matches!(fails(&ragged, 1.0), Error::Scores { .. }));
        for lr in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(matches!(fails(&all, lr), Error::LearningRate { .. }));
        }
    }
}

#[test]
fn parts_of_a_batch_are_summed_in_their_order() {
    let mut spsa = built(json!({ "kind": "spsa" }));
    let [up, down] = [vec![0.1, 0.2, 0.3], vec![0.3, 0.2, 0.1]];
    let mean = |list: &[f64]| (list[0] + list[1] + list[2]) / 3.0;
    let slope = ((mean(&up) - mean(&down)) / (2.0 * f64::from(1e-3_f32))) as f32;
    assert!(slope != 0.0, "sums depend on the order");
    let got = spsa.reduce(0, &[up, down], 1.0).unwrap();
    assert_eq!(bits(&got.stats.signals), bits(&[slope]));
}

#[test]
fn an_update_needs_a_coefficient_for_each_coordinate() {
    let estimator = built(json!({ "kind": "coordinates" }));
    let scheme = estimator.scheme();
    assert!(scheme.update(0, 1.0, 0.0, &[0.5; 64]).is_ok());
    let error = scheme.update(0, 1.0, 0.0, &[0.5; 63]).unwrap_err().to_string();
    assert!(error.contains("63 coefficients, expected 64"), "{error}");
    assert!(scheme.update(0, 1.0, 0.0, &[f32::NAN; 64]).is_err());
    assert!(scheme.update(0, f32::INFINITY, 0.0, &[0.5; 64]).is_err());
    let huge = Tensors::new(vec![TensorSpec::new("h", [300, 300], true)]).unwrap();
    let error = config(json!({ "kind": "coordinates" })).build(0, huge).unwrap_err().to_string();
    assert!(
        error.contains("90000 elements are trained one at a time, expected at most 65535"),
        "{error}"
    );
}

/// Finite losses whose slopes, or rewards whose signals, are too large once they are multiplied by
/// the learning rate.
#[test]
fn a_coefficient_that_overflows_skips_the_step() {
    for (settings, scores) in [
        (json!({ "kind": "spsa" }), [1e35, 0.0, 0.0]),
        (json!({ "kind": "coordinates" }), [0.0, 1e34, 1e33]),
        (json!({ "kind": "es", "members": 2 }), [1.0, 0.0, 0.0]),
        (json!({ "kind": "fzoo", "probes": 2 }), [0.0, 1.0, 2.0]),
    ] {
        let mut estimator = built(settings.clone());
        let count = estimator.probes(4).len();
        let score = |i: usize| vec![scores.get(i).copied().unwrap_or(0.0)];
        let scores: Vec<Vec<f64>> = (0..count).map(score).collect();
        let fits = estimator.reduce(4, &scores, 1e-3).unwrap().outcome;
        assert!(matches!(fits, Outcome::Update(_)), "{settings}: {fits:?}");
        let got = estimator.reduce(4, &scores, 3.4e38).unwrap();
        if let Outcome::Update(update) = &got.outcome {
            // Deviations bound these: nothing overflows.
            assert!(update.coefficients().iter().all(|c| c.is_finite()));
            assert!(matches!(settings["kind"].as_str(), Some("es" | "fzoo")), "{settings}");
            continue;
        }
        let Outcome::Skip(skip) = got.outcome else { panic!() };
        assert!(skip.reason.contains("a coefficient is beyond f32"), "{}", skip.reason);
        assert_eq!((skip.step, got.stats.not_finite), (4, 0));
    }
}

//! Estimates against gradients that are known.

use optim::zeroth::grasp::{self, Estimate};
use optim::zeroth::{Estimator, Mask, TensorSpec, Tensors};
use serde_json::{Value, json};

use super::{config, perturbed, update_of, updated};

const LEN: usize = 64;

/// `sum h (w - c)^2 / 2` with its gradient.
struct Quadratic {
    curvatures: Vec<f64>,
    center: Vec<f64>,
}

impl Quadratic {
    fn new() -> Self {
        let curvatures = (0..LEN).map(|i| 0.5 + (i % 7) as f64).collect();
        Self { curvatures, center: (0..LEN).map(|i| (i as f64 * 0.7).sin()).collect() }
    }

    fn value(&self, weights: &[f32]) -> f64 {
        let terms = weights.iter().zip(&self.center).zip(&self.curvatures);
        terms.map(|((w, c), h)| 0.5 * h * (f64::from(*w) - c).powi(2)).sum()
    }

    fn gradient(&self, weights: &[f32]) -> Vec<f64> {
        let terms = weights.iter().zip(&self.center).zip(&self.curvatures);
        terms.map(|((w, c), h)| h * (f64::from(*w) - c)).collect()
    }
}

fn tensor() -> TensorSpec {
    TensorSpec::new("w", [LEN], true)
}

fn built(settings: Value, tensor: TensorSpec) -> Box<dyn Estimator> {
    config(settings).build(3, Tensors::new(vec![tensor]).unwrap()).unwrap()
}

/// What a step estimates the gradient to be.
fn estimate(estimator: &mut dyn Estimator, tensor: &TensorSpec, step: u32) -> Vec<f64> {
    let objective = Quadratic::new();
    let weights = vec![0.25; LEN];
    let probes = estimator.probes(step);
    let score = |probe| vec![objective.value(&perturbed(probe, tensor, &weights))];
    let reduced = estimator.reduce(step, &probes.iter().map(score).collect::<Vec<_>>(), 1.0);
    let moved = updated(&update_of(reduced.unwrap()), tensor, &[0.0; LEN]);
    moved.into_iter().map(|w| -f64::from(w)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn relative_error(estimate: &[f64], gradient: &[f64]) -> f64 {
    let off: Vec<f64> = estimate.iter().zip(gradient).map(|(a, b)| a - b).collect();
    (dot(&off, &off) / dot(gradient, gradient)).sqrt()
}

#[test]
fn the_mean_of_two_point_estimates_is_the_gradient() {
    let gradient = Quadratic::new().gradient(&[0.25; LEN]);
    for noise in ["rademacher", "binomial", "gaussian"] {
        for count in [64, 1024, 16_384] {
            let settings = json!({ "kind": "spsa", "probes": count, "direction":
                { "kind": "dense", "noise": noise } });
            let mut spsa = built(settings, tensor());
            let error = relative_error(&estimate(&mut *spsa, &tensor(), 0), &gradient);
            // The variance of an estimate is (d + k) |g|^2 with k up to 1.
            let expected = (LEN as f64 / f64::from(count)).sqrt();
            let ratio = error / expected;
            assert!((0.7..1.4).contains(&ratio), "{noise}, {count} probes: {ratio} of expected");
        }
    }
}

#[test]
fn a_single_estimate_has_one_part_in_d_of_the_gradient() {
    let gradient = Quadratic::new().gradient(&[0.25; LEN]);
    let mut spsa = built(json!({ "kind": "spsa" }), tensor());
    let steps = 4000;
    let cosines = (0..steps).map(|step| {
        let estimate = estimate(&mut *spsa, &tensor(), step);
        dot(&estimate, &gradient).powi(2) / dot(&estimate, &estimate) / dot(&gradient, &gradient)
    });
    let mean = cosines.sum::<f64>() / f64::from(steps) * LEN as f64;
    // Squares of a nearly normal number: the standard error is sqrt(2 / steps).
    assert!((mean - 1.0).abs() < 4.0 * (2.0 / f64::from(steps)).sqrt(), "{mean} / d");
}

#[test]
fn estimates_of_low_rank_are_unbiased() {
    let matrix = TensorSpec::new("m", [8, 8], true);
    let gradient = Quadratic::new().gradient(&[0.25; LEN]);
    for (rank, interval) in [(1, json!("off")), (3, json!("off"))] {
        let settings = json!({ "kind": "spsa", "probes": 20_000, "direction":
            { "kind": "low-rank", "rank": rank, "interval": interval } });
        let mut spsa = built(settings, matrix.clone());
        let error = relative_error(&estimate(&mut *spsa, &matrix, 0), &gradient);
        assert!(error < 0.15, "rank {rank}: {error}");
    }
}

#[test]
fn differences_along_coordinates_are_the_gradient() {
    let gradient = Quadratic::new().gradient(&[0.25; LEN]);
    let mut all = built(json!({ "kind": "coordinates", "epsilon": 1e-4 }), tensor());
    let estimated = estimate(&mut *all, &tensor(), 0);
    for ((estimated, slope), h) in estimated.iter().zip(&gradient).zip(&Quadratic::new().curvatures)
    {
        // One-sided, and 0.25 + 1e-4 is rounded to f32.
        let bound = 1e-4 * h / 2.0 + 3e-4 * slope.abs() + 1e-6;
        assert!((estimated - slope).abs() < bound, "{estimated}, expected {slope}");
    }
    let masked = tensor().with_mask(Mask::random(0.25).unwrap());
    let settings = json!({ "kind": "coordinates", "epsilon": 1e-4, "interval": 2 });
    let mut some = built(settings, masked.clone());
    let parts: Vec<Vec<f64>> = (0..4).map(|step| estimate(&mut *some, &masked, step)).collect();
    let kept = |part: &[f64]| -> Vec<bool> { part.iter().map(|slope| *slope != 0.0).collect() };
    for part in &parts {
        assert!(part.iter().zip(&estimated).all(|(part, all)| *part == 0.0 || part - all == 0.0));
        assert!((4..32).contains(&kept(part).iter().filter(|kept| **kept).count()));
    }
    assert_eq!(kept(&parts[0]), kept(&parts[1]));
    assert_ne!(kept(&parts[1]), kept(&parts[2]), "drawn again after two steps");
}

#[test]
fn layers_with_low_scores_keep_more() {
    // The exact score is -w h g; the loss is a quadratic, so the estimate's only error is noise.
    let objective = Quadratic::new();
    let weights = vec![0.25; LEN];
    let exact: Vec<f64> = objective
        .gradient(&weights)
        .iter()
        .zip(&objective.curvatures)
        .map(|(g, h)| -0.25 * h * g)
        .collect();
    let estimate = Estimate { run_seed: 1, probes: 20_000, epsilon: 1e-2 };
    let scores = estimate.scores(&weights, |w| Ok(objective.value(w))).unwrap();
    let cosine = dot(&scores, &exact) / (dot(&scores, &scores) * dot(&exact, &exact)).sqrt();
    assert!(cosine > 0.9, "{cosine}");
    let layers = [vec![-3.0, -2.0, -1.0, 0.0], vec![5.0, 6.0, -4.0, 7.0], vec![9.0, 9.5]];
    let masks = grasp::masks(&layers, 0.5).unwrap();
    assert_eq!(masks, [Mask::All, Mask::random(0.25).unwrap(), Mask::None]);
    assert!(grasp::masks(&layers, 0.0).is_err());
    assert!(grasp::masks(&[vec![f64::NAN]], 0.5).is_err());
    assert_eq!(grasp::masks(&layers, 1.0).unwrap(), [Mask::All; 3]);
}

/// An adapter's half of zeros has scores of zero, of both signs.
#[test]
fn of_equal_scores_those_that_come_first_are_kept() {
    let random = |share: f64| Mask::random(share).unwrap();
    let equal = [vec![0.0, -0.0, 0.0, -0.0], vec![0.0; 4], vec![-0.0; 2]];
    assert_eq!(grasp::masks(&equal, 0.5).unwrap(), [Mask::All, random(0.25), Mask::None]);
    assert_eq!(grasp::masks(&equal, 0.1).unwrap(), [random(0.25), Mask::None, Mask::None]);
    let some = [vec![1.0, 0.0, 1.0], vec![1.0, 0.0, 1.0]];
    assert_eq!(grasp::masks(&some, 0.5).unwrap(), [random(2.0 / 3.0), random(1.0 / 3.0)]);
    let empty = [vec![], vec![1.0; 3], vec![]];
    let third = grasp::masks(&empty, 1.0 / 3.0).unwrap();
    assert_eq!(third, [Mask::All, random(1.0 / 3.0), Mask::All]);
}

//! `AdamW` against golden vectors, and what belongs to it alone.
//!
//! `testdata/optim_vectors.py` made `optim_vectors.json` in numpy f64.

use candle::{DType, Device, Tensor, Var};
use optim::{AdamW, AdamWConfig, Optimizer, Param};
use serde::Deserialize;

use crate::objectives::{Told, param, values};

#[derive(Deserialize)]
struct Vectors {
    adamw: Problem,
}

#[derive(Deserialize)]
struct Problem {
    w0: Vec<Vec<f64>>,
    grads: Vec<Vec<Vec<f64>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    w: Vec<Vec<Vec<f64>>>,
    m: Vec<Vec<f64>>,
    v: Vec<Vec<f64>>,
}

fn problem() -> Problem {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/optim_vectors.json");
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str::<Vectors>(&text).unwrap().adamw
}

fn tensor(rows: &[Vec<f64>], dtype: DType) -> Tensor {
    Tensor::new(rows.to_vec(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

/// Largest relative error of `got`, against the larger of 1e-3 and the expected value; NaN where
/// any is.
fn error(got: &Tensor, expected: &[Vec<f64>]) -> f64 {
    let pairs = values(got).into_iter().zip(expected.iter().flatten());
    pairs
        .map(|(got, want)| (got - want).abs() / want.abs().max(1e-3))
        .max_by(f64::total_cmp)
        .unwrap()
}

impl Case {
    fn config(&self) -> AdamWConfig {
        AdamWConfig {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            weight_decay: self.weight_decay,
            max_grad_norm: 0.0,
            lr_ratio_b: None,
        }
    }

    /// The largest error of weights after every update and of the moments at the end.
    fn run(&self, problem: &Problem, dtype: DType, coupled: bool) -> f64 {
        let var = Var::from_tensor(&tensor(&problem.w0, dtype)).unwrap();
        let params = [Param { name: "w".into(), var, decay: !coupled, lr_scale: 1.0 }];
        let mut optimizer = AdamW::new(self.config(), &params).unwrap();
        let mut errors = Vec::new();
        for (gradient, expected) in problem.grads.iter().zip(&self.w) {
            let mut gradient = tensor(gradient, dtype);
            if coupled {
                let decay = (params[0].var.as_detached_tensor() * self.weight_decay).unwrap();
                gradient = (gradient + decay).unwrap();
            }
            let mut objective = Told { loss: 0.0, gradients: vec![(0, gradient)] };
            optimizer.step(&params, &mut objective, self.lr).unwrap();
            errors.push(error(&params[0].var, expected));
        }
        let state = optimizer.state().unwrap();
        let find = |key: &str| &state.iter().find(|(name, _)| name == key).unwrap().1;
        errors.push(error(find("adamw.first.w"), &self.m));
        errors.push(error(find("adamw.second.w"), &self.v));
        errors.into_iter().max_by(f64::total_cmp).unwrap()
    }
}

/// f64 runs the composed form, f32 the fused one.
#[test]
fn ten_updates_equal_the_vectors() {
    let problem = problem();
    for case in &problem.cases {
        for (dtype, bound) in [(DType::F64, 1e-12), (DType::F32, 2e-5)] {
            let worst = case.run(&problem, dtype, false);
            assert!(worst < bound, "{dtype:?}, beta2 {}: {worst:e}", case.beta2);
        }
    }
}

/// The vectors can tell decoupled decay from decay inside the gradient.
#[test]
fn coupled_decay_fails_the_vectors() {
    let problem = problem();
    for case in &problem.cases {
        assert!(case.run(&problem, DType::F64, true) > 1e-4);
        assert!(case.run(&problem, DType::F32, true) > 1e-4);
    }
}

fn one_update(config: AdamWConfig, param: Param, gradient: &[f64], lr: f64) -> (f64, f64) {
    let params = [param];
    let mut optimizer = AdamW::new(config, &params).unwrap();
    let gradient = Tensor::new(gradient, &Device::Cpu).unwrap();
    let mut objective = Told { loss: 0.0, gradients: vec![(0, gradient)] };
    let report = optimizer.step(&params, &mut objective, lr).unwrap();
    (values(&params[0].var)[0], report.clip_scale)
}

#[test]
fn norms_and_biases_do_not_decay() {
    let config = AdamWConfig { weight_decay: 0.5, ..AdamWConfig::default() };
    for dtype in [DType::F32, DType::F64] {
        let decaying = param("w", &[2.0], dtype);
        let kept = Param { decay: false, ..param("norm", &[2.0], dtype) };
        assert!((one_update(config.clone(), decaying, &[0.0], 0.1).0 - 1.9).abs() < 1e-6);
        assert_eq!(one_update(config.clone(), kept, &[0.0], 0.1).0.to_bits(), 2.0_f64.to_bits());
    }
}

/// `1 - lr * weight_decay` is 1 in f32 here; the decay must not be lost with it.
#[test]
fn a_small_decay_survives_single_precision() {
    let config = AdamWConfig { weight_decay: 0.01, ..AdamWConfig::default() };
    let after = |decay| {
        let params = [Param { decay, ..param("w", &[1.0], DType::F32) }];
        let mut optimizer = AdamW::new(config.clone(), &params).unwrap();
        // The gradient alone moves the weight by a little under half an ulp; with decay the sum
        // rounds the other way.
        let gradients = vec![(0, Tensor::new(&[1.0_f32], &Device::Cpu).unwrap())];
        optimizer.step(&params, &mut Told { loss: 0.0, gradients }, 2.97e-8).unwrap();
        values(&params[0].var)[0]
    };
    assert_eq!(after(false).to_bits(), 1.0_f64.to_bits());
    assert!(after(true) < 1.0);
}

#[test]
fn the_whole_gradient_is_scaled_to_the_norm() {
    let config = AdamWConfig { max_grad_norm: 1.0, ..AdamWConfig::default() };
    let scale = |config: &AdamWConfig, gradient: &[f64]| {
        one_update(config.clone(), param("w", &[0.0, 0.0], DType::F64), gradient, 0.1).1
    };
    assert!((scale(&config, &[3.0, 4.0]) - 1.0 / (5.0 + 1e-6)).abs() < 1e-15);
    assert_eq!(scale(&config, &[0.3, 0.4]).to_bits(), 1.0_f64.to_bits());
    let off = AdamWConfig { max_grad_norm: 0.0, ..config };
    assert_eq!(scale(&off, &[3.0, 4.0]).to_bits(), 1.0_f64.to_bits());
}

#[test]
fn a_gradient_whose_square_overflows_is_refused_unless_it_is_clipped() {
    let params = [param("w", &[0.5], DType::F32)];
    let step = |max_grad_norm: f64| {
        let config = AdamWConfig { max_grad_norm, ..AdamWConfig::default() };
        let mut optimizer = AdamW::new(config, &params).unwrap();
        let gradients = vec![(0, Tensor::new(&[1e20_f32], &Device::Cpu).unwrap())];
        optimizer.step(&params, &mut Told { loss: 0.0, gradients }, 0.1)
    };
    let error = step(0.0).unwrap_err().to_string();
    assert!(error.contains("e20") && error.contains("max_grad_norm"), "{error}");
    assert_eq!(values(&params[0].var)[0].to_bits(), 0.5_f64.to_bits());
    step(1.0).unwrap();
    assert!(values(&params[0].var)[0] < 0.5);
}

/// The moments of a clipped gradient are those of the scaled one.
#[test]
fn clipping_comes_before_the_moments() {
    for dtype in [DType::F32, DType::F64] {
        let params = [param("w", &[0.0, 0.0], dtype)];
        let mut optimizer = AdamW::new(AdamWConfig::default(), &params).unwrap();
        let gradients = vec![(0, Tensor::new(&[3.0_f64, 4.0], &Device::Cpu).unwrap())];
        optimizer.step(&params, &mut Told { loss: 0.0, gradients }, 0.1).unwrap();
        let first = values(&optimizer.state().unwrap()[1].1);
        assert!((first[0] - 0.06).abs() < 1e-6 && (first[1] - 0.08).abs() < 1e-6, "{first:?}");
    }
}

#[test]
fn half_precision_parameters_have_f32_moments() {
    for (dtype, moments) in
        [(DType::BF16, DType::F32), (DType::F32, DType::F32), (DType::F64, DType::F64)]
    {
        let optimizer = AdamW::new(AdamWConfig::default(), &[param("w", &[0.0], dtype)]).unwrap();
        let state = optimizer.state().unwrap();
        assert!(state[1..].iter().all(|(_, tensor)| tensor.dtype() == moments));
    }
}

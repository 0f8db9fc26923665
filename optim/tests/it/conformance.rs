//! What every optimizer owes, whatever its rule.

use std::collections::BTreeMap;

use candle::{DType, Device, Shape, Tensor};
use optim::{AdamWConfig, Error, OptimConfig, Optimizer, Param, SavedState, Schedule};
use proptest::prelude::*;

use crate::objectives::{Broken, Graph, Told, bits, parabola, param, rosenbrock, values};

/// Every kind, in the settings that a recipe would use and in unusual ones.
fn every() -> Vec<OptimConfig> {
    let plain = AdamWConfig::default();
    vec![
        OptimConfig::AdamW(plain.clone()),
        OptimConfig::AdamW(AdamWConfig {
            beta1: 0.5,
            weight_decay: 0.0,
            max_grad_norm: 0.0,
            ..plain
        }),
    ]
}

fn saved(optimizer: &dyn Optimizer) -> BTreeMap<String, Tensor> {
    let copy = |(name, tensor): (String, Tensor)| (name, tensor.copy().unwrap());
    optimizer.state().unwrap().into_iter().map(copy).collect()
}

fn all_bits(params: &[Param], optimizer: &dyn Optimizer) -> Vec<Vec<u64>> {
    let state = saved(optimizer).into_values().map(|tensor| bits(&tensor));
    params.iter().map(|param| bits(&param.var)).chain(state).collect()
}

#[test]
fn a_parabola_reaches_its_minimum() {
    for config in every() {
        // bf16 has 8 bits: near 3 a step below 2^-7 is lost, and the late ones are that small.
        for (dtype, bound) in [(DType::F32, 0.02), (DType::F64, 0.02), (DType::BF16, 0.3)] {
            let params = [param("a", &[0.0, 7.0], dtype), param("b", &[-2.0], dtype)];
            let mut optimizer = config.build(&params).unwrap();
            let schedule =
                Schedule::Linear { lr: 0.1, warmup: 10, warmup_ratio: 0.0, min_ratio: 0.0 };
            for update in 0..400 {
                optimizer.step(&params, &mut parabola(&params), schedule.lr(update, 400)).unwrap();
            }
            for value in params.iter().flat_map(|param| values(&param.var)) {
                assert!((value - 3.0).abs() < bound, "{config:?} {dtype:?}: {value}");
            }
        }
    }
}

#[test]
fn a_curved_valley_is_followed() {
    for config in every() {
        for dtype in [DType::F32, DType::F64] {
            let mut params = [param("x", &[-1.2], dtype), param("y", &[1.0], dtype)];
            // Decay would move the minimum.
            for param in &mut params {
                param.decay = false;
            }
            let mut optimizer = config.build(&params).unwrap();
            let schedule =
                Schedule::Cosine { lr: 0.05, warmup: 0, warmup_ratio: 0.0, min_ratio: 0.0 };
            let mut first = None;
            for update in 0..4000 {
                let lr = schedule.lr(update, 4000);
                let report = optimizer.step(&params, &mut rosenbrock(&params), lr).unwrap();
                first.get_or_insert(report.loss);
            }
            let [x, y] = [0, 1].map(|i| values(&params[i].var)[0]);
            assert!(first > Some(20.0));
            assert!((x - 1.0).abs() < 0.02 && (y - 1.0).abs() < 0.04, "{config:?}: {x} {y}");
        }
    }
}

#[test]
fn a_restored_run_equals_an_uninterrupted_one_bit_for_bit() {
    for config in every() {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let start = [param("x", &[-1.2, 0.3], dtype), param("y", &[1.0, -0.4], dtype)];
            let mut optimizer = config.build(&start).unwrap();
            let run = |params: &[Param], optimizer: &mut dyn Optimizer| {
                for update in 0..5 {
                    let lr = 0.01 * f64::from(update + 1);
                    optimizer.step(params, &mut rosenbrock(params), lr).unwrap();
                }
            };
            run(&start, &mut *optimizer);
            let resumed = start.clone().map(|param| Param {
                var: candle::Var::from_tensor(&param.var.copy().unwrap()).unwrap(),
                ..param
            });
            let mut other = config.build(&resumed).unwrap();
            other.restore(&saved(&*optimizer)).unwrap();
            run(&start, &mut *optimizer);
            run(&resumed, &mut *other);
            assert_eq!(all_bits(&start, &*optimizer), all_bits(&resumed, &*other), "{config:?}");
        }
    }
}

#[test]
fn a_scaled_rate_is_that_of_an_optimizer_of_its_own() {
    // Clipping is over all parameters together.
    let config = |plain: &OptimConfig| match plain.clone() {
        OptimConfig::AdamW(adamw) => {
            OptimConfig::AdamW(AdamWConfig { max_grad_norm: 0.0, ..adamw })
        }
        without => without,
    };
    for config in every().iter().map(config) {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let start = || [param("a", &[0.0, 7.0], dtype), param("b", &[-2.0, 0.3], dtype)];
            let run = |params: &[Param], lr: f64| {
                let mut optimizer = config.build(params).unwrap();
                for update in 0..5 {
                    let lr = lr * f64::from(update + 1);
                    optimizer.step(params, &mut parabola(params), lr).unwrap();
                }
                params.iter().map(|param| bits(&param.var)).collect::<Vec<_>>()
            };
            let together = |lr_scale| {
                let [a, b] = start();
                run(&[a, Param { lr_scale, ..b }], 0.01)
            };
            let apart = |rate| [run(&start()[..1], 0.01), run(&start()[1..], rate)].concat();
            assert_eq!(together(1.0), apart(0.01), "{config:?} {dtype:?}");
            assert_eq!(together(16.0), apart(0.16), "{config:?} {dtype:?}");
            assert_ne!(together(16.0), apart(0.01), "{config:?} {dtype:?}");
        }
    }
}

#[test]
fn a_scale_that_makes_no_rate_moves_nothing() {
    for config in every() {
        for lr_scale in [-1.0, f64::NAN, f64::INFINITY, f64::MAX] {
            let [a, b] = [param("a", &[1.0], DType::F32), param("b", &[2.0], DType::F32)];
            let params = [a, Param { lr_scale, ..b }];
            let mut optimizer = config.build(&params).unwrap();
            let error = optimizer.step(&params, &mut parabola(&params), 2.0).unwrap_err();
            assert!(matches!(error, Error::LearningRate { .. }), "{error}");
            assert_eq!(
                params.map(|one| values(&one.var)[0].to_bits()),
                [1.0, 2.0].map(f64::to_bits)
            );
        }
    }
}

/// A saved state whose tensor of one name cannot be read.
struct Torn(BTreeMap<String, Tensor>, String);

impl SavedState for Torn {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn layout(&self, name: &str) -> Option<(Shape, DType)> {
        self.0.layout(name)
    }

    fn tensor(&self, name: &str) -> candle::Result<Tensor> {
        if name == self.1 {
            candle::bail!("torn");
        }
        self.0.tensor(name)
    }
}

/// Two states together would be the peak of a run's memory.
#[test]
fn a_tensor_is_in_its_place_before_the_next_is_read() {
    let params = [param("x", &[-1.2], DType::F32), param("y", &[1.0], DType::F32)];
    for config in every() {
        let mut optimizer = config.build(&params).unwrap();
        optimizer.step(&params, &mut rosenbrock(&params), 0.1).unwrap();
        let state = saved(&*optimizer);
        let names: Vec<_> = optimizer.state().unwrap().into_iter().map(|(name, _)| name).collect();
        for (at, name) in names.iter().enumerate().skip(1) {
            let mut other = config.build(&params).unwrap();
            let fresh = saved(&*other);
            other.restore(&Torn(state.clone(), name.clone())).unwrap_err();
            let now = saved(&*other);
            for (place, name) in names.iter().enumerate().skip(1) {
                let expected = if place < at { &state[name] } else { &fresh[name] };
                assert_eq!(bits(&now[name]), bits(expected), "{name}");
            }
        }
    }
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_changes_nothing() {
    for config in every() {
        let params = [param("x", &[-1.2], DType::F32), param("y", &[1.0], DType::F32)];
        let mut optimizer = config.build(&params).unwrap();
        optimizer.step(&params, &mut rosenbrock(&params), 0.1).unwrap();
        let good = saved(&*optimizer);
        let before = all_bits(&params, &*optimizer);
        let mut broken = Vec::new();
        for key in good.keys() {
            let mut missing = good.clone();
            missing.remove(key);
            broken.push((missing, key.clone()));
            let mut shape = good.clone();
            shape.insert(key.clone(), Tensor::cat(&[&good[key], &good[key]], 0).unwrap());
            broken.push((shape, key.clone()));
            let mut dtype = good.clone();
            dtype.insert(key.clone(), good[key].to_dtype(DType::F16).unwrap());
            broken.push((dtype, key.clone()));
        }
        let mut extra = good.clone();
        extra.insert("surplus".into(), good.values().next().unwrap().clone());
        broken.push((extra, "surplus".into()));
        for (state, key) in broken {
            let error = optimizer.restore(&state).unwrap_err();
            assert!(matches!(&error, Error::State { problems } if problems.len() == 1));
            assert!(error.to_string().contains(&key), "{error}");
            assert_eq!(all_bits(&params, &*optimizer), before);
        }
        optimizer.restore(&good).unwrap();
    }
}

#[test]
fn the_parameters_keep_their_type_and_storage() {
    for config in every() {
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
            let params = [param("a", &[0.0, 7.0], dtype)];
            let live = params[0].var.as_detached_tensor();
            let mut optimizer = config.build(&params).unwrap();
            optimizer.step(&params, &mut parabola(&params), 0.1).unwrap();
            assert_eq!(params[0].var.dtype(), dtype);
            assert_eq!(bits(&live), bits(&params[0].var), "a detached view sees the update");
            assert_ne!(values(&live), [0.0, 7.0]);
        }
    }
}

#[test]
fn a_rate_of_zero_moves_no_parameter() {
    for config in every() {
        let params = [param("a", &[0.5, 7.0], DType::F32)];
        let mut optimizer = config.build(&params).unwrap();
        optimizer.step(&params, &mut parabola(&params), 0.0).unwrap();
        assert_eq!(values(&params[0].var), [0.5, 7.0]);
    }
}

#[test]
fn the_thread_count_changes_nothing() {
    let numbers: Vec<f64> = (0..50_000).map(|i| f64::from(i).sin()).collect();
    for config in every() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let params = [param("a", &numbers, DType::F32)];
                let mut optimizer = config.build(&params).unwrap();
                for _ in 0..3 {
                    let gradients = vec![(0, params[0].var.copy().unwrap()); 2];
                    optimizer.step(&params, &mut Told { loss: 0.0, gradients }, 0.1).unwrap();
                }
                all_bits(&params, &*optimizer)
            })
        };
        assert_eq!(run(1), run(3), "{config:?}");
    }
}

/// The mean of `(w . row - 1)^2` over `rows`, one loss for each of `parts` runs of rows.
fn regression(
    params: &[Param],
    rows: &[[f64; 2]],
    parts: usize,
) -> Graph<impl Fn(&[Param]) -> candle::Result<Vec<Tensor>>> {
    let rows = rows.to_vec();
    let losses = move |params: &[Param]| {
        let w = params[0].var.as_tensor();
        let part = |part: &[[f64; 2]]| {
            let x = Tensor::from_slice(part.as_flattened(), (part.len(), 2), &Device::Cpu)?;
            let x = x.to_dtype(w.dtype())?;
            let error = (x.broadcast_mul(w)?.sum(1)? - 1.0)?;
            error.sqr()?.sum_all()? / rows.len() as f64
        };
        rows.chunks(rows.len().div_ceil(parts)).map(part).collect()
    };
    Graph { params: params.to_vec(), losses }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn accumulated_parts_equal_one_batch(
        rows in prop::collection::vec([-2.0..2.0_f64, -2.0..2.0], 1..12),
        parts in 1..5_usize,
    ) {
        for config in every() {
            for (dtype, bound) in [(DType::F64, 1e-9), (DType::F32, 1e-4)] {
                let [whole, split] = [1, parts].map(|parts| {
                    let params = [param("w", &[0.3, -0.8], dtype)];
                    let mut optimizer = config.build(&params).unwrap();
                    let mut objective = regression(&params, &rows, parts);
                    let report = optimizer.step(&params, &mut objective, 0.1).unwrap();
                    (values(&params[0].var), report)
                });
                for (a, b) in whole.0.iter().zip(&split.0) {
                    prop_assert!((a - b).abs() < bound, "{a} and {b}");
                }
                prop_assert!((whole.1.loss - split.1.loss).abs() < bound);
                prop_assert!((whole.1.grad_norm - split.1.grad_norm).abs() < 10.0 * bound);
            }
        }
    }
}

fn gradient(values: [f64; 2]) -> Tensor {
    Tensor::new(&values, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

#[test]
fn refusals_move_nothing() {
    let good = || gradient([1.0, 1.0]);
    let told = |loss, gradients: Vec<(usize, Tensor)>| Told { loss, gradients };
    let nan = gradient([0.0, f64::NAN]);
    let infinite = gradient([f64::INFINITY, 0.0]);
    let wrong = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
    let cases = [
        (told(1.0, vec![(0, good())]), 0.1, "no gradient for second.norm"),
        (told(1.0, vec![]), 0.1, "no gradient for first.weight, second.norm"),
        (told(f64::NAN, vec![(0, good()), (1, good())]), 0.1, "the loss is NaN"),
        (told(f64::NEG_INFINITY, vec![(0, good()), (1, good())]), 0.1, "the loss is -inf"),
        (told(1.0, vec![(0, good()), (1, nan)]), 0.1, "norm of second.norm is NaN"),
        (told(1.0, vec![(0, infinite), (1, good())]), 0.1, "norm of first.weight is inf"),
        (told(1.0, vec![(0, good()), (1, wrong)]), 0.1, "gradient of second.norm: expected shape"),
        (told(1.0, vec![(2, good())]), 0.1, "parameter 2: there are 2 parameters"),
        (told(1.0, vec![(0, good()), (1, good())]), f64::NAN, "learning rate is NaN"),
        (told(1.0, vec![(0, good()), (1, good())]), -0.1, "learning rate is -0.1"),
    ];
    for config in every() {
        let names = ["first.weight", "second.norm"];
        let params = names.map(|name| param(name, &[0.5, -0.5], DType::F32));
        let mut optimizer = config.build(&params).unwrap();
        optimizer.step(&params, &mut parabola(&params), 0.1).unwrap();
        let before = all_bits(&params, &*optimizer);
        for (objective, lr, says) in &cases {
            let mut objective = told(objective.loss, objective.gradients.clone());
            let error = optimizer.step(&params, &mut objective, *lr).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert_eq!(all_bits(&params, &*optimizer), before, "{says}");
        }
        let error = optimizer.step(&params, &mut Broken, 0.1).unwrap_err();
        assert_eq!(error.to_string(), "the data ran out");
        for wrong in [&params[..1], &[params[1].clone(), params[0].clone()]] {
            let error = optimizer.step(wrong, &mut parabola(wrong), 0.1).unwrap_err();
            assert!(matches!(error, Error::Params(_)), "{error}");
        }
        assert_eq!(all_bits(&params, &*optimizer), before);
        // A refusal leaves nothing behind: the next update is what it would have been without it.
        optimizer.step(&params, &mut parabola(&params), 0.1).unwrap();
    }
}

#[test]
fn no_parameters_and_doubled_names_are_refused() {
    for config in every() {
        assert!(matches!(config.build(&[]).unwrap_err(), Error::Params(_)));
        let twice = ["a", "a"].map(|name| param(name, &[0.0], DType::F32));
        let error = config.build(&twice).unwrap_err();
        assert_eq!(error.to_string(), "parameters: two are named a");
    }
}

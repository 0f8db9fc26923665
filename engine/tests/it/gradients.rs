//! Finite differences in `f64` on every operation of the reference and through whole models; the
//! CPU backend against the reference.

use candle::{DType, Device, Result, Tensor, Var};
use engine::backend::{cpu, reference::ops};
use engine::layout::Span;
use engine::{Activations, Linear, Lora, MatmulPrecision, Model, Packed, Target};

use crate::packing::gradients;
use crate::support::{close, configs, draws, groups, model, pack, set, values, wide};

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut draw = draws(seed);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| 2.0 * draw()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A scalar that weighs every entry of `y` differently.
fn weigh(y: &Tensor) -> Result<Tensor> {
    let weights = random(y.dims(), 99).to_dtype(y.dtype())?;
    (y * weights)?.sum_all()
}

/// Gradients of `weigh(op(inputs))` in every input.
fn analytic(inputs: &[Tensor], op: &dyn Fn(&[Tensor]) -> Tensor) -> Vec<Vec<f64>> {
    let vars: Vec<Var> = inputs.iter().map(|x| Var::from_tensor(x).unwrap()).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let grads = weigh(&op(&tracked)).unwrap().backward().unwrap();
    vars.iter().map(|v| values(grads.get(v).expect("an input without gradient"))).collect()
}

fn differences(inputs: &[Tensor], op: &dyn Fn(&[Tensor]) -> Tensor) -> Vec<Vec<f64>> {
    const STEP: f64 = 1e-6;
    let value = |inputs: &[Tensor]| {
        weigh(&op(inputs)).unwrap().to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap()
    };
    (0..inputs.len())
        .map(|i| {
            let base = values(&inputs[i]);
            (0..base.len())
                .map(|j| {
                    let at = |shift: f64| {
                        let mut moved = base.clone();
                        moved[j] += shift;
                        let mut inputs = inputs.to_vec();
                        inputs[i] =
                            Tensor::from_vec(moved, inputs[i].shape(), &Device::Cpu).unwrap();
                        value(&inputs)
                    };
                    (at(STEP) - at(-STEP)) / (2.0 * STEP)
                })
                .collect()
        })
        .collect()
}

/// The reference's gradient by finite differences in `f64`.
#[track_caller]
fn check(inputs: &[Tensor], op: &dyn Fn(&[Tensor]) -> engine::Result<Tensor>) {
    let op = |x: &[Tensor]| op(x).unwrap();
    for (got, want) in analytic(inputs, &op).iter().zip(differences(inputs, &op)) {
        close(got, &want, 1e-7);
    }
}

/// Value and gradients, given that of the value.
type Cpu<'a> = &'a dyn Fn(&[&[f32]], &[f32]) -> (Vec<f32>, Vec<Vec<f32>>);

/// [`check`], then the CPU form in `f32` against the reference, value and gradient.
#[track_caller]
fn check_both(inputs: &[Tensor], op: &dyn Fn(&[Tensor]) -> engine::Result<Tensor>, cpu: Cpu<'_>) {
    check(inputs, op);
    agree(inputs, op, cpu);
}

#[track_caller]
fn agree(inputs: &[Tensor], op: &dyn Fn(&[Tensor]) -> engine::Result<Tensor>, cpu: Cpu<'_>) {
    let op = |x: &[Tensor]| op(x).unwrap();
    let value = op(inputs);
    let dy = narrow(&random(value.dims(), 99));
    let plain: Vec<Vec<f32>> = inputs.iter().map(narrow).collect();
    let plain: Vec<&[f32]> = plain.iter().map(Vec::as_slice).collect();
    let (got, gradients) = cpu(&plain, &dy);
    close(&wide(&got), &values(&value), 1e-5);
    let want = analytic(inputs, &op);
    assert_eq!(gradients.len(), want.len(), "a gradient in every input");
    for (got, want) in gradients.iter().zip(want) {
        close(&wide(got), &want, 3e-5);
    }
}

fn narrow(x: &Tensor) -> Vec<f32> {
    values(x).into_iter().map(|x| x as f32).collect()
}

#[test]
fn linear() {
    let inputs = [random(&[5, 7], 1), random(&[3, 7], 2)];
    let op = |x: &[Tensor]| ops::linear(&x[0], &x[1]);
    check_both(&inputs, &op, &|x, dy| {
        let weight = cpu::Weight::new(x[1], 7, MatmulPrecision::F32);
        let map = Linear::dense(weight, None);
        let (want, mut dx) = (Linear::dense(true, None), vec![0.0; x[0].len()]);
        let Linear { weight, .. } = map.backward(x[0], dy, &want, &mut dx);
        (map.forward(cpu::Threads::Pool, x[0]), vec![dx, weight.expect("asked for")])
    });
}

#[test]
fn a_linear_map_adds_to_what_is_there() {
    let [x, w] = [(5, 7), (3, 7)].map(|(a, b)| narrow(&random(&[a, b], 1)));
    let map = Linear::dense(cpu::Weight::new(&w, 7, MatmulPrecision::F32), None);
    let mut y = vec![1.0; 15];
    map.forward_add(cpu::Threads::Pool, &x, &mut y);
    let plus_one: Vec<_> =
        map.forward(cpu::Threads::Pool, &x).into_iter().map(|x| f64::from(x) + 1.0).collect();
    close(&wide(&y), &plus_one, 1e-6);
}

/// The gradients that Candle's backward pass holds at its end, and that of the weight.
fn held(weight: &Tensor, x: &Tensor) -> (usize, Option<Vec<f64>>) {
    let x = Var::from_tensor(x).unwrap();
    let y = ops::linear(&x, weight).unwrap();
    let gradients = weigh(&y).unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_some());
    (gradients.get_ids().count(), gradients.get(weight).map(values))
}

#[test]
fn no_gradient_of_a_frozen_weight_is_computed_on_tensors() {
    let (x, weight) = (random(&[5, 7], 1), random(&[3, 7], 2));
    let (frozen, none) = held(&weight, &x);
    let (trained, some) = held(Var::from_tensor(&weight).unwrap().as_tensor(), &x);
    assert_eq!((frozen + 1, none), (trained, None));
    assert!(some.is_some());
    // The gradient of Candle's own product, to the bit.
    let variable = Var::from_tensor(&weight).unwrap();
    let own = weigh(&x.matmul(&variable.t().unwrap()).unwrap()).unwrap().backward().unwrap();
    assert_eq!(some, own.get(&variable).map(values));
}

#[test]
fn a_linear_map_gives_the_gradients_that_are_asked_for() {
    let inputs = [random(&[5, 7], 1), random(&[3, 7], 2), random(&[3], 3)];
    let op = |x: &[Tensor]| Linear::dense(x[1].clone(), Some(x[2].clone())).forward(&x[0]);
    check_both(&inputs, &op, &|x, dy| {
        let precision = MatmulPrecision::F32;
        let (weight, bias) =
            (cpu::Weight::new(x[1], 7, precision), cpu::Weight::new(x[2], 3, precision));
        let map = Linear::dense(weight, Some(bias));
        let gradients = |weight, bias| {
            let want = Linear::dense(weight, Some(bias));
            let mut dx = vec![1.0; x[0].len()];
            let Linear { weight, bias, .. } = map.backward(x[0], dy, &want, &mut dx);
            (weight, bias.expect("the map has a bias"), dx)
        };
        let (d_weight, d_bias, mut dx) = gradients(true, true);
        let (d_weight, d_bias) = (d_weight.unwrap(), d_bias.unwrap());
        assert_eq!(gradients(false, false), (None, None, dx.clone()));
        assert_eq!(gradients(true, false), (Some(d_weight.clone()), None, dx.clone()));
        assert_eq!(gradients(false, true), (None, Some(d_bias.clone()), dx.clone()));
        // It was added to ones.
        for dx in &mut dx {
            *dx -= 1.0;
        }
        (map.forward(cpu::Threads::Pool, x[0]), vec![dx, d_weight, d_bias])
    });
}

const SCALE: f64 = 1.75;

/// `x`; `W`, `A` and `B` of a map from 7 to 6, and those of one from 6 to 5.
fn two_maps() -> [Tensor; 7] {
    let shapes = [[4, 7], [6, 7], [2, 7], [6, 2], [5, 6], [3, 6], [5, 3]];
    let mut seed = 0;
    shapes.map(|shape| {
        seed += 1;
        random(&shape, seed)
    })
}

fn adapted<T>(weight: T, a: T, b: T) -> Linear<T> {
    Linear { weight, bias: None, lora: Some(Lora { a, b, scale: SCALE }) }
}

/// The upper map's product, by the input of its weight, the input of its adapter, and the factor
/// with which the gradient goes through the scale.
fn upper(x: &[Tensor], dense: &Tensor, low: &Tensor, factor: f64) -> Tensor {
    let u = ops::linear(low, &x[5]).unwrap();
    // Its value is `SCALE u`, whatever the factor of its gradient is.
    let scaled = ((&u * factor).unwrap() + (u.detach() * (SCALE - factor)).unwrap()).unwrap();
    (ops::linear(dense, &x[4]).unwrap() + ops::linear(&scaled, &x[6]).unwrap()).unwrap()
}

#[test]
fn maps_with_adapters_one_after_the_other() {
    let map = |x: &[Tensor]| adapted(x[0].clone(), x[1].clone(), x[2].clone());
    let op = |x: &[Tensor]| map(&x[4..]).forward(&map(&x[1..]).forward(&x[0])?);
    check_both(&two_maps(), &op, &|x, dy| {
        let weight = |at: usize, width| cpu::Weight::new(x[at], width, MatmulPrecision::F32);
        let lower = adapted(weight(1, 7), weight(2, 7), weight(3, 2));
        let upper = adapted(weight(4, 6), weight(5, 6), weight(6, 3));
        let (want, pool) = (adapted(true, true, true), cpu::Threads::Pool);
        let h = lower.forward(pool, x[0]);
        let (mut dx, mut dh) = (vec![0.0; x[0].len()], vec![0.0; h.len()]);
        let above = upper.backward(&h, dy, &want, &mut dh);
        let below = lower.backward(x[0], &dh, &want, &mut dx);
        let all = [below, above].into_iter().flat_map(|map| {
            let lora = map.lora.unwrap();
            [map.weight, lora.a, lora.b].map(Option::unwrap)
        });
        (upper.forward(pool, &h), std::iter::once(dx).chain(all).collect())
    });
}

/// Negative controls of [`maps_with_adapters_one_after_the_other`]: a backward pass that lacks a
/// term of `dx = dy W + (s dy B) A` has other gradients in the map below, and there alone.
#[test]
fn a_gradient_without_one_of_its_terms_is_not_that_of_finite_differences() {
    type Mutant = fn(&[Tensor], &Tensor) -> Tensor;
    let mutants: [(&str, Mutant, &[usize]); 4] = [
        ("none", |x, h| upper(x, h, h, SCALE), &[]),
        ("du A", |x, h| upper(x, h, &h.detach(), SCALE), &[0, 1, 2, 3]),
        ("dy W", |x, h| upper(x, &h.detach(), h, SCALE), &[0, 1, 2, 3]),
        ("the scale of du", |x, h| upper(x, h, h, 1.0), &[0, 1, 2, 3, 5]),
    ];
    let lower =
        |x: &[Tensor]| adapted(x[1].clone(), x[2].clone(), x[3].clone()).forward(&x[0]).unwrap();
    let inputs = two_maps();
    let want = differences(&inputs, &|x| upper(x, &lower(x), &lower(x), SCALE));
    for (term, mutant, wrong) in mutants {
        let got = analytic(&inputs, &|x| mutant(x, &lower(x)));
        for (input, (got, want)) in got.iter().zip(&want).enumerate() {
            let far = got.iter().zip(want).fold(0.0, |far: f64, (a, b)| far.max((a - b).abs()));
            let is_wrong = far > 1e-2;
            assert_eq!(is_wrong, wrong.contains(&input), "without {term}: input {input}, {far}");
            assert!(is_wrong || far < 1e-6, "without {term}: input {input}, {far}");
        }
    }
}

fn cpu_norm(x: &[&[f32]], dy: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
    // On top of ones, since the gradient is added.
    let mut dx = vec![1.0; x[0].len()];
    let dw = cpu::rms_norm_backward(x[0], x[1], 1e-5, dy, &mut dx);
    for dx in &mut dx {
        *dx -= 1.0;
    }
    (cpu::rms_norm(cpu::Threads::Pool, x[0], x[1], 1e-5), vec![dx, dw])
}

#[test]
fn rms_norm() {
    let op = |x: &[Tensor]| ops::rms_norm(&x[0], &x[1], 1e-5);
    check_both(&[random(&[5, 8], 1), random(&[8], 2)], &op, &cpu_norm);
    check_both(&[random(&[3, 37], 1), random(&[37], 2)], &op, &cpu_norm);
    check_both(&[random(&[3, 2, 8], 1), random(&[8], 2)], &op, &cpu_norm);
}

#[test]
fn rms_norm_over_many_rows() {
    let op = |x: &[Tensor]| ops::rms_norm(&x[0], &x[1], 1e-5);
    agree(&[random(&[700, 64], 1), random(&[64], 2)], &op, &cpu_norm);
}

#[test]
fn rope() {
    for rows in [4, 3000] {
        let angles = random(&[rows, 3], 5);
        let op = |x: &[Tensor]| {
            let angles = angles.to_dtype(x[0].dtype())?;
            ops::rope(&x[0], &angles.cos()?, &angles.sin()?)
        };
        let cpu = |x: &[&[f32]], dy: &[f32]| {
            let [cos, sin] = [angles.cos(), angles.sin()].map(|x| narrow(&x.unwrap()));
            let back: Vec<f32> = sin.iter().map(|sin| -sin).collect();
            let (mut y, mut dx) = (x[0].to_vec(), dy.to_vec());
            cpu::rope(cpu::Threads::Pool, &mut y, &cos, &sin, 3);
            cpu::rope(cpu::Threads::Pool, &mut dx, &cos, &back, 3);
            (y, vec![dx])
        };
        let inputs = [random(&[rows, 2, 6], 1)];
        if rows < 100 { check_both(&inputs, &op, &cpu) } else { agree(&inputs, &op, &cpu) }
    }
}

#[test]
fn swiglu() {
    let op = |x: &[Tensor]| ops::swiglu(&x[0], &x[1]);
    let cpu = |x: &[&[f32]], dy: &[f32]| {
        let (mut gate, mut up) = (x[0].to_vec(), x[1].to_vec());
        cpu::swiglu_backward(&mut gate, &mut up, dy);
        (cpu::swiglu(cpu::Threads::Pool, x[0], x[1]), vec![gate, up])
    };
    check_both(&[random(&[4, 6], 1), random(&[4, 6], 2)], &op, &cpu);
    agree(&[random(&[40, 1000], 1), random(&[40, 1000], 2)], &op, &cpu);
}

#[test]
fn softmax() {
    check(&[random(&[3, 5], 1)], &|x| ops::softmax(&x[0]));
}

#[track_caller]
fn check_attention(packed: &Packed, [heads, kv_heads, width]: [usize; 3]) {
    let spans = Span::of(packed);
    let rows = packed.rows();
    let shapes = [[rows, heads, width], [rows, kv_heads, width], [rows, kv_heads, width]];
    let inputs = [1, 2, 3].map(|seed| random(&shapes[seed as usize - 1], seed));
    let op = |x: &[Tensor]| ops::attention(&x[0], &x[1], &x[2], &spans);
    check_both(&inputs, &op, &|x, dy| {
        let heads = cpu::Heads { query: heads, key: kv_heads, width };
        let qkv = [x[0], x[1], x[2]];
        let (threads, segments) = (cpu::Threads::Pool, packed.segments());
        let attended = cpu::attention(threads, heads, qkv, segments);
        let gradients = cpu::attention_backward(threads, heads, qkv, segments, &attended, dy);
        (attended.out, gradients.into())
    });
}

#[test]
fn attention_over_shared_prompts() {
    check_attention(&pack(&groups(37)).0, [4, 2, 4]);
}

#[test]
fn attention_over_a_chain_of_segments() {
    let mut packed = Packed::default();
    let root = packed.push(&[1, 2, 3], None).unwrap();
    let turn = packed.push(&[4, 5], Some(root)).unwrap();
    packed.push(&[6, 7], Some(turn)).unwrap();
    packed.push(&[8], Some(turn)).unwrap();
    check_attention(&packed, [2, 1, 4]);
}

/// The loss of [`gradients`], by the forward pass alone.
fn loss(model: &Model, packed: &Packed, targets: &[Target]) -> f64 {
    let mut value = f64::NAN;
    let weights: Vec<f64> = targets.iter().map(|t| f64::from(t.token % 5) - 1.7).collect();
    let mut of = |columns: &engine::ScoreTensors| {
        let log_probs = values(&columns.log_probs);
        value = log_probs.iter().zip(&weights).map(|(l, w)| l * w).sum::<f64>()
            + 0.3 * values(&columns.entropies).iter().sum::<f64>();
        Ok(columns.log_probs.sum_all()?)
    };
    let keep = Activations::Recompute;
    engine::backward(model, packed, targets, 0.7, keep, &mut of, &mut |_, _| Ok(())).unwrap();
    value
}

#[test]
fn whole_loss_through_each_family() {
    const STEP: f64 = 1e-6;
    for config in configs() {
        let model = model(config.clone(), DType::F64);
        let (packed, targets) = pack(&groups(37));
        let batch = [(packed.clone(), targets.clone())];
        let gradients = gradients(&model, &batch, Activations::Keep);
        let mut draw = draws(11);
        for (parameter, gradient) in model.parameters().iter().zip(&gradients) {
            let shape = parameter.tensor.shape();
            let base = values(&parameter.tensor);
            for _ in 0..4 {
                let at = ((draw() + 0.5) * base.len() as f64) as usize;
                let moved = |shift: f64| {
                    let mut values = base.clone();
                    values[at] += shift;
                    let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
                    set(&model, &parameter.name, &tensor);
                    loss(&model, &packed, &targets)
                };
                let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                moved(0.0);
                let got = gradient[at];
                assert!(
                    (got - slope).abs() <= 1e-6 * (1.0 + slope.abs()),
                    "{:?} {} at {at}: gradient {got}, finite difference {slope}",
                    config.family,
                    parameter.name
                );
            }
        }
    }
}

#[test]
fn cpu_gradients_equal_the_reference_through_each_family() {
    for config in configs() {
        let batch = [pack(&groups(37))];
        let narrow = gradients(&model(config.clone(), DType::F32), &batch, Activations::Keep);
        let wide = gradients(&model(config, DType::F64), &batch, Activations::Keep);
        for (narrow, wide) in narrow.iter().zip(&wide) {
            close(narrow, wide, 1e-4);
        }
    }
}

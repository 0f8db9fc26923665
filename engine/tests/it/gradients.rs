//! Finite differences in `f64` on every composed operation and through whole models; the fused
//! forms against the composed ones.

use candle::{DType, Device, Result, Tensor, Var};
use engine::ops::{self, Span, composed};
use engine::{Activations, Model, Packed, Target};

use crate::packing::gradients;
use crate::support::{FAMILIES, close, config, draws, groups, model, pack, values};

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

/// The composed form's gradient by finite differences in `f64`; the form that `f32` gets, value and
/// gradient, against the composed one.
#[track_caller]
fn check(inputs: &[Tensor], op: &dyn Fn(&[Tensor]) -> engine::Result<Tensor>) {
    let op = |x: &[Tensor]| op(x).unwrap();
    let wide = analytic(inputs, &op);
    for (got, want) in wide.iter().zip(differences(inputs, &op)) {
        close(got, &want, 1e-7);
    }
    let narrow: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
    close(&values(&op(&narrow)), &values(&op(inputs)), 1e-5);
    for (got, want) in analytic(&narrow, &op).iter().zip(&wide) {
        close(got, want, 3e-5);
    }
}

#[test]
fn linear() {
    let inputs = [random(&[5, 7], 1), random(&[3, 7], 2), random(&[3], 3)];
    check(&inputs, &|x| ops::linear(engine::Products::F32, &x[0], &x[1], Some(&x[2])));
}

#[test]
fn rms_norm() {
    check(&[random(&[5, 8], 1), random(&[8], 2)], &|x| ops::rms_norm(&x[0], &x[1], 1e-5));
    check(&[random(&[3, 2, 8], 1), random(&[8], 2)], &|x| ops::rms_norm(&x[0], &x[1], 1e-5));
}

#[test]
fn rms_norm_over_many_rows() {
    let inputs = [random(&[700, 64], 1), random(&[64], 2)];
    let narrow: Vec<Tensor> = inputs.iter().map(|x| x.to_dtype(DType::F32).unwrap()).collect();
    let op = |x: &[Tensor]| ops::rms_norm(&x[0], &x[1], 1e-5).unwrap();
    for (got, want) in analytic(&narrow, &op).iter().zip(&analytic(&inputs, &op)) {
        close(got, want, 3e-5);
    }
}

#[test]
fn rope() {
    let angles = random(&[4, 3], 5);
    check(&[random(&[4, 2, 6], 1)], &|x| {
        let angles = angles.to_dtype(x[0].dtype())?;
        ops::rope(&x[0], &angles.cos()?, &angles.sin()?)
    });
}

#[test]
fn swiglu() {
    check(&[random(&[4, 6], 1), random(&[4, 6], 2)], &|x| ops::swiglu(&x[0], &x[1]));
}

#[test]
fn softmax() {
    check(&[random(&[3, 5], 1)], &|x| composed::softmax(&x[0]));
}

#[test]
fn attention_over_shared_prompts() {
    let (packed, _) = pack(&groups(37));
    let spans = Span::of(&packed);
    let rows = packed.rows();
    let inputs = [random(&[rows, 4, 4], 1), random(&[rows, 2, 4], 2), random(&[rows, 2, 4], 3)];
    check(&inputs, &|x| ops::attention(&x[0], &x[1], &x[2], &spans));
}

#[test]
fn attention_over_a_chain_of_segments() {
    let mut packed = Packed::default();
    let root = packed.push(&[1, 2, 3], None).unwrap();
    let turn = packed.push(&[4, 5], Some(root)).unwrap();
    packed.push(&[6, 7], Some(turn)).unwrap();
    packed.push(&[8], Some(turn)).unwrap();
    let spans = Span::of(&packed);
    let inputs = [random(&[8, 2, 4], 1), random(&[8, 1, 4], 2), random(&[8, 1, 4], 3)];
    check(&inputs, &|x| ops::attention(&x[0], &x[1], &x[2], &spans));
}

/// The loss of [`gradients`], by the forward pass alone.
fn loss(model: &Model, packed: &Packed, targets: &[Target]) -> f64 {
    let mut value = f64::NAN;
    let weights: Vec<f64> = targets.iter().map(|t| f64::from(t.token % 5) - 1.7).collect();
    let mut of = |columns: &engine::Columns| {
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
    for family in FAMILIES {
        let model = model(config(family), DType::F64);
        let (packed, targets) = pack(&groups(37));
        let batch = [(packed.clone(), targets.clone())];
        let gradients = gradients(&model, &batch, Activations::Keep);
        let mut draw = draws(11);
        for (parameter, gradient) in model.parameters().iter().zip(&gradients) {
            let shape = parameter.var.shape();
            let base = values(parameter.var.as_tensor());
            for _ in 0..4 {
                let at = ((draw() + 0.5) * base.len() as f64) as usize;
                let moved = |shift: f64| {
                    let mut values = base.clone();
                    values[at] += shift;
                    let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
                    parameter.var.set(&tensor).unwrap();
                    loss(&model, &packed, &targets)
                };
                let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                moved(0.0);
                let got = gradient[at];
                assert!(
                    (got - slope).abs() <= 1e-6 * (1.0 + slope.abs()),
                    "{family:?} {} at {at}: gradient {got}, finite difference {slope}",
                    parameter.name
                );
            }
        }
    }
}

#[test]
fn fused_gradients_equal_composed_ones_through_each_family() {
    for family in FAMILIES {
        let batch = [pack(&groups(37))];
        let narrow = gradients(&model(config(family), DType::F32), &batch, Activations::Keep);
        let wide = gradients(&model(config(family), DType::F64), &batch, Activations::Keep);
        for (narrow, wide) in narrow.iter().zip(&wide) {
            close(narrow, wide, 1e-4);
        }
    }
}

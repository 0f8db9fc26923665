#![expect(clippy::float_cmp, reason = "the same numbers, to the bit")]

use candle::{DType, Device};
use engine::loss::{Aggregation, LossConfig, PolicyLoss};
use engine::{Activations, AdapterConfig, Module, Packed, Scaling};
use kernels::noise::{self, Kind, Part, Stream};
use kernels::threads::Threads;
use optim::Schedule;
use optim::zeroth::{CoordinatesConfig, FzooConfig, Purpose, Scope, SpsaConfig, mix64, tensor_id};

use super::*;
use crate::builtin::Builtin;
use crate::train::table::{Credit, Table};
use crate::train::update::{UpdatePlan, UpdateReport, update};
use crate::zeroth::{logs, values};

const SEED: u64 = 42;

fn model() -> Model {
    Builtin::find("atom").unwrap().make(1, DType::F32, &Device::Cpu).unwrap().0
}

fn adapted() -> Model {
    let model = model();
    let targets = vec![Module::Q, Module::Down];
    let config = AdapterConfig { rank: 2, alpha: 4.0, scaling: Scaling::Rank, targets };
    let fresh = engine::Adapter::fresh(config, model.config(), 1, DType::F32, &Device::Cpu);
    model.with_adapter(fresh.unwrap()).unwrap()
}

/// Two prompts with targets, in micro-batches of their own where the budget is small.
fn table() -> Table {
    let mut table = Table::default();
    for (prompt, completion) in [(&[1, 2][..], &[3, 4, 5][..]), (&[6], &[7, 8])] {
        table.push_prompt(prompt.to_vec());
        table.push_completion(completion);
    }
    table.credit = Credit::even(&table, 1.0);
    table
}

/// Updates of a model by a method, and what its log then has.
fn trained(
    model: &Model,
    method: &EstimatorConfig,
    (budget, schedule): (usize, &Schedule),
    count: u64,
) -> (UpdateReport, Log) {
    let temp = tempfile::tempdir().unwrap();
    let opened = begin(method, (model, SEED), temp.path(), (0, 0)).unwrap();
    let mut zeroth = Zeroth::new(method, model, SEED, opened).unwrap();
    let loss = LossConfig {
        policy_loss: PolicyLoss::NegativeLogLikelihood {},
        aggregation: Aggregation::TokenMean {},
        ..LossConfig::default()
    };
    let plan = UpdatePlan {
        model,
        loss: &loss,
        temperature: 1.0,
        activations: Activations::Keep,
        budget,
        epochs: 1,
        updates_per_step: 1,
        seed: 0,
        schedule,
        total_updates: count,
    };
    let table = table();
    let mut report = UpdateReport::default();
    for done in 0..count {
        report = update(&plan, &mut zeroth, &table, done, &mut |_, _| {}, &mut |_| Ok(())).unwrap();
    }
    let log = logs(temp.path()).unwrap().pop().unwrap().read().unwrap();
    (report, log)
}

fn constant(lr: f64) -> Schedule {
    Schedule::Constant { lr, warmup: 0, warmup_ratio: 0.0 }
}

fn numbers(model: &Model) -> Vec<Vec<f32>> {
    model.trainable().map(|one| values(&one.tensor).unwrap()).collect()
}

fn set(model: &Model, all: &[Vec<f32>]) {
    model.update(|variables| {
        for ((_, variable), values) in variables.trainable().zip(all) {
            let shape = variable.shape();
            let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
            variable.set(&tensor).unwrap();
        }
    });
}

/// The mean negative log-likelihood of [`table`], by plain passes over the model's own weights.
fn loss_of(model: &Model, budget: usize) -> f64 {
    let table = table();
    let packs: Vec<Vec<usize>> = if budget < 5 { vec![vec![0], vec![1]] } else { vec![vec![0, 1]] };
    let mut sum = 0.0;
    for samples in packs {
        let (mut packed, mut targets) = (Packed::default(), Vec::new());
        for sample in samples {
            let prompt = packed.push(&table.prompts[sample], None).unwrap();
            let tokens = &table.tokens[table.samples[sample].tokens.clone()];
            targets.extend(packed.push_completion(prompt, tokens).unwrap());
        }
        let loss = engine::forward(model, &packed, &targets, 1.0, &mut |scores| {
            // As the loss does: a coefficient for each token, then the sum.
            let coefficients = vec![1.0 / 5.0; targets.len()];
            let coefficients = Tensor::new(coefficients, &Device::Cpu)?;
            Ok((scores.log_probs.neg()? * coefficients)?.sum_all()?)
        });
        sum += loss.unwrap().loss;
    }
    sum
}

fn noise_of(model: &Model, update: u32, member: u64) -> Vec<Vec<f32>> {
    let seed = mix64(SEED, update, member, Purpose::Noise);
    let fill = |one: &engine::Parameter| {
        let mut z = vec![0.0; one.tensor.elem_count()];
        let stream = Stream { seed, tensor: tensor_id(&one.name), part: Part::Dense };
        noise::fill(Threads::One, Kind::Rademacher, stream, 0, &mut z);
        z
    };
    model.trainable().map(fill).collect()
}

fn plus(all: &[Vec<f32>], scale: f32, z: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let each = all.iter().zip(z);
    each.map(|(w, z)| w.iter().zip(z).map(|(w, z)| w + scale * z).collect()).collect()
}

/// `MeZO` by hand, in place: the weights are written, and the loss is that of the model itself.
fn by_hand(model: &Model, probes: u64, rates: &[f64], budget: usize) -> Vec<Vec<f32>> {
    const EPSILON: f32 = 1e-3;
    let mut weights = numbers(model);
    for (update, lr) in rates.iter().enumerate() {
        let update = update as u32;
        let mut moves = Vec::new();
        for member in 0..probes {
            let z = noise_of(model, update, member);
            let at = |scale: f32| {
                set(model, &plus(&weights, scale, &z));
                loss_of(model, budget)
            };
            let (up, down) = (at(EPSILON), at(-EPSILON));
            let slope = ((up - down) / (2.0 * f64::from(EPSILON))) as f32;
            assert_ne!(slope, 0.0);
            moves.push((-((lr / probes as f64) as f32 * slope), z));
        }
        for (coefficient, z) in moves {
            weights = plus(&weights, coefficient, &z);
        }
        set(model, &weights);
    }
    weights
}

#[test]
fn two_point_updates_equal_those_made_in_place_to_the_bit() {
    let rates = Schedule::Linear { lr: 1e-3, warmup: 0, warmup_ratio: 0.0, min_ratio: 0.0 };
    for (make, probes, budget) in
        [(model as fn() -> Model, 1, 100), (model, 3, 100), (model, 2, 4), (adapted, 2, 100)]
    {
        let (one, other) = (make(), make());
        let method = EstimatorConfig::Spsa(SpsaConfig { probes, ..SpsaConfig::default() });
        let (report, log) = trained(&one, &method, (budget, &rates), 6);
        let lr: Vec<f64> = (0..6).map(|update| rates.lr(update, 6)).collect();
        assert!(lr[0] > lr[5], "the rate changes");
        assert_eq!(numbers(&one), by_hand(&other, u64::from(probes), &lr, budget));
        assert_ne!(numbers(&one), numbers(&make()), "it moved");
        assert_eq!(log.records.len(), 6);
        assert!(log.records.iter().all(|record| record.coefficients.len() == probes as usize));
        let estimated = report.estimated.last().unwrap();
        assert_eq!((estimated.passes, estimated.skipped.clone()), (2 * probes as usize, None));
        assert!(report.grad_norm.is_none() && estimated.slope > 0.0);
    }
}

#[test]
fn probes_leave_the_weights_as_they_are() {
    let one = model();
    let before = numbers(&one);
    let method = EstimatorConfig::Spsa(SpsaConfig::default());
    let (_, log) = trained(&one, &method, (100, &constant(0.0)), 20);
    assert_eq!(numbers(&one), before);
    assert_eq!(log.records.len(), 20, "an update of nothing is in the log, too");
}

#[test]
fn only_named_tensors_move() {
    let tensors = Scope::new(vec!["*norm.weight".to_owned()]);
    for method in [
        EstimatorConfig::Spsa(SpsaConfig { tensors: tensors.clone(), ..SpsaConfig::default() }),
        EstimatorConfig::Fzoo(FzooConfig { tensors: tensors.clone(), ..FzooConfig::default() }),
        EstimatorConfig::Coordinates(CoordinatesConfig { tensors, ..CoordinatesConfig::default() }),
    ] {
        let one = model();
        let before = numbers(&one);
        let (report, _) = trained(&one, &method, (100, &constant(1e-2)), 2);
        for ((parameter, before), after) in one.trainable().zip(&before).zip(numbers(&one)) {
            let moved = before.iter().zip(&after).any(|(before, after)| before != after);
            assert_eq!(moved, parameter.name.ends_with("norm.weight"), "{}", parameter.name);
        }
        assert!(report.loss.is_finite());
    }
    let none = Scope::new(vec!["*lora*".to_owned()]);
    let method = EstimatorConfig::Spsa(SpsaConfig { tensors: none, ..SpsaConfig::default() });
    let temp = tempfile::tempdir().unwrap();
    let error = begin(&method, (&model(), SEED), temp.path(), (3, 0)).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.starts_with("stage.3.optim: ") && error.contains("is called *lora*"), "{error}");
}

/// Differences along every coordinate are the gradient, up to their own error.
#[test]
fn differences_along_coordinates_are_the_gradient() {
    let one = model();
    let tensors = Scope::new(vec!["model.norm.weight".to_owned()]);
    let config = CoordinatesConfig { tensors, epsilon: 1e-2, ..CoordinatesConfig::default() };
    let (_, log) = trained(&one, &EstimatorConfig::Coordinates(config), (100, &constant(1.0)), 1);
    let other = model();
    let (mut packed, mut targets) = (Packed::default(), Vec::new());
    let table = table();
    for sample in 0..2 {
        let prompt = packed.push(&table.prompts[sample], None).unwrap();
        let tokens = &table.tokens[table.samples[sample].tokens.clone()];
        targets.extend(packed.push_completion(prompt, tokens).unwrap());
    }
    let mut gradient = Vec::new();
    let names: Vec<_> = other.trainable().map(|one| one.name.clone()).collect();
    engine::backward(
        &other,
        &packed,
        &targets,
        1.0,
        Activations::Keep,
        &mut |scores| Ok(scores.log_probs.mean_all()?.neg()?),
        &mut |index, tensor| {
            if names[index] == "model.norm.weight" {
                gradient = values(&tensor)?;
            }
            Ok(())
        },
    )
    .unwrap();
    let coefficients = &log.records[0].coefficients;
    assert_eq!(coefficients.len(), gradient.len());
    let largest = gradient.iter().fold(0.0_f32, |most, one| most.max(one.abs()));
    for (moved, gradient) in coefficients.iter().zip(&gradient) {
        assert!((moved + gradient).abs() < 0.02 * largest, "{moved}, {gradient}");
    }
}

#[test]
fn a_loss_that_is_not_finite_skips_the_update_and_is_in_the_log() {
    let one = model();
    let config = SpsaConfig { epsilon: 1e30, ..SpsaConfig::default() };
    let before = numbers(&one);
    let (report, log) = trained(&one, &EstimatorConfig::Spsa(config), (100, &constant(1e-3)), 2);
    assert_eq!(numbers(&one), before);
    let estimated = report.estimated.last().unwrap();
    assert!(estimated.not_finite > 0, "{estimated:?}");
    assert!(estimated.skipped.as_ref().unwrap().contains("not finite"), "{estimated:?}");
    let kinds: Vec<_> = log.records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [optim::zeroth::log::Kind::Skip; 2]);
}

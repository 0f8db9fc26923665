//! Of a model with an adapter, the adapter alone is trained.

use candle::Device;
use engine::{Adapter, AdapterConfig, Module, Scaling};
use optim::{AdamWConfig, OptimConfig};

use super::*;
use crate::train::params::optimizer;

const RANK: usize = 2;

/// The atom with an adapter of all its linear maps; `b` is every value of `B`.
fn adapted(b: f64) -> Model {
    let model = model();
    let targets = Module::ALL.to_vec();
    let config = AdapterConfig { rank: RANK, alpha: 4.0, scaling: Scaling::Rank, targets };
    let fresh = Adapter::fresh(config.clone(), model.config(), 1, DType::F32, &Device::Cpu);
    let fresh = fresh.unwrap();
    let mut values = fresh.parameters().into_iter();
    let mut get = |name: &str, _: &[usize]| {
        let (own, value) = values.next().unwrap();
        assert_eq!(own, name);
        Ok(if name.ends_with("lora_B.weight") { (value + b)? } else { value.clone() })
    };
    let adapter = Adapter::new(config, model.config(), &mut get, DType::F32, &Device::Cpu).unwrap();
    model.with_adapter(adapter).unwrap()
}

/// Names and values of all parameters.
fn values(model: &Model) -> Vec<(String, Vec<f32>)> {
    let value =
        |one: &engine::Parameter| one.tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    model.parameters().iter().map(|one| (one.name.clone(), value(one))).collect()
}

fn is_adapter(name: &str) -> bool {
    name.contains(".lora_")
}

/// Makes so many updates on the same groups by the optimizer that a recipe has by default.
fn train(model: &Model, updates: u64) {
    let schedule = Schedule::Constant { lr: 1e-2, warmup: 0, warmup_ratio: 0.0 };
    let loss = LossConfig::default();
    let plan = plan(model, &loss, &schedule);
    let config = OptimConfig::AdamW(AdamWConfig::default());
    let mut optimizer = optimizer(&config, model).unwrap();
    for first in 0..updates {
        let groups = two_groups(0.5);
        update(&plan, optimizer.as_mut(), &groups, first, &mut |_, _| {}, &mut |_| Ok(())).unwrap();
    }
}

#[test]
fn every_adapted_map_has_a_gradient_and_nothing_else_reaches_the_optimizer() {
    let model = adapted(0.1);
    let names: Vec<_> = model.trainable().map(|one| one.name.clone()).collect();
    let maps = model.config().num_layers * Module::ALL.len();
    assert_eq!(names.len(), 2 * maps);
    assert!(names.iter().all(|name| is_adapter(name)), "{names:?}");
    let loss = LossConfig::default();
    let schedule = Schedule::Constant { lr: 1e-3, warmup: 0, warmup_ratio: 0.0 };
    let plan = plan(&model, &loss, &schedule);
    let groups = two_groups(0.5);
    let mut progress = |_, _| {};
    let mut update = UpdateLoss::new(&plan, &groups, &[0, 1], &mut progress).unwrap();
    let mut gradients = model.update(|variables| Gradients::new(&params(variables, 1.0))).unwrap();
    update.gradient(&mut gradients).unwrap();
    for (index, name) in names.iter().enumerate() {
        let gradient = gradients.get(index).expect(name).flatten_all().unwrap();
        let all = gradient.to_vec1::<f32>().unwrap();
        assert!(all.iter().any(|value| *value != 0.0), "{name} has no gradient");
    }
}

#[test]
fn ten_updates_leave_every_bit_of_the_base() {
    let model = adapted(0.1);
    let before = values(&model);
    train(&model, 10);
    for ((name, before), (_, after)) in before.iter().zip(values(&model)) {
        assert_eq!(*before != after, is_adapter(name), "{name}");
    }
}

#[test]
fn the_first_update_of_a_fresh_adapter_moves_b_and_the_second_both() {
    let moved = |updates| {
        let model = adapted(0.0);
        let before = values(&model);
        train(&model, updates);
        let after = values(&model).into_iter();
        before
            .into_iter()
            .zip(after)
            .filter(|((_, then), (_, now))| then != now)
            .map(|((name, _), _)| name)
            .collect::<Vec<_>>()
    };
    let halves = |names: &[String], half: &str| {
        names.iter().filter(|name| name.ends_with(&format!("lora_{half}.weight"))).count()
    };
    let maps = model().config().num_layers * Module::ALL.len();
    let (first, second) = (moved(1), moved(2));
    assert_eq!((first.len(), halves(&first, "A"), halves(&first, "B")), (maps, 0, maps));
    assert_eq!((second.len(), halves(&second, "A")), (2 * maps, maps));
}

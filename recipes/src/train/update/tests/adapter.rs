//! Of a model with an adapter, the adapter alone is trained.

use std::fs;
use std::path::Path;

use candle::Device;
use engine::{Adapter, AdapterConfig, Checkpoint, Module, Scaling, WeightSource as _};
use optim::{AdamWConfig, OptimConfig};

use super::*;
use crate::identity::sha256;

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
    let mut optimizer = Gradient::new(&config, model).unwrap();
    for first in 0..updates {
        let groups = two_groups(0.5);
        update(&plan, &mut optimizer, &groups, first, &mut |_, _| {}, &mut |_| Ok(())).unwrap();
    }
}

fn buffers(model: &Model) -> Gradients {
    model.update(|variables| Gradients::new(&params(variables, 1.0))).unwrap()
}

/// The gradients of the first update.
fn gradients(model: &Model) -> Gradients {
    let loss = LossConfig::default();
    let schedule = Schedule::Constant { lr: 1e-3, warmup: 0, warmup_ratio: 0.0 };
    let plan = plan(model, &loss, &schedule);
    let groups = two_groups(0.5);
    let mut progress = |_, _| {};
    let mut update = UpdateLoss::new(&plan, &groups, &[0, 1], &mut progress).unwrap();
    let mut gradients = buffers(model);
    update.gradient(&mut gradients).unwrap();
    gradients
}

#[test]
fn every_adapted_map_has_a_gradient_and_nothing_else_reaches_the_optimizer() {
    let model = adapted(0.1);
    let names: Vec<_> = model.trainable().map(|one| one.name.clone()).collect();
    let maps = model.config().num_layers * Module::ALL.len();
    assert_eq!(names.len(), 2 * maps);
    assert!(names.iter().all(|name| is_adapter(name)), "{names:?}");
    let gradients = gradients(&model);
    for (index, name) in names.iter().enumerate() {
        let gradient = gradients.get(index).expect(name).flatten_all().unwrap();
        let all = gradient.to_vec1::<f32>().unwrap();
        assert!(all.iter().any(|value| *value != 0.0), "{name} has no gradient");
    }
}

/// Of a fresh adapter the gradient of `A` is zero, but it is there. Negative control: a check for a
/// missing gradient that refuses zero refuses the first update.
#[test]
fn a_gradient_that_is_zero_is_not_missing() {
    let model = adapted(0.0);
    let (gradients, mut others) = (gradients(&model), buffers(&model));
    assert_eq!(gradients.missing(), [""; 0]);
    assert!(gradients.norm().unwrap() > 0.0);
    let mut zero = Vec::new();
    for (index, own) in model.trainable().enumerate() {
        let gradient = gradients.get(index).unwrap();
        if gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|x| *x == 0.0) {
            zero.push(own.name.clone());
        } else {
            others.add(index, gradient.clone()).unwrap();
        }
    }
    assert_eq!(zero.len(), model.config().num_layers * Module::ALL.len());
    assert!(zero.iter().all(|name| name.ends_with("lora_A.weight")), "{zero:?}");
    assert_eq!(others.missing(), zero);
    let error = others.norm().unwrap_err().to_string();
    assert!(error.contains(&zero[0]), "{error}");
}

type Named = (String, Vec<f32>);

/// The parameters that changed and are not the adapter's, and those of it that did not change.
fn unexpected(before: &[Named], after: &[Named]) -> Vec<String> {
    let pairs = before.iter().zip(after);
    let wrong = pairs.filter(|((name, before), (_, after))| (before != after) != is_adapter(name));
    wrong.map(|((name, _), _)| name.clone()).collect()
}

#[test]
fn ten_updates_leave_every_bit_of_the_base() {
    let model = adapted(0.1);
    let before = values(&model);
    train(&model, 10);
    let after = values(&model);
    assert_eq!(unexpected(&before, &after), [""; 0]);
    // Negative controls: what a list of parameters leaves that lacks a block, and one that has a
    // weight of the base.
    let left_out = |name: &str| is_adapter(name) && name.starts_with("model.layers.1.");
    let mut other = after.clone();
    for ((name, own), (_, before)) in other.iter_mut().zip(&before) {
        if left_out(name) {
            own.clone_from(before);
        }
    }
    let found = unexpected(&before, &other);
    assert_eq!(found.len(), 2 * Module::ALL.len(), "{found:?}");
    assert!(found.iter().all(|name| left_out(name)), "{found:?}");
    let mut other = after;
    let (name, own) = other.iter_mut().find(|(name, _)| !is_adapter(name)).unwrap();
    let name = name.clone();
    own[3] = f32::from_bits(own[3].to_bits() ^ 1);
    assert_eq!(unexpected(&before, &other), [name]);
}

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata/lora/llama")
}

/// A GGUF file of blocks with PEFT's adapter.
fn on_blocks(path: &Path) -> Model {
    let (device, dtype) = (&Device::Cpu, DType::F32);
    let model = Checkpoint::open(path).unwrap().load_as_stored(device, dtype).unwrap().0;
    assert!(model.is_stored());
    let adapter = Adapter::open(&golden().join("adapter"), model.config(), dtype, device).unwrap();
    model.with_adapter(adapter).unwrap()
}

/// Digest of all numbers of the base, those of its blocks decoded.
fn base_sha256(model: &Model) -> String {
    let mut values = vec![model.embed().unwrap(), model.head().unwrap()];
    for layer in 0..model.config().num_layers {
        let block = model.block(layer).unwrap();
        values.extend(block.linears().into_iter().map(|map| map.weight.clone()));
    }
    let frozen = model.parameters().iter().filter(|one| !is_adapter(&one.name));
    values.extend(frozen.map(|one| one.tensor.clone().into()));
    let bytes = values.iter().flat_map(|value| {
        let tensor = value.tensor(DType::F32, &Device::Cpu).unwrap();
        let numbers = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        numbers.into_iter().flat_map(f32::to_le_bytes)
    });
    sha256(&bytes.collect::<Vec<_>>())
}

#[test]
fn ten_updates_leave_a_base_in_blocks_as_its_file_has_it() {
    let path = golden().join("base-blocks.gguf");
    let model = on_blocks(&path);
    let (before, values_before) = (base_sha256(&model), values(&model));
    train(&model, 10);
    assert_eq!(unexpected(&values_before, &values(&model)), [""; 0]);
    assert_eq!(base_sha256(&model), before);
    // Negative control: one bit of a block.
    let temp = tempfile::tempdir().unwrap();
    let other = temp.path().join("other.gguf");
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() - 1000;
    bytes[at] ^= 1;
    fs::write(&other, bytes).unwrap();
    assert_ne!(base_sha256(&on_blocks(&other)), before);
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

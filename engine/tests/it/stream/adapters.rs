//! Adapters over bases that are perturbed or streamed, in numbers or in blocks of a file.

use std::sync::Arc;

use candle::quantized::GgmlDType;
use candle::{DType, Device};
use engine::stream::{Arena, Ends, Master, Options, Perturbed, Scratch, Streamed};
use engine::{Adapter, AdapterConfig, Checkpoint, Family, Model, Module, Scaling};

use super::perturbed::{SIGNS, computed};
use super::steps::{Place, Record, master, measure, options, rate, update};
use super::transforms::{Mistake, apply, bits, numbers};
use crate::stored::{mixed, wide};
use crate::support::{adapted, adapter, config, configs, model};

pub(super) fn lora() -> AdapterConfig {
    let targets = vec![Module::Q, Module::V, Module::O, Module::Down];
    AdapterConfig { rank: 3, alpha: 3.0, scaling: Scaling::Rank, targets }
}

#[test]
fn a_transform_changes_an_adapter_and_not_its_base() {
    for config in configs() {
        for dtype in [DType::F32, DType::F64] {
            let make = || adapted(model(config.clone(), dtype), 3);
            let (model, holding, before) = (make(), make(), bits(&make()));
            apply(&holding, &SIGNS);
            let arena = Arena::new(None);
            let scratch = Scratch::new(&model.policy(), &arena).unwrap();
            let perturbed = Perturbed::new(&SIGNS, &scratch);
            let policy = model.policy().with_perturbed(Some(&perturbed)).unwrap();
            if dtype == DType::F32 {
                assert!(computed(policy) == computed(holding.policy()));
                // Room for A and B of a block alone.
                let block: usize = model.trainable().map(|x| x.tensor.elem_count()).sum();
                assert!(arena.peak() < 4 * (block / 2 + 14 * 16), "{}", arena.peak());
            }
            assert!(computed(policy) != computed(model.policy()));
            assert_eq!(bits(&model), before);
        }
    }
}

/// Models of a GGUF file, and the file as it is streamed.
fn checkpoints(kinds: &[GgmlDType]) -> Vec<(Model, Box<dyn Fn() -> Master>)> {
    let families = [Family::Llama, Family::Qwen2, Family::Qwen3];
    let of = |family| {
        let folder = mixed(&wide(family, 0), kinds);
        let checkpoint = Checkpoint::open(&folder.path().join("model.gguf")).unwrap();
        let stored = checkpoint.load_as_stored(&Device::Cpu, DType::F32).unwrap().0;
        let master = move || {
            let checkpoint = Checkpoint::open(&folder.path().join("model.gguf")).unwrap();
            let mut get = |name: &str, shape: &[usize]| {
                checkpoint.get_as_stored(name, shape, DType::F32, &Device::Cpu)
            };
            Master::in_memory(checkpoint.config.clone(), &mut get).unwrap()
        };
        (stored, Box::new(master) as Box<dyn Fn() -> Master>)
    };
    families.map(of).into()
}

/// Steps of an adapter over a base in memory.
fn resident(model: &Model) -> Record {
    let scratch = Scratch::new(&model.policy(), &Arena::default()).unwrap();
    let mut record = Record::default();
    for step in 0..5 {
        let measured = measure(model.policy(), &scratch, step, false);
        record.push(measured);
        apply(model, &update(step, measured.1, rate(step), Mistake::None));
    }
    let adapter = model.adapter().unwrap();
    record.weights = weights(adapter);
    record
}

fn weights(adapter: &Adapter) -> Vec<Vec<u32>> {
    let all = adapter.parameters().into_iter();
    all.map(|(_, tensor)| super::steps::bits(&numbers(tensor))).collect()
}

fn streamed(streamed: &Streamed) -> Record {
    let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
    let mut record = Record::default();
    for step in 0..5 {
        let measured = measure(streamed.policy(), &scratch, step, true);
        record.push(measured);
        let update = update(step, measured.1, rate(step), Mistake::None);
        streamed.defer(Arc::new(update)).unwrap();
    }
    record.weights = weights(streamed.adapter().unwrap());
    record
}

#[test]
fn an_adapter_is_trained_over_a_streamed_base() {
    for config in configs() {
        let base = model(config, DType::F32);
        let want = resident(&model_with(&base));
        for (slots, ends) in [(2, Ends::Resident), (3, Ends::Streamed)] {
            let own = adapter(&base, lora(), 11);
            let (master, options) = (master(&base, Place::Memory), options(slots, true, ends));
            let over = Streamed::new(master, |_| false, Some(own), &options).unwrap();
            let before = over.digest().unwrap();
            assert!(streamed(&over) == want);
            assert_eq!(over.digest().unwrap(), before, "the base was written");
            assert_eq!(over.traffic().writes, 0);
        }
    }
}

fn model_with(base: &Model) -> Model {
    let own = adapter(base, lora(), 11);
    let mut all = base.parameters().iter();
    let mut get = |_: &str, _: &[usize]| Ok(all.next().unwrap().tensor.copy()?);
    let model = Model::new(base.config().clone(), &mut get, DType::F32, &Device::Cpu).unwrap();
    model.with_adapter(own).unwrap()
}

#[test]
fn an_adapter_is_trained_over_blocks_of_a_file() {
    for (stored, master) in checkpoints(&[GgmlDType::Q4K, GgmlDType::Q8_0, GgmlDType::F16]) {
        let own = || adapter(&stored, lora(), 11);
        let mut slots = Vec::new();
        let mut records = Vec::new();
        for (as_stored, ends) in
            [(true, Ends::Resident), (false, Ends::Resident), (true, Ends::Streamed)]
        {
            let options = Options { as_stored, ..options(3, true, ends) };
            let over = Streamed::new(master(), |_| true, Some(own()), &options).unwrap();
            slots.push(over.terms().slot);
            records.push(streamed(&over));
        }
        assert!(2 * slots[0] < slots[1], "blocks of a file take less: {slots:?}");
        let own = own();
        let want = resident(&stored.with_adapter(own).unwrap());
        assert!(records.iter().all(|record| *record == want));
    }
}

#[test]
fn blocks_of_a_file_are_not_trained() {
    let (_, master) = checkpoints(&[GgmlDType::Q8_0]).remove(0);
    let error = Streamed::new(master(), |_| false, None, &Options::default()).unwrap_err();
    assert!(error.to_string().contains("cannot be trained: freeze them all"), "{error}");
    let frozen = Streamed::new(master(), |_| true, None, &Options::default()).unwrap();
    assert_eq!(frozen.trainable().len(), 0);
    let small = model(config(Family::Llama), DType::F32);
    let own = adapter(&small, lora(), 3);
    let error = Streamed::new(master(), |_| true, Some(own), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("made for another base"), "{error}");
}

//! Mistakes of the executor that are made on purpose: each changes the weights, or is refused.

use std::sync::Arc;
use std::time::Duration;

use candle::{DType, Device};

use super::ring::Faults;
use super::{Arena, Ends, Link, Master, Options, Perturbed, Scratch, Streamed, Transform};
use crate::{Biases, Family, Model, ModelConfig, Packed, RopeScaling, Target, Value};

/// Adds a number to every element, slowly.
#[derive(Debug)]
struct Add(f32, Duration);

impl Transform for Add {
    fn apply(&self, _: usize, _: usize, from: &[f32], to: &mut [f32]) {
        std::thread::sleep(self.1);
        for (from, to) in from.iter().zip(to) {
            *to = from + self.0;
        }
    }
}

/// Every write takes a while.
#[derive(Debug)]
struct SlowDown;

impl Link for SlowDown {
    fn up(&self, _: usize, _: Duration) {}

    fn down(&self, _: usize, _: Duration) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn config(num_layers: usize) -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocab_size: 32,
        hidden_size: 16,
        intermediate_size: 24,
        num_layers,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 4,
        context: 64,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-5,
        tie_embeddings: true,
        biases: Biases::NONE,
        qk_norm: false,
    }
}

fn streamed(config: ModelConfig, options: &Options) -> Streamed {
    let model = Model::random(config, 1, DType::F32, &Device::Cpu).unwrap();
    let mut all = model.parameters().iter();
    let mut get = |_: &str, _: &[usize]| Ok(all.next().unwrap().tensor.clone().into());
    let master = Master::in_memory(model.config().clone(), &mut get).unwrap();
    Streamed::new(master, |_| false, None, options).unwrap()
}

/// The weights after some updates, with a pass after each.
fn trained(num_layers: usize, slots: usize, faults: Faults) -> Vec<u32> {
    let options = Options { slots, faults, link: Arc::new(SlowDown), ..Options::default() };
    let streamed = streamed(config(num_layers), &options);
    let mut packed = Packed::default();
    packed.push(&[1, 2, 3], None).unwrap();
    for step in 0..6u8 {
        let update = Add(0.01 * f32::from(step + 1), Duration::from_micros(300));
        streamed.defer(Arc::new(update)).unwrap();
        streamed.policy().hidden(&packed).unwrap();
    }
    let mut bits = Vec::new();
    streamed
        .visit(&mut |_, value| {
            let Value::Tensor(tensor) = value else { panic!("a trained weight") };
            let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            bits.extend(values.into_iter().map(f32::to_bits));
            Ok(())
        })
        .unwrap();
    bits
}

/// With fewer blocks than slots a block is read ahead while its last use goes on.
#[test]
fn a_block_that_is_read_before_it_is_written_back_is_noticed() {
    let early = Faults { reads_too_early: true, ..Faults::default() };
    let want = trained(2, 1, Faults::default());
    assert!(trained(2, 4, Faults::default()) == want);
    assert!(trained(2, 4, early) != want, "the mistake changes nothing");
}

#[test]
fn a_slot_that_is_filled_before_it_is_written_back_is_noticed() {
    let early = Faults { frees_too_early: true, ..Faults::default() };
    let want = trained(6, 1, Faults::default());
    assert!(trained(6, 3, Faults::default()) == want);
    assert!(trained(6, 3, early) != want, "the mistake changes nothing");
}

/// Whichever unit it is: no pass that reads a unit again after its write-back has failed returns a
/// score. The last chunk of a head is read when nothing else is left to notice it.
#[test]
fn no_pass_returns_scores_of_a_unit_that_was_not_written_back() {
    for slots in [1, 2, 4] {
        for fails in 0..4 {
            let faults = Faults { fails: Some(fails), ..Faults::default() };
            let (link, ends) = (Arc::new(SlowDown), Ends::Streamed);
            let options = Options { slots, ends, link, faults, ..Options::default() };
            let config = ModelConfig { tie_embeddings: false, ..config(2) };
            let streamed = streamed(config, &options);
            let mut packed = Packed::default();
            packed.push(&[1, 2, 3], None).unwrap();
            let score = || streamed.policy().score(&packed, &[Target { row: 1, token: 3 }], 1.0);
            score().unwrap();
            streamed.defer(Arc::new(Add(0.1, Duration::ZERO))).unwrap();
            // What an update has just changed is in a slot: the score is right, or refused.
            let _ = score();
            // The embedding is written back when the update is finished.
            let flushed = if fails == 3 { streamed.flush() } else { Ok(()) };
            assert!(flushed.is_err() || score().is_err(), "{slots} slots, unit {fails}");
            assert!(score().is_err() && streamed.flush().is_err());
        }
    }
}

/// It is noticed at the end of the pass, when no block is left that would be asked for.
#[test]
fn a_write_back_that_fails_during_a_pass_fails_it() {
    let faults = Faults { fails: Some(1), ..Faults::default() };
    let streamed = streamed(config(2), &Options { faults, ..Options::default() });
    let scratch = Scratch::new(&streamed.policy(), &Arena::default()).unwrap();
    // A chunk of the head takes longer than the write-back.
    let slow = Add(0.0, Duration::from_millis(100));
    let perturbed = Perturbed::new(&slow, &scratch);
    let policy = streamed.policy().with_perturbed(Some(&perturbed)).unwrap();
    let mut packed = Packed::default();
    packed.push(&[1, 2, 3], None).unwrap();
    let score = || policy.score(&packed, &[Target { row: 1, token: 3 }], 1.0);
    score().unwrap();
    streamed.defer(Arc::new(Add(0.1, Duration::ZERO))).unwrap();
    let error = score().unwrap_err().to_string();
    assert!(error.contains("a write-back that fails on purpose"), "{error}");
}

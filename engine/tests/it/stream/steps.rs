//! A two-point method on resident and on streamed weights: the same steps.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use candle::DType;
use engine::lockstep::Probe;
use engine::stream::{
    Access, Arena, Ends, Link, Master, Options, Perturbed, Scratch, Streamed, Transform,
};
use engine::{Family, Model, ModelConfig, Packed, Policy, Target};

use super::transforms::{Mistake, Signs, Update, apply, numbers};
use crate::support::{config, groups, model, pack};

pub(super) const STEPS: u64 = 6;
const EPSILON: f32 = 1.0 / 1024.0;

/// What a run computed: losses, differences and final weights, as bits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Record {
    pub(super) losses: Vec<[u64; 2]>,
    pub(super) differences: Vec<u32>,
    pub(super) weights: Vec<Vec<u32>>,
}

pub(super) fn batch(step: u64, vocab: usize) -> (Packed, Vec<Target>) {
    let groups = groups(vocab);
    // Not the same rows in every step.
    pack(&groups[..=step as usize % 2])
}

/// The rate of a step, which is not constant.
pub(super) fn rate(step: u64) -> f32 {
    0.02 / (step as f32 + 1.0)
}

pub(super) fn update(step: u64, g: f32, rate: f32, mistake: Mistake) -> Update {
    let signs = Signs { seed: 100 + step, scale: -(rate * g) };
    Update { signs, keep: 1.0 - rate * 0.01, mistake, delay: Duration::ZERO }
}

/// Losses of both probes and their difference.
pub(super) fn measure(
    policy: Policy<'_>,
    scratch: &Scratch,
    step: u64,
    lockstep: bool,
) -> ([f64; 2], f32) {
    let signs = [EPSILON, -EPSILON].map(|scale| Signs { seed: 100 + step, scale });
    let own = signs.each_ref().map(|signs| Perturbed::new(signs, scratch));
    let (packed, targets) = batch(step, policy.config().vocab_size);
    let scores = if lockstep {
        let (packed, targets) = (&packed, targets.as_slice());
        let probes = own.each_ref().map(|own| Probe { perturbed: Some(own), packed, targets });
        policy.score_each(&probes, 1.0).unwrap()
    } else {
        let own = own.each_ref().map(|own| policy.with_perturbed(Some(own)).unwrap());
        own.map(|own| own.score(&packed, &targets, 1.0).unwrap()).to_vec()
    };
    let losses = [0, 1].map(|i| -scores[i].log_probs.iter().map(|&x| f64::from(x)).sum::<f64>());
    let g = ((losses[0] - losses[1]) / (2.0 * f64::from(EPSILON))) as f32;
    assert!(g != 0.0 && g.is_finite());
    (losses, g)
}

pub(super) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

impl Record {
    pub(super) fn push(&mut self, (losses, g): ([f64; 2], f32)) {
        self.losses.push(losses.map(f64::to_bits));
        self.differences.push(g.to_bits());
    }
}

/// Updates right after each step, or before the next one.
pub(super) fn resident(config: &ModelConfig, deferred: bool) -> Record {
    let model = model(config.clone(), DType::F32);
    let scratch = Scratch::new(&model.policy(), &Arena::default()).unwrap();
    let (mut record, mut pending) = (Record::default(), None::<Update>);
    for step in 0..STEPS {
        if let Some(update) = pending.take() {
            apply(&model, &update);
        }
        let measured = measure(model.policy(), &scratch, step, false);
        let update = update(step, measured.1, rate(step), Mistake::None);
        if deferred {
            pending = Some(update);
        } else {
            apply(&model, &update);
        }
        record.push(measured);
    }
    if let Some(update) = pending {
        apply(&model, &update);
    }
    record.weights = model.parameters().iter().map(|x| bits(&numbers(&x.tensor))).collect();
    record
}

/// Where streamed weights are kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Memory,
    File(&'a Path, Access),
}

/// A run on streamed weights.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) options: Options,
    pub(super) lockstep: bool,
    pub(super) mistake: Mistake,
    /// The rate of an update is that of so many steps later.
    pub(super) late: u64,
    pub(super) flushes: bool,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            options: Options::default(),
            lockstep: true,
            mistake: Mistake::None,
            late: 0,
            flushes: true,
        }
    }
}

pub(super) fn master(model: &Model, place: Place<'_>) -> Master {
    let mut all = model.parameters().iter();
    let mut get = |_: &str, _: &[usize]| Ok(all.next().unwrap().tensor.clone().into());
    let config = model.config().clone();
    match place {
        Place::Memory => Master::in_memory(config, &mut get).unwrap(),
        Place::File(path, access) => {
            Master::write(path, &config, &mut get).unwrap();
            Master::open(path, config, access, true).unwrap()
        }
    }
}

impl Run {
    pub(super) fn streamed(&self, config: &ModelConfig, place: Place<'_>) -> Streamed {
        let model = model(config.clone(), DType::F32);
        Streamed::new(master(&model, place), |_| false, None, &self.options).unwrap()
    }

    pub(super) fn run(&self, config: &ModelConfig, place: Place<'_>) -> Record {
        let streamed = self.streamed(config, place);
        let scratch = Scratch::new(&streamed.policy(), &self.options.arena).unwrap();
        let mut record = Record::default();
        for step in 0..STEPS {
            let measured = measure(streamed.policy(), &scratch, step, self.lockstep);
            let update = update(step, measured.1, rate(step + self.late), self.mistake);
            if step + 1 < STEPS || self.flushes {
                streamed.defer(Arc::new(update)).unwrap();
            }
            record.push(measured);
        }
        streamed
            .visit(&mut |_, value| {
                let engine::Value::Tensor(tensor) = value else { panic!("a trained weight") };
                record.weights.push(bits(&numbers(&tensor)));
                Ok(())
            })
            .unwrap();
        record
    }
}

/// Waits for a while before each transfer ends, another time for each.
#[derive(Debug, Default)]
pub(super) struct Jitter(AtomicU64);

impl Jitter {
    fn wait(&self) {
        let n = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        std::thread::sleep(Duration::from_micros((n >> 32) % 1500));
    }
}

impl Link for Jitter {
    fn up(&self, _: usize, _: Duration) {
        self.wait();
    }

    fn down(&self, _: usize, _: Duration) {
        self.wait();
    }
}

/// Small models of each family: tied and untied, with one or several chunks of the vocabulary, and
/// with fewer blocks than slots or more.
pub(super) fn sizes() -> Vec<ModelConfig> {
    let [llama, qwen2, qwen3] = [Family::Llama, Family::Qwen2, Family::Qwen3].map(config);
    vec![
        ModelConfig { num_layers: 5, ..llama.clone() },
        ModelConfig { num_layers: 4, ..qwen2 },
        ModelConfig { num_layers: 6, vocab_size: 4500, ..qwen3 },
        ModelConfig { vocab_size: 2100, ..llama },
    ]
}

pub(super) fn options(slots: usize, overlap: bool, ends: Ends) -> Options {
    Options { slots, overlap, ends, ..Options::default() }
}

/// Applies an update at once.
pub(super) fn immediately(streamed: &Streamed, update: impl Transform + 'static) {
    streamed.defer(Arc::new(update)).unwrap();
    streamed.flush().unwrap();
}

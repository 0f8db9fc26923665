//! Resident, streamed and replayed weights under the noise of the zeroth-order methods themselves:
//! the same losses, coefficients and weights, to the bit.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::Path;
use std::sync::Arc;

use candle::{DType, Device, Tensor};
use engine::lockstep::Probe as Pass;
use engine::stream::{
    Access, Arena, Ends, Master, Options, Perturbed, Scratch, Streamed, Transform,
};
use engine::{Biases, Family, Model, ModelConfig, Packed, Policy, RopeScaling, Target};
use kernels::threads::Threads;
use optim::zeroth::log::{Header, Log, Record, Writer};
use optim::zeroth::{
    Estimator, EstimatorConfig, Outcome, Probe, TensorSpec, Tensors, Update, tensor_id,
};
use serde_json::{Value, json};

const STEPS: u32 = 5;

/// A probe or an update of a model's parameters. `shift` takes one tensor for another: a mistake.
#[derive(Debug)]
struct Noise<T> {
    tensors: Arc<Tensors>,
    what: T,
    shift: usize,
}

impl<T> Noise<T> {
    fn tensor(&self, parameter: usize) -> TensorSpec {
        let all = self.tensors.all();
        let id = all[(parameter + self.shift) % all.len()].id;
        TensorSpec { id, ..all[parameter].clone() }
    }
}

impl Transform for Noise<Probe> {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        self.what.perturb(Threads::Pool, &self.tensor(parameter), first as u64, from, to);
    }

    fn apply_rows(&self, parameter: usize, rows: &[u32], from: &[f32], to: &mut [f32]) {
        self.what.perturb_rows(Threads::Pool, &self.tensor(parameter), rows, from, to);
    }
}

impl Transform for Noise<Update> {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
        self.apply_in_place(parameter, first, to);
    }

    fn apply_in_place(&self, parameter: usize, first: usize, values: &mut [f32]) {
        self.what.apply(Threads::Pool, &self.tensor(parameter), first as u64, values, &[]);
    }

    fn apply_rows(&self, parameter: usize, rows: &[u32], from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
        self.what.apply_rows(Threads::Pool, &self.tensor(parameter), rows, to, &[]);
    }
}

fn config(tied: bool) -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocab_size: 2100,
        hidden_size: 16,
        intermediate_size: 24,
        num_layers: 4,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 4,
        context: 64,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-5,
        tie_embeddings: tied,
        biases: Biases::NONE,
        qk_norm: false,
    }
}

fn model(config: &ModelConfig) -> Model {
    Model::random(config.clone(), 3, DType::F32, &Device::Cpu).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn tensors(model: &Model) -> Arc<Tensors> {
    let spec = |one: &engine::Parameter| {
        TensorSpec::new(&one.name, one.tensor.dims(), one.tensor.rank() > 1)
    };
    Arc::new(Tensors::new(model.trainable().map(spec).collect()).unwrap())
}

fn digests(model: &Model, tensors: &Tensors) -> Vec<String> {
    let pairs = tensors.all().iter().zip(model.trainable());
    pairs.map(|(tensor, one)| tensor.digest(&numbers(&one.tensor))).collect()
}

fn apply(model: &Model, transform: &dyn Transform) {
    model.update(|variables| {
        for (index, (one, variable)) in variables.trainable().enumerate() {
            let mut values = numbers(&one.tensor);
            transform.apply_in_place(index, 0, &mut values);
            let to = Tensor::from_vec(values, one.tensor.shape(), &Device::Cpu).unwrap();
            variable.set(&to).unwrap();
        }
    });
}

/// What goes wrong, if anything.
#[derive(Debug, Clone, Copy, Default)]
struct Mistakes {
    /// The rate of an update is that of so many steps later.
    late: u32,
    shift: usize,
    /// The last update is forgotten.
    forgets: bool,
}

/// What a run computed.
#[derive(Debug, PartialEq)]
struct Run {
    losses: Vec<Vec<u64>>,
    coefficients: Vec<Vec<u32>>,
    digests: Vec<String>,
}

fn rate(step: u32) -> f64 {
    2e-3 / f64::from(step + 1)
}

/// Losses of all probes of a step.
fn losses(policy: Policy<'_>, probes: &[Noise<Probe>], step: u32, lockstep: bool) -> Vec<f64> {
    let mut packed = Packed::default();
    let tokens: Vec<u32> = (0..9 + step).map(|i| (i * i * 37 + step) % 2100).collect();
    packed.push(&tokens, None).unwrap();
    let targets: Vec<Target> = (0..8).map(|row| Target { row, token: tokens[row + 1] }).collect();
    let scratch = Scratch::new(&policy, &Arena::default()).unwrap();
    let own: Vec<_> = probes.iter().map(|probe| Perturbed::new(probe, &scratch)).collect();
    let scores = if lockstep {
        let pass = |own| Pass { perturbed: Some(own), packed: &packed, targets: &targets };
        policy.score_each(&own.iter().map(pass).collect::<Vec<_>>(), 1.0).unwrap()
    } else {
        let score = |own| policy.with_perturbed(Some(own))?.score(&packed, &targets, 1.0);
        own.iter().map(score).collect::<engine::Result<Vec<_>>>().unwrap()
    };
    let loss = |scores: &engine::Scores| -> f64 {
        -scores.log_probs.iter().map(|&x| f64::from(x)).sum::<f64>() / 8.0
    };
    scores.iter().map(loss).collect()
}

/// One step, whose update `apply` takes.
fn step(
    (estimator, tensors): (&mut dyn Estimator, &Arc<Tensors>),
    policy: Policy<'_>,
    (at, lockstep, mistakes): (u32, bool, Mistakes),
    run: &mut Run,
) -> Noise<Update> {
    let noise = |what| Noise { tensors: tensors.clone(), what, shift: 0 };
    let probes: Vec<_> = estimator.probes(at).into_iter().map(noise).collect();
    let losses = losses(policy, &probes, at, lockstep);
    let scores: Vec<Vec<f64>> = losses.iter().map(|loss| vec![*loss]).collect();
    run.losses.push(losses.iter().map(|loss| loss.to_bits()).collect());
    let reduced = estimator.reduce(at, &scores, rate(at + mistakes.late)).unwrap();
    let Outcome::Update(update) = reduced.outcome else { panic!("{:?}", reduced.outcome) };
    let coefficients = update.coefficients();
    assert!(coefficients.iter().all(|coefficient| *coefficient != 0.0));
    run.coefficients.push(coefficients.iter().map(|x| x.to_bits()).collect());
    Noise { tensors: tensors.clone(), what: update, shift: mistakes.shift }
}

fn empty() -> Run {
    Run { losses: Vec::new(), coefficients: Vec::new(), digests: Vec::new() }
}

/// Updates at once, and the log of them.
fn resident(config: &ModelConfig, method: &EstimatorConfig) -> (Run, Log) {
    let (model, mut run) = (model(config), empty());
    let tensors = tensors(&model);
    let mut estimator = method.build(17, (*tensors).clone()).unwrap();
    let scheme = method.scheme(17, (*tensors).clone());
    let start = digests(&model, &tensors);
    let header = Header::new(scheme, method.clone(), 0, 64, start).unwrap();
    let mut log = Writer::new(Vec::new(), header).unwrap();
    for at in 0..STEPS {
        let how = (at, false, Mistakes::default());
        let update = step((&mut *estimator, &tensors), model.policy(), how, &mut run);
        log.append(&Record::from(&update.what)).unwrap();
        apply(&model, &update);
    }
    run.digests = digests(&model, &tensors);
    (run, Log::read(&log.into_inner()[..]).unwrap())
}

fn master(config: &ModelConfig, at: Option<(&Path, Access)>) -> Master {
    let model = model(config);
    let mut all = model.parameters().iter();
    let mut get = |_: &str, _: &[usize]| Ok(all.next().unwrap().tensor.clone().into());
    match at {
        None => Master::in_memory(config.clone(), &mut get).unwrap(),
        Some((path, access)) => {
            Master::write(path, config, &mut get).unwrap();
            Master::open(path, config.clone(), access, true).unwrap()
        }
    }
}

fn streamed(
    master: Master,
    (method, options): (&EstimatorConfig, &Options),
    mistakes: Mistakes,
) -> Run {
    let (tensors, mut run) = (tensors(&model(master.config())), empty());
    let over = Streamed::new(master, |_| false, None, options).unwrap();
    let mut estimator = method.build(17, (*tensors).clone()).unwrap();
    for at in 0..STEPS {
        let how = (at, at % 2 == 0, mistakes);
        let update = step((&mut *estimator, &tensors), over.policy(), how, &mut run);
        if at + 1 < STEPS || !mistakes.forgets {
            over.defer(Arc::new(update)).unwrap();
        }
    }
    run.digests = over.digests(&tensor_id).unwrap();
    run
}

fn replayed(config: &ModelConfig, log: &Log) -> Vec<String> {
    let model = model(config);
    log.header.compare(&digests(&model, &tensors(&model))).unwrap();
    let tensors = log.header.scheme.tensors.all();
    let replayed = tensors.iter().zip(model.trainable()).map(|(tensor, one)| {
        let mut values = numbers(&one.tensor);
        log.replay(Threads::Pool, 0, tensor, 0, &mut values, &[]).unwrap();
        tensor.digest(&values)
    });
    replayed.collect()
}

fn methods() -> Vec<Value> {
    let low_rank = json!({ "kind": "low-rank", "rank": 2, "interval": 2 });
    vec![
        json!({ "kind": "spsa", "weight_decay": 0.1 }),
        json!({ "kind": "spsa", "direction": { "kind": "dense", "noise": "gaussian" } }),
        json!({ "kind": "fzoo", "probes": 3, "direction": low_rank }),
        json!({ "kind": "spsa", "direction": { "kind": "random", "keep": 0.3 } }),
        json!({ "kind": "es", "members": 4, "direction": { "kind": "low-rank" } }),
    ]
}

fn method(settings: &Value) -> EstimatorConfig {
    serde_json::from_value(settings.clone()).unwrap()
}

fn options(slots: usize, ends: Ends) -> Options {
    Options { slots, ends, ..Options::default() }
}

#[test]
fn resident_streamed_and_replayed_weights_are_the_same_bits_under_real_noise() {
    let folder = tempfile::tempdir().unwrap();
    for (i, settings) in methods().iter().enumerate() {
        for tied in [true, false] {
            let (config, method) = (config(tied), method(settings));
            let (want, log) = resident(&config, &method);
            assert_eq!(replayed(&config, &log), want.digests, "{settings}: replayed");
            for (slots, ends) in [(1, Ends::Resident), (2, Ends::Streamed), (4, Ends::Streamed)] {
                let path = folder.path().join(format!("{i}-{tied}-{slots}"));
                let places =
                    [None, Some((&*path, Access::Buffered)), Some((&*path, Access::Direct))];
                for place in places {
                    let how = (&method, &options(slots, ends));
                    let got = streamed(master(&config, place), how, Mistakes::default());
                    assert!(got == want, "{settings}, {slots} slots, {ends:?}, {place:?}");
                }
            }
        }
    }
}

/// What would be noticed.
#[test]
fn a_lost_update_another_rate_and_another_tensor_are_seen_under_real_noise() {
    for settings in methods() {
        let (config, method) = (config(true), method(&settings));
        let (want, mut log) = resident(&config, &method);
        for mistakes in [
            Mistakes { forgets: true, ..Mistakes::default() },
            Mistakes { late: 1, ..Mistakes::default() },
            Mistakes { shift: 1, ..Mistakes::default() },
        ] {
            let how = (&method, &options(2, Ends::Streamed));
            let got = streamed(master(&config, None), how, mistakes);
            assert!(got.digests != want.digests, "{settings}, {mistakes:?}");
        }
        log.records.pop();
        assert_ne!(replayed(&config, &log), want.digests, "{settings}: a lost record");
    }
}

//! A trajectory whose every bit is known, from updates that are applied at once, later, in slices,
//! and from a log.

use kernels::threads::Threads;
use optim::zeroth::log::{Header, Log, Record, Writer};
use optim::zeroth::{Estimator, Probe, TensorSpec, Update};
use serde_json::json;

use super::{bits, config, perturbed, scheme, update_of};

const CURVATURES: [f64; 4] = [1.0, 2.0, 0.5, 4.0];
const START: [f32; 4] = [0.5, -0.25, 1.0, 2.0];
const EPSILON: f64 = 1.0 / 1024.0;
const LR: f64 = 1.0 / 16.0;

const SLOPES: [u32; 4] = [0xc118_0000, 0x40c6_8000, 0x4078_8800, 0x4004_0840];
const END: [u32; 4] = [0xbd9f_2080, 0xbed4_c820, 0x3f95_3208, 0x3f25_9bf0];

/// `sum (h/2 w) w`, in order.
fn loss(weights: &[f32]) -> f64 {
    CURVATURES.iter().zip(weights).fold(0.0, |sum, (h, w)| {
        let w = f64::from(*w);
        sum + (0.5 * h * w) * w
    })
}

/// The tensor of the golden values, with the number 0.
fn tensor() -> TensorSpec {
    TensorSpec { id: 0, ..TensorSpec::new("w", [4], true) }
}

fn spsa(decay: f64) -> Box<dyn Estimator> {
    let tensors = scheme(vec![tensor()], super::SIGNS).tensors;
    let settings = json!({ "kind": "spsa", "epsilon": EPSILON, "weight_decay": decay });
    config(settings).build(17, tensors).unwrap()
}

/// The probes of a step with the seed of the golden values.
fn probes(estimator: &dyn Estimator, step: u32) -> Vec<Probe> {
    let mut probes = estimator.probes(step);
    for term in probes.iter_mut().flat_map(|probe| &mut probe.terms) {
        term.seed = seed(step);
    }
    probes
}

fn seed(step: u32) -> u64 {
    100 + u64::from(step)
}

fn seeded(mut update: Update) -> Update {
    for term in &mut update.terms {
        term.seed = seed(update.step);
    }
    update
}

/// The update of a step at these weights, and the slope.
fn step(estimator: &mut dyn Estimator, step: u32, weights: &[f32], lr: f64) -> (Update, f32) {
    let probes = probes(estimator, step);
    let scores = probes.iter().map(|probe| vec![loss(&perturbed(probe, &tensor(), weights))]);
    let reduced = estimator.reduce(step, &scores.collect::<Vec<_>>(), lr).unwrap();
    let slope = reduced.stats.signals[0];
    (seeded(update_of(reduced)), slope)
}

/// When an update reaches the weights.
#[derive(Clone, Copy, PartialEq)]
enum When {
    AtOnce,
    /// Before the next step's probes, and at the end.
    Later,
    /// As later, but that nothing is done at the end.
    LaterWithoutFlush,
    /// As later, in slices of this many elements, the last ones first.
    InSlices(usize),
    /// As later, with the learning rate of the step after it.
    LaterWithNextRate,
}

/// Slopes, updates and final weights of some steps.
fn run(
    when: When,
    decay: f64,
    lr: fn(u32) -> f64,
    steps: u32,
) -> (Vec<u32>, Vec<Update>, Vec<u32>) {
    let mut estimator = spsa(decay);
    let mut weights = START.to_vec();
    let mut pending: Option<Update> = None;
    let (mut slopes, mut updates) = (Vec::new(), Vec::new());
    for at in 0..steps {
        if let Some(mut update) = pending.take() {
            if when == When::LaterWithNextRate {
                let ratio = (lr(at) / lr(at - 1)) as f32;
                update.lr *= ratio;
                update.terms.iter_mut().for_each(|term| term.scale *= ratio);
            }
            apply(&update, when, &mut weights);
        }
        let (update, slope) = step(&mut *estimator, at, &weights, lr(at));
        slopes.push(slope.to_bits());
        updates.push(update.clone());
        match when {
            When::AtOnce => apply(&update, when, &mut weights),
            _ => pending = Some(update),
        }
    }
    match pending {
        Some(update) if when != When::LaterWithoutFlush => apply(&update, when, &mut weights),
        _ => {}
    }
    (slopes, updates, bits(&weights))
}

fn apply(update: &Update, when: When, weights: &mut [f32]) {
    let size = if let When::InSlices(size) = when { size } else { weights.len() };
    for (i, slice) in weights.chunks_mut(size).enumerate().rev() {
        let start = &START[i * size..][..slice.len()];
        update.apply(Threads::One, &tensor(), (i * size) as u64, slice, start);
    }
}

fn constant(_: u32) -> f64 {
    LR
}

fn falling(step: u32) -> f64 {
    LR / f64::from(step + 1)
}

#[test]
fn the_trajectory_has_the_golden_bits_whenever_updates_are_applied() {
    for when in [When::AtOnce, When::Later, When::InSlices(1), When::InSlices(3)] {
        let (slopes, _, end) = run(when, 0.0, constant, 4);
        assert_eq!(slopes, SLOPES);
        assert_eq!(end, END);
    }
}

#[test]
fn a_schedule_and_decay_change_nothing_of_that() {
    let at_once = run(When::AtOnce, 0.1, falling, 7);
    assert!(at_once.0.iter().all(|slope| f32::from_bits(*slope) != 0.0));
    for when in [When::Later, When::InSlices(1), When::InSlices(2)] {
        assert!(run(when, 0.1, falling, 7) == at_once);
    }
}

#[test]
fn a_lost_update_and_a_rate_of_another_step_are_seen() {
    let expected = run(When::AtOnce, 0.1, falling, 7).2;
    assert_ne!(run(When::LaterWithoutFlush, 0.1, falling, 7).2, expected);
    assert_ne!(run(When::LaterWithNextRate, 0.1, falling, 7).2, expected);
}

#[test]
fn a_replay_has_the_golden_bits() {
    let (_, updates, _) = run(When::AtOnce, 0.0, constant, 4);
    let scheme = scheme(vec![tensor()], super::SIGNS);
    let estimator = config(json!({ "kind": "spsa" }));
    let header = Header::new(scheme, estimator, 0, 1, vec![String::new()]).unwrap();
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    for update in &updates {
        writer.append(&Record::from(update)).unwrap();
    }
    let log = Log::read(&writer.into_inner()[..]).unwrap();
    let mut weights = START.to_vec();
    for update in log.updates(0).unwrap() {
        // The golden values have seeds of their own.
        apply(&seeded(update), When::AtOnce, &mut weights);
    }
    assert_eq!(bits(&weights), END);
}

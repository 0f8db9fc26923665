//! Zeroth-order methods.

mod damaged;
mod estimators;
mod log;
mod masks;
mod perturbed;
mod quadratic;
mod settings;
mod slopes;
mod tensors;

use kernels::threads::Threads;
use optim::zeroth::{
    Direction, EstimatorConfig, Noise, Outcome, Probe, Reduced, Scheme, TensorSpec, Tensors, Update,
};

/// Dense directions of 1 and -1.
pub(crate) const SIGNS: Direction = Direction::Dense { noise: Noise::Rademacher };

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Weights of many magnitudes, the same on every machine.
pub(crate) fn weights(len: usize) -> Vec<f32> {
    let scales = [1.0, -0.02, 3e-4, -7.0, 0.3];
    (0..len).map(|i| (i as f32 * 0.37 + 0.11).fract() * scales[i % scales.len()]).collect()
}

/// A single vector of this length.
pub(crate) fn vector(len: usize) -> TensorSpec {
    TensorSpec::new("w", [len], true)
}

pub(crate) fn scheme(tensors: Vec<TensorSpec>, direction: Direction) -> Scheme {
    Scheme::new(17, Tensors::new(tensors).unwrap(), direction)
}

/// All of a tensor, perturbed.
pub(crate) fn perturbed(probe: &Probe, tensor: &TensorSpec, from: &[f32]) -> Vec<f32> {
    let mut to = vec![f32::NAN; from.len()];
    probe.perturb(Threads::One, tensor, 0, from, &mut to);
    to
}

/// All of a tensor, updated.
pub(crate) fn updated(update: &Update, tensor: &TensorSpec, from: &[f32]) -> Vec<f32> {
    let mut values = from.to_vec();
    update.apply(Threads::One, tensor, 0, &mut values, from);
    values
}

pub(crate) fn update_of(reduced: Reduced) -> Update {
    match reduced.outcome {
        Outcome::Update(update) => update,
        Outcome::Skip(skip) => panic!("skipped: {}", skip.reason),
    }
}

/// A method with these settings.
pub(crate) fn config(settings: serde_json::Value) -> EstimatorConfig {
    serde_json::from_value(settings).unwrap()
}

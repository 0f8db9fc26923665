//! Probes and updates as transforms of a model's parameters.

use std::sync::Arc;

use anyhow::{Result, bail};
use engine::Model;
use engine::stream::Transform;
use kernels::threads::Threads;
use optim::zeroth::{Probe, Tensors, Update};

use super::values;

/// The trainable parameters as a probe has them.
#[derive(Debug)]
pub struct Perturbation {
    /// What is trained, in the order of the model's trainable parameters.
    pub tensors: Arc<Tensors>,
    /// What is added.
    pub probe: Probe,
}

impl Transform for Perturbation {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        let tensor = &self.tensors.all()[parameter];
        self.probe.perturb(Threads::Pool, tensor, first as u64, from, to);
    }
}

/// The trainable parameters as an update leaves them.
#[derive(Debug)]
pub struct Moved {
    /// What is trained, in the order of the model's trainable parameters.
    pub tensors: Arc<Tensors>,
    /// What is added.
    pub update: Update,
    /// The values of each tensor at the start of the run, where weights decay towards them.
    pub start: Option<Arc<Vec<Vec<f32>>>>,
}

impl Moved {
    /// The values of all trainable parameters now, for updates that decay towards them.
    ///
    /// # Errors
    ///
    /// Fails when they cannot be copied from their device.
    pub fn start(model: &Model) -> Result<Arc<Vec<Vec<f32>>>> {
        let all = model.trainable().map(|one| values(&one.tensor)).collect::<Result<_, _>>()?;
        Ok(Arc::new(all))
    }

    /// Moves the weights of a model.
    ///
    /// # Errors
    ///
    /// Fails, and changes nothing, when the update needs the values of the start and has none.
    pub fn apply_to(&self, model: &Model) -> Result<()> {
        if self.update.needs_start() && self.start.is_none() {
            bail!(
                "the update of step {} decays towards the weights of the start",
                self.update.step
            );
        }
        Ok(model.transform(self)?)
    }
}

impl Transform for Moved {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
        self.apply_in_place(parameter, first, to);
    }

    fn apply_in_place(&self, parameter: usize, first: usize, values: &mut [f32]) {
        let tensor = &self.tensors.all()[parameter];
        let start = match &self.start {
            Some(start) if self.update.needs_start() => &start[parameter][first..][..values.len()],
            _ => &[],
        };
        self.update.apply(Threads::Pool, tensor, first as u64, values, start);
    }
}

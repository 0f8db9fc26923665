//! Probes and updates as transforms of a model's parameters.

use std::sync::Arc;

use anyhow::{Result, bail};
use engine::Model;
use engine::stream::Transform;
use kernels::threads::Threads;
use optim::zeroth::{Direction, Probe, Tensors, Update};

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

    fn apply_rows(&self, parameter: usize, rows: &[u32], from: &[f32], to: &mut [f32]) {
        let tensor = &self.tensors.all()[parameter];
        self.probe.perturb_rows(Threads::Pool, tensor, rows, from, to);
    }
}

/// The trainable parameters as updates leave them.
#[derive(Debug)]
pub struct Moved {
    /// What is trained, in the order of the model's trainable parameters.
    pub tensors: Arc<Tensors>,
    /// What is added, in order.
    pub updates: Vec<Update>,
    /// The values of each tensor at the start of the stage, where weights decay towards them.
    pub start: Option<Arc<Vec<Vec<f32>>>>,
}

/// Numbers that one task takes through all updates: they stay in its cache.
const CHUNK: usize = 1 << 14;

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
    /// Fails, and changes nothing, when an update needs the values of the start and there are none.
    pub fn apply_to(&self, model: &Model) -> Result<()> {
        let needs = self.updates.iter().find(|update| update.needs_start());
        if let Some(update) = needs.filter(|_| self.start.is_none()) {
            bail!(
                "update {} decays towards the weights of the start, which are not here",
                update.step
            );
        }
        Ok(model.transform(self)?)
    }

    fn apply_each(&self, threads: Threads<'_>, parameter: usize, first: usize, values: &mut [f32]) {
        let tensor = &self.tensors.all()[parameter];
        for update in &self.updates {
            let start = match &self.start {
                Some(start) if update.needs_start() => &start[parameter][first..][..values.len()],
                _ => &[],
            };
            update.apply(threads, tensor, first as u64, values, start);
        }
    }
}

impl Transform for Moved {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        to.copy_from_slice(from);
        self.apply_in_place(parameter, first, to);
    }

    fn apply_in_place(&self, parameter: usize, first: usize, values: &mut [f32]) {
        // A factor of low rank is made for each call, so there are few of them.
        let is_of_factors =
            self.updates.iter().any(|one| !matches!(one.direction, Direction::Dense { .. }));
        if self.updates.len() < 2 || is_of_factors {
            return self.apply_each(Threads::Pool, parameter, first, values);
        }
        let chunks = values.chunks_mut(CHUNK).enumerate();
        Threads::Pool.each_of(chunks, |(i, values)| {
            self.apply_each(Threads::One, parameter, first + i * CHUNK, values);
        });
    }
}

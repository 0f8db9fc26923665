//! What moves the parameters: gradients, or the losses of probes.

use std::fmt::Debug;

use anyhow::Result;
use candle::Tensor;
use engine::Model;
use optim::{OptimConfig, Optimizer, SavedState};

use super::UpdateLoss;
use crate::train::params::params;

/// A method of a stage, with its state.
pub(crate) trait Mover: Debug {
    /// Update number `update` of the stage.
    fn step(
        &mut self,
        model: &Model,
        loss: &mut UpdateLoss<'_>,
        update: u64,
        lr: f64,
    ) -> Result<Moved>;

    /// Its state in tensors.
    fn tensors(&self) -> Result<Vec<(String, Tensor)>>;

    /// Goes on from a checkpoint.
    fn restore(&mut self, tensors: &dyn SavedState) -> Result<()>;
}

/// What an update did.
#[derive(Debug, Clone)]
pub(crate) struct Moved {
    /// The loss before it.
    pub(crate) loss: f64,
    /// Norm of the gradient before clipping; none where there is no gradient.
    pub(crate) grad_norm: Option<f64>,
    /// What the probes say; none where there is a gradient.
    pub(crate) estimated: Option<Estimated>,
}

/// What the probes of an update say.
#[derive(Debug, Clone)]
pub(crate) struct Estimated {
    /// Population standard deviation of the losses of the probes.
    pub(crate) deviation: f64,
    /// Root mean square of the slopes along the directions.
    pub(crate) slope: f64,
    /// Forward passes over the batch.
    pub(crate) passes: usize,
    /// Probes whose loss is not finite.
    pub(crate) not_finite: usize,
    /// Why nothing moved, where nothing did.
    pub(crate) skipped: Option<String>,
    /// Bytes of the log so far.
    pub(crate) log_bytes: u64,
}

/// Moves parameters by the gradient of the loss.
#[derive(Debug)]
pub(crate) struct Gradient {
    optimizer: Box<dyn Optimizer>,
    /// The rate of every `B` of an adapter over that of `A`.
    lr_ratio_b: f64,
}

impl Gradient {
    /// The optimizer of a model's trainable parameters, its state at the start.
    pub(crate) fn new(config: &OptimConfig, model: &Model) -> optim::Result<Self> {
        let lr_ratio_b = config.lr_ratio_b().unwrap_or(1.0);
        let optimizer = model.update(|variables| config.build(&params(variables, lr_ratio_b)))?;
        Ok(Self { optimizer, lr_ratio_b })
    }
}

impl Mover for Gradient {
    fn step(&mut self, model: &Model, loss: &mut UpdateLoss<'_>, _: u64, lr: f64) -> Result<Moved> {
        let (optimizer, ratio) = (&mut self.optimizer, self.lr_ratio_b);
        let step = model.update(|variables| optimizer.step(&params(variables, ratio), loss, lr))?;
        Ok(Moved { loss: step.loss, grad_norm: Some(step.grad_norm), estimated: None })
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(self.optimizer.state()?)
    }

    fn restore(&mut self, tensors: &dyn SavedState) -> Result<()> {
        Ok(self.optimizer.restore(tensors)?)
    }
}

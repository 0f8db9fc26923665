//! What moves the parameters: gradients, or the losses of probes.

use anyhow::Result;
use candle::Tensor;
use engine::Model;
use optim::{OptimConfig, Optimizer, SavedState};

use super::params::params;
use super::update::UpdateLoss;
use super::zeroth::{Estimated, Zeroth};

/// A method of a stage, with its state.
#[derive(Debug)]
pub(crate) enum Mover {
    /// By the gradient of the loss.
    Gradient {
        /// The method.
        optimizer: Box<dyn Optimizer>,
        /// The rate of every `B` of an adapter over that of `A`.
        lr_ratio_b: f64,
    },
    /// By the losses of perturbed weights.
    Probes(Box<Zeroth>),
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

impl Mover {
    /// By gradients, from the start.
    pub(crate) fn gradient(config: &OptimConfig, model: &Model) -> optim::Result<Self> {
        let lr_ratio_b = config.lr_ratio_b().unwrap_or(1.0);
        let optimizer = model.update(|variables| config.build(&params(variables, lr_ratio_b)))?;
        Ok(Self::Gradient { optimizer, lr_ratio_b })
    }

    /// One update.
    pub(crate) fn step(
        &mut self,
        model: &Model,
        loss: &mut UpdateLoss<'_>,
        update: u64,
        lr: f64,
    ) -> Result<Moved> {
        match self {
            Self::Gradient { optimizer, lr_ratio_b } => {
                let step = model.update(|variables| {
                    optimizer.step(&params(variables, *lr_ratio_b), loss, lr)
                })?;
                Ok(Moved { loss: step.loss, grad_norm: Some(step.grad_norm), estimated: None })
            }
            Self::Probes(zeroth) => {
                let estimated = zeroth.step(model, loss, update, lr)?;
                Ok(Moved { loss: estimated.loss, grad_norm: None, estimated: Some(estimated) })
            }
        }
    }

    /// Its state in tensors.
    pub(crate) fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        match self {
            Self::Gradient { optimizer, .. } => Ok(optimizer.state()?),
            Self::Probes(_) => Ok(Vec::new()),
        }
    }

    /// Goes on from a checkpoint after so many updates.
    pub(crate) fn restore(&mut self, tensors: &dyn SavedState) -> Result<()> {
        match self {
            Self::Gradient { optimizer, .. } => Ok(optimizer.restore(tensors)?),
            // What it depends on is in the log, which it was opened with.
            Self::Probes(_) => Ok(()),
        }
    }
}

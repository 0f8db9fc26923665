//! A method without gradients: the losses of probes, a record in the log, a move of the weights.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use candle::Tensor;
use engine::Model;
use engine::stream::{Arena, Perturbed, Scratch};
use optim::SavedState;
use optim::zeroth::log::{Header, Log, Record};
use optim::zeroth::{Estimator, EstimatorConfig, Outcome, Probe, Reduced, Tensors};

use super::stage::StageStart;
use super::update::{Estimated, Moved, Mover, UpdateLoss};
use crate::zeroth::{self, LogFile, Perturbation, digests, tensors};

/// A zeroth-order method on the parameters of a model, with the log of its updates.
#[derive(Debug)]
pub(crate) struct Zeroth {
    estimator: Box<dyn Estimator>,
    tensors: Arc<Tensors>,
    scratch: Scratch,
    log: LogFile,
}

impl Zeroth {
    /// The method at the start of a stage or, resumed, after the updates that the checkpoint has.
    pub(super) fn open(method: &EstimatorConfig, start: &StageStart<'_, '_>) -> Result<Self> {
        let (model, seed) = (start.run.model, start.run.seed_of_stage(start.index));
        let (log, tensors) = match start.saved {
            None => begin(method, (model, seed), start.run_dir.root(), (start.index, 0))?,
            Some(saved) => {
                let updates = number(saved.state.stage_state.get("updates")?)?;
                let (file, log) = LogFile::resume(start.run_dir.root(), start.index, updates)?;
                if let Some(torn) = log.torn {
                    start.run.console.print(&format!("note: {torn}"));
                }
                if is_of(&log, method, seed) {
                    (file, log.header.scheme.tensors)
                } else {
                    // What it says up to here stays; from here on it would be wrong.
                    begin(method, (model, seed), start.run_dir.root(), (start.index, updates))?
                }
            }
        };
        Self::new(method, model, seed, (log, tensors))
    }

    fn new(
        method: &EstimatorConfig,
        model: &Model,
        seed: u64,
        (log, tensors): (LogFile, Tensors),
    ) -> Result<Self> {
        let estimator = method.build(seed, tensors.clone())?;
        let scratch = Scratch::new(&model.policy(), &Arena::default())?;
        Ok(Self { estimator, tensors: Arc::new(tensors), scratch, log })
    }

    /// The loss at each probe of an update, and that of the weights as they are where it is known:
    /// as one of the probes or, of rollouts, by a pass more, as what they clip and how far they are
    /// off is measured there.
    fn losses(&self, loss: &mut UpdateLoss<'_>, update: u32) -> Result<(Vec<f64>, Option<f64>)> {
        let moved = |probe: Probe| {
            let is_moved = !probe.terms.is_empty();
            is_moved.then(|| Perturbation { tensors: self.tensors.clone(), probe })
        };
        let moved: Vec<_> = self.estimator.probes(update).into_iter().map(moved).collect();
        let perturbed: Vec<_> = moved
            .iter()
            .map(|one| one.as_ref().map(|one| Perturbed::new(one, &self.scratch)))
            .collect();
        let mut probes: Vec<_> = perturbed.iter().map(Option::as_ref).collect();
        let has_own = probes.iter().any(Option::is_none);
        let adds_own = !has_own && loss.is_of_rollouts();
        if adds_own {
            probes.push(None);
        }
        let mut losses = loss.values(&probes)?;
        let own = probes.iter().zip(&losses).find(|(probe, _)| probe.is_none());
        let own = own.map(|(_, loss)| *loss);
        losses.truncate(perturbed.len());
        Ok((losses, own))
    }
}

impl Mover for Zeroth {
    /// A loss that is not finite skips the update.
    fn step(
        &mut self,
        model: &Model,
        loss: &mut UpdateLoss<'_>,
        update: u64,
        lr: f64,
    ) -> Result<Moved> {
        let update = number(update)?;
        let (losses, own) = self.losses(loss, update)?;
        let scores: Vec<_> = losses.iter().map(|loss| vec![*loss]).collect();
        let Reduced { outcome, stats } = self.estimator.reduce(update, &scores, lr)?;
        self.log.append(&Record::of(&outcome))?;
        let skipped = match outcome {
            Outcome::Update(update) => {
                let updates = vec![update];
                let tensors = self.tensors.clone();
                zeroth::Moved { tensors, updates, start: None }.apply_to(model)?;
                None
            }
            Outcome::Skip(skip) => Some(skip.reason),
        };
        let squares = stats.signals.iter().map(|slope| f64::from(*slope).powi(2));
        let estimated = Estimated {
            deviation: stats.deviation,
            slope: (squares.sum::<f64>() / stats.signals.len().max(1) as f64).sqrt(),
            passes: losses.len(),
            not_finite: stats.not_finite,
            skipped,
            log_bytes: self.log.bytes(),
        };
        let loss = own.unwrap_or(stats.score);
        Ok(Moved { loss, grad_norm: None, estimated: Some(estimated) })
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// What it depends on is in the log, which it was opened with.
    fn restore(&mut self, _: &dyn SavedState) -> Result<()> {
        Ok(())
    }
}

/// A new log from an update of a stage on, with the weights as they are now.
fn begin(
    method: &EstimatorConfig,
    (model, seed): (&Model, u64),
    root: &Path,
    (stage, first): (usize, u32),
) -> Result<(LogFile, Tensors)> {
    let tensors = tensors(model, method).with_context(|| format!("stage.{stage}.optim"))?;
    let scheme = method.scheme(seed, tensors.clone());
    let (method, most) = (method.clone(), method.most_coefficients());
    let header = Header::new(scheme, method, first, most, digests(model)?)?;
    Ok((LogFile::begin(root, stage, header)?, tensors))
}

/// Whether a log is of this method with this seed.
fn is_of(log: &Log, method: &EstimatorConfig, seed: u64) -> bool {
    (&log.header.estimator, log.header.scheme.run_seed) == (method, seed)
}

/// The number of an update as a log has it.
fn number(update: u64) -> Result<u32> {
    u32::try_from(update).context("expected fewer than 2^32 updates of a stage without gradients")
}

#[cfg(test)]
mod tests;

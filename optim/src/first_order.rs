//! What all first-order methods share around their rule: checks, gradient, norm, clipping, state.

use std::fmt::Debug;

use candle::{DType, Device, Shape, Tensor};

use crate::{Error, Gradients, Objective, Optimizer, Param, Result, SavedState, StepReport};

/// The update rule of a first-order method for one parameter, with its state.
pub trait Rule: Debug + Send {
    /// Prefix of the names in a saved state.
    const NAME: &str;

    /// Norm that the whole gradient is scaled down to; 0 = no clipping.
    fn max_grad_norm(&self) -> f64;

    /// Updates parameter `index`.
    ///
    /// # Errors
    ///
    /// Fails when a tensor operation does.
    fn apply(&mut self, index: usize, param: &Param, step: Step<'_>) -> Result<()>;

    /// The state of the rule, by name. The tensors share the rule's storage.
    fn state(&self) -> Vec<(String, Tensor)>;

    /// Takes a state with the names, shapes and types of [`Self::state`], each tensor in place of
    /// its own before the next is read.
    ///
    /// # Errors
    ///
    /// Fails when a tensor cannot be read or another tensor operation fails.
    fn restore(&mut self, state: &dyn SavedState) -> Result<()>;
}

/// One parameter's part of an update.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Its gradient, not clipped.
    pub gradient: &'a Tensor,
    /// The factor to multiply the gradient by.
    pub clip_scale: f64,
    /// The learning rate of the parameter.
    pub lr: f64,
    /// Number of the update, from 1.
    pub update: u64,
}

/// A first-order optimizer: applies a rule to each parameter and its gradient.
#[derive(Debug)]
pub struct FirstOrder<R> {
    rule: R,
    gradients: Gradients,
    updates: u64,
}

impl<R: Rule> FirstOrder<R> {
    /// No updates made.
    ///
    /// # Errors
    ///
    /// Fails on no parameters and on two of one name.
    pub fn with_rule(rule: R, params: &[Param]) -> Result<Self> {
        Ok(Self { rule, gradients: Gradients::new(params)?, updates: 0 })
    }

    fn updates_key() -> String {
        format!("{}.updates", R::NAME)
    }
}

impl<R: Rule> Optimizer for FirstOrder<R> {
    fn step(
        &mut self,
        params: &[Param],
        objective: &mut dyn Objective,
        lr: f64,
    ) -> Result<StepReport> {
        let rates = params.iter().map(|param| lr * param.lr_scale);
        let is_rate = |lr: &f64| lr.is_finite() && *lr >= 0.0;
        if let Some(lr) = std::iter::once(lr).chain(rates).find(|lr| !is_rate(lr)) {
            return Err(Error::LearningRate { lr });
        }
        self.gradients.check(params)?;
        self.gradients.clear();
        let loss = objective.gradient(&mut self.gradients)?;
        if !loss.is_finite() {
            return Err(Error::NonFiniteLoss { loss });
        }
        let grad_norm = self.gradients.norm()?;
        let clip_scale = clip_scale(self.rule.max_grad_norm(), grad_norm);
        if grad_norm * clip_scale > LARGEST_NORM {
            return Err(Error::LargeNorm { norm: grad_norm });
        }
        let update = self.updates + 1;
        for (index, param) in params.iter().enumerate() {
            let gradient = self.gradients.get(index).expect("the norm saw every gradient");
            let lr = lr * param.lr_scale;
            self.rule.apply(index, param, Step { gradient, clip_scale, lr, update })?;
        }
        self.gradients.clear();
        self.updates = update;
        Ok(StepReport { loss, grad_norm, clip_scale })
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let updates = i64::try_from(self.updates).expect("no run makes 2^63 updates");
        let mut state = vec![(Self::updates_key(), Tensor::new(&[updates], &Device::Cpu)?)];
        state.extend(self.rule.state());
        Ok(state)
    }

    fn restore(&mut self, state: &dyn SavedState) -> Result<()> {
        let problems = mismatches(&self.state()?, state);
        if !problems.is_empty() {
            return Err(Error::State { problems });
        }
        let key = Self::updates_key();
        let updates = state.tensor(&key)?.to_vec1::<i64>()?[0];
        let updates = u64::try_from(updates).map_err(|_| Error::State {
            problems: vec![format!("{key} is {updates}, expected at least 0")],
        })?;
        self.rule.restore(state)?;
        self.updates = updates;
        Ok(())
    }
}

/// The norm up to which no square of a gradient overflows f32. With an infinite second moment a
/// parameter would never change again.
const LARGEST_NORM: f64 = 1.8e19;

/// The factor for a gradient of this norm, as in `torch.nn.utils.clip_grad_norm_`.
fn clip_scale(max_grad_norm: f64, norm: f64) -> f64 {
    if max_grad_norm == 0.0 { 1.0 } else { (max_grad_norm / (norm + 1e-6)).min(1.0) }
}

/// What in a saved state is not as `expected`.
fn mismatches(expected: &[(String, Tensor)], state: &dyn SavedState) -> Vec<String> {
    let differing =
        expected.iter().filter_map(|(key, like)| mismatch(key, state.layout(key), like));
    let mut names = state.names();
    names.retain(|name| expected.iter().all(|(known, _)| known != name));
    differing.chain(names.into_iter().map(|name| format!("{name} is unknown"))).collect()
}

fn mismatch(key: &str, got: Option<(Shape, DType)>, like: &Tensor) -> Option<String> {
    let Some((shape, dtype)) = got else {
        return Some(format!("{key} is missing"));
    };
    let same = shape == *like.shape() && dtype == like.dtype();
    (!same).then(|| {
        format!("{key} is {dtype:?} {shape:?}, expected {:?} {:?}", like.dtype(), like.shape())
    })
}

use std::collections::BTreeMap;
use std::fmt::Debug;

use candle::Tensor;

use crate::{Gradients, Param, Result};

/// The function to minimise, at the current values of the parameters.
///
/// It reads the parameters through their storage, so a method that perturbs them in place sees the
/// change at the next call. Within one update every call is on the same data.
pub trait Objective {
    /// The loss, without a gradient.
    fn value(&mut self) -> Result<f64>;

    /// The loss. Adds its gradient to `into`, in any number of parts.
    fn gradient(&mut self, into: &mut Gradients) -> Result<f64>;
}

/// Updates parameters.
pub trait Optimizer: Debug + Send {
    /// One update.
    ///
    /// # Errors
    ///
    /// Fails, before any parameter changes, on parameters other than those it was built for, on a
    /// learning rate, loss or gradient norm that is not finite, and where a parameter has no
    /// gradient.
    fn step(
        &mut self,
        params: &[Param],
        objective: &mut dyn Objective,
        lr: f64,
    ) -> Result<StepReport>;

    /// All state that the next update depends on, apart from parameters and arguments, by name.
    ///
    /// The tensors share the optimizer's storage: the next update changes them.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;

    /// Continues from a saved state, bit for bit; copies, and keeps its own state on failure.
    ///
    /// # Errors
    ///
    /// Fails when an entry is missing, is unknown, or has another shape or type than expected.
    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()>;
}

/// Statistics of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The loss before the update.
    pub loss: f64,
    /// Euclidean norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// The factor by which clipping scaled the gradient; 1 without clipping.
    pub clip_scale: f64,
}

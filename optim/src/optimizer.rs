use std::collections::BTreeMap;
use std::fmt::Debug;

use candle::Tensor;

use crate::{Gradients, Param, Result};

/// The function to be made small, at the parameters' present values.
///
/// It reads the parameters through their storage, so a method that perturbs them in place sees the
/// change at the next call. Within one update every call stands for the same data.
pub trait Objective {
    /// The loss, without a gradient.
    fn value(&mut self) -> Result<f64>;

    /// The loss, its gradient added to `into` in as many parts as the objective likes.
    fn gradient(&mut self, into: &mut Gradients) -> Result<f64>;
}

/// A rule that moves parameters.
pub trait Optimizer: Debug + Send {
    /// One update.
    ///
    /// # Errors
    ///
    /// Fails, before anything moves, on parameters other than those it was built for, on a learning
    /// rate, loss or gradient norm that is not finite, and where a parameter has no gradient.
    fn step(
        &mut self,
        params: &[Param],
        objective: &mut dyn Objective,
        lr: f64,
    ) -> Result<StepReport>;

    /// All that the next update depends on besides parameters and arguments, by name.
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

/// What one update saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The loss before the update.
    pub loss: f64,
    /// Euclidean norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// What the gradient was multiplied by: 1 where clipping left it alone.
    pub clip_scale: f64,
}

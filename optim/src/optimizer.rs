use std::collections::BTreeMap;
use std::fmt::Debug;

use candle::{DType, Shape, Tensor};

use crate::{Gradients, Param, Result};

/// The function to minimise, at the current values of the parameters.
///
/// It reads the parameters through their storage, so every call sees their current values. Within
/// one update every call is on the same data.
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

    /// Continues from a saved state, bit for bit. Reads one tensor at a time in place of its own.
    ///
    /// # Errors
    ///
    /// Fails, and keeps its own state, when an entry is missing, is unknown, or has another shape
    /// or type than expected. Fails when a tensor cannot be read; the state is then of no use.
    fn restore(&mut self, state: &dyn SavedState) -> Result<()>;
}

/// A saved state, whose tensors are read one at a time: they need not be in memory together.
pub trait SavedState {
    /// The names of its tensors.
    fn names(&self) -> Vec<String>;

    /// Shape and type of a tensor; `None` if there is none of this name.
    fn layout(&self, name: &str) -> Option<(Shape, DType)>;

    /// A tensor that exists, in storage of its own.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read.
    fn tensor(&self, name: &str) -> candle::Result<Tensor>;
}

impl SavedState for BTreeMap<String, Tensor> {
    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn layout(&self, name: &str) -> Option<(Shape, DType)> {
        self.get(name).map(|tensor| (tensor.shape().clone(), tensor.dtype()))
    }

    fn tensor(&self, name: &str) -> candle::Result<Tensor> {
        self[name].copy()
    }
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

//! A tensor of a model by its name.

use candle::{Tensor, Var};

use crate::Result;

/// A tensor of the model and its name in the checkpoint. A head that is tied to the embedding is no
/// parameter of its own.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Hugging Face name.
    pub name: String,
    /// The values, for reading. [`crate::Model::update`] changes them in place.
    pub tensor: Tensor,
    /// Whether [`crate::backward`](crate::backward()) computes its gradient.
    pub trainable: bool,
}

impl Parameter {
    /// Whether it is a matrix of the model itself: no norm, no bias, no half of an adapter.
    pub fn is_base_matrix(&self) -> bool {
        let is_half = |half| self.name.ends_with(half);
        self.tensor.rank() > 1 && ![".lora_A.weight", ".lora_B.weight"].into_iter().any(is_half)
    }
}

/// A trainable parameter with these values, and its variable.
pub(super) fn parameter(name: &str, tensor: &Tensor) -> Result<(Parameter, Var)> {
    let variable = Var::from_tensor(tensor)?;
    let tensor = variable.as_detached_tensor();
    Ok((Parameter { name: name.to_owned(), tensor, trainable: true }, variable))
}

//! The gradient of a loss on the scores, one block at a time.

use candle::{Tensor, Var};

use crate::backend::{Backend, cpu, reference};
use crate::score::{self, Scores};
use crate::{Error, Model, Packed, Result, Target};

/// What a backward pass keeps of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// Everything that the backward pass needs, except that the CPU form computes norms and gated
    /// products again.
    Keep,
    /// The inputs of the blocks; a block's forward pass is done again before its backward.
    Recompute,
}

/// The scores as the loss sees them: tracked tensors of shape (targets), in nats.
#[derive(Debug)]
pub struct Columns {
    /// Log-probability of each target.
    pub log_probs: Tensor,
    /// Entropy of each target's row.
    pub entropies: Tensor,
}

/// What a backward pass found on its way.
#[derive(Debug)]
pub struct Passed {
    /// Value of the loss.
    pub loss: f64,
    /// The scores that the loss was taken on.
    pub scores: Scores,
}

/// Takes the gradient of a parameter, by index into [`Model::parameters`].
pub(crate) type Sink<'a> = &'a mut dyn FnMut(usize, Tensor) -> Result<()>;

/// Hands the gradient of every parameter to `sink`, once each, by index into
/// [`Model::parameters`], detached, topmost first.
///
/// Shapes: one entry a target in both columns; `loss` returns a scalar.
///
/// # Errors
///
/// Fails on rows or targets that do not fit the model, on a loss that is not finite (before any
/// gradient reaches `sink`), when a parameter has no gradient, and when `loss` or `sink` fails.
///
/// Source: recomputation as in arXiv 1604.06174, section 4, one block a segment.
pub fn backward(
    model: &Model,
    packed: &Packed,
    targets: &[Target],
    temperature: f64,
    activations: Activations,
    loss: &mut dyn FnMut(&Columns) -> Result<Tensor>,
    sink: Sink<'_>,
) -> Result<Passed> {
    let (trunk, hidden) = Trunk::forward(model, packed, activations)?;
    let live = model.live();
    let pass =
        score::forward(model.backend(), &hidden, &live.head, live.products, targets, temperature)?;
    let upstream = loss_gradient(model, &pass, loss)?;
    let (d_hidden, d_head) =
        score::backward(&pass, &hidden, &live.head, &upstream.log_probs, &upstream.entropies)?;
    let passed = Passed { loss: upstream.loss, scores: pass.scores() };
    drop(hidden);
    let into = if model.config().tie_embeddings {
        d_head
    } else {
        sink(model.parameters().len() - 1, d_head)?;
        live.embed.zeros_like()?
    };
    let d_embed = trunk.backward(d_hidden, sink)?;
    let (rows, width) = d_embed.dims2()?;
    let tokens = Tensor::new(packed.tokens(), model.device())?.reshape((rows, 1))?;
    // In place: a second gradient of this size would be among the largest tensors of a step.
    into.scatter_add_set(&tokens.broadcast_as((rows, width))?.contiguous()?, &d_embed, 0)?;
    sink(0, into)?;
    Ok(passed)
}

/// The loss and its gradient in each column.
struct Upstream {
    loss: f64,
    log_probs: Vec<f64>,
    entropies: Vec<f64>,
}

fn loss_gradient(
    model: &Model,
    pass: &score::Pass,
    loss: &mut dyn FnMut(&Columns) -> Result<Tensor>,
) -> Result<Upstream> {
    let (log_probs, entropies) = pass.columns(model.dtype(), model.device())?;
    let (log_probs, entropies) = (Var::from_tensor(&log_probs)?, Var::from_tensor(&entropies)?);
    let columns = Columns {
        log_probs: log_probs.as_tensor().clone(),
        entropies: entropies.as_tensor().clone(),
    };
    let scalar = loss(&columns)?;
    let value = scalar.to_dtype(candle::DType::F64)?.to_scalar::<f64>()?;
    if !value.is_finite() {
        return Err(Error::Input(format!(
            "the loss is {value}: nothing was changed; look at the rewards and old log-probs of this step"
        )));
    }
    let mut grads = scalar.backward()?;
    let mut take = |var: &Var| -> Result<Vec<f64>> {
        match grads.remove(var) {
            Some(grad) => Ok(grad.to_dtype(candle::DType::F64)?.to_vec1()?),
            None => Ok(vec![0.0; var.dim(0)?]),
        }
    };
    Ok(Upstream { loss: value, log_probs: take(&log_probs)?, entropies: take(&entropies)? })
}

/// The blocks and the final norm, in the form that the model allows.
enum Trunk<'a> {
    Cpu(cpu::trunk::Trunk<'a>),
    Reference(reference::trunk::Trunk<'a>),
}

impl<'a> Trunk<'a> {
    fn forward(
        model: &'a Model,
        packed: &Packed,
        activations: Activations,
    ) -> Result<(Self, Tensor)> {
        Ok(match model.backend() {
            Backend::Cpu => {
                let (trunk, hidden) = cpu::trunk::Trunk::forward(model, packed, activations)?;
                (Self::Cpu(trunk), hidden)
            }
            Backend::Reference => {
                let (trunk, hidden) = reference::trunk::Trunk::forward(model, packed, activations)?;
                (Self::Reference(trunk), hidden)
            }
        })
    }

    fn backward(self, d_hidden: Tensor, sink: Sink<'_>) -> Result<Tensor> {
        match self {
            Self::Cpu(trunk) => trunk.backward(d_hidden, sink),
            Self::Reference(trunk) => trunk.backward(d_hidden, sink),
        }
    }
}

pub(crate) fn no_gradient(name: &str) -> Error {
    Error::Weight {
        name: name.to_owned(),
        problem: "no gradient reached it: an operation cut the graph".into(),
    }
}

//! The gradient of a loss on the scores, one block at a time.

use candle::{DType, DeviceLocation, Tensor, Var};

use crate::backend::{Backend, cpu, reference};
use crate::score::{self, Scores};
use crate::{Error, Packed, Policy, Result, Target};

/// What a backward pass keeps of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// Everything that the backward pass needs, except that the CPU form computes norms and gated
    /// products again.
    Keep,
    /// The inputs of the blocks; a block's forward pass is done again before its backward.
    Recompute,
}

impl Activations {
    /// Its name in recipes and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Recompute => "recompute",
        }
    }
}

/// The scores as the loss sees them: f64 tensors on the host of shape (targets), in nats. They are
/// variables in [`backward()`].
#[derive(Debug)]
pub struct ScoreTensors {
    /// Log-probability of each target.
    pub log_probs: Tensor,
    /// Entropy of each target's row.
    pub entropies: Tensor,
}

/// What [`forward`] and [`backward()`] return.
#[derive(Debug)]
pub struct LossOutput {
    /// Value of the loss.
    pub loss: f64,
    /// The scores that it is a function of.
    pub scores: Scores,
}

/// Takes the gradient of a parameter, by its place in
/// [`Model::trainable`](crate::Model::trainable).
pub(crate) type Sink<'a> = &'a mut dyn FnMut(usize, Tensor) -> Result<()>;

/// Hands the gradient of every trainable parameter to `sink`, once each, by its place in
/// [`Model::trainable`](crate::Model::trainable), detached, topmost first. Nothing is computed for
/// frozen parameters, nor below the lowest trainable one.
///
/// Shapes: one entry a target in both columns; `loss` returns a scalar.
///
/// # Errors
///
/// Fails on 16-bit weights on a GPU, whose updates would be lost. Fails on rows or targets that do
/// not fit the model, on a loss that is not finite (before any gradient reaches `sink`), when a
/// trainable parameter has no gradient, and when `loss` or `sink` fails.
///
/// Source: recomputation as in arXiv 1604.06174, section 4, one block a segment.
pub fn backward<'a>(
    policy: impl Into<Policy<'a>>,
    packed: &Packed,
    targets: &[Target],
    temperature: f64,
    activations: Activations,
    loss: &mut dyn FnMut(&ScoreTensors) -> Result<Tensor>,
    sink: Sink<'_>,
) -> Result<LossOutput> {
    let policy = policy.into();
    check_masters(policy.dtype(), &policy.device().location())?;
    let (trunk, hidden) = Trunk::forward(policy, packed, activations)?;
    let head = policy.head()?;
    let pass = score::forward(policy.backend(), &hidden, &head, targets, temperature, 0)?;
    let upstream = loss_gradient(policy.dtype(), &pass, loss)?;
    let trainable = policy.trainable();
    let want = score::Want {
        hidden: policy.lowest_stage() <= policy.config().num_layers,
        head: trainable.head().is_some(),
    };
    let Upstream { loss, log_probs, entropies } = upstream;
    let (d_hidden, mut d_head) =
        score::backward(&pass, &hidden, &head, &log_probs, &entropies, want)?;
    let output = LossOutput { loss, scores: pass.scores() };
    drop((hidden, head));
    if let Some(Some(index)) = trainable.head {
        sink(index, d_head.take().ok_or_else(|| no_gradient("lm_head.weight"))?)?;
    }
    let Some(d_hidden) = d_hidden else { return Ok(output) };
    let d_rows = trunk.backward(d_hidden, sink)?;
    policy.weights.end_pass()?;
    if let Some(index) = trainable.embed {
        // What is left of the head is the tied embedding's.
        let into = if let Some(d_head) = d_head {
            d_head
        } else {
            // In f32 at least, like the head's: a token's rows are summed.
            let (shape, dtype) = (policy.specs().embed.shape.as_slice(), policy.dtype());
            let dtype = if dtype == DType::F64 { dtype } else { DType::F32 };
            Tensor::zeros(shape, dtype, policy.device())?
        };
        let (rows, width) = d_rows.dims2()?;
        let tokens = Tensor::new(packed.tokens(), policy.device())?.reshape((rows, 1))?;
        let d_rows = d_rows.to_dtype(into.dtype())?;
        // In place: a second gradient of this size would be among the largest tensors of a step.
        into.scatter_add_set(&tokens.broadcast_as((rows, width))?.contiguous()?, &d_rows, 0)?;
        sink(index, into)?;
    }
    Ok(output)
}

/// The value of a loss without its gradient: exactly what [`backward()`] returns.
///
/// Shapes: one entry a target in both columns; `loss` returns a scalar.
///
/// # Errors
///
/// Fails on rows or targets that do not fit the model, on a loss that is not finite, and when
/// `loss` fails.
pub fn forward<'a>(
    policy: impl Into<Policy<'a>>,
    packed: &Packed,
    targets: &[Target],
    temperature: f64,
    loss: &mut dyn FnMut(&ScoreTensors) -> Result<Tensor>,
) -> Result<LossOutput> {
    let policy = policy.into();
    let pass = policy.pass(packed, targets, temperature, 0)?;
    let (log_probs, entropies) = pass.columns(policy.dtype())?;
    let loss = value(&loss(&ScoreTensors { log_probs, entropies })?)?;
    Ok(LossOutput { loss, scores: pass.scores() })
}

/// Refuses gradients of 16-bit weights on a GPU: there are no f32 copies that collect the updates.
/// On a CPU the reference backend takes such weights, since tests compare it with wider types.
fn check_masters(dtype: DType, device: &DeviceLocation) -> Result<()> {
    if !matches!(dtype, DType::BF16 | DType::F16) || matches!(device, DeviceLocation::Cpu) {
        return Ok(());
    }
    Err(Error::Input(format!(
        "gradients of {dtype} weights on a GPU: expected f32 weights, since an update is smaller than \
         the rounding of {dtype} and would be lost; load the model as f32 to train it",
        dtype = dtype.as_str()
    )))
}

/// A loss as a number.
fn value(loss: &Tensor) -> Result<f64> {
    let value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Loss(value))
}

/// The loss and its gradient in each column.
struct Upstream {
    loss: f64,
    log_probs: Vec<f64>,
    entropies: Vec<f64>,
}

fn loss_gradient(
    dtype: DType,
    pass: &score::Pass,
    loss: &mut dyn FnMut(&ScoreTensors) -> Result<Tensor>,
) -> Result<Upstream> {
    let (log_probs, entropies) = pass.columns(dtype)?;
    let (log_probs, entropies) = (Var::from_tensor(&log_probs)?, Var::from_tensor(&entropies)?);
    let columns = ScoreTensors {
        log_probs: log_probs.as_tensor().clone(),
        entropies: entropies.as_tensor().clone(),
    };
    let scalar = loss(&columns)?;
    let value = value(&scalar)?;
    let mut grads = scalar.backward()?;
    let mut take = |var: &Var| -> Result<Vec<f64>> {
        match grads.remove(var) {
            Some(grad) => Ok(grad.to_dtype(DType::F64)?.to_vec1()?),
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
        policy: Policy<'a>,
        packed: &Packed,
        activations: Activations,
    ) -> Result<(Self, Tensor)> {
        Ok(match policy.backend() {
            Backend::Cpu { .. } => {
                let (trunk, hidden) = cpu::trunk::Trunk::forward(policy, packed, activations)?;
                (Self::Cpu(trunk), hidden)
            }
            Backend::Reference => {
                let (trunk, hidden) =
                    reference::trunk::Trunk::forward(policy, packed, activations)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_of_16_bit_weights_are_refused_on_a_gpu_alone() {
        let gpu = DeviceLocation::Cuda { gpu_id: 0 };
        for (dtype, name) in [(DType::BF16, "bf16"), (DType::F16, "f16")] {
            let error = check_masters(dtype, &gpu).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("load the model as f32"), "{error}");
            check_masters(dtype, &DeviceLocation::Cpu).unwrap();
        }
        check_masters(DType::F32, &gpu).unwrap();
        check_masters(DType::F64, &gpu).unwrap();
    }
}

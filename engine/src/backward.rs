//! The gradient of a loss on the scores, one block at a time.

use candle::backprop::GradStore;
use candle::{Tensor, Var};

use crate::block::{Layout, block};
use crate::score::{self, Scores};
use crate::{Error, Model, Packed, Result, Target, ops};

/// What a backward pass keeps of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// Every intermediate result: fastest.
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

/// One stage of the trunk: its input as a variable, and its output where it was kept.
struct Stage {
    input: Var,
    output: Option<Tensor>,
}

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
    sink: &mut dyn FnMut(usize, Tensor) -> Result<()>,
) -> Result<Passed> {
    let layout = model.layout(packed)?;
    let mut trunk = Trunk { model, layout, stages: Vec::new() };
    let hidden = trunk.forward(packed, activations)?;
    let live = model.live();
    let pass = score::forward(&hidden, &live.head, live.products, targets, temperature)?;
    let upstream = loss_gradient(model, &pass, loss)?;
    let (d_hidden, d_head) =
        score::backward(&pass, &hidden, &live.head, &upstream.log_probs, &upstream.entropies)?;
    let passed = Passed { loss: upstream.loss, scores: pass.scores() };
    let d_head = hand_over_head(model, d_head, sink)?;
    let d_embed = trunk.backward(&d_hidden, sink)?;
    let tokens = Tensor::new(packed.tokens(), model.device())?;
    let into = match d_head {
        Some(tied) => tied,
        None => model.live().embed.zeros_like()?,
    };
    sink(0, into.index_add(&tokens, &d_embed, 0)?)?;
    Ok(passed)
}

/// An untied head's gradient goes to the sink; a tied one is returned, to be added to the
/// embedding's.
fn hand_over_head(
    model: &Model,
    d_head: Tensor,
    sink: &mut dyn FnMut(usize, Tensor) -> Result<()>,
) -> Result<Option<Tensor>> {
    if model.config().tie_embeddings {
        return Ok(Some(d_head));
    }
    sink(model.parameters().len() - 1, d_head)?;
    Ok(None)
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

/// The blocks and the final norm, cut between stages.
struct Trunk<'a> {
    model: &'a Model,
    layout: Layout,
    stages: Vec<Stage>,
}

impl Trunk<'_> {
    /// Runs all stages and keeps what the backward needs; the hidden states have no graph.
    fn forward(&mut self, packed: &Packed, activations: Activations) -> Result<Tensor> {
        let mut x = self.model.embed(packed)?;
        for stage in 0..=self.model.config().num_layers {
            let input = Var::from_tensor(&x)?;
            let output = match activations {
                Activations::Keep => Some(self.run(stage, input.as_tensor(), true)?),
                Activations::Recompute => None,
            };
            x = match &output {
                Some(output) => output.detach(),
                None => self.run(stage, &x, false)?,
            };
            self.stages.push(Stage { input, output });
        }
        Ok(x)
    }

    fn run(&self, stage: usize, x: &Tensor, tracked: bool) -> Result<Tensor> {
        let model = self.model;
        let weights = if tracked { model.tracked() } else { model.live() };
        match weights.blocks.get(stage) {
            Some(weights) => block(model.config(), weights, x, &self.layout),
            None => ops::rms_norm(x, &weights.norm, model.config().rms_norm_eps),
        }
    }

    /// Walks the stages from the top; returns the gradient of the embeddings of the rows.
    fn backward(
        mut self,
        d_hidden: &Tensor,
        sink: &mut dyn FnMut(usize, Tensor) -> Result<()>,
    ) -> Result<Tensor> {
        let mut upstream = d_hidden.clone();
        while let Some(Stage { input, output }) = self.stages.pop() {
            let stage = self.stages.len();
            let output = match output {
                Some(output) => output,
                None => self.run(stage, input.as_tensor(), true)?,
            };
            let mut grads = ops::seed(&output, &upstream)?.backward()?;
            drop(output);
            for index in self.parameters_of(stage) {
                sink(index, self.take(&mut grads, index)?)?;
            }
            upstream = grads.remove(&input).ok_or_else(|| no_gradient("block input"))?.detach();
        }
        Ok(upstream)
    }

    fn parameters_of(&self, stage: usize) -> std::ops::Range<usize> {
        let layers = self.model.config().num_layers;
        let start = self.model.block_start(stage);
        if stage < layers { start..self.model.block_start(stage + 1) } else { start..start + 1 }
    }

    fn take(&self, grads: &mut GradStore, index: usize) -> Result<Tensor> {
        let parameter = &self.model.parameters()[index];
        let gradient = grads.remove(&parameter.var).ok_or_else(|| no_gradient(&parameter.name))?;
        Ok(gradient.detach())
    }
}

fn no_gradient(name: &str) -> Error {
    Error::Weight {
        name: name.to_owned(),
        problem: "no gradient reached it: an operation cut the graph".into(),
    }
}

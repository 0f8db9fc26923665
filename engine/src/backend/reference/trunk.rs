//! The blocks and the final norm: Candle's graph, one stage at a time.

use candle::backprop::GradStore;
use candle::{Tensor, Var};

use super::block::block;
use super::ops;
use crate::Activations;
use crate::backward::{Sink, no_gradient};
use crate::layout::Layout;
use crate::{Model, Packed, Result};

/// One stage of the trunk: its input as a variable, and its output where it was kept.
struct Stage {
    input: Var,
    output: Option<Tensor>,
}

/// The blocks and the final norm, cut between stages.
pub(crate) struct Trunk<'a> {
    model: &'a Model,
    layout: Layout,
    stages: Vec<Stage>,
}

impl<'a> Trunk<'a> {
    /// Runs all stages and keeps what the backward needs; the hidden states have no graph.
    pub(crate) fn forward(
        model: &'a Model,
        packed: &Packed,
        activations: Activations,
    ) -> Result<(Self, Tensor)> {
        let mut trunk = Self { model, layout: model.layout(packed)?, stages: Vec::new() };
        let mut x = model.embed(packed)?;
        for stage in 0..=model.config().num_layers {
            let input = Var::from_tensor(&x)?;
            let output = match activations {
                Activations::Keep => Some(trunk.run(stage, input.as_tensor(), true)?),
                Activations::Recompute => None,
            };
            x = match &output {
                Some(output) => output.detach(),
                None => trunk.run(stage, &x, false)?,
            };
            trunk.stages.push(Stage { input, output });
        }
        Ok((trunk, x))
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
    pub(crate) fn backward(mut self, d_hidden: Tensor, sink: Sink<'_>) -> Result<Tensor> {
        let mut upstream = d_hidden;
        while let Some(Stage { input, output }) = self.stages.pop() {
            let stage = self.stages.len();
            let output = match output {
                Some(output) => output,
                None => self.run(stage, input.as_tensor(), true)?,
            };
            // The scalar whose gradient at the output is `upstream`.
            let mut grads = (&output * &upstream)?.sum_all()?.backward()?;
            drop(output);
            for index in self.model.parameters_of(stage) {
                sink(index, self.take(&mut grads, index)?)?;
            }
            upstream = grads.remove(&input).ok_or_else(|| no_gradient("block input"))?.detach();
        }
        Ok(upstream)
    }

    fn take(&self, grads: &mut GradStore, index: usize) -> Result<Tensor> {
        let parameter = &self.model.parameters()[index];
        let gradient = grads.remove(&parameter.var).ok_or_else(|| no_gradient(&parameter.name))?;
        Ok(gradient.detach())
    }
}

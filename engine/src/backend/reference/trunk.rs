//! The blocks and the final norm: Candle's graph, one stage at a time.

use candle::{Tensor, Var};

use super::block::block;
use super::ops;
use crate::backward::{Sink, no_gradient};
use crate::layout::Layout;
use crate::weights::{Spec, Value};
use crate::{Activations, Packed, Policy, Result};

/// A stage's input as a variable, and its output where it was kept.
struct Stage<'a> {
    input: Var,
    output: Option<(Tensor, Vec<Leaf<'a>>)>,
}

/// A trainable weight of a stage.
struct Leaf<'a> {
    spec: &'a Spec,
    /// Its place among the trainable parameters.
    index: usize,
    variable: Tensor,
}

/// What the backward pass needs of the forward pass, from the lowest stage that it reaches.
pub(crate) struct Trunk<'a> {
    policy: Policy<'a>,
    layout: Layout,
    stages: Vec<Stage<'a>>,
}

/// Hidden states after the final norm, without what a backward pass needs: (rows, width).
pub(crate) fn hidden(policy: Policy<'_>, packed: &Packed) -> Result<Tensor> {
    let layout = policy.layout(packed)?;
    let mut x = policy.embed_rows(None, packed.tokens())?;
    for stage in 0..=policy.config().num_layers {
        x = run(policy, stage, &x, &layout, None)?;
    }
    Ok(x)
}

/// Runs a stage: a block, or the final norm after the last. With `leaves`, its trainable weights
/// are variables and are added to them; without, there is no graph.
fn run<'a>(
    policy: Policy<'a>,
    stage: usize,
    x: &Tensor,
    layout: &Layout,
    leaves: Option<&mut Vec<Leaf<'a>>>,
) -> Result<Tensor> {
    let (config, specs, trainable) = (policy.config(), policy.specs(), policy.trainable());
    let Some(leaves) = leaves else {
        return match specs.blocks.get(stage) {
            Some(_) => block(config, &policy.detached_block(stage)?, x, layout),
            None => ops::rms_norm(x, &policy.norm()?.detach(), config.rms_norm_eps),
        };
    };
    let mut leaf = |weight: &Value, spec: &'a Spec, index: Option<usize>| -> Result<Tensor> {
        let weight = policy.tensor(weight)?;
        let Some(index) = index else { return Ok(weight.detach()) };
        // A weight that is no variable is copied into one.
        let variable = Var::from_tensor(&weight)?.as_tensor().clone();
        leaves.push(Leaf { spec, index, variable: variable.clone() });
        Ok(variable)
    };
    let (Some(specs), Some(indices)) = (specs.blocks.get(stage), trainable.blocks.get(stage))
    else {
        let norm = leaf(&policy.norm()?.into(), &specs.norm, trainable.norm)?;
        return ops::rms_norm(x, &norm, config.rms_norm_eps);
    };
    let weights = policy.block(stage)?;
    let weights = (*weights).as_ref().zip(specs.as_ref().zip(indices.as_ref())?)?;
    let weights = weights.try_map(|(weight, (spec, index))| leaf(weight, spec, *index))?;
    block(config, &weights, x, layout)
}

impl<'a> Trunk<'a> {
    /// Runs all stages and keeps what the backward pass needs; the hidden states have no graph.
    pub(crate) fn forward(
        policy: Policy<'a>,
        packed: &Packed,
        activations: Activations,
    ) -> Result<(Self, Tensor)> {
        let (layout, mut stages) = (policy.layout(packed)?, Vec::new());
        let mut x = policy.embed_rows(None, packed.tokens())?;
        for stage in 0..=policy.config().num_layers {
            if stage < policy.lowest_stage() {
                x = run(policy, stage, &x, &layout, None)?;
                continue;
            }
            let input = Var::from_tensor(&x)?;
            let output = if activations == Activations::Keep {
                let mut leaves = Vec::new();
                let output = run(policy, stage, input.as_tensor(), &layout, Some(&mut leaves))?;
                x = output.detach();
                Some((output, leaves))
            } else {
                x = run(policy, stage, &x, &layout, None)?;
                None
            };
            stages.push(Stage { input, output });
        }
        Ok((Self { policy, layout, stages }, x))
    }

    /// Walks the stages from the top to the lowest that is asked for; returns the gradient with
    /// respect to its input.
    pub(crate) fn backward(mut self, d_hidden: Tensor, sink: Sink<'_>) -> Result<Tensor> {
        let mut upstream = d_hidden;
        while let Some(Stage { input, output }) = self.stages.pop() {
            let stage = self.policy.lowest_stage() + self.stages.len();
            let (output, leaves) = if let Some(kept) = output {
                kept
            } else {
                let mut leaves = Vec::new();
                let x = input.as_tensor();
                (run(self.policy, stage, x, &self.layout, Some(&mut leaves))?, leaves)
            };
            // The scalar whose gradient with respect to the output is `upstream`.
            let mut grads = (&output * &upstream)?.sum_all()?.backward()?;
            drop(output);
            for Leaf { spec, index, variable } in leaves {
                let gradient = grads.remove(&variable).ok_or_else(|| no_gradient(&spec.name))?;
                sink(index, gradient.detach())?;
            }
            upstream = grads.remove(&input).ok_or_else(|| no_gradient("block input"))?.detach();
        }
        Ok(upstream)
    }
}

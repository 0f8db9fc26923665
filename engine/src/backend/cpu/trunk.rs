//! The blocks and the final norm, forward and backward.

use std::sync::Arc;

use candle::Tensor;

use super::block::{Angles, Block, Saved, with_slices};
use super::{Threads, rms_norm, rms_norm_backward, with};
use crate::backward::{Sink, no_gradient};
use crate::policy::SharedRows;
use crate::weights::{BlockWeights, Value};
use crate::{Activations, Packed, Policy, Result, Segment};

/// A block's input, and what its forward pass kept where it did.
struct Stage {
    x: Vec<f32>,
    saved: Option<Saved>,
}

/// What the backward pass needs of the forward pass, from the lowest stage that it reaches.
pub(crate) struct Trunk<'a> {
    policy: Policy<'a>,
    angles: Angles,
    segments: Arc<[Segment]>,
    stages: Vec<Stage>,
    /// The input of the final norm.
    last: Vec<f32>,
}

/// A forward pass without what a backward pass needs, on its way through the blocks.
#[derive(Debug)]
pub(crate) struct Rows {
    angles: Angles,
    segments: Arc<[Segment]>,
    x: Vec<f32>,
}

/// Hidden states after the final norm, without what a backward pass needs: (rows, width).
pub(crate) fn hidden(policy: Policy<'_>, packed: &Packed) -> Result<Tensor> {
    let mut rows = Rows::embed(policy, packed, None)?;
    for layer in 0..policy.config().num_layers {
        rows.block(policy, &*policy.block(layer)?)?;
    }
    rows.finish(policy)
}

impl Rows {
    /// The embeddings of a pack, from rows that passes share where there are any.
    pub(crate) fn embed(
        policy: Policy<'_>,
        packed: &Packed,
        shared: Option<&SharedRows>,
    ) -> Result<Self> {
        let layout = policy.layout(packed)?;
        let x = policy.embed_rows(shared, packed.tokens())?.flatten_all()?.to_vec1()?;
        Ok(Self { angles: Angles::new(&layout)?, segments: layout.segments, x })
    }

    /// Runs the next block.
    pub(crate) fn block(
        &mut self,
        policy: Policy<'_>,
        weights: &BlockWeights<Value>,
    ) -> Result<()> {
        self.x = with_block(policy, weights, &self.angles, |block| {
            block.forward(&self.x, &self.segments).0
        })?;
        Ok(())
    }

    /// Hidden states after the final norm: (rows, width).
    pub(crate) fn finish(self, policy: Policy<'_>) -> Result<Tensor> {
        tensor(policy, final_norm(policy, &self.x)?)
    }
}

/// Calls `f` with a block.
pub(crate) fn run<R>(
    policy: Policy<'_>,
    layer: usize,
    angles: &Angles,
    f: impl FnOnce(Block<'_>) -> R,
) -> Result<R> {
    with_block(policy, &*policy.block(layer)?, angles, f)
}

/// Calls `f` with a block of these weights.
pub(super) fn with_block<R>(
    policy: Policy<'_>,
    weights: &BlockWeights<Value>,
    angles: &Angles,
    f: impl FnOnce(Block<'_>) -> R,
) -> Result<R> {
    with_slices(weights, policy.precision(), None, |weights| {
        f(Block { config: policy.config(), threads: Threads::Pool, angles, weights })
    })
}

/// The final norm.
///
/// Shapes: `x` (rows, width); result the same.
pub(crate) fn final_norm(policy: Policy<'_>, x: &[f32]) -> Result<Vec<f32>> {
    let norm = policy.norm()?;
    Ok(with([&norm], |[norm]| Ok(rms_norm(Threads::Pool, x, norm, policy.config().rms_norm_eps)))?)
}

fn tensor(policy: Policy<'_>, x: Vec<f32>) -> Result<Tensor> {
    let width = policy.config().hidden_size;
    let shape = (x.len() / width, width);
    Ok(Tensor::from_vec(x, shape, policy.device())?)
}

impl<'a> Trunk<'a> {
    /// Runs all blocks and the final norm, and keeps what the backward pass needs.
    pub(crate) fn forward(
        policy: Policy<'a>,
        packed: &Packed,
        activations: Activations,
    ) -> Result<(Self, Tensor)> {
        let layout = policy.layout(packed)?;
        let angles = Angles::new(&layout)?;
        let mut x: Vec<f32> = policy.embed_rows(None, packed.tokens())?.flatten_all()?.to_vec1()?;
        let mut stages = Vec::with_capacity(policy.config().num_layers);
        for layer in 0..policy.config().num_layers {
            let (y, saved) =
                run(policy, layer, &angles, |block| block.forward(&x, &layout.segments))?;
            let x = std::mem::replace(&mut x, y);
            if layer >= policy.lowest_stage() {
                let saved = (activations == Activations::Keep).then_some(saved);
                stages.push(Stage { x, saved });
            }
        }
        let hidden = tensor(policy, final_norm(policy, &x)?)?;
        let segments = layout.segments;
        Ok((Self { policy, angles, segments, stages, last: x }, hidden))
    }

    /// Walks the stages from the top to the lowest that is asked for; returns the gradient with
    /// respect to its input.
    pub(crate) fn backward(mut self, d_hidden: Tensor, sink: Sink<'_>) -> Result<Tensor> {
        let (policy, config) = (self.policy, self.policy.config());
        let (last, eps) = (std::mem::take(&mut self.last), config.rms_norm_eps);
        let mut upstream = vec![0.0; last.len()];
        let d_norm = with([&d_hidden, &policy.norm()?], |[dy, norm]| {
            Ok(rms_norm_backward(&last, norm, eps, dy, &mut upstream))
        })?;
        drop((last, d_hidden));
        if let Some(index) = policy.trainable().norm {
            sink(index, Tensor::from_vec(d_norm, config.hidden_size, policy.device())?)?;
        }
        while let Some(Stage { x, saved }) = self.stages.pop() {
            let layer = policy.lowest_stage() + self.stages.len();
            let indices = &policy.trainable().blocks[layer];
            let want = indices.as_ref().map(Option::is_some);
            let segments = &self.segments;
            let gradients = run(policy, layer, &self.angles, |block| {
                let saved = saved.unwrap_or_else(|| block.forward(&x, segments).1);
                block.backward(&x, segments, saved, &mut upstream, &want)
            })?;
            let specs = &policy.specs().blocks[layer];
            let gradients = specs.as_ref().zip(indices.as_ref().zip(gradients)?)?;
            gradients.try_map(|(spec, (index, gradient))| {
                let Some(index) = *index else { return Ok(()) };
                let gradient = gradient.ok_or_else(|| no_gradient(&spec.name))?;
                sink(index, Tensor::from_vec(gradient, spec.shape.as_slice(), policy.device())?)
            })?;
        }
        tensor(policy, upstream)
    }
}

//! The blocks and the final norm, forward and backward.

use candle::Tensor;

use super::block::{self, Kept, Rows};
use super::{rms_norm_backward, with};
use crate::Activations;
use crate::backward::Sink;
use crate::{Model, Packed, Result};

/// A block's input, and what its forward pass kept where it did.
struct Stage {
    x: Vec<f32>,
    kept: Option<Kept>,
}

/// The blocks, and the input of the final norm.
pub(crate) struct Trunk<'a> {
    model: &'a Model,
    rows: Rows,
    stages: Vec<Stage>,
    last: Vec<f32>,
}

impl<'a> Trunk<'a> {
    /// Runs all blocks and the final norm, and keeps what the backward needs.
    pub(crate) fn forward(
        model: &'a Model,
        packed: &Packed,
        activations: Activations,
    ) -> Result<(Self, Tensor)> {
        let rows = Rows::new(&model.layout(packed)?)?;
        let mut x: Vec<f32> = model.embed(packed)?.flatten_all()?.to_vec1()?;
        let mut stages = Vec::with_capacity(model.config().num_layers);
        for weights in &model.live().blocks {
            let (y, kept) = block::with(model.config(), weights, &rows, |block| block.forward(&x))?;
            let kept = (activations == Activations::Keep).then_some(kept);
            stages.push(Stage { x: std::mem::replace(&mut x, y), kept });
        }
        let hidden = model.normed(&x)?;
        Ok((Self { model, rows, stages, last: x }, hidden))
    }

    /// Walks the stages from the top; returns the gradient of the embeddings of the rows.
    pub(crate) fn backward(mut self, d_hidden: Tensor, sink: Sink<'_>) -> Result<Tensor> {
        let (model, config) = (self.model, self.model.config());
        let (last, eps) = (std::mem::take(&mut self.last), config.rms_norm_eps);
        let mut upstream = vec![0.0; last.len()];
        let d_norm = with([&d_hidden, &model.live().norm], |[dy, norm]| {
            Ok(rms_norm_backward(&last, norm, eps, dy, &mut upstream))
        })?;
        drop((last, d_hidden));
        self.hand_over(config.num_layers, vec![d_norm], sink)?;
        while let Some(Stage { x, kept }) = self.stages.pop() {
            let stage = self.stages.len();
            let weights = &model.live().blocks[stage];
            let gradients = block::with(config, weights, &self.rows, |block| {
                let kept = kept.unwrap_or_else(|| block.forward(&x).1);
                block.backward(&x, kept, &mut upstream)
            })?;
            self.hand_over(stage, gradients, sink)?;
        }
        let shape = (upstream.len() / config.hidden_size, config.hidden_size);
        Ok(Tensor::from_vec(upstream, shape, model.device())?)
    }

    fn hand_over(&self, stage: usize, gradients: Vec<Vec<f32>>, sink: Sink<'_>) -> Result<()> {
        let (model, indices) = (self.model, self.model.parameters_of(stage));
        assert_eq!(
            indices.len(),
            gradients.len(),
            "one gradient for each parameter of stage {stage}"
        );
        for (index, gradient) in indices.zip(gradients) {
            let shape = model.parameters()[index].var.shape();
            sink(index, Tensor::from_vec(gradient, shape, model.device())?)?;
        }
        Ok(())
    }
}

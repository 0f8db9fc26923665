//! A policy: a configuration, and weights wherever they come from.

mod head;
mod memory;
mod rows;

use std::borrow::Cow;

use candle::{DType, Device, Tensor};

use crate::adapter::Adapter;
use crate::backend::{Backend, cpu, reference};
use crate::layout::Layout;
use crate::rope::Rope;
use crate::score::{self, Scores};
use crate::stream::{Lease, Load, PassTerms, Perturbed};
use crate::weights::{BlockWeights, Spec, Value, Version, WeightSource, Weights};
use crate::{Error, MatmulPrecision, ModelConfig, Packed, Result, Target};
pub(crate) use head::Head;
pub(crate) use rows::SharedRows;

/// What the passes run on: a model's configuration with weights of any source.
///
/// [`crate::Model::policy`] has the model's own weights, [`crate::Model::policy_with`] those of
/// another source. It borrows everything and is cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) rope: &'a Rope,
    /// Of the base.
    pub(crate) specs: &'a Weights<Spec>,
    pub(crate) weights: &'a dyn WeightSource,
    pub(crate) adapter: Option<&'a Adapter>,
    pub(crate) trainable: &'a Weights<Option<usize>>,
    pub(crate) perturbed: Option<&'a Perturbed<'a>>,
    pub(crate) backend: Backend,
    pub(crate) dtype: DType,
    pub(crate) device: &'a Device,
}

impl<'a> Policy<'a> {
    /// Sizes and switches.
    pub fn config(&self) -> &'a ModelConfig {
        self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// Type of the weights.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The form in which it computes.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The precision of its matrix products.
    pub fn precision(&self) -> MatmulPrecision {
        self.backend.precision()
    }

    /// The rotary frequencies.
    pub fn rope(&self) -> &'a Rope {
        self.rope
    }

    /// Which weights these are.
    pub fn version(&self) -> Version {
        let version = self.weights.version();
        let version =
            self.adapter.map_or(version, |adapter| version.with_adapter(adapter.version()));
        self.perturbed.map_or(version, |perturbed| version.with_perturbed(perturbed.version()))
    }

    /// Names and shapes of its weights.
    pub fn specs(&self) -> &'a Weights<Spec> {
        self.adapter.map_or(self.specs, Adapter::specs)
    }

    /// The adapter that it computes with.
    pub fn adapter(&self) -> Option<&'a Adapter> {
        self.adapter
    }

    /// The same base with another adapter, or with none.
    ///
    /// # Errors
    ///
    /// Fails when the adapter was made for a model of other sizes.
    pub fn with_adapter(self, adapter: Option<&'a Adapter>) -> Result<Self> {
        if let Some(adapter) = adapter {
            adapter.fits(self.specs)?;
        }
        Ok(Self { adapter, ..self })
    }

    /// The same policy whose trainable parameters are changed on their way to each pass, or are
    /// used as they are. In bf16, decoding packs the weights again at every step.
    ///
    /// # Errors
    ///
    /// Fails when the scratch memory was made for other trainable parameters.
    pub fn with_perturbed(self, perturbed: Option<&'a Perturbed<'a>>) -> Result<Self> {
        if let Some(perturbed) = perturbed {
            perturbed.fits(&self)?;
        }
        Ok(Self { perturbed, ..self })
    }

    /// What changes its trainable parameters on their way to each pass.
    pub fn perturbed(&self) -> Option<&'a Perturbed<'a>> {
        self.perturbed
    }

    /// The same policy with the weights as they are.
    pub(crate) fn base(self) -> Self {
        Self { perturbed: None, ..self }
    }

    /// Whether all threads of a pass may ask for blocks as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.perturbed.is_none() && !self.weights.streams()
    }

    /// For each weight, its place among the trainable parameters. `None` where it is frozen.
    pub(crate) fn trainable(&self) -> &'a Weights<Option<usize>> {
        self.trainable
    }

    /// Hidden states after the final norm, without a graph.
    ///
    /// Shapes: result (rows, width).
    ///
    /// # Errors
    ///
    /// Fails when a token is outside the vocabulary or a position outside the context, and when a
    /// weight is not available.
    pub fn hidden(self, packed: &Packed) -> Result<Tensor> {
        let _held = self.hold(|| self.terms(packed, 0))?;
        self.hidden_held(packed)
    }

    /// What a pass takes.
    fn terms(&self, packed: &Packed, targets: usize) -> Result<PassTerms> {
        PassTerms::predict(self.config, self.precision(), &Load::of(packed, targets))
    }

    /// [`Self::hidden`] of a pass whose memory was taken.
    fn hidden_held(self, packed: &Packed) -> Result<Tensor> {
        let hidden = match self.backend {
            Backend::Cpu { .. } => cpu::trunk::hidden(self, packed)?,
            Backend::Reference => reference::trunk::hidden(self, packed)?,
        };
        self.weights.end_pass()?;
        Ok(hidden)
    }

    /// Log-probabilities and entropies of the targets, without a graph.
    ///
    /// # Errors
    ///
    /// As [`Self::hidden`], and when a target's row or token does not exist.
    pub fn score(self, packed: &Packed, targets: &[Target], temperature: f64) -> Result<Scores> {
        self.score_with_alternatives(packed, targets, temperature, 0)
    }

    /// [`Self::score`], and so many of the likeliest tokens of each target's row.
    ///
    /// # Errors
    ///
    /// As [`Self::score`].
    pub fn score_with_alternatives(
        self,
        packed: &Packed,
        targets: &[Target],
        temperature: f64,
        count: usize,
    ) -> Result<Scores> {
        Ok(self.pass(packed, targets, temperature, count)?.scores())
    }

    /// [`Self::score`], before it is rounded.
    pub(crate) fn pass(
        self,
        packed: &Packed,
        targets: &[Target],
        temperature: f64,
        alternatives: usize,
    ) -> Result<score::Pass> {
        let _held = self.hold(|| self.terms(packed, targets.len()))?;
        let hidden = self.hidden_held(packed)?;
        let head = self.head()?;
        let pass =
            score::forward(self.backend, &hidden, &head, targets, temperature, alternatives)?;
        self.weights.end_pass()?;
        Ok(pass)
    }

    /// The layout of a pack that fits this model.
    pub(crate) fn layout(&self, packed: &Packed) -> Result<Layout> {
        self.check_tokens(packed.tokens())?;
        let longest = packed.positions().iter().max().map_or(0, |&p| p as usize + 1);
        if longest > self.config.context {
            return Err(Error::Input(format!(
                "a sequence of {longest} tokens does not fit the model's context of {} tokens",
                self.config.context
            )));
        }
        Layout::new(packed, self.rope, self.dtype, self.device)
    }

    /// The weights of a block, which may be variables.
    pub(crate) fn block(&self, layer: usize) -> Result<Lease<'a>> {
        self.completed(layer, self.weights.block(layer)?)
    }

    /// The base's weights of a block, for [`Self::completed`].
    pub(crate) fn base_block(&self, layer: usize) -> Result<Cow<'a, BlockWeights<Value>>> {
        self.weights.block(layer)
    }

    /// A block of the base with the adapter, as it is changed on its way to the pass.
    pub(crate) fn completed<'b>(
        &self,
        layer: usize,
        mut block: Cow<'b, BlockWeights<Value>>,
    ) -> Result<Lease<'b>>
    where
        'a: 'b,
    {
        if let Some(adapter) = self.adapter {
            let lora = adapter.blocks[layer].clone().map(Value::Tensor);
            block = Cow::Owned(block.into_owned().adapted(lora));
        }
        let pairs = self.specs().blocks[layer].as_ref().zip((*block).as_ref())?;
        pairs.try_map(|(spec, value)| self.check(spec, value))?;
        match self.perturbed {
            Some(perturbed) => perturbed.block(&self.trainable.blocks[layer], block),
            None => Ok(block.into()),
        }
    }

    /// The weights of a block as tensors, without a graph.
    pub(crate) fn detached_block(&self, layer: usize) -> Result<BlockWeights<Tensor>> {
        (*self.block(layer)?).as_ref().try_map(|value| Ok(self.tensor(value)?.detach()))
    }

    /// A weight as a tensor, which may be a variable.
    pub(crate) fn tensor(&self, value: &Value) -> Result<Tensor> {
        value.tensor(self.dtype, self.device)
    }

    /// The final norm, which may be a variable: (width).
    pub(crate) fn norm(&self) -> Result<Tensor> {
        let norm = self.weights.norm()?;
        self.check(&self.specs.norm, &Value::Tensor(norm.clone()))?;
        match (self.perturbed, self.trainable.norm) {
            (Some(perturbed), Some(index)) => perturbed.tensor(index, &norm),
            _ => Ok(norm),
        }
    }

    /// The output head, without a graph.
    pub(crate) fn head(&self) -> Result<Head<'a>> {
        if self.weights.streams() {
            return Ok(Head::new(*self, None));
        }
        let head = match self.specs.head {
            Some(_) => self.weights.head()?,
            None => self.weights.embed()?,
        };
        self.check(self.specs.head(), &head)?;
        Ok(Head::new(*self, Some(head.detach())))
    }

    /// The lowest stage with a trainable parameter: a block, the final norm after the last block,
    /// or the head after that. The embedding lies below the first block, so it counts as that.
    pub(crate) fn lowest_stage(&self) -> usize {
        let Weights { embed, blocks, norm, head: _ } = self.trainable;
        if embed.is_some() {
            return 0;
        }
        let has_trainable = |block: &BlockWeights<Option<usize>>| {
            let mut any = false;
            block.visit(|index| any |= index.is_some());
            any
        };
        blocks.iter().position(has_trainable).unwrap_or(blocks.len() + usize::from(norm.is_none()))
    }

    /// Whether what the source handed out is what the model computes with.
    fn check(&self, spec: &Spec, value: &Value) -> Result<()> {
        let dtype = match value {
            Value::Tensor(tensor) => tensor.dtype(),
            // It is decoded to what is asked for.
            Value::Stored(_) => self.dtype,
        };
        if value.dims() == spec.shape && dtype == self.dtype {
            return Ok(());
        }
        Err(misfit(spec, self.dtype, value.dims(), dtype))
    }
}

/// What a source lends is not what the model computes with.
fn misfit(spec: &Spec, expected: DType, dims: &[usize], dtype: DType) -> Error {
    Error::Weight {
        name: spec.name.clone(),
        problem: format!(
            "expected {:?} of {}, its source has {:?} of {}",
            spec.shape,
            expected.as_str(),
            dims,
            dtype.as_str()
        ),
    }
}

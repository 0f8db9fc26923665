//! A policy: a configuration, and weights wherever they come from.

use std::borrow::Cow;

use candle::{DType, Device, Tensor};

use crate::adapter::Adapter;
use crate::backend::{Backend, cpu, reference};
use crate::layout::Layout;
use crate::rope::Rope;
use crate::score::{self, Scores};
use crate::weights::{BlockWeights, Spec, Value, Version, WeightSource, Weights};
use crate::{Error, MatmulPrecision, ModelConfig, Packed, Result, Target};

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
        self.adapter.map_or(version, |adapter| version.with_adapter(adapter.version()))
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
        match self.backend {
            Backend::Cpu { .. } => cpu::trunk::hidden(self, packed),
            Backend::Reference => reference::trunk::hidden(self, packed),
        }
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
        let hidden = self.hidden(packed)?;
        let head = self.head()?;
        score::forward(self.backend, &hidden, &head, targets, temperature, alternatives)
    }

    /// The layout of a pack that fits this model.
    pub(crate) fn layout(&self, packed: &Packed) -> Result<Layout> {
        if let Some(&token) =
            packed.tokens().iter().find(|&&token| token as usize >= self.config.vocab_size)
        {
            return Err(Error::Input(format!(
                "token {token} is outside the vocabulary of {} tokens",
                self.config.vocab_size
            )));
        }
        let longest = packed.positions().iter().max().map_or(0, |&p| p as usize + 1);
        if longest > self.config.context {
            return Err(Error::Input(format!(
                "a sequence of {longest} tokens does not fit the model's context of {} tokens",
                self.config.context
            )));
        }
        Layout::new(packed, self.rope, self.dtype, self.device)
    }

    /// Embeddings of tokens, without a graph: (tokens, width).
    pub(crate) fn embed_rows(&self, tokens: &[u32]) -> Result<Tensor> {
        self.embed()?.gather(tokens, self.dtype, self.device)
    }

    /// The embedding, without a graph: (vocabulary, width).
    pub(crate) fn embed(&self) -> Result<Value> {
        let embed = self.weights.embed()?;
        self.check(&self.specs.embed, &embed)?;
        Ok(embed.detach())
    }

    /// The weights of a block, which may be variables.
    pub(crate) fn block(&self, layer: usize) -> Result<Cow<'a, BlockWeights<Value>>> {
        let mut block = self.weights.block(layer)?;
        if let Some(adapter) = self.adapter {
            let lora = adapter.blocks[layer].clone().map(Value::Tensor);
            block = Cow::Owned(block.into_owned().adapted(lora));
        }
        let pairs = self.specs().blocks[layer].as_ref().zip((*block).as_ref())?;
        pairs.try_map(|(spec, value)| self.check(spec, value))?;
        Ok(block)
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
        Ok(norm)
    }

    /// The output head, without a graph: (vocabulary, width).
    pub(crate) fn head(&self) -> Result<Value> {
        let Some(spec) = &self.specs.head else { return self.embed() };
        let head = self.weights.head()?;
        self.check(spec, &head)?;
        Ok(head.detach())
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
        Err(Error::Weight {
            name: spec.name.clone(),
            problem: format!(
                "expected {:?} of {}, its source has {:?} of {}",
                spec.shape,
                self.dtype.as_str(),
                value.dims(),
                dtype.as_str()
            ),
        })
    }
}

//! Which linear maps of a block an adapter adds to.

use std::convert::Infallible;

use super::{BlockWeights, Linear, Lora, Weights};
use crate::Result;

/// A linear map of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Module {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Output of attention.
    O,
    /// Gate of the feed-forward layer.
    Gate,
    /// Up.
    Up,
    /// Down.
    Down,
}

impl Module {
    /// All linear maps of a block, in the order of its parameters.
    pub const ALL: [Self; 7] =
        [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// Hugging Face name of the map within its block's part, such as `q_proj`.
    pub fn name(self) -> &'static str {
        self.module().rsplit('.').next().expect("a name has a last part")
    }

    /// Hugging Face name of the map within its block, such as `self_attn.q_proj`.
    pub fn module(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }
}

/// What an adapter adds to the linear maps of one block, in the order of [`Module::ALL`].
#[derive(Debug, Clone, Default)]
pub struct BlockLora<T>(pub(crate) [Option<Lora<T>>; 7]);

impl<T> BlockLora<T> {
    /// Asks `f` for what is added to each linear map.
    pub fn new(f: impl FnMut(Module) -> Option<Lora<T>>) -> Self {
        Self(Module::ALL.map(f))
    }

    /// References to the values.
    pub fn as_ref(&self) -> BlockLora<&T> {
        BlockLora(self.0.each_ref().map(|lora| lora.as_ref().map(Lora::as_ref)))
    }

    /// Maps every value, in the order of the parameters.
    ///
    /// # Errors
    ///
    /// Fails when `f` fails.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<BlockLora<U>, E> {
        let [q, k, v, o, gate, up, down] = self.0;
        let mut map = |lora: Option<Lora<T>>| lora.map(|lora| lora.try_map(&mut f)).transpose();
        Ok(BlockLora([map(q)?, map(k)?, map(v)?, map(o)?, map(gate)?, map(up)?, map(down)?]))
    }

    /// [`Self::try_map`] of a function that cannot fail.
    #[must_use]
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> BlockLora<U> {
        let Ok(mapped) = self.try_map(|value| Ok::<U, Infallible>(f(value)));
        mapped
    }
}

impl<T> BlockWeights<T> {
    /// The linear maps, in the order of [`Module::ALL`].
    pub fn linears(&self) -> [&Linear<T>; 7] {
        let Self { q, k, v, o, gate, up, down, attn_norm: _, qk_norm: _, mlp_norm: _ } = self;
        [q, k, v, o, gate, up, down]
    }

    /// One of the linear maps.
    pub fn linear(&self, target: Module) -> &Linear<T> {
        self.linears()[target as usize]
    }

    fn linears_mut(&mut self) -> [&mut Linear<T>; 7] {
        let Self { q, k, v, o, gate, up, down, attn_norm: _, qk_norm: _, mlp_norm: _ } = self;
        [q, k, v, o, gate, up, down]
    }

    /// The same block with an adapter, in place of the one that it had.
    #[must_use]
    pub fn adapted(mut self, BlockLora(lora): BlockLora<T>) -> Self {
        self.linears_mut().into_iter().zip(lora).for_each(|(map, lora)| map.lora = lora);
        self
    }

    /// The block without its adapter, and the adapter.
    pub(crate) fn split(mut self) -> (Self, BlockLora<T>) {
        let lora = self.linears_mut().map(|map| map.lora.take());
        (self, BlockLora(lora))
    }
}

impl<T> Weights<T> {
    /// The same weights with an adapter, given by block.
    ///
    /// # Panics
    ///
    /// Panics when the adapter has another number of blocks.
    #[must_use]
    pub fn adapted(self, adapter: Vec<BlockLora<T>>) -> Self {
        assert_eq!(self.blocks.len(), adapter.len(), "blocks of the model, and of the adapter");
        let blocks = self.blocks.into_iter().zip(adapter);
        Self { blocks: blocks.map(|(block, lora)| block.adapted(lora)).collect(), ..self }
    }
}

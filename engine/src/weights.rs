//! Weights are data: the same functions run on variables, live views, copies or streamed blocks.
//!
//! [`Weights`] and [`BlockWeights`] hold one value of any type for each parameter of a model: a
//! tensor, a slice, a gradient, an index. [`Weights::of`] is the one list of names and shapes.
//! Every order of parameters is that of [`Weights::try_map`].

mod adapted;
mod linear;
mod source;
mod value;

use std::convert::Infallible;

pub use adapted::{BlockLora, Module};
pub use linear::{Linear, Lora};
pub use source::{Version, WeightSource};
pub use value::{StoredMatrix, Value};

use crate::{Error, ModelConfig, Result};

/// What a checkpoint calls a parameter, and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Hugging Face name.
    pub name: String,
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
}

/// The weights of one block, or one value for each of them.
#[derive(Debug, Clone)]
pub struct BlockWeights<T> {
    /// Norm before attention: (width).
    pub attn_norm: T,
    /// Queries: width to heads * head width.
    pub q: Linear<T>,
    /// Keys: width to kv heads * head width.
    pub k: Linear<T>,
    /// Values: width to kv heads * head width.
    pub v: Linear<T>,
    /// Norms over each head of queries and keys: (head width).
    pub qk_norm: Option<[T; 2]>,
    /// Output of attention: heads * head width to width.
    pub o: Linear<T>,
    /// Norm before the feed-forward layer: (width).
    pub mlp_norm: T,
    /// Gate: width to intermediate.
    pub gate: Linear<T>,
    /// Up: width to intermediate.
    pub up: Linear<T>,
    /// Down: intermediate to width.
    pub down: Linear<T>,
}

/// All weights of a model, or one value for each of them.
#[derive(Debug, Clone)]
pub struct Weights<T> {
    /// Embedding: (vocabulary, width).
    pub embed: T,
    /// The blocks, bottom first.
    pub blocks: Vec<BlockWeights<T>>,
    /// Final norm: (width).
    pub norm: T,
    /// Output head: (vocabulary, width). `None` where it is tied to the embedding.
    pub head: Option<T>,
}

impl Weights<Spec> {
    /// Names and shapes of the parameters of a model.
    pub fn of(config: &ModelConfig) -> Self {
        let width = config.hidden_size;
        let spec = |name: &str, shape: &[usize]| Spec::new(name.to_owned(), shape);
        Self {
            embed: spec("model.embed_tokens.weight", &[config.vocab_size, width]),
            blocks: (0..config.num_layers).map(|layer| BlockWeights::of(config, layer)).collect(),
            norm: spec("model.norm.weight", &[width]),
            head: (!config.tie_embeddings)
                .then(|| spec("lm_head.weight", &[config.vocab_size, width])),
        }
    }
}

impl BlockWeights<Spec> {
    pub(crate) fn of(config: &ModelConfig, layer: usize) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let [heads, kv] = [config.num_heads, config.num_kv_heads].map(|n| n * config.head_dim);
        let biases = config.biases;
        let norm = |name: &str, width: usize| {
            Spec::new(format!("model.layers.{layer}.{name}.weight"), &[width])
        };
        let linear = |name: &str, out: usize, width: usize, bias: bool| {
            let name = format!("model.layers.{layer}.{name}");
            let bias = bias.then(|| Spec::new(format!("{name}.bias"), &[out]));
            Linear::dense(Spec::new(format!("{name}.weight"), &[out, width]), bias)
        };
        Self {
            attn_norm: norm("input_layernorm", width),
            q: linear("self_attn.q_proj", heads, width, biases.qkv),
            k: linear("self_attn.k_proj", kv, width, biases.qkv),
            v: linear("self_attn.v_proj", kv, width, biases.qkv),
            qk_norm: config.qk_norm.then(|| {
                ["q_norm", "k_norm"].map(|n| norm(&format!("self_attn.{n}"), config.head_dim))
            }),
            o: linear("self_attn.o_proj", width, heads, biases.o),
            mlp_norm: norm("post_attention_layernorm", width),
            gate: linear("mlp.gate_proj", inner, width, biases.mlp),
            up: linear("mlp.up_proj", inner, width, biases.mlp),
            down: linear("mlp.down_proj", width, inner, biases.mlp),
        }
    }
}

impl Spec {
    pub(crate) fn new(name: String, shape: &[usize]) -> Self {
        Self { name, shape: shape.to_vec() }
    }

    /// Number of values.
    pub fn elem_count(&self) -> usize {
        self.shape.iter().product()
    }
}

impl<T> Weights<T> {
    /// The head: the embedding where it is tied.
    pub fn head(&self) -> &T {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    /// References to the values.
    pub fn as_ref(&self) -> Weights<&T> {
        Weights {
            embed: &self.embed,
            blocks: self.blocks.iter().map(BlockWeights::as_ref).collect(),
            norm: &self.norm,
            head: self.head.as_ref(),
        }
    }

    /// Maps every value, in the order of the parameters: embedding, blocks from the bottom, final
    /// norm, head.
    ///
    /// # Errors
    ///
    /// Fails when `f` fails.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<Weights<U>, E> {
        Ok(Weights {
            embed: f(self.embed)?,
            blocks: self
                .blocks
                .into_iter()
                .map(|block| block.try_map(&mut f))
                .collect::<Result<_, E>>()?,
            norm: f(self.norm)?,
            head: self.head.map(f).transpose()?,
        })
    }

    /// [`Self::try_map`] of a function that cannot fail.
    #[must_use]
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Weights<U> {
        let Ok(mapped) = self.try_map(|value| Ok::<U, Infallible>(f(value)));
        mapped
    }

    /// The values, in the order of [`Self::try_map`].
    pub fn into_values(self) -> Vec<T> {
        let mut values = Vec::new();
        let Weights { .. } = self.map(|value| values.push(value));
        values
    }

    /// Calls `f` with every value, in the order of [`Self::try_map`].
    pub fn visit<'a>(&'a self, mut f: impl FnMut(&'a T)) {
        let Weights { .. } = self.as_ref().map(&mut f);
    }
}

impl<T> BlockWeights<T> {
    /// References to the values.
    pub fn as_ref(&self) -> BlockWeights<&T> {
        BlockWeights {
            attn_norm: &self.attn_norm,
            q: self.q.as_ref(),
            k: self.k.as_ref(),
            v: self.v.as_ref(),
            qk_norm: self.qk_norm.as_ref().map(<[T; 2]>::each_ref),
            o: self.o.as_ref(),
            mlp_norm: &self.mlp_norm,
            gate: self.gate.as_ref(),
            up: self.up.as_ref(),
            down: self.down.as_ref(),
        }
    }

    /// Maps every value, in the order of the parameters.
    ///
    /// # Errors
    ///
    /// Fails when `f` fails.
    pub fn try_map<U, E>(self, mut f: impl FnMut(T) -> Result<U, E>) -> Result<BlockWeights<U>, E> {
        // The fields of a literal are evaluated as they stand here: this is the order.
        Ok(BlockWeights {
            attn_norm: f(self.attn_norm)?,
            q: self.q.try_map(&mut f)?,
            k: self.k.try_map(&mut f)?,
            v: self.v.try_map(&mut f)?,
            qk_norm: match self.qk_norm {
                Some([q, k]) => Some([f(q)?, f(k)?]),
                None => None,
            },
            o: self.o.try_map(&mut f)?,
            mlp_norm: f(self.mlp_norm)?,
            gate: self.gate.try_map(&mut f)?,
            up: self.up.try_map(&mut f)?,
            down: self.down.try_map(&mut f)?,
        })
    }

    /// [`Self::try_map`] of a function that cannot fail.
    #[must_use]
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> BlockWeights<U> {
        let Ok(mapped) = self.try_map(|value| Ok::<U, Infallible>(f(value)));
        mapped
    }

    /// Calls `f` with every value, in the order of [`Self::try_map`].
    pub fn visit<'a>(&'a self, mut f: impl FnMut(&'a T)) {
        let BlockWeights { .. } = self.as_ref().map(&mut f);
    }

    /// Pairs the values of two blocks.
    ///
    /// # Errors
    ///
    /// Fails when one has a part that the other lacks.
    pub fn zip<U>(self, other: BlockWeights<U>) -> Result<BlockWeights<(T, U)>> {
        Ok(BlockWeights {
            attn_norm: (self.attn_norm, other.attn_norm),
            q: self.q.zip(other.q)?,
            k: self.k.zip(other.k)?,
            v: self.v.zip(other.v)?,
            qk_norm: both(self.qk_norm, other.qk_norm, "norms of queries and keys")?
                .map(|([q, k], [other_q, other_k])| [(q, other_q), (k, other_k)]),
            o: self.o.zip(other.o)?,
            mlp_norm: (self.mlp_norm, other.mlp_norm),
            gate: self.gate.zip(other.gate)?,
            up: self.up.zip(other.up)?,
            down: self.down.zip(other.down)?,
        })
    }
}

/// Two optional parts, if both are there or neither.
fn both<T, U>(a: Option<T>, b: Option<U>, part: &str) -> Result<Option<(T, U)>> {
    match (a, b) {
        (Some(a), Some(b)) => Ok(Some((a, b))),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => Err(Error::Input(format!(
            "the weights of two blocks do not fit together: only one of them has {part}"
        ))),
    }
}

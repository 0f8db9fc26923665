//! Weights are data: the same functions run on variables, live views, copies or streamed slots.

use candle::Tensor;

use crate::{Biases, ModelConfig, Products, Result};

/// The weights of one block; linear weights are (out, in).
#[derive(Debug, Clone)]
pub struct BlockWeights {
    /// Norm before attention: (width).
    pub attn_norm: Tensor,
    /// Queries: (heads * head width, width).
    pub q: Tensor,
    /// Keys: (kv heads * head width, width).
    pub k: Tensor,
    /// Values: (kv heads * head width, width).
    pub v: Tensor,
    /// Biases of queries, keys and values.
    pub qkv_bias: Option<[Tensor; 3]>,
    /// Norms over each head of queries and keys: (head width).
    pub qk_norm: Option<[Tensor; 2]>,
    /// Output of attention: (width, heads * head width).
    pub o: Tensor,
    /// Bias of attention's output: (width).
    pub o_bias: Option<Tensor>,
    /// Norm before the feed-forward layer: (width).
    pub mlp_norm: Tensor,
    /// Gate: (intermediate, width).
    pub gate: Tensor,
    /// Up: (intermediate, width).
    pub up: Tensor,
    /// Down: (width, intermediate).
    pub down: Tensor,
    /// Biases of gate, up and down.
    pub mlp_bias: Option<[Tensor; 3]>,
    /// How its linear maps multiply.
    pub products: Products,
}

/// All weights of a model.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Embedding: (vocabulary, width).
    pub embed: Tensor,
    /// The blocks, bottom first.
    pub blocks: Vec<BlockWeights>,
    /// Final norm: (width).
    pub norm: Tensor,
    /// Output head: (vocabulary, width); the embedding itself where tied.
    pub head: Tensor,
    /// How the head multiplies.
    pub products: Products,
}

impl Weights {
    /// Builds the tree by asking `get` for each parameter of `config`, in checkpoint order, by its
    /// Hugging Face name and shape.
    pub fn build(
        config: &ModelConfig,
        get: &mut dyn FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let width = config.hidden_size;
        let embed = get("model.embed_tokens.weight", &[config.vocab_size, width])?;
        let blocks = (0..config.num_layers)
            .map(|i| BlockWeights::build(config, i, get))
            .collect::<Result<_>>()?;
        let norm = get("model.norm.weight", &[width])?;
        let head = if config.tie_embeddings {
            embed.clone()
        } else {
            get("lm_head.weight", &[config.vocab_size, width])?
        };
        Ok(Self { embed, blocks, norm, head, products: Products::F32 })
    }

    /// The same weights, multiplied otherwise.
    pub(crate) fn multiplied_by(mut self, products: Products) -> Self {
        self.products = products;
        for block in &mut self.blocks {
            block.products = products;
        }
        self
    }
}

impl BlockWeights {
    fn build(
        config: &ModelConfig,
        layer: usize,
        get: &mut dyn FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let (heads, kv) =
            (config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim);
        let mut at =
            |name: &str, shape: &[usize]| get(&format!("model.layers.{layer}.{name}"), shape);
        let attn_norm = at("input_layernorm.weight", &[width])?;
        let q = at("self_attn.q_proj.weight", &[heads, width])?;
        let k = at("self_attn.k_proj.weight", &[kv, width])?;
        let v = at("self_attn.v_proj.weight", &[kv, width])?;
        let qkv_bias = if config.biases.qkv {
            Some([
                at("self_attn.q_proj.bias", &[heads])?,
                at("self_attn.k_proj.bias", &[kv])?,
                at("self_attn.v_proj.bias", &[kv])?,
            ])
        } else {
            None
        };
        let qk_norm = if config.qk_norm {
            Some([
                at("self_attn.q_norm.weight", &[config.head_dim])?,
                at("self_attn.k_norm.weight", &[config.head_dim])?,
            ])
        } else {
            None
        };
        let o = at("self_attn.o_proj.weight", &[width, heads])?;
        let o_bias = config.biases.o.then(|| at("self_attn.o_proj.bias", &[width])).transpose()?;
        let mlp_norm = at("post_attention_layernorm.weight", &[width])?;
        let gate = at("mlp.gate_proj.weight", &[inner, width])?;
        let up = at("mlp.up_proj.weight", &[inner, width])?;
        let down = at("mlp.down_proj.weight", &[width, inner])?;
        let mlp_bias = if config.biases.mlp {
            Some([
                at("mlp.gate_proj.bias", &[inner])?,
                at("mlp.up_proj.bias", &[inner])?,
                at("mlp.down_proj.bias", &[width])?,
            ])
        } else {
            None
        };
        let products = Products::F32;
        Ok(Self {
            attn_norm,
            q,
            k,
            v,
            qkv_bias,
            qk_norm,
            o,
            o_bias,
            mlp_norm,
            gate,
            up,
            down,
            mlp_bias,
            products,
        })
    }
}

impl BlockWeights {
    /// Its tensors, in checkpoint order.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        // every field by name: a new weight that is missed here does not compile
        let Self {
            attn_norm,
            q,
            k,
            v,
            qkv_bias,
            qk_norm,
            o,
            o_bias,
            mlp_norm,
            gate,
            up,
            down,
            mlp_bias,
            products: _,
        } = self;
        [attn_norm, q, k, v]
            .into_iter()
            .chain(qkv_bias.iter().flatten())
            .chain(qk_norm.iter().flatten())
            .chain([o])
            .chain(o_bias)
            .chain([mlp_norm, gate, up, down])
            .chain(mlp_bias.iter().flatten())
    }
}

/// Number of parameters of one block.
pub(crate) fn per_block(config: &ModelConfig) -> usize {
    let Biases { qkv, o, mlp } = config.biases;
    9 + 3 * usize::from(qkv)
        + 2 * usize::from(config.qk_norm)
        + usize::from(o)
        + 3 * usize::from(mlp)
}

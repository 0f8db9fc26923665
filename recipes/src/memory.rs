//! How much memory a stage of training takes, computed from the sizes of its model.

use engine::{Activations, ModelConfig, Weights};

/// Bytes of a number in 32 bits.
pub const F32: u64 = 4;
/// Bytes of a number in bf16.
const BF16: u64 = 2;
/// Resident memory of a process that trains next to nothing, as measured.
const PROGRAM: u64 = 48 << 20;
/// Bytes of the tokenizer for each token of the vocabulary, its merges and what is left of reading
/// it included, as measured.
const TOKEN: u64 = 450;

/// Memory of a stage at its peak, in bytes, by what needs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The weights.
    pub weights: u64,
    /// The adapter, with its gradients and the optimizer's state.
    pub adapter: u64,
    /// Where parts of the weights are decoded.
    pub decoding: u64,
    /// Gradients of the weights.
    pub gradients: u64,
    /// The optimizer's state.
    pub optimizer: u64,
    /// The reference model.
    pub reference: u64,
    /// Keys and values of all slots and their prompts.
    pub cache: u64,
    /// The copy of the weights in bf16 that sampling multiplies by.
    pub rounded: u64,
    /// What the forward pass leaves for the backward pass, at the micro-batch's limit.
    pub activations: u64,
    /// What the backward pass makes of one block of it.
    pub working: u64,
    /// One gradient of the head, which is as large as the embedding.
    pub head: u64,
    /// Whether activations are let go while gradients appear, as in an update of one micro-batch.
    pub in_turn: bool,
    /// The tokenizer.
    pub tokenizer: u64,
    /// The program itself and what its allocator keeps.
    pub program: u64,
    /// The changed block of a probe, of updates without gradients.
    pub scratch: u64,
    /// Logits of a part of the vocabulary, likewise.
    pub logits: u64,
}

/// What is trained, and how the weights are in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trained {
    /// All weights, in f32: their number.
    Weights(u64),
    /// An adapter, beside weights that do not change.
    Adapter {
        /// Number of its parameters.
        parameters: u64,
        /// Bytes of the weights.
        weights: u64,
        /// Bytes into which they are decoded.
        decoding: u64,
        /// Parameters of the adapters that references are: where one is the weights alone, it takes
        /// nothing.
        references: u64,
    },
}

/// What decides how much memory training takes, apart from the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryFactors {
    /// Rows of a micro-batch.
    pub rows: u64,
    /// Whether it is the only one of its update.
    pub alone: bool,
    /// What its forward pass keeps.
    pub activations: Activations,
    /// Rows of keys and values while sampling.
    pub cached: u64,
    /// Whether there is a reference model.
    pub reference: bool,
    /// Whether updates are by gradients. Others take forward passes alone.
    pub gradients: bool,
}

impl MemoryFactors {
    /// Memory at its peak, of training in f32.
    pub fn estimate(self, model: &ModelConfig, trained: Trained) -> MemoryEstimate {
        let inputs = (model.num_layers as u64 + 2) * model.hidden_size as u64 * F32;
        let block = kept_bytes_a_row(model) / model.num_layers as u64;
        let kept = match self.activations {
            Activations::Keep => kept_bytes_a_row(model),
            Activations::Recompute => inputs,
        };
        let all = MemoryEstimate {
            cache: self.cached.saturating_mul(cache_bytes_a_row(model)),
            activations: self.rows.saturating_mul(kept),
            // As measured: about three times what the block's forward pass keeps.
            working: self.rows.saturating_mul(3 * block),
            tokenizer: model.vocab_size as u64 * TOKEN,
            program: PROGRAM,
            ..MemoryEstimate::default()
        };
        let estimate = self.by_gradients(model, trained, all);
        if self.gradients { estimate } else { self.by_probes(model, trained, estimate) }
    }

    fn by_gradients(
        self,
        model: &ModelConfig,
        trained: Trained,
        all: MemoryEstimate,
    ) -> MemoryEstimate {
        match trained {
            Trained::Weights(parameters) => {
                let weights = parameters * F32;
                MemoryEstimate {
                    weights,
                    gradients: weights,
                    optimizer: 2 * weights,
                    reference: if self.reference { weights } else { 0 },
                    head: (model.vocab_size * model.hidden_size) as u64 * F32,
                    in_turn: self.alone,
                    ..all
                }
            }
            Trained::Adapter { parameters, weights, decoding, references } => MemoryEstimate {
                weights,
                adapter: 4 * parameters * F32,
                decoding,
                reference: references * F32,
                ..all
            },
        }
    }
}

impl MemoryFactors {
    /// The same without gradients: values alone, what a block's forward pass makes, and logits of a
    /// part of the vocabulary. A changed block is in scratch memory.
    fn by_probes(
        self,
        model: &ModelConfig,
        trained: Trained,
        estimate: MemoryEstimate,
    ) -> MemoryEstimate {
        /// Columns of logits that are made together.
        const COLUMNS: usize = 2048;
        let block = kept_bytes_a_row(model) / model.num_layers as u64;
        let (parameters, adapter) = match trained {
            Trained::Weights(parameters) => (parameters, 0),
            Trained::Adapter { parameters, .. } => (parameters, parameters * F32),
        };
        MemoryEstimate {
            adapter,
            gradients: 0,
            optimizer: 0,
            head: 0,
            scratch: parameters * F32 / model.num_layers as u64,
            activations: self.rows.saturating_mul(2 * model.hidden_size as u64 * F32),
            working: self.rows.saturating_mul(block),
            logits: self.rows.saturating_mul(COLUMNS.min(model.vocab_size) as u64 * F32),
            in_turn: false,
            ..estimate
        }
    }
}

/// Number of the weights of a model.
pub fn num_weights(model: &ModelConfig) -> u64 {
    let mut count = 0;
    Weights::of(model).visit(|spec| count += spec.elem_count() as u64);
    count
}

/// Bytes into which weights are decoded, at most: tiles of the matrices, one for each thread, the
/// columns of one in the backward pass, and a part of the head.
///
/// Source: the sizes in `kernels::linear` and `kernels::logits`.
pub fn decoding_bytes(model: &ModelConfig, threads: usize) -> u64 {
    /// Numbers of a tile, and rows that it has at least.
    const TILE: (usize, usize) = (1 << 15, 16);
    /// Columns that the backward pass decodes together.
    const COLUMNS: usize = 256;
    /// Rows of the head that are decoded together.
    const ROWS: usize = 2048;
    let side = model.intermediate_size.max(model.hidden_size).max(model.num_heads * model.head_dim);
    let tile = TILE.0.max(TILE.1 * side);
    let head = ROWS.min(model.vocab_size) * model.hidden_size;
    (threads * tile + COLUMNS * side + head) as u64 * F32
}

fn cache_bytes_a_row(model: &ModelConfig) -> u64 {
    2 * (model.num_layers * model.num_kv_heads * model.head_dim) as u64 * F32
}

/// Bytes that a row of a pack leaves behind in all blocks, by what the CPU form of a block keeps:
/// its input, the sum after attention, what attention takes and makes, gate and up.
pub fn kept_bytes_a_row(model: &ModelConfig) -> u64 {
    let taken = (model.num_heads + 2 * model.num_kv_heads) * model.head_dim;
    let unnormed = (model.num_heads + model.num_kv_heads) * model.head_dim;
    let made = model.num_heads * model.head_dim;
    let block = 2 * model.hidden_size + taken + made + 2 * model.intermediate_size;
    let norms = if model.qk_norm { unnormed } else { 0 };
    (model.num_layers * (block + norms)) as u64 * F32
}

impl MemoryEstimate {
    /// Adds the copy of the weights in bf16 that sampling multiplies by.
    pub fn round(&mut self, parameters: u64) {
        self.rounded = parameters * BF16;
    }

    /// What there is while sampling.
    pub fn sampling(&self) -> u64 {
        self.cache.saturating_add(self.rounded)
    }

    /// Whether the rounded copy counts beside the backward pass, too. As measured: the allocator
    /// does not give its parts to a backward pass that makes no gradients of their sizes.
    pub fn keeps_copy(&self) -> bool {
        self.adapter > 0 && self.rounded > 0
    }

    /// Most at a time: slots are emptied before activations are kept, and gradients are let go
    /// before slots are filled.
    pub fn total(&self) -> u64 {
        let kept = if self.keeps_copy() { self.rounded } else { 0 };
        let Self { weights, adapter, decoding, optimizer, reference, tokenizer, .. } = *self;
        let lasting = [weights, adapter, decoding, optimizer, reference, tokenizer, kept];
        let lasting = lasting.iter().fold(self.program, |sum, part| sum.saturating_add(*part));
        // The head's gradient is the first, while all activations are there.
        let first = self.activations.saturating_add(self.head).saturating_add(self.logits);
        let first = first.saturating_add(self.scratch);
        let pass = if self.in_turn {
            self.gradients.max(first)
        } else {
            self.gradients.saturating_add(first)
        };
        let sampling = self.sampling().saturating_sub(kept);
        lasting.saturating_add(sampling.max(pass.saturating_add(self.working)))
    }
}

//! The policy as a differentiable function.
//!
//! The modules below stand in reading order: what a model is, what it computes on, how it computes,
//! training, sampling, and what lies on disk. It does not know what a reward, a group or a step is:
//! it receives columns of numbers per token.
//!
//! ```
//! use candle::{DType, Device};
//! use engine::{Activations, Biases, Family, Model, ModelConfig, Packed, RopeScaling, backward};
//!
//! let config = ModelConfig {
//!     family: Family::Llama,
//!     vocab_size: 32,
//!     hidden_size: 16,
//!     intermediate_size: 24,
//!     num_layers: 2,
//!     num_heads: 4,
//!     num_kv_heads: 2,
//!     head_dim: 4,
//!     context: 64,
//!     rope_theta: 10_000.0,
//!     rope_scaling: RopeScaling::None,
//!     rms_norm_eps: 1e-5,
//!     tie_embeddings: true,
//!     biases: Biases::NONE,
//!     qk_norm: false,
//! };
//! let mut model = Model::random(config, 1, DType::F32, &Device::Cpu)?;
//! model.freeze(|name| name == "model.embed_tokens.weight")?;
//!
//! // One prompt with two completions: its three rows are computed once.
//! let mut packed = Packed::default();
//! let prompt = packed.push(&[1, 2, 3], None)?;
//! let mut targets = packed.push_completion(prompt, &[4, 5])?;
//! targets.extend(packed.push_completion(prompt, &[6, 7, 8])?);
//! assert_eq!((packed.rows(), targets.len()), (3 + 1 + 2, 5));
//!
//! // The mean negative log-likelihood, and its gradient: one tensor for each trainable parameter.
//! let mut names = Vec::new();
//! let parameters: Vec<_> = model.trainable().collect();
//! let output = backward(
//!     &model,
//!     &packed,
//!     &targets,
//!     1.0,
//!     Activations::Keep,
//!     &mut |scores| Ok(scores.log_probs.mean_all()?.neg()?),
//!     &mut |index, gradient| {
//!         assert_eq!(gradient.dims(), parameters[index].tensor.dims());
//!         names.push(&parameters[index].name);
//!         Ok(())
//!     },
//! )?;
//! assert_eq!(names[0], "model.norm.weight", "topmost first");
//! assert_eq!(names.len(), model.parameters().len() - 1, "the embedding is frozen");
//! // 3.47 nats: nearly that of 32 equal tokens.
//! assert!((output.loss - 32f64.ln()).abs() < 0.1);
//! # Ok::<(), engine::Error>(())
//! ```

#![forbid(unsafe_code)]

// What a model is: sizes, and one list of weights.
pub mod config;

pub mod weights;

pub mod adapter;

// What it computes on: packed rows, who attends to whom, positions.
pub mod packed;

pub mod layout;
pub mod rope;

// How it computes.
pub mod backend;
pub mod model;
pub mod policy;

pub mod stream;

// Training.
pub mod score;

pub mod loss;

pub mod backward;

// Sampling.
pub mod cache;
pub mod decode;

// Several passes at a time.
pub mod lockstep;

// What lies on disk.
pub mod checkpoint;
pub mod export;
pub mod file;
pub mod gguf;
pub mod hub;
pub mod text;

mod error;
mod noise;
mod weight_type;

pub use adapter::{Adapter, AdapterConfig, Scaling};
pub use backend::{Backend, MatmulPrecision, bf16_kernel};
pub use backward::{Activations, LossOutput, ScoreTensors, backward, forward};
pub use cache::{Cache, Prefix};
pub use checkpoint::{Checkpoint, load, save};
pub use config::{Biases, Family, ModelConfig, RopeScaling};
pub use decode::{Distribution, Likeliest};
pub use error::{Error, Result};
pub use export::{Export, Written};
pub use model::{Model, Parameter, Variables};
pub use packed::{Packed, Segment, Target};
pub use policy::Policy;
pub use score::Scores;
pub use text::{StopStrings, Text};
pub use weight_type::WeightType;
pub use weights::{
    BlockLora, BlockWeights, Linear, Lora, Module, Spec, StoredMatrix, Value, Version,
    WeightSource, Weights,
};

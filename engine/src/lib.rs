//! The policy as a differentiable function.
//!
//! Reading order: [`config`], [`weights`], [`packed`], [`layout`], [`backend`], [`model`], [`score`],
//! [`mod@backward`], [`loss`]; then [`cache`] and [`decode`] for sampling; [`checkpoint`], [`gguf`],
//! [`text`] and [`hub`] for what lies on disk.
//!
//! It does not know what a reward, a group or a step is: it receives columns of numbers per token.

pub mod backend;
pub mod backward;
pub mod cache;
pub mod checkpoint;
pub mod config;
pub mod decode;
mod error;
pub mod gguf;
pub mod hub;
pub mod layout;
pub mod loss;
pub mod model;
mod noise;
pub mod packed;
mod policy;
pub mod rope;
pub mod score;
pub mod text;
pub mod weights;

pub use backend::{Backend, MatmulPrecision};
pub use backward::{Activations, Columns, Passed, backward, forward};
pub use cache::{Cache, Prefix};
pub use checkpoint::{Checkpoint, load, save};
pub use config::{Biases, Family, ModelConfig, RopeScaling};
pub use decode::Distribution;
pub use error::{Error, Result};
pub use model::{Model, Parameter};
pub use packed::{Packed, Segment, Target};
pub use policy::Policy;
pub use score::Scores;
pub use text::{StopStrings, Text};
pub use weights::{BlockWeights, Linear, Spec, Version, WeightSource, Weights};

//! The policy as a differentiable function.
//!
//! Reading order: [`config`], [`weights`], [`packed`], [`ops`], [`block`], [`model`], [`score`],
//! [`backward`], [`loss`]; then [`cache`] and [`decode`] for sampling; [`checkpoint`], [`gguf`] and
//! [`text`] for what lies on disk.
//!
//! It does not know what a reward, a group or a step is: it receives columns of numbers per token.

pub mod config;
mod error;
pub mod packed;
pub mod weights;

pub use config::{Family, ModelConfig, RopeScaling};
pub use error::{Error, Result};
pub use packed::{Packed, Segment, Target};
pub use weights::{BlockWeights, Weights};

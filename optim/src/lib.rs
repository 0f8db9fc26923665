//! Moves parameters.
//!
//! Reading order: [`Param`] and [`Gradients`], [`Objective`] and [`Optimizer`], [`AdamW`],
//! [`Schedule`].
//!
//! It knows tensors, not transformers: every method here can be tried on a parabola.

mod adamw;
mod config;
mod error;
mod gradients;
mod optimizer;
mod params;
mod schedule;
mod slices;

pub use adamw::{AdamW, AdamWConfig};
pub use config::OptimConfig;
pub use error::{Error, Result};
pub use gradients::Gradients;
pub use optimizer::{Objective, Optimizer, StepReport};
pub use params::Param;
pub use schedule::Schedule;

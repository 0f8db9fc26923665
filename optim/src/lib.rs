//! Optimizers: they update parameters.
//!
//! Reading order: [`Param`] and [`Gradients`], [`Objective`] and [`Optimizer`],
//! [`FirstOrder`], [`AdamW`], [`Schedule`]; [`zeroth`] for methods that need no gradient.
//!
//! It knows tensors, not transformers: every method can be tested on a parabola.

#![forbid(unsafe_code)]

// Parameters and their gradients.
mod params;

mod gradients;

// The interface: an objective, and an optimizer that minimises it.
mod optimizer;

// First-order methods.
mod first_order;

mod adamw;

// Methods without gradients, on slices.
pub mod zeroth;

mod schedule;

// The settings of a method.
mod config;

mod error;
mod slices;

pub use adamw::{AdamW, AdamWConfig, AdamWRule};
pub use config::OptimConfig;
pub use error::{Error, Result};
pub use first_order::{FirstOrder, Rule, Step};
pub use gradients::Gradients;
pub use optimizer::{Objective, Optimizer, SavedState, StepReport};
pub use params::Param;
pub use schedule::{Decay, Schedule};

//! Zeroth-order methods on a model: its parameters as tensors of a method, probes and updates as
//! transforms of its weights, and the log of a stage.
//!
//! `optim::zeroth` knows slices of numbers, `engine::stream` weights that something changes. This
//! is where they meet.

mod log_file;
mod moved;
mod tensors;

pub use log_file::{LogFile, Logged, logs, remove_from};
pub use moved::{Moved, Perturbation};
pub use tensors::{digests, tensors, values};

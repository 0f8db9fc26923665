//! The engine's tests: one binary.

mod gradients;
mod packing;
mod support;

//! The engine's tests: one binary.

mod gradients;
mod oracles;
mod packing;
mod support;

//! The model on Candle tensors: any device and float type, differentiable.
//!
//! Candle's own fused `rms_norm`, `rope` and softmax are not used: they cut the graph without an
//! error.

pub(crate) mod block;
pub(crate) mod decode;
pub(crate) mod head;
mod linear;
pub mod ops;
pub(crate) mod trunk;

//! The model on plain slices: `f32` on a CPU, every operation with its own backward.

mod attention;
mod kv;
mod linear;
mod operand;
mod rows;
mod slices;

pub(crate) mod block;
pub(crate) mod decode;
pub(crate) mod head;
pub(crate) mod trunk;

pub use attention::{Heads, attention, attention_backward};
pub(crate) use kv::KvBlock;
pub use linear::Weight;
pub use rows::{rms_norm, rms_norm_backward, rope, swiglu, swiglu_backward};
pub(crate) use slices::{values, with};
